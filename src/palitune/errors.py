"""The exceptions that palitune raises: each says what is wrong, where, and what to do next, and has an exit code.

Exit codes are those of BSD's sysexits.h where it has one. A command prints an error as one line on stderr; any other
exception that reaches the user is a defect of palitune.
"""

import re
from collections.abc import Sequence

# Blank, though printable for Python: fillers of Hangul, Mongolian and Khmer, an empty Braille cell, variant selectors.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
# An emoji of several characters, which is seen as one: a symbol, its form or skin, and symbols that are joined to it.
_SYMBOL = r"[\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]\ufe0f?[\U0001f3fb-\U0001f3ff]?"
EMOJI = re.compile(rf"{_SYMBOL}(?:\u200d{_SYMBOL})*|[0-9#*]\ufe0f\u20e3")
_RARE = re.compile(rf"{EMOJI.pattern}|[^\x20-\x7e\u3001-\u3029\u3041-\u3096\u30a1-\u30fe\u4e00-\u9fff]")
NAMED = 5  # items of a kind that a message names; it gives the number of the others
IDEOGRAPHIC_SPACE = "\u3000"  # ordinary in Japanese names


def is_plain(one: str) -> bool:
    """Returns whether a character is visible: no control character, direction mark or zero-width filler."""
    return one == IDEOGRAPHIC_SPACE or (one.isprintable() and not _BLANK.match(one))


def is_seen(found: str) -> bool:
    """Returns whether what `EMOJI` or a rare character is matched by is visible: an emoji of several, or plain."""
    return len(found) > 1 or is_plain(found)


def printable(text: str) -> str:
    """Returns `text` on one line, with every character that is not plain escaped, such as `\\x1b` or `\\u202e`.

    Text from a data file can therefore not move the cursor of a terminal, change its colours, or hide in a message.
    What joins the parts of an emoji is seen in it, and stays.
    """

    def shown(match: re.Match[str]) -> str:
        return match[0] if is_seen(match[0]) else match[0].encode("unicode_escape", "surrogatepass").decode()

    return _RARE.sub(shown, text)


def listed(items: Sequence[str], separator: str = ", ") -> str:
    """Returns the first `NAMED` items and the number of the others: "a, b, c, d, e, and 7 more"."""
    first = separator.join(items[:NAMED])
    return f"{first}{separator}and {len(items) - NAMED:,} more" if len(items) > NAMED else first


class PalituneError(Exception):
    """The base class of all errors that a user can do something about.

    Attributes:
      what: what is wrong, in a few words.
      where: a file, `file:line` or the path of a parameter.
      hint: what to do next.
      exit_code: the exit code of a command that ends with this error.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(what)

    @property
    def kind(self) -> str:
        """What is wrong, without the name of the thing; errors of the same kind have the same text."""
        return self.what.partition(":")[0].partition("(")[0].strip()

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        line = f"{line}. {self.hint}" if self.hint else line
        return printable(line)


class UsageError(PalituneError):
    """The arguments contradict each other or the data."""

    exit_code = 2


class BadDataError(PalituneError):
    """A file exists, but its content is not what it should be."""

    exit_code = 65


class MissingInputError(PalituneError):
    """A file or model that was asked for does not exist."""

    exit_code = 66


class NetworkError(PalituneError):
    """A download failed because of the network or the server."""

    exit_code = 69


class OutputExistsError(PalituneError):
    """Writing would replace a file, and the user did not allow that."""

    exit_code = 73


class StorageError(PalituneError):
    """The disk is full, read-only or defective."""

    exit_code = 74


class ResumableError(PalituneError):
    """The run was stopped on request, and has saved everything that it needs to resume."""

    exit_code = 75


class CredentialsError(PalituneError):
    """A server needs credentials, or does not accept those that it got."""

    exit_code = 77


class ConfigurationError(PalituneError):
    """Parts do not fit together, such as a model and its tokenizer, or parameters and their shapes."""

    exit_code = 78


class DivergedError(PalituneError):
    """Training diverged, and no model was written."""

    exit_code = 79


class Stopped(BaseException):
    """A signal asks to end. It is no Exception, so that half-written files are cleaned up on the way out.

    Attributes:
      number: of the signal.
      hint: how to go on, where that can be.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.hint: str | None = None
