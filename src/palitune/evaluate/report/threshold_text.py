"""What a chosen threshold and temperature change on the answers that they were chosen on, as text."""

from collections.abc import Iterator

import numpy as np

from palitune.confidence_interval import wilson_interval
from palitune.evaluate import metrics, threshold
from palitune.evaluate.report.result_block import result_block
from palitune.evaluate.stored_threshold import Chosen
from palitune.text_tables import aligned


def chosen_lines(chosen: Chosen, with_temperature: bool) -> Iterator[str]:
    """Result blocks before and after, precision and recall with their intervals, and the calibration."""
    before, after = (threshold.at(chosen.scores, chosen.positive, place) for place in chosen.log_odds)
    yield result_block(chosen.file, before, f"threshold {chosen.before.threshold:.4g}")
    if chosen.log_odds[0] != chosen.log_odds[1]:
        yield result_block(chosen.file, after, f"threshold {chosen.point.threshold:.4g}")
        for name, total in (("precision", after.tp + after.fp), ("recall", after.tp + after.fn)):
            if total:
                low, high = wilson_interval(after.tp, total)
                yield f"{name} {after.tp / total:.4f}, 95 % {low:.3f} to {high:.3f}"
    if with_temperature:
        yield _calibration(chosen)


def _calibration(chosen: Chosen) -> str:
    """Calibration error and log loss without a temperature and with the chosen one."""
    rows = [["", "before", "after"]]
    before, after = (1 / (1 + np.exp(-chosen.scores / t)) for t in (1.0, chosen.point.temperature))
    for name, figure in (("calibration error", metrics.calibration_error), ("log loss", threshold.log_loss)):
        rows.append([name, f"{figure(before, chosen.positive):.4f}", f"{figure(after, chosen.positive):.4f}"])
    return "\n".join(aligned(rows))
