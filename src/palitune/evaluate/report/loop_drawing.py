"""The search of a loop as PNG: losses of its candidates, round by round."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator

from palitune.evaluate.language import Language
from palitune.evaluate.loss_curve import Curve
from palitune.evaluate.report import canvas
from palitune.evaluate.report.canvas import Figure as Drawing
from palitune.evaluate.report.canvas import png
from palitune.evaluate.report.plots import RATE, RIGHT, TRAIN, VALID

WIDTH, HEIGHT = 7.0, 3.6
FOLDS_WIDTH, FOLDS_HEIGHT = 4.2, 3.2


class Tried(NamedTuple):
    """Settings that were tried: their losses in each round, and what they are among the others."""

    losses: Sequence[float]
    is_recipe: bool
    is_chosen: bool


def losses(rows: Sequence[Tried], say: Language) -> bytes:
    """The mean loss of each candidate over the rounds that it was in. Raises ConfigurationError: it cannot be drawn."""
    with canvas.styled(say):
        drawing = Drawing(figsize=(WIDTH, HEIGHT), layout="tight")
        axes = drawing.subplots()
        highest = 0.0
        for row in sorted(rows, key=lambda one: (one.is_chosen, one.is_recipe)):
            means = [sum(row.losses[: end + 1]) / (end + 1) for end in range(len(row.losses))]
            if not all(map(math.isfinite, means)):
                continue
            highest = max(highest, *means)
            colour, width = (RIGHT, 2.0) if row.is_chosen else (TRAIN, 1.6) if row.is_recipe else (RATE, 0.9)
            name = say("chosen") if row.is_chosen else say("the recipe") if row.is_recipe else None
            axes.plot(range(1, len(means) + 1), means, "o-", color=colour, linewidth=width, markersize=4, label=name)
        rounds = max(len(row.losses) for row in rows)
        axes.set(xlabel=say("round"), ylabel=say("mean loss out of fold"))
        axes.set(xlim=(0.5, rounds + 0.5), ylim=(0, highest * 1.05 or 1.0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        return png(drawing, say)


def of_folds(curves: Sequence[Curve], say: Language) -> bytes:
    """The losses of each fold over the epochs, and the mean of those of held-out records. Raises as `losses`."""
    with canvas.styled(say):
        drawing = Drawing(figsize=(FOLDS_WIDTH, FOLDS_HEIGHT), layout="tight")
        axes = drawing.subplots()
        for number, curve in enumerate(curves):
            name = None if number else say("training")
            axes.plot(curve.epochs, curve.train, color=TRAIN, linewidth=0.8, alpha=0.5, label=name)
            name = None if number else say("held out, each fold")
            axes.plot(curve.epochs, curve.valid, color=VALID, linewidth=0.8, alpha=0.5, label=name)
        count = min(len(curve.valid) for curve in curves)
        epochs, means = (
            [sum(values) / len(values) for values in zip(*(getattr(one, what)[:count] for one in curves), strict=True)]
            for what in ("epochs", "valid")
        )
        axes.plot(epochs, means, "o-", color=VALID, linewidth=2, markersize=3, label=say("mean"))
        axes.set(xlabel=say("epoch"), ylabel=say("loss"), ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        return png(drawing, say)
