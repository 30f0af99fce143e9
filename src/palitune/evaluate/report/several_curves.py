"""Precision and recall of each of several labels, and which labels come together, as PNG."""

import numpy as np
from matplotlib.axes import Axes

from palitune.evaluate.confusion import POSITIVE
from palitune.evaluate.language import Language
from palitune.evaluate.outcomes import Booleans, Floats
from palitune.evaluate.report import canvas
from palitune.evaluate.report.canvas import Figure as Drawing
from palitune.evaluate.report.canvas import png
from palitune.evaluate.report.curves import passed
from palitune.evaluate.several_labels import Counts, SeveralResult

SIDE = 4.2  # inches
MOST_CURVES, MOST_CELLS = 10, 20  # labels, the most frequent


def draw(result: SeveralResult, say: Language) -> dict[str, bytes]:
    """PNG by name: "pr" where probabilities are known, and "together"; `say` is the language.

    Raises:
      ConfigurationError: matplotlib cannot draw.
    """
    if not result.labels:
        return {}
    with canvas.styled(say, result.table.names):
        drawn = {"pr": _curves(result, say)}
        return {name: content for name, content in drawn.items() if content} | {"together": _together(result, say)}


def _frequent(result: SeveralResult, most: int) -> list[int]:
    """Columns of the most frequent labels, in their order."""
    support = [one.support for one in result.labels.values()]
    return sorted(sorted(range(len(support)), key=lambda column: -support[column])[:most])


def _curves(result: SeveralResult, say: Language) -> bytes:
    drawing = Drawing(figsize=(1.3 * SIDE, SIDE), layout="tight")
    axes = drawing.subplots()
    axes.set(title=say("precision and recall of each label"), xlabel=say("recall"), ylabel=say("precision"))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    count = 0
    for column in _frequent(result, MOST_CURVES):
        name, one = result.table.names[column], result.table.outcomes(column)
        positive = np.array([label == POSITIVE for label in one.labels], bool)
        if one.p is None or not positive.any() or positive.all():
            continue
        area = result.labels[name].figures["average_precision"].value
        _curve(axes, one.p, positive, f"{canvas.text(name, 24)} {area:.3f}", float(result.table.thresholds[column]))
        count += 1
    if not count:
        return b""
    axes.legend(loc="lower left", fontsize=8, title=say("label and area"))
    return png(drawing, say)


def _curve(axes: Axes, p: Floats, positive: Booleans, name: str, threshold: float) -> None:
    """One label's curve, with a mark where its threshold is; NaN is no threshold."""
    true, false = passed(p, positive)
    recall, precision = true[::-1] / true[-1], np.append((true[1:] / (true + false)[1:])[::-1], 1.0)
    (line,) = axes.plot(recall, precision, drawstyle="steps-post", linewidth=1.3, label=name)
    said = p >= threshold
    if said.any():
        hits = (said & positive).sum()
        axes.plot(hits / positive.sum(), hits / said.sum(), "o", color=line.get_color(), markersize=5)


def _together(result: SeveralResult, say: Language) -> bytes:
    chosen = _frequent(result, MOST_CELLS)
    names = [canvas.text(result.table.names[column], 16) for column in chosen]
    size = max(SIDE, 0.6 * len(chosen) + 2)
    drawing = Drawing(figsize=(2 * size, size), layout="tight")
    both = (
        (say("labels that come together"), result.together),
        (say("answers that come together"), result.said_together),
    )
    for axes, (title, counts) in zip(drawing.subplots(1, 2).flat, both, strict=True):
        _matrix(axes, title, counts[np.ix_(chosen, chosen)], names)
    return png(drawing, say)


def _matrix(axes: Axes, title: str, counts: Counts, names: list[str]) -> None:
    """Counts int[L, L], coloured by the share of the row's label."""
    shares = counts / np.maximum(counts.diagonal()[:, None], 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9)
    axes.set_title(title, fontsize=11)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
