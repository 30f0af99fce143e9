"""What a checkpoint's numbers do not say: a JSON file beside it, `trained.json` beside `trained.npz`."""

import json
from pathlib import Path
from typing import Any

from palitune import __version__, files
from palitune.errors import BadDataError


def path_of(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".json")


def write(checkpoint: Path, *, base: str, config: dict[str, Any], data: str) -> None:
    """Stores how a checkpoint was made: from which base, with which configuration, on which data."""
    content = {"palitune": __version__, "base": base, "data": data, "config": config}
    files.write(path_of(checkpoint), (json.dumps(content, indent=2) + "\n").encode())


def read(checkpoint: Path) -> dict[str, Any]:
    """The manifest, or an empty one for a checkpoint from elsewhere.

    Raises:
      BadDataError: there is a file of that name that is no manifest.
    """
    path = path_of(checkpoint)
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
            raise ValueError("it has no configuration")
        if not isinstance(content["config"].get("prompt", ""), str):
            raise ValueError("its prompt is not text")
        content["config"].get("prompt", "").encode()
    except (OSError, ValueError, RecursionError) as error:
        raise BadDataError(f"not a manifest ({error})", where=str(path), hint="Move it away to go on") from None
    return content


def prompt(checkpoint: Path, default: str) -> str:
    """The prompt a checkpoint was made with. Raises as `read` does."""
    return str(read(checkpoint).get("config", {}).get("prompt", default))
