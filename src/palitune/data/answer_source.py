"""What a file of answers was made with, in a hidden file beside it: `.OUT.made.json` for `OUT`.

The lines themselves stay as they are, for `cut`, `grep`, `sort` and `head`. The file beside them holds the SHA-256 of
the answers, so that it is not taken for other content: lines that were edited, sorted or added make it void.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from palitune import console
from palitune.data.prediction import MadeWith
from palitune.errors import PalituneError
from palitune.storage import atomic_files

VERSION = 1
OFTEN_EMPTY = ("thresholds", "positive")  # of what they were made with
LARGEST = 1 << 20  # bytes of a file beside answers


class Seen(NamedTuple):
    """How many of some records a model has learned from, and how many of the others it was chosen on."""

    records: int = 0
    learned: int = 0
    chosen: int = 0

    def text(self, of: str, least: str = "") -> str:
        """A part of a sentence, such as "has learned from 6 and was chosen on 4 of these 10 images"; else nothing.

        Args:
          of: what the records are, in the plural.
          least: where more may have been learned from, words that say so.
        """
        said = [f"has learned from {least}{self.learned}"] if self.learned else []
        said += [f"was chosen on {self.chosen}"] if self.chosen else []
        return f"{' and '.join(said)} of these {self.records} {of}" if said else ""


def beside(path: Path) -> Path:
    """Where it is told what the answers in a file were made with; hidden, so that `tmp/out-*` does not find it."""
    return path.with_name(f".{path.name}.made.json")


def read(path: Path, quiet: bool = False) -> MadeWith | None:
    """What the answers in a file were made with; None where nothing tells, or what tells is about other content.

    Args:
      quiet: do not say on stderr that the answers have changed since.
    """
    try:
        if not path.is_file() or beside(path).stat().st_size > LARGEST:
            return None
        content = json.loads(beside(path).read_bytes())
        made, known = made_with(content["made"]), content["sha256"]
        if content["version"] != VERSION:
            return None
        if known != _sha256(path):
            if not quiet:
                what = "the answers have changed since they were written, so what they were made with is not known"
                console.note(f"{path}: {what}")
            return None
        return made
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_seen(path: Path) -> Seen | None:
    """How many of the records of a file of answers its model knew; None where nothing tells. Ask `read` first."""
    try:
        seen = json.loads(beside(path).read_bytes())["seen"]
        return Seen(*(int(seen[name]) for name in Seen._fields))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def made_with(told: Mapping[str, Any]) -> MadeWith:
    """What predictions were made with, as JSON has it. Raises ValueError, KeyError, TypeError or AttributeError."""
    if not isinstance(told["labels"] or [], list):
        raise ValueError("labels are no list")
    labels = tuple(str(label) for label in told["labels"] or ())
    threshold, temperature = float(told["threshold"]), float(told["temperature"])
    model, mark, prompt = (str(told[name]) for name in ("model", "mark", "prompt"))
    thresholds = tuple((str(name), float(value)) for name, value in told.get("thresholds", ()))
    decode, positive = bool(told["decode"]), str(told.get("positive", ""))
    return MadeWith(labels or None, threshold, temperature, model, mark, prompt, decode, thresholds, positive)


@dataclasses.dataclass
class AnswerSource:
    """Says beside a file of answers what they were made with, once all of them are written.

    Attributes:
      path: the file; None where there is none, as of a pipe, or where it has answers of something unknown.
    """

    path: Path | None

    @classmethod
    def of_file(cls, path: Path, made: MadeWith) -> "AnswerSource":
        """Of a file that lines are added to: what is there already must have been made with the same."""
        with contextlib.suppress(OSError):
            if path.stat().st_size and read(path, quiet=True) != made:
                return cls(None)
        return cls(path)

    @classmethod
    def of_stdout(cls) -> "AnswerSource":
        """Of standard output, where that is a new file; on Linux its name is known."""
        with contextlib.suppress(OSError, ValueError):
            facts = os.fstat(1)
            path = Path(os.readlink("/proc/self/fd/1"))
            if stat.S_ISREG(facts.st_mode) and facts.st_size == 0 and path.samefile("/proc/self/fd/1"):
                return cls(path)
        return cls(None)

    def write(self, made: MadeWith, seen: Seen | None = None) -> None:
        """Writes the file beside the answers; where it cannot be written, the answers do without.

        Args:
          seen: how many of the records the model knew, where all of them were counted.
        """
        if self.path is None:
            return
        with contextlib.suppress(PalituneError, OSError):
            told = {name: value for name, value in made._asdict().items() if name not in OFTEN_EMPTY or value}
            content = {"version": VERSION, "sha256": _sha256(self.path), "made": told}
            if seen is not None:
                content["seen"] = seen._asdict()
            atomic_files.write(beside(self.path), json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
