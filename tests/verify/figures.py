"""The figures of a run of these tests, which `tests/golden/verify.json` keeps with the versions they are of."""

import json
from importlib.metadata import version
from pathlib import Path

from conftest import GOLDEN

FILE = GOLDEN / "verify.json"
PACKAGES = ("torch", "transformers", "peft", "jax", "numpy")


def write(figures: dict[str, dict[str, float | int | str]], file: Path = FILE) -> None:
    """Puts figures in place of those of an earlier run; what did not run keeps its own."""
    before = json.loads(file.read_text()) if file.is_file() else {}
    kept = {**before.get("figures", {}), **figures}
    content = {"versions": {name: version(name) for name in PACKAGES}, "figures": dict(sorted(kept.items()))}
    file.write_text(json.dumps(content, indent=2) + "\n")


def rounded(value: float) -> float:
    """Two digits: the others are those of one machine."""
    return float(f"{value:.1e}")
