"""Sheets of images with their answers, and the losses of a run, as PNG."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypedDict, cast

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes

from palitune import console
from palitune.data.images import decoder, of_examples
from palitune.data.prediction import Prediction, by_example
from palitune.evaluate.confusion import NEGATIVE, POSITIVE, is_right
from palitune.evaluate.language import Language, language_of
from palitune.evaluate.report import canvas
from palitune.evaluate.report.canvas import png
from palitune.labels import plain
from palitune.sentence import Sentence
from palitune.storage import atomic_files

COLUMNS, ROWS = 8, 6
RIGHT, WRONG = "#2a7a3b", "#b3261e"
TRAIN, VALID, RATE = "#1f5fa8", "#c25b00", "#8a8a8a"
LARGEST, MOST_PIXELS = 4_000_000, 240  # pixels that a cell is made of, and of its longer side
PANELS, PANEL_COLUMNS = 6, 2  # attempts in one image of losses


class SheetImage(NamedTuple):
    """An image of a sheet, and what the model said of it.

    Attributes:
      name: as the data call it.
      target: which of several labels it was asked for.
    """

    image: Path
    label: str
    answer: str
    name: str = ""
    p_yes: float | None = None
    target: str = ""

    @classmethod
    def of(cls, prediction: Prediction) -> "SheetImage":
        """A prediction's image; without a label it is shown with "?"."""
        example = prediction.example
        name, label = prediction.target.name, prediction.target.answer if prediction.target.name else example.label
        image = example.image
        return cls(image.path, label or "?", prediction.text, image.name, prediction.p_yes, name)

    @classmethod
    def of_several(cls, said: Sequence[Prediction]) -> "SheetImage":
        """An image with several labels: the wrong answer that is most confident, or else the names of all it has."""
        known = [one for one in said if one.target.answer is not None]
        if wrong := [one for one in known if not is_right(one.text, one.target.answer or "")]:
            return cls.of(max(wrong, key=lambda one: abs((one.p_yes or 0.5) - 0.5)))
        has = ", ".join(one.target.name for one in known if plain(one.text) == POSITIVE) or NEGATIVE
        image = said[0].example.image
        return cls(image.path, has if known else "?", has, image.name)


def sheet_images(predictions: Sequence[Prediction], name: str) -> list[SheetImage]:
    """What a sheet has of predictions: a cell for each image that they are about.

    Args:
      name: the sheet as it was typed.

    Raises:
      UsageError: none is about an image.
    """
    of_examples.require_images((one.example for one in predictions), name, "-o FILE.html shows texts")
    return [
        SheetImage.of_several(said) if said[0].target.name else SheetImage.of(said[0])
        for example, said in by_example(predictions)
        if example.images
    ]


def sheet(path: Path, shown: Sequence[tuple[Path, str, str] | SheetImage], say: Language) -> None:
    """A PNG with images and what the model said of them, wrong answers first; names and p_yes below.

    It holds 48; the rest is counted in the title, which is in the language `say`.

    Raises:
      StorageError: the file cannot be written.
      ConfigurationError: matplotlib cannot draw.
    """
    items = [SheetImage(*one) for one in shown]
    wrong = [item for item in items if not is_right(item.answer, item.label)]
    right = [item for item in items if is_right(item.answer, item.label)]
    chosen = (wrong + right)[: COLUMNS * ROWS]
    rows = -(-len(chosen) // COLUMNS)
    with canvas.styled(say, (f"{one.name}{one.image.name}{one.target}{one.label}{one.answer}" for one in chosen)):
        # A Figure of its own draws without a display and leaves pyplot's global state alone.
        figure = canvas.Figure(figsize=(1.5 * COLUMNS, 2.0 * rows + 0.5), layout="constrained")
        title = say("%(count)d images, %(wrong)d wrong", count=len(items), wrong=len(wrong))
        if len(chosen) < len(items):
            title = say("%(counts)s; %(shown)d shown", counts=title, shown=len(chosen))
        figure.suptitle(title)
        for cell, item in zip(figure.subplots(rows, COLUMNS, squeeze=False).flat, chosen, strict=False):
            _draw(cell, item, say)
        for cell in figure.axes:
            cell.set(xticks=[], yticks=[])
            if not cell.images:
                cell.set_axis_off()
        atomic_files.write(path, png(figure, say))


def write_sheet(path: Path, shown: Sequence[SheetImage], name: str, lang: str | None, quiet: bool) -> None:
    """`sheet`, with notes on stderr about the file and about characters that no font has.

    Args:
      name: the file as it was typed.
      lang: the language, as `language_of` has it.
    """
    sheet(path, shown, language_of(lang))
    if why := canvas.reason():
        console.note(f"{name}: {why}")
    if not quiet:
        console.note(f"drew {name}")


def _draw(cell: Axes, item: SheetImage, say: Language) -> None:
    colour = RIGHT if is_right(item.answer, item.label) else WRONG
    image = decoder.decode(item.image, most=LARGEST)
    image.thumbnail((MOST_PIXELS, MOST_PIXELS))  # a cell has no more
    cell.imshow(image)
    answer, label = canvas.text(item.answer, 16), canvas.text(item.label, 16)
    title = answer if item.answer == item.label else say("%(answer)s (is: %(label)s)", answer=answer, label=label)
    title = f"{canvas.text(item.target, 16)}: {title}" if item.target else title
    cell.set_title(title, color=colour, fontsize=max(4.5, min(10, 190 / len(title))) if title else 10)
    cell.spines[:].set(color=colour, linewidth=3)
    likely = [] if item.p_yes is None else [f"p_yes {item.p_yes:.3f}"]
    name = item.name or item.image.name
    name = name if len(name) <= 24 else f"…{name[-23:]}"  # the end tells images apart
    cell.set_xlabel("\n".join([canvas.text(name, 24), *likely]), fontsize=6.5)


# A line of a run's metrics, as far as the drawing needs it.
MetricsRow = TypedDict(
    "MetricsRow",
    {
        "trial": int,
        "pass": int,
        "attempt": int,
        "step": int,
        "epoch": float,
        "train_loss": float,
        "valid_loss": float,
        "learning_rate": float,
        "best": bool,
        "as_good": bool,
        "event": str,
    },
    total=False,
)


def _metrics_row(row: Mapping[str, object]) -> MetricsRow:
    return cast(MetricsRow, row)


def losses(path: Path, rows: Sequence[Mapping[str, object]], winner: int, say: Language) -> None:
    """Writes `losses_png`, where there is something to draw.

    Raises:
      StorageError: the file cannot be written.
      ConfigurationError: matplotlib cannot draw.
    """
    if (drawn := losses_png(rows, winner, say)) is not None:
        atomic_files.write(path, drawn)


def losses_png(rows: Sequence[Mapping[str, object]], winner: int, say: Language) -> bytes | None:
    """A PNG of a run's metrics: losses and learning rate over the steps; None where there are none of the best trial.

    Every attempt of the best trial has a panel, the last ones if they are many, with marks where it was best and where
    it diverged. Of several trials there is one more, with the validation losses of all.

    Args:
      winner: the best trial, from 0.
      say: the language.

    Raises:
      ConfigurationError: matplotlib cannot draw.
    """
    parts: dict[tuple[int, int, int], list[MetricsRow]] = {}
    for row in map(_metrics_row, rows):
        if "trial" in row:
            parts.setdefault((row["trial"], row["pass"], row["attempt"]), []).append(row)
    own = [(place, part) for place, part in parts.items() if place[0] == winner + 1][-PANELS:]
    several = len({trial for trial, _, _ in parts}) > 1
    count = len(own) + several
    if not own:
        return None
    with canvas.styled(say):
        columns = min(PANEL_COLUMNS, count)
        lines = -(-count // columns)
        figure = canvas.Figure(figsize=(6.5 * columns, 3.6 * lines + 0.4))
        cells = list(figure.subplots(lines, columns, squeeze=False, gridspec_kw=_margins(lines, columns)).flat)
        for cell, ((trial, number, attempt), part) in zip(cells, own, strict=False):
            _losses_of(cell, part, say)
            title = say(
                "trial %(trial)d, pass %(number)d, attempt %(attempt)d", trial=trial, number=number, attempt=attempt
            )
            cell.set_title(title, fontsize=10)
        if several:
            _all_trials(cells[len(own)], parts, winner, say)
        for cell in cells[count:]:
            cell.set_axis_off()
        return png(figure, say)


def _margins(lines: int, columns: int) -> dict[str, float]:
    """Room for the axes' numbers and names, always the same: to measure them takes as long as to draw them."""
    width, height = 6.5, 3.6 + 0.4 / lines  # inches of one panel, with what is around its axes
    beside, above, below = 0.85, 0.85, 0.55
    return {
        "left": beside / (width * columns),
        "right": 1 - beside / (width * columns),
        "bottom": below / (height * lines),
        "top": 1 - above / (height * lines),
        "wspace": 2 * beside / (width - 2 * beside),
        "hspace": (above + below) / (height - above - below),
    }


def _all_trials(
    cell: Axes, parts: Mapping[tuple[int, int, int], Sequence[MetricsRow]], winner: int, say: Language
) -> None:
    for (trial, _, _), part in parts.items():
        best = trial == winner + 1
        evaluations = [(row["step"], row["valid_loss"]) for row in part if "valid_loss" in row]
        if evaluations:
            color, alpha, order = (RIGHT, 1.0, 3) if best else (RATE, 0.6, 2)
            cell.plot(
                *zip(*evaluations, strict=True), linewidth=2 if best else 1, color=color, alpha=alpha, zorder=order
            )
    title = say("validation loss of all trials; green is the best, trial %(trial)d", trial=winner + 1)
    cell.set_title(title, fontsize=10)
    _name_axes(cell, say)


def _losses_of(cell: Axes, rows: Sequence[MetricsRow], say: Language) -> None:
    steps = [(row["step"], row["train_loss"]) for row in rows if "train_loss" in row]
    evaluations = [(row["step"], row["valid_loss"]) for row in rows if "valid_loss" in row]
    rates = [(row["step"], row["learning_rate"]) for row in rows if "learning_rate" in row]
    if steps:
        numbers, values = zip(*steps, strict=True)
        cell.plot(numbers, values, ".", color=TRAIN, alpha=0.25, markersize=4)
        cell.plot(numbers, _smooth(values), color=TRAIN, linewidth=1.5, label=say("training, smoothed"))
    if evaluations:
        label = say("validation")
        cell.plot(*zip(*evaluations, strict=True), "o-", color=VALID, linewidth=1.5, markersize=4, label=label)
    if best := [(row["step"], row["valid_loss"]) for row in rows if row.get("best")]:
        step, loss = best[-1]
        lowest = _lower_than_kept(rows, loss)
        cell.axvline(step, color=RIGHT, linewidth=0.8, alpha=0.6)
        label = say(
            "kept: %(loss).4f at %(place)s" if lowest else "kept: %(loss).4f at %(place)s, the lowest",
            loss=loss,
            place=_place(rows, step),
        )
        cell.plot(step, loss, "*", color=RIGHT, markersize=16, label=label)
        if lowest:
            cell.plot(*lowest[:2], "o", color=VALID, markersize=10, fillstyle="none", label=say.text(lowest[2]))
    if lost := [row for row in rows if row.get("event") == "diverged"]:
        label = say("diverged at step %(step)d", step=lost[-1]["step"])
        cell.axvline(lost[-1]["step"], color=WRONG, linestyle="--", label=label)
    _name_axes(cell, say)
    if per_epoch := _steps_per_epoch(rows):
        epochs = cell.secondary_xaxis(
            "top", functions=(partial(np.multiply, 1 / per_epoch), partial(np.multiply, per_epoch))
        )
        epochs.set_xlabel(say("epoch"))
    if rates:
        other = cell.twinx()
        other.plot(*zip(*rates, strict=True), color=RATE, linewidth=1)
        other.set_ylabel(say("learning rate"), color=RATE)
        other.tick_params(axis="y", colors=RATE)
        other.set_ylim(bottom=0)
    # Losses that fell leave room above them, and one that stayed up or rose leaves it below.
    low, high = cell.get_ylim()
    is_high = bool(evaluations) and evaluations[-1][1] > low * (high / low) ** 0.65  # on a logarithmic axis
    cell.legend(fontsize=8, loc="lower left" if is_high else "upper right")


class _Numbers(ticker.LogFormatter):
    """Plain numbers on a logarithmic axis: matplotlib writes powers as TeX, which `canvas.styled` leaves as it is."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def _name_axes(cell: Axes, say: Language) -> None:
    cell.set(xlabel=say("step"), ylabel=say("loss"), yscale="log")
    cell.yaxis.set_major_formatter(_Numbers())
    cell.yaxis.set_minor_formatter(_Numbers())  # they are shown on an axis shorter than a power of ten
    cell.grid(alpha=0.3)


def _lower_than_kept(rows: Sequence[MetricsRow], kept: float) -> tuple[int, float, str] | None:
    """Step and loss of the lowest evaluation after the first, and why it is not the kept one; None where it is."""
    evaluations = [(row["valid_loss"], row["step"]) for row in rows if "valid_loss" in row and row["step"]]
    if not evaluations or min(evaluations)[0] >= kept:
        return None
    loss, step = min(evaluations)
    best = [row for row in rows if row.get("best")][-1]
    why = Sentence(
        "%(loss).4f at %(place)s: lower by chance alone"
        if best.get("as_good")
        else "%(loss).4f at %(place)s: the lowest, and not chosen by its loss",
        loss=loss,
        place=_place(rows, step),
    )
    return step, loss, why


def _steps_per_epoch(rows: Sequence[MetricsRow]) -> float | None:
    """Steps in which each example is shown once; None where the rows do not tell, as those of old runs."""
    return next((row["step"] / row["epoch"] for row in reversed(rows) if row.get("epoch")), None)


def _place(rows: Sequence[MetricsRow], step: int) -> str:
    """A step in words, with the epoch where that is known."""
    per_epoch = _steps_per_epoch(rows)
    if per_epoch is None:
        return Sentence("step %(step)d", step=step)
    return Sentence("step %(step)d, epoch %(epoch)s", step=step, epoch=f"{step / per_epoch:.1f}".removesuffix(".0"))


def _smooth(values: Sequence[float]) -> list[float]:
    """An exponential mean, corrected for its start."""
    mean, made = 0.0, []
    for number, value in enumerate(values, 1):
        mean = 0.9 * mean + 0.1 * value
        made.append(mean / (1 - 0.9**number))
    return made
