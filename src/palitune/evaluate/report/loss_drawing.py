"""The losses of a run drawn again from the file of its metrics, for a page in another language than the run's."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from palitune.errors import ConfigurationError
from palitune.evaluate.language import Language
from palitune.storage import files

MOST = 64 << 20  # bytes of the metrics
COUNTS = ("trial", "pass", "attempt", "step")
NUMBERS = ("epoch", "train_loss", "valid_loss", "learning_rate")
FLAGS = ("best", "as_good")
MOST_COUNTED = 1 << 53


def of_file(metrics: Path, say: Language) -> bytes | None:
    """A PNG as `plots.losses_png`; None where the file tells none, or is not what a run wrote."""
    from palitune.evaluate.report import plots  # matplotlib takes a second to import

    if metrics.is_symlink():
        return None
    try:
        found = [json.loads(line) for line in files.read(metrics, MOST).splitlines()]
        winner = _count(found[-1].get("winner") or 1)
        return plots.losses_png([_row(row) for row in found], winner - 1, say)
    except (OSError, ValueError, LookupError, AttributeError, RecursionError, ConfigurationError):
        return None


def _row(row: Mapping[str, object]) -> dict[str, object]:
    """What the drawing needs of a row. Raises ValueError: a value is no such thing."""
    kept: dict[str, object] = {name: _count(row[name]) for name in COUNTS if name in row}
    kept |= {name: _number(row[name]) for name in NUMBERS if name in row}
    kept |= {name: row[name] is True for name in FLAGS if name in row}
    return kept | ({"event": str(row["event"])} if "event" in row else {})


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < MOST_COUNTED:
        raise ValueError("no count")
    return value


def _number(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(float(str(value))):
        raise ValueError("no number")
    return float(str(value))
