"""What goes to stdout and stderr: text for people as their terminal can show it, lines of data as they are."""

import codecs
import io
import json
import os
import re
import sys
from collections.abc import Iterable
from typing import TextIO, cast

from palitune.errors import EMOJI, is_seen

_RARE = re.compile(rf"{EMOJI.pattern}|[^\n\t\x20-\x7e\u3001-\u3029\u3041-\u3096\u30a1-\u30fe\u4e00-\u9fff]")
_UP = "\x1b[A"  # of tqdm, which has several bars


def escaped(one: str) -> str:
    """A character as JSON and Python both read it, where JSON can hold it; of controls as Python alone does."""
    if one < " ":
        return one.encode("unicode_escape").decode()
    units = one.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _unencodable(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(escaped, error.object[error.start : error.end])), error.end


class Shown:
    """A stream for people. Whatever is written, nothing but its own line ends reaches a terminal as a control.

    Lines of JSON stay the same JSON: what is escaped stands within strings. A stream of notes never fails: a disk that
    is full, or a reader that has gone, costs the notes and not the results.
    """

    def __init__(self, stream: TextIO, notes: bool) -> None:
        self.stream, self.notes = stream, notes
        self.failed: Exception | None = None  # argparse passes over what went wrong while it printed
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="palitune.escaped")

    def write(self, text: str) -> int:
        """Writes a text, with unprintable characters escaped."""
        try:
            self.stream.write(self._plain(text))
        except (OSError, ValueError) as error:  # ValueError where it is closed
            if not self.notes:
                self.failed = error
                raise
        return len(text)

    def flush(self) -> None:
        """Flushes the stream."""
        failed, self.failed = self.failed, None
        try:
            if failed is not None:
                raise failed
            self.stream.flush()
        except (OSError, ValueError):
            if not self.notes:
                raise

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes several texts as `write` does."""
        for line in lines:
            self.write(line)

    def _plain(self, text: str) -> str:
        head = tail = ""
        if self.notes:  # a progress bar goes back to its line's start, and up to its line
            if text and not text.replace(_UP, ""):
                return text
            if text.startswith("\r"):
                head, text = "\r", text[1:]
                tail = "\r" * text.endswith("\r")
                text = text[: len(text) - len(tail)]
        return head + _RARE.sub(lambda match: match[0] if is_seen(match[0]) else escaped(match[0]), text) + tail

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)


def install() -> None:
    """Puts both streams in place, once. Those that the caller has closed, None in Python, lead nowhere."""
    codecs.register_error("palitune.escaped", _unencodable)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w")  # noqa: SIM115 (for the life of the process)
        if not isinstance(stream, Shown):
            setattr(sys, name, cast(TextIO, Shown(stream, name == "stderr")))


def line(text: str) -> None:
    """Writes a line of data to stdout at once: UTF-8 whatever the terminal's encoding, names' bytes as they came."""
    sys.stdout.flush()
    raw(text.encode("utf-8", "surrogateescape") + b"\n")
    sys.stdout.flush()


def raw(content: bytes) -> None:
    """Writes lines of data to stdout as they are; to a terminal, which would obey what is in them, as `Shown` does."""
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None or sys.stdout.isatty():  # None: a text stream that somebody put in its place
        sys.stdout.write(content.decode("utf-8", "surrogateescape"))
    else:
        buffer.write(content)


def prefer_utf8() -> None:
    """Starts Python again in its UTF-8 mode where file names are ASCII to it: others could not be opened.

    The streams keep the terminal's encoding.
    """
    if sys.getfilesystemencoding() != "ascii" or os.environ.get("PYTHONUTF8") == "1" or os.name == "nt":
        return
    encoding = getattr(sys.stdout or sys.stderr, "encoding", None) or "ascii"
    os.environ.setdefault("PYTHONIOENCODING", encoding)
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def document(content: object, indent: int | None = None) -> None:
    """Writes JSON to stdout: UTF-8 whatever the terminal's encoding, what a terminal would obey as JSON's escapes."""
    text = json.dumps(content, ensure_ascii=False, indent=indent)
    line(_RARE.sub(lambda match: match[0] if is_seen(match[0]) else escaped(match[0]), text))
