"""A figure of several runs with its intervals, and the losses of each of them, as PNG."""

from collections.abc import Sequence

from matplotlib.ticker import MaxNLocator

from palitune.evaluate.language import Language
from palitune.evaluate.loss_curve import Curve
from palitune.evaluate.past_run import PastRun
from palitune.evaluate.report import canvas
from palitune.evaluate.report.canvas import Figure as Drawing
from palitune.evaluate.report.canvas import png
from palitune.evaluate.report.plots import RATE, RIGHT, TRAIN, VALID

WIDTH, HEIGHT = 7.0, 4.0  # inches of the figure over runs
NAMED = 24  # runs that have room for their names
LOSS_WIDTH, LOSS_HEIGHT = 4.2, 2.8


def trend(runs: Sequence[PastRun], by: str, title: str, best: PastRun, say: Language) -> bytes:
    """A figure of each run, the oldest first, with its interval where it has one; the best is marked.

    Raises:
      ConfigurationError: matplotlib cannot draw.
    """
    with canvas.styled(say, [run.name for run in runs]):
        drawing = Drawing(figsize=(WIDTH, HEIGHT), layout="tight")
        axes = drawing.subplots()
        values = [run.value(by) or 0.0 for run in runs]
        for place, (run, value) in enumerate(zip(runs, values, strict=True)):
            figure = run.after.figures[by]
            colour = RIGHT if run is best else TRAIN
            if figure.low is not None and figure.high is not None:
                axes.plot([place, place], [figure.low, figure.high], color=colour, linewidth=1.2, alpha=0.6)
            mark, size = ("*", 15) if run is best else ("o", 5)
            axes.plot(place, value, mark, color=colour, markersize=size, zorder=3)
        axes.plot(values, color=RATE, linewidth=0.8, zorder=1)
        axes.set(ylabel=say.text(title), xlim=(-0.5, len(runs) - 0.5))
        axes.grid(alpha=0.3, axis="y")
        if len(runs) <= NAMED:
            axes.set_xticks(range(len(runs)), [canvas.text(run.name, 20) for run in runs], rotation=60, ha="right")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_xlabel(say("run, by date"))
        return png(drawing, say)


def losses(curve: Curve, say: Language) -> bytes:
    """The losses of a run over the epochs, with the evaluation whose weights were kept. Raises as `trend`."""
    with canvas.styled(say):
        drawing = Drawing(figsize=(LOSS_WIDTH, LOSS_HEIGHT), layout="tight")
        axes = drawing.subplots()
        axes.plot(curve.epochs, curve.train, color=TRAIN, linewidth=1.2, label=say("training"))
        axes.plot(curve.epochs, curve.valid, "o-", color=VALID, linewidth=1.2, markersize=3, label=say("validation"))
        axes.plot(curve.epochs[curve.kept], curve.valid[curve.kept], "*", color=RIGHT, markersize=13, label=say("kept"))
        axes.set(xlabel=say("epoch"), ylabel=say("loss"), ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        return png(drawing, say)
