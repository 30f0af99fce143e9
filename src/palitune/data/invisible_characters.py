"""Invisible characters in a text, and other reasons why no file has a name that seems right."""

import re
import unicodedata

MOST = 3  # characters of one text that a message names
BLANKS = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"  # blanks other than the plain one
UNSEEN = re.compile(
    rf"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    rf"\ufeff\uffa0\U000e0000-\U000e0fff{BLANKS}]"
)
ESCAPES = {"\n": ("a line break", "n"), "\r": ("a carriage return", "r"), "\t": ("a tab", "t")}
ESCAPES |= {"\f": ("a form feed", "f"), "\b": ("a backspace", "b")}
ADDRESS = re.compile(r"(?i)(https?|ftps?|s3|gs|gcs|az|abfss?|wasbs?|hf|file):/{2,3}[^/]|data:[\w.+-]+/[\w.+-]+[;,]")


def invisible(text: str) -> str | None:
    """Returns the names of a text's characters that are invisible or look like blanks, None if it has none.

    For example: "U+200B ZERO WIDTH SPACE".
    """
    if text.isascii():
        return None
    found = list(dict.fromkeys(UNSEEN.findall(text)))
    names = [f"U+{ord(one):04X} {unicodedata.name(one, 'unnamed')}" for one in found[:MOST]]
    more = [f"{len(found) - MOST} more"] if len(found) > MOST else []
    return " and ".join([*names, *more]) or None


def shown(text: str, most: int = 40) -> str:
    """Returns a text in quotes for a message, with the names of its invisible characters."""
    hidden = invisible(text)
    return f'"{text[:most]}"' + (f" (with {hidden})" if hidden else "")


def is_address(name: str) -> bool:
    """Returns whether the name of an image is a URL and not the name of a file."""
    return ADDRESS.match(name.strip()) is not None


def why_missing(name: str) -> str | None:
    r"""Returns what may be wrong with the name of an image that does not exist; None if nothing is wrong with the name.

    For example, JSON reads `"images\new.jpg"` as a name with a line break in it.
    """
    for character, (what, letter) in ESCAPES.items():
        if character in name:
            slash = f"JSON reads \\{letter} as {what}: write / or \\\\ for a backslash"
            return f"The name has {what} in it; {slash}"
    if (hidden := invisible(name)) is not None:
        return f"The name has an invisible character in it: {hidden}"
    if name != name.strip() or re.search(r" /|/ | \.\w+$", name):
        return "The name has blanks at an end"
    return None
