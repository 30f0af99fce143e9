"""Models of Hugging Face on this machine: a folder each, with `source.json`, which says what it holds.

That file is written last, so that a folder which has it is complete.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from palitune.errors import BadDataError
from palitune.hub import checksum, huggingface
from palitune.storage import atomic_files, files

SOURCE = "source.json"
LONGEST = 1 << 20  # bytes of it
NAME = re.compile(r"[A-Za-z0-9_](?:[\w.-]{0,94}\w)?/[A-Za-z0-9_](?:[\w.-]{0,94}\w)?", re.ASCII)
REVISION = re.compile(r"[!-~]{1,200}")
COMMIT = re.compile(r"[0-9a-f]{40}")
SHORTEST_COMMIT = 7  # digits that name a commit


class Stored(NamedTuple):
    """One file: its size in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


class Snapshot(NamedTuple):
    """A repository's files at one commit, and what was asked for to get them."""

    name: str
    revision: str
    commit: str
    files: dict[str, Stored]

    def is_at(self, revision: str | None) -> bool:
        """Whether a person who names this revision, or none, means this snapshot."""
        if revision is None or revision in (self.revision, self.commit):
            return True
        return len(revision) >= SHORTEST_COMMIT and self.commit.startswith(revision.lower())


def parse(text: str) -> tuple[str, str | None] | None:
    """The name and the revision of `owner/name` or `owner/name@revision`; None for what is no name on Hugging Face.

    The address of a model's page there counts as its name.
    """
    name, at, revision = text.removeprefix(f"{huggingface.SITE}/").partition("@")
    if not NAME.fullmatch(name) or "--" in name or ".." in name or (at and not REVISION.fullmatch(revision)):
        return None
    return name, revision if at else None


def folder_of(name: str, models: Path) -> Path:
    """Where the model `owner/name` is, or will be, in the folder of downloaded models."""
    return models / name.replace("/", "--")


def read(folder: Path) -> Snapshot | None:
    """What `source.json` says of a folder; None if there is none, or nothing that palitune has written."""
    try:
        content = json.loads(files.read(folder / SOURCE, LONGEST))
        stored = {name: Stored(entry["size"], entry["sha256"]) for name, entry in content["files"].items()}
        found = Snapshot(content["name"], content["revision"], content["commit"], stored)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return found if _is_plausible(found) else None


def _is_plausible(found: Snapshot) -> bool:
    texts = (found.name, found.revision, found.commit, *(one.sha256 for one in found.files.values()))
    if not all(isinstance(text, str) for text in texts) or not NAME.fullmatch(found.name):
        return False
    return all(type(one.size) is int and Path(name).name == name for name, one in found.files.items())


def write(folder: Path, found: Snapshot) -> None:
    """Writes `source.json`, which makes a folder count."""
    content = {
        "name": found.name,
        "revision": found.revision,
        "commit": found.commit,
        "files": {name: one._asdict() for name, one in sorted(found.files.items())},
    }
    atomic_files.write(folder / SOURCE, json.dumps(content, indent=2).encode() + b"\n")


def verify(folder: Path, found: Snapshot, silent: bool = True) -> None:
    """Raises BadDataError unless every file is there, and is what it was when it was downloaded."""
    for name, one in found.files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != one.size:
            wrong = "it is no longer there" if not path.is_file() else f"it no longer has {one.size:,} bytes"
            hint = f"palitune download --model {found.name} --overwrite fetches it again"
            raise BadDataError(f"this file was downloaded, and {wrong}", where=str(path), hint=hint)
        checksum.verify(path, silent, {one.sha256})


def present(models: Path) -> Mapping[str, Path]:
    """Names of the complete models in the folder of downloaded models, with the folder of each."""
    folders = [path.parent for path in models.glob(f"*--*/{SOURCE}") if not path.parent.name.startswith(".")]
    return {found.name: folder for folder in sorted(folders) if (found := read(folder)) is not None}
