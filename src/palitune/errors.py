"""One family of exceptions: what is wrong, where, what to do next, and the exit code (BSD's sysexits where it has one).

A command shows an error as one line on stderr; anything else that escapes is a defect of palitune.
"""


def one_line(text: str) -> str:
    """A text for a terminal on one line, whatever a file's name holds."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


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
        return one_line(line)


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
