"""What a checkpoint's numbers do not say: JSON inside it, and in a file beside it (`trained.json`, `trained.npz`).

The one inside appears and disappears with the numbers; the one beside is for people and other programs. In a delta it
is a member of the archive; in a whole checkpoint it is the archive's comment, because big_vision would take a member
for a parameter. A folder that palitune has exported has it in a file of its own (`palitune.json`).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
from numpy.typing import DTypeLike

from palitune import __version__
from palitune.checkpoint import beside, spec_json
from palitune.checkpoint.archive import Archive
from palitune.config.learning import LONGEST
from palitune.config.quantization import KINDS, NONE, Quantization
from palitune.errors import BadDataError, MissingInputError
from palitune.labels import plain_set
from palitune.models.spec import ModelSpec
from palitune.storage import atomic_files, files

LONGEST_PROMPT = 10_000  # characters; far above what may be typed
MOST_LABELS = 10_000
MOST = 8 << 20  # bytes of a manifest
BESIDE = "beside"  # SHA-256 of the file beside, where that says more
BEGINNING = b'{"palitune": '  # of one that is a comment
LONGEST_COMMENT = 65_535  # bytes, by the format
THEIRS = (".safetensors", ".json")  # suffixes of the files of a folder of Hugging Face
IN_FOLDER = "palitune.json"  # the manifest of such a folder, where palitune has written it
MEMBER = "manifest.json"  # inside the archive


class Learned(TypedDict):
    """The images that a checkpoint has learned from: how many, and the marks of them in base 64."""

    images: int
    marks: str


class Combined(TypedDict):
    """What a checkpoint is made of several trials: how, and the settings that differ between them."""

    how: str
    trials: list[dict[str, object]]


class Manifest(TypedDict, total=False):
    """A manifest as JSON has it; `text` tells what is in it."""

    palitune: str
    base: dict[str, str] | None
    data: str
    config: dict[str, object]
    dtypes: dict[str, str]
    learned: Learned
    chosen: Learned
    made_from: str
    licence: str
    combined: Combined
    model: dict[str, object]
    beside: str


def path_of(checkpoint: Path) -> Path:
    """Returns where the manifest of a checkpoint is."""
    return beside.manifest_of(checkpoint)


def folder_of(checkpoint: Path) -> Path | None:
    """The folder of a checkpoint in Hugging Face's form, or of an adapter in PEFT's; None of any other."""
    if checkpoint.is_dir():
        return checkpoint
    return checkpoint.parent if checkpoint.suffix in THEIRS else None


def text(
    *,
    base: dict[str, str] | None,
    dtypes: Mapping[str, DTypeLike],
    config: Mapping[str, object],
    data: str,
    learned: Learned | None = None,
    chosen: Learned | None = None,
    model: Mapping[str, object] | None = None,
    made_from: str | None = None,
    licence: str | None = None,
    combined: Combined | None = None,
) -> str:
    """What a checkpoint is and how it was made, as JSON.

    Args:
      base: of a delta, where the rest of the parameters is: `delta.describe`. None for a whole checkpoint.
      dtypes: of every array by path, because a `.npy` file knows no bfloat16.
      config: of the run.
      data: what it learned from.
      learned: the images of all that, by content: `trained_images.as_json`.
      chosen: likewise those by which steps and trials were chosen.
      model: the model, where the arrays' shapes do not tell which it is: `spec_json.of_model`.
      made_from: of a whole checkpoint, the name of what it was trained from.
      licence: of the weights, as Hugging Face calls it.
      combined: of what several trials have become together, how, and what differs between them.
    """
    content = {
        "palitune": __version__,
        "base": base,
        "data": data,
        "config": config,
        "dtypes": {path: str(np.dtype(dtype)) for path, dtype in dtypes.items()},
        **({"model": dict(model)} if model else {}),
        **({"learned": learned} if learned else {}),
        **({"chosen": chosen} if chosen and chosen["images"] else {}),
        **({"made_from": made_from} if made_from else {}),
        **({"licence": licence} if licence else {}),
        **({"combined": combined} if combined else {}),
    }
    return json.dumps(content, indent=2) + "\n"


def write(checkpoint: Path, content: str) -> None:
    """Puts a `text` beside a checkpoint."""
    atomic_files.write(path_of(checkpoint), content.encode())


def comment(content: str) -> bytes:
    """A `text` as a whole checkpoint has it inside.

    Where it is too long, what it learned from stays in the file beside, which is known by its SHA-256. One that does
    not fit even so (none does that a prompt of the longest makes) is beside alone.
    """
    short = json.loads(content)
    found = json.dumps(short, ensure_ascii=False).encode()
    if len(found) > LONGEST_COMMENT:
        short.pop("learned", None)
        short.pop("chosen", None)
        short[BESIDE] = hashlib.sha256(content.encode()).hexdigest()
        found = json.dumps(short, ensure_ascii=False).encode()
    return found if len(found) <= LONGEST_COMMENT else b""


def _inside(checkpoint: Path) -> str | None:
    """The manifest in the archive; None if it has none, or is not an archive. Raises ValueError for a damaged one."""
    try:
        archive = Archive(checkpoint)
    except (OSError, ValueError):
        return None
    found = archive.text(MEMBER)
    if found is None and archive.comment.startswith(BEGINNING):
        return archive.comment.decode()
    return found


def _with_more(content: dict[str, object], path: Path) -> object:
    """What the file beside says if it is the one that was written with what is inside."""
    try:
        raw = files.read(path, MOST)
    except (OSError, ValueError):
        return content
    return json.loads(raw) if hashlib.sha256(raw).hexdigest() == content[BESIDE] else content


def read(checkpoint: Path) -> Manifest:
    """The manifest, or an empty one for a checkpoint from elsewhere.

    What is inside a checkpoint counts more than the file beside it, which may be another's after a crash.

    Raises:
      BadDataError: there is a file of that name that is not a manifest.
    """
    path, folder = path_of(checkpoint), folder_of(checkpoint)
    if folder is not None:
        path = folder / IN_FOLDER
    try:
        inside = None if folder is not None else _inside(checkpoint)
    except (ValueError, OSError) as error:
        hint = "Download or save it again"
        raise BadDataError(f"the manifest inside is damaged ({error})", where=str(checkpoint), hint=hint) from None
    if inside is None and not path.is_file():
        return {}
    try:
        content = json.loads(files.read(path, MOST).decode() if inside is None else inside)
        if isinstance(content, dict) and BESIDE in content:
            content = _with_more(content, path)
        if folder is not None and isinstance(content, dict):  # what arrays there are, its own files say
            content = {key: value for key, value in content.items() if key not in ("base", "dtypes", "model")}
        if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
            raise ValueError("it has no configuration")
        if not isinstance(content["config"].get("prompt", ""), str):
            raise ValueError("its prompt is not text")
        content["config"].get("prompt", "").encode()
        _require_labels(content["config"])
        base, dtypes = content.get("base"), content.get("dtypes", {})
        if base is not None:
            texts = [base.get(key) for key in ("name", "file", "hash")] if isinstance(base, dict) else [None]
            if not all(isinstance(text, str) and 0 < len(text) < 1000 and "\0" not in text for text in texts):
                raise ValueError("its base has no name, file and hash")
        if len(content["config"].get("prompt", "")) > LONGEST_PROMPT:
            raise ValueError(f"its prompt has more than {LONGEST_PROMPT} characters")
        if not all(isinstance(content.get(key, ""), str) for key in ("made_from", "licence")):
            raise ValueError("its origin is not text")
        if not (isinstance(dtypes, dict) and all(isinstance(dtype, str) for dtype in dtypes.values())):
            raise ValueError("its dtypes are not a table of names")
    except PermissionError as error:
        hint = "Check whose it is, and chmod u+r"
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path), hint=hint) from None
    except (OSError, ValueError, RecursionError) as error:
        if inside is not None:
            hint = "Download or save it again"
            raise BadDataError(f"the manifest inside is damaged ({error})", where=str(checkpoint), hint=hint) from None
        raise BadDataError(f"not a manifest ({error})", where=str(path), hint="Move it away to go on") from None
    return cast(Manifest, content)


def _require_labels(config: Mapping[str, object]) -> None:
    """Raises ValueError unless its labels, where it has some, are texts of which an answer can be one."""
    labels, positive = config.get("labels", []), config.get("positive", "")
    if not isinstance(labels, list) or len(labels) > MOST_LABELS or not isinstance(positive, str):
        raise ValueError("its labels are not a list")
    if not all(isinstance(label, str) and label.strip() and len(label) <= LONGEST_PROMPT for label in labels):
        raise ValueError("a label is not text")
    "".join([*labels, positive]).encode()
    if len(labels) == 1 or len(plain_set(labels)) < len(labels) or (positive and positive not in labels):
        raise ValueError("its labels are not different ones")


def labels(checkpoint: Path) -> tuple[tuple[str, ...] | None, str]:
    """The labels that a checkpoint was made with, and the positive one of more than two. Raises as `read` does.

    The labels are empty for free text; None where nothing tells, as of yes and no.
    """
    config = read(checkpoint).get("config", {})
    found = config.get("labels")
    return (tuple(map(str, found)) if isinstance(found, list) else None), str(config.get("positive", ""))


def model(content: Manifest, checkpoint: Path) -> ModelSpec | None:
    """The model that the manifest of a checkpoint names; None where shapes tell. Raises BadDataError."""
    if "model" not in content:
        return None
    try:
        return spec_json.from_json(content["model"])
    except ValueError as error:
        what = f"its manifest does not tell which model it is: {error}"
        raise BadDataError(what, where=str(checkpoint), hint="Download or save it again") from None


def prompt(checkpoint: Path, default: str) -> str:
    """The prompt a checkpoint was made with. Raises as `read` does."""
    return str(read(checkpoint).get("config", {}).get("prompt", default))


def longest(checkpoint: Path, default: int) -> int:
    """The most tokens of a text that a checkpoint was trained with, if that is more. Raises as `read` does."""
    found = read(checkpoint).get("config", {}).get("max_length")
    return max(default, min(found, LONGEST)) if type(found) is int else default


def loss_on(checkpoint: Path) -> str:
    """Which of the assistant's turns of a chat a checkpoint was trained on. Raises as `read` does."""
    return "last" if read(checkpoint).get("config", {}).get("loss_on") == "last" else "all"


def quantization(checkpoint: Path) -> Quantization:
    """How the frozen parameters were kept that a checkpoint was trained beside. Raises as `read` does."""
    config = read(checkpoint).get("config", {})
    kind = config.get("quantize")
    return Quantization(kind if kind in KINDS else NONE, config.get("quantize_embeddings") is True)


def without_quantization(config: Mapping[str, object]) -> dict[str, object]:
    """A configuration of what has whole weights of its own, whatever those were trained beside."""
    return {name: value for name, value in config.items() if not name.startswith("quantize")}


def frames(checkpoint: Path, default: str) -> str:
    """Which frame of an animated image a checkpoint was trained with. Raises as `read` does."""
    found = str(read(checkpoint).get("config", {}).get("frames", default))
    return found if re.fullmatch(r"first|middle|last|\d{1,9}", found) else default
