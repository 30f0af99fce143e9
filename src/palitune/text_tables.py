"""Tables of text, aligned for a terminal."""

import unicodedata
from collections.abc import Iterable, Sequence

from palitune.errors import EMOJI, printable

BETWEEN = " | "
WIDE = "\u3042"  # as wide as an emoji of several characters


def aligned(rows: Iterable[Sequence[str]], numbers_from: int | None = None) -> list[str]:
    """Lines of a table, of which the first row is the head: words are aligned to the left, numbers to the right.

    Args:
      numbers_from: the first column of numbers, where that cannot be told from what stands in them.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    words = [not all(_is_number(row[i]) for row in rows[1:]) for i in range(len(widths))]
    if numbers_from is not None:
        words = [i < numbers_from for i in range(len(widths))]
    lines = []
    for row in rows:
        blanks = [" " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = zip(row, blanks, words, strict=True)
        lines.append("  ".join(cell + blank if word else blank + cell for cell, blank, word in cells).rstrip())
    return lines


def side_by_side(heads: Sequence[str], texts: Sequence[str], width: int) -> list[str]:
    """Lines with texts beside each other under their heads, each in as many columns as the others."""
    own = max(8, (width - len(BETWEEN) * (len(texts) - 1)) // len(texts))
    blocks = [[*wrapped(head, own), *wrapped(text, own)] for head, text in zip(heads, texts, strict=True)]
    lines = []
    for row in range(max(map(len, blocks))):
        cells = [block[row] if row < len(block) else "" for block in blocks]
        lines.append(BETWEEN.join(cell + " " * (own - columns(cell)) for cell in cells).rstrip())
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """Lines of a text that have at most so many columns: broken at blanks where there are some, else anywhere."""
    lines = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for one in printable(paragraph):
            if columns(line) + columns(one) > width:
                head, blank, tail = line.rpartition(" ")
                # A long word, or a text without blanks, is broken where it is.
                whole = one == " " or not blank or not head.strip()
                lines.append(line if whole else head)
                line = "" if whole else tail
            line += "" if one == " " and not line and lines else one
        lines.append(line)
    return lines


def clipped(text: str, most: int) -> str:
    """A text on one line that takes at most so many columns; what is left out at its end is an ellipsis."""
    shown = printable(text)
    if columns(shown) <= most:
        return shown
    while shown and columns(shown) >= most:
        shown = shown[:-1]
    return f"{shown}…"


def columns(text: str) -> int:
    """How many columns a text takes on a terminal: two for one of Chinese or Japanese, none for an accent."""
    if text.isascii():
        return len(text)
    text = EMOJI.sub(lambda found: found[0] if len(found[0]) == 1 else WIDE, text)
    return sum(0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF") for one in text)


def _is_number(cell: str) -> bool:
    return cell in ("", "-") or cell.removeprefix("-").replace(".", "").isdigit()
