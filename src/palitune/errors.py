"""One family of exceptions: what is wrong, where, what to do next, and the exit code (BSD's sysexits where it has one).

A command shows an error as one line on stderr; anything else that escapes is a defect of palitune.
"""

import re
from collections.abc import Sequence

# Blank, though printable for Python: fillers of Hangul, Mongolian and Khmer, an empty Braille cell, variant selectors.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_RARE = re.compile("[^\x20-\x7e\u3001-\u3029\u3041-\u3096\u30a1-\u30fe\u4e00-\u9fff]")
NAMED = 5  # of a kind, of whatever there may be many of; the rest are counted
IDEOGRAPHIC_SPACE = "\u3000"  # ordinary in Japanese names


def is_plain(one: str) -> bool:
    """Whether a character can be seen and moves nothing: no control, mark of direction, or filler without width."""
    return one == IDEOGRAPHIC_SPACE or (one.isprintable() and not _BLANK.match(one))


def printable(text: str) -> str:
    """A text for people, on one line: what is not plain comes as `\\x1b` or `\\u202e`.

    Whatever data hold, they cannot move a terminal's cursor, colour or turn round its lines, or hide in them.
    """

    def shown(match: re.Match[str]) -> str:
        return match[0] if is_plain(match[0]) else match[0].encode("unicode_escape", "surrogatepass").decode()

    return _RARE.sub(shown, text)


def listed(items: Sequence[str], separator: str = ", ") -> str:
    """The first `NAMED` of some items, and how many more there are: "a, b, c, d, e, and 7 more"."""
    first = separator.join(items[:NAMED])
    return f"{first}{separator}and {len(items) - NAMED:,} more" if len(items) > NAMED else first


class PalituneError(Exception):
    """`what` is wrong at `where` (a file, `file:line` or a parameter path); `hint` is what to do next."""

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(what)

    @property
    def kind(self) -> str:
        """What is wrong, without the name of what it is wrong with: equal for errors of a kind."""
        return self.what.partition(":")[0].partition("(")[0].strip()

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        line = f"{line}. {self.hint}" if self.hint else line
        return printable(line)


class UsageError(PalituneError):
    """Arguments that contradict each other or the data."""

    exit_code = 2


class BadDataError(PalituneError):
    """A file was found and does not hold what it should."""

    exit_code = 65


class MissingInputError(PalituneError):
    """A file or model that was asked for is not there."""

    exit_code = 66


class NetworkError(PalituneError):
    """A download failed for want of a network or a willing server."""

    exit_code = 69


class OutputExistsError(PalituneError):
    """Writing would replace something that nobody said may be replaced."""

    exit_code = 73


class StorageError(PalituneError):
    """The disk is full, read-only or broken."""

    exit_code = 74


class ResumableError(PalituneError):
    """Stopped on request, with everything saved that going on takes."""

    exit_code = 75


class CredentialsError(PalituneError):
    """A server wants to know who asks, or does not accept the answer."""

    exit_code = 77


class ConfigurationError(PalituneError):
    """The pieces do not fit: a model and its tokenizer, parameters and their shapes, an installation."""

    exit_code = 78


class DivergedError(PalituneError):
    """Learning went astray; no model was written."""

    exit_code = 79
