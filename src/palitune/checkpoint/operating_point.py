"""Where a model's scores become an answer: threshold and temperature, in a file beside the checkpoint they are for.

`trained.npz` has them in `trained.threshold.json`; a folder that was exported has them inside. They hold for the very
parameters and labels that they were chosen with: after other learning under the same name they are ignored.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from palitune.checkpoint import beside, manifest
from palitune.checkpoint.delta import Overlay, content_hash
from palitune.checkpoint.store import Stored as StoredArrays
from palitune.config.quantization import EXACT, Quantization
from palitune.errors import BadDataError
from palitune.sentence import Sentence, recalled
from palitune.storage import atomic_files, files

LONGEST = 4_000  # characters of what it was chosen for
MOST = 8 << 20  # bytes of the file
IN_FOLDER = "palitune_threshold.json"  # of an exported folder
NO_THRESHOLDS: Mapping[str, float] = {}  # shared, and never changed


class OperatingPoint(NamedTuple):
    """How log-likelihoods of labels become an answer.

    Attributes:
      threshold: the first of two labels is the answer from this probability on.
      temperature: what log-likelihoods are divided by before they become probabilities.
    """

    threshold: float = 0.5
    temperature: float = 1.0


class Stored(NamedTuple):
    """An operating point with where it came from."""

    point: OperatingPoint
    labels: tuple[str, ...]
    chosen: str  # in words: what the threshold was chosen for, and on what
    files: Mapping[str, float]  # SHA-256 of files that it was chosen on: the temperature their p_yes were written with
    checkpoint: str  # `mark` of the parameters that it is for
    positive: str = ""  # of more than two labels the one that the threshold is of; empty where there is none
    thresholds: Mapping[str, float] = NO_THRESHOLDS  # of several labels at once, by name


def path_of(checkpoint: Path) -> Path:
    """Returns where the operating point of a checkpoint is."""
    folder = manifest.folder_of(checkpoint)
    if folder is not None and (folder / IN_FOLDER).is_file():
        return folder / IN_FOLDER
    return beside.threshold_of(checkpoint)


def mark(checkpoint: StoredArrays, quantization: Quantization = EXACT) -> str:
    """What tells a checkpoint's parameters, as they are computed with, from all others."""
    parts = (checkpoint.base, checkpoint.changed) if isinstance(checkpoint, Overlay) else (checkpoint,)
    hashes = " ".join(map(content_hash, parts))
    return f"{hashes} {quantization.name}" if quantization.is_any else hashes


def write(path: Path, stored: Stored) -> None:
    """Puts an operating point beside the checkpoint at `path`. Raises StorageError."""
    write_file(path_of(path), stored)


def write_file(file: Path, stored: Stored) -> None:
    """Writes an operating point into a file. Raises StorageError."""
    content = {**stored.point._asdict(), **stored._asdict()}
    del content["point"]
    if isinstance(stored.chosen, Sentence):
        content["sentence"] = stored.chosen.as_json()
    for name in ("positive", "thresholds"):
        if not content[name]:
            del content[name]
    atomic_files.write(file, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def of_parameters(path: Path, checkpoint: StoredArrays) -> Stored | None:
    """What is stored for the very parameters of the checkpoint at `path`, kept as they were when it was trained.

    Raises BadDataError as `read`.
    """
    stored = read(path)
    if stored is None or stored.checkpoint != mark(checkpoint, manifest.quantization(path)):
        return None
    return stored


def read(path: Path) -> Stored | None:
    """The operating point beside a checkpoint, which may be for other parameters; None where there is none.

    Raises:
      BadDataError: the file is something else.
    """
    file = path_of(path)
    if not file.is_file():
        return None
    try:
        content = json.loads(files.read(file, MOST))
        if isinstance(content["threshold"], bool) or isinstance(content["temperature"], bool):
            raise ValueError("its threshold or its temperature is not a number")
        point = OperatingPoint(float(content["threshold"]), float(content["temperature"]))
        labels, chosen, known = content["labels"], content["chosen"], content["files"]
        checkpoint, positive = content["checkpoint"], content.get("positive", "")
        if not (0 <= point.threshold <= 1 and 0 < point.temperature < math.inf):
            raise ValueError("its threshold or its temperature is out of range")
        if not (isinstance(labels, list) and all(isinstance(label, str) for label in labels)):
            raise ValueError("its labels are not a list of texts")
        if positive and positive not in labels:
            raise ValueError("its positive label is none of its labels")
        if not (isinstance(chosen, str) and isinstance(checkpoint, str) and isinstance(known, dict)):
            raise ValueError("it does not tell what it was chosen on")
        if not chosen.isprintable() or len(chosen) > LONGEST:
            raise ValueError("what it was chosen for is not a line of text")
        chosen = recalled(chosen, content.get("sentence"))
        own = {str(name): _probability(value) for name, value in content.get("thresholds", {}).items()}
        temperatures = {str(name): float(value) for name, value in known.items()}
        if not all(0 < value < math.inf for value in temperatures.values()):
            raise ValueError("a temperature is out of range")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        what = f"not a stored threshold ({type(error).__name__}: {error})"
        raise BadDataError(what, where=str(file), hint="Remove it to go on") from None
    return Stored(point, tuple(labels), chosen, temperatures, checkpoint, positive, own)


def _probability(value: object) -> float:
    """Raises ValueError: it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError("a label's threshold is out of range")
    return float(value)
