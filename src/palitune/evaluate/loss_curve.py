"""The losses of a run over its evaluations, put together from the rows of its metrics."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.storage import files

MOST = 32 << 20  # bytes of a run's metrics


class Curve(NamedTuple):
    """The losses at E evaluations, all passes of a trial one after the other.

    Attributes:
      epochs: how often each example had been shown.
      valid: validation losses.
      train: means of the training losses since the evaluation before; nan where there was no step since.
      kept: the index of the evaluation whose weights were kept.
    """

    epochs: list[float]
    valid: list[float]
    train: list[float]
    kept: int

    @property
    def lowest(self) -> int:
        """The index of the lowest validation loss after learning has begun."""
        return min(range(1, len(self.valid)), key=self.valid.__getitem__)

    @property
    def last(self) -> int:
        """The index of the last evaluation."""
        return len(self.valid) - 1


def curve_of(rows: Sequence[Mapping[str, object]], winner: int = 0) -> Curve | None:
    """The curve of a trial: of each pass the last attempt. None where nothing was kept, or rows lack their epochs."""
    parts: dict[tuple[object, object], list[Mapping[str, object]]] = {}
    for row in rows:
        if row.get("trial") == winner + 1 and "event" not in row:
            parts.setdefault((row.get("pass"), row.get("attempt")), []).append(row)
    curve, kept, behind = Curve([], [], [], 0), None, 0.0
    for part in {number: part for (number, _), part in parts.items()}.values():
        losses: list[float] = []
        epoch = behind
        for row in part:
            epoch = behind + _number(row, "epoch")
            losses += [_number(row, "train_loss")] if "train_loss" in row else []
            if "valid_loss" not in row or (behind and not row.get("step")):
                continue  # before its first step a second pass is where the first one was best
            curve.epochs.append(epoch)
            curve.valid.append(_number(row, "valid_loss"))
            curve.train.append(sum(losses) / len(losses) if losses else math.nan)
            losses = []
            kept = len(curve.valid) - 1 if row.get("best") else kept
        behind = epoch
    return None if kept is None or any(map(math.isnan, curve.epochs)) else curve._replace(kept=kept)


def read(metrics: Path, winner: int = 0) -> Curve | None:
    """The curve of a trial from a run's `metrics.jsonl`; None as of `curve_of`, or where the file cannot be read."""
    rows = []
    try:
        for line in files.read(metrics, MOST).splitlines():
            row = json.loads(line)
            rows += [row] if isinstance(row, dict) else []
        return curve_of(rows, winner)
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _number(row: Mapping[str, object], name: str) -> float:
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) else math.nan
