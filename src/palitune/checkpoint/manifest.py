"""What a checkpoint's numbers do not say: JSON inside a delta, and in a file beside it (`trained.json`, `trained.npz`).

The one inside appears and disappears with the numbers; the one beside is for people and other programs. A whole
checkpoint has none inside, because big_vision would take it for a parameter.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from palitune import __version__, files
from palitune.errors import BadDataError

LONGEST_PROMPT = 10_000  # characters; far above what may be typed


MEMBER = "manifest.json"  # inside the archive


def path_of(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".json")


def text(
    *,
    base: dict[str, str] | None,
    dtypes: Mapping[str, Any],
    config: dict[str, Any],
    data: str,
    learned: Mapping[str, Any] | None = None,
) -> str:
    """What a checkpoint is and how it was made, as JSON.

    Args:
      base: of a delta, where the rest of the parameters is: `delta.describe`. None for a whole checkpoint.
      dtypes: of every array by path, because a `.npy` file knows no bfloat16.
      config: of the run.
      data: what it learned from.
      learned: the images of all that, by content: `learned.as_json`.
    """
    content = {
        "palitune": __version__,
        "base": base,
        "data": data,
        "config": config,
        "dtypes": {path: str(np.dtype(dtype)) for path, dtype in dtypes.items()},
        **({"learned": learned} if learned else {}),
    }
    return json.dumps(content, indent=2) + "\n"


def write(checkpoint: Path, content: str) -> None:
    """Puts a `text` beside a checkpoint."""
    files.write(path_of(checkpoint), content.encode())


def read(checkpoint: Path) -> dict[str, Any]:
    """The manifest, or an empty one for a checkpoint from elsewhere.

    What is inside a checkpoint counts more than the file beside it, which may be another's after a crash.

    Raises:
      BadDataError: there is a file of that name that is no manifest.
    """
    path = path_of(checkpoint)
    inside = files.member(checkpoint, MEMBER)
    if inside is None and not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8") if inside is None else inside)
        if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
            raise ValueError("it has no configuration")
        if not isinstance(content["config"].get("prompt", ""), str):
            raise ValueError("its prompt is not text")
        content["config"].get("prompt", "").encode()
        base, dtypes = content.get("base"), content.get("dtypes", {})
        if base is not None:
            texts = [base.get(key) for key in ("name", "file", "hash")] if isinstance(base, dict) else [None]
            if not all(isinstance(text, str) and 0 < len(text) < 1000 for text in texts):
                raise ValueError("its base has no name, file and hash")
        if len(content["config"].get("prompt", "")) > LONGEST_PROMPT:
            raise ValueError(f"its prompt has more than {LONGEST_PROMPT} characters")
        if not isinstance(dtypes, dict):
            raise ValueError("its dtypes are no table")
    except (OSError, ValueError, RecursionError) as error:
        raise BadDataError(f"not a manifest ({error})", where=str(path), hint="Move it away to go on") from None
    return content


def prompt(checkpoint: Path, default: str) -> str:
    """The prompt a checkpoint was made with. Raises as `read` does."""
    return str(read(checkpoint).get("config", {}).get("prompt", default))


def frames(checkpoint: Path, default: str) -> str:
    """Which frame of an animated picture a checkpoint was made with. Raises as `read` does."""
    found = str(read(checkpoint).get("config", {}).get("frames", default))
    return found if re.fullmatch(r"first|middle|last|\d{1,9}", found) else default
