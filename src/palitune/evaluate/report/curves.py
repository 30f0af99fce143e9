"""Confusion matrix, ROC, precision-recall and reliability as PNG."""

from collections import Counter

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from palitune.evaluate.confusion import plain
from palitune.evaluate.language import Language
from palitune.evaluate.metrics import Figure, Outcomes, reliability, unsure_curve
from palitune.evaluate.report import canvas
from palitune.evaluate.report.canvas import Figure as Drawing
from palitune.evaluate.report.canvas import png
from palitune.evaluate.report.plots import RATE, TRAIN, VALID
from palitune.sentence import Sentence

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
SIDE = 4.2  # inches
MOST_CLASSES = 64  # in a confusion matrix, the commonest
OTHER = Sentence("(other)")  # labels or answers, together
MANY = 20  # classes from which on its cells are small


def draw(
    one: Outcomes,
    figures: dict[str, Figure],
    say: Language,
    threshold: float | None = None,
    before: Outcomes | None = None,
) -> dict[str, bytes]:
    """PNG by name: "confusion" always, "roc", "pr" and "reliability" where probabilities and both classes are there.

    Args:
      say: the language of titles, axes and legends.
      threshold: marked on the curves.
      before: another model's answers to the same records, whose confusion matrix stands to the left.

    Raises:
      ConfigurationError: matplotlib cannot draw.
    """
    with canvas.styled(say, {*one.classes, *one.answers, *(before.answers if before else ())}):
        return _drawn(one, figures, say, threshold, before)


def _drawn(
    one: Outcomes, figures: dict[str, Figure], say: Language, threshold: float | None, before: Outcomes | None
) -> dict[str, bytes]:
    drawn = {"confusion": _confusion(one, before, say)} if one.labels else {}
    positive = np.array([label == one.classes[0] for label in one.labels], bool)
    if one.p is not None and positive.any() and not positive.all():
        drawn["roc"] = _roc(one.p, positive, figures, threshold, say)
        drawn["pr"] = _precision_recall(one.p, positive, figures, threshold, say)
    if one.confidence is not None:
        drawn["reliability"] = (
            _reliability(one.p, positive, figures, say, canvas.text(one.classes[0], 30))
            if one.p is not None
            else _reliability(one.confidence, one.right, figures, say)
        )
        if len(one.classes) > 2:
            drawn["unsure"] = _unsure(one.confidence, one.right, say)
    return drawn


def _unsure(confidence: Floats, right: Booleans, say: Language) -> bytes:
    """What share of answers is unsure below a probability, and how many of the rest are right."""
    title = say("answers below a probability are unsure")
    drawing, axes = _axes(title, say("share that is unsure"), say("accuracy of the rest"))
    axes.axhline(right.mean(), linestyle="--", color=RATE, linewidth=1)
    axes.plot(*unsure_curve(confidence, right), color=TRAIN, drawstyle="steps-pre")
    axes.title.set_fontsize(11)
    return png(drawing, say)


def _axes(title: str, x: str, y: str) -> tuple[Drawing, Axes]:
    drawing = Drawing(figsize=(SIDE, SIDE), layout="tight")
    axes = drawing.subplots()
    axes.set(title=title, xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    return drawing, axes


def _with_interval(name: str, figure: Figure | None, say: Language) -> str:
    """A figure with its name, which is in the language already."""
    if figure is None or figure.value is None:
        return name
    if figure.low is None:
        return say("%(name)s %(value).3f", name=name, value=figure.value)
    return say(
        "%(name)s %(value).3f (%(low).3f to %(high).3f)",
        name=name,
        value=figure.value,
        low=figure.low,
        high=figure.high,
    )


def _threshold(threshold: float, say: Language) -> str:
    return say("threshold %(threshold).3g", threshold=threshold)


def _confusion(one: Outcomes, before: Outcomes | None, say: Language) -> bytes:
    several = [one] if before is None else [before, one]
    titles = [say("confusion matrix")]
    if before is not None:
        titles = [say("confusion matrix, before"), say("confusion matrix, after")]
    counted = [_matrix(each) for each in several]
    columns = max(len(answers) for _, _, answers in counted)
    rows = max(len(labels) for _, labels, _ in counted)
    is_small = max(columns, rows) > MANY
    cell, font = (0.32, 7) if is_small else (0.8, 10)
    size = (len(several) * max(SIDE, cell * columns + 2), max(SIDE, cell * rows + 1.5))
    drawing = Drawing(figsize=size, layout="tight")
    cells = drawing.subplots(1, len(several), squeeze=False).flat
    for axes, title, (matrix, labels, answers) in zip(cells, titles, counted, strict=True):
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if shares[row, column] > 0.5 else "black"
            share = say("%(share).0f %%", share=100 * shares[row, column])
            shown = f"{count}\n{share}" if not is_small else str(count) if count else ""
            axes.text(column, row, shown, ha="center", va="center", color=colour, fontsize=font)
        axes.set(title=title, xlabel=say("answer"), ylabel=say("label"))
        axes.set_xticks(range(len(answers)), [canvas.text(say.text(name), 16) for name in answers])
        axes.set_yticks(range(len(labels)), [canvas.text(say.text(name), 16) for name in labels])
        if len(one.classes) > 2:
            axes.tick_params(axis="x", rotation=90, labelsize=font)
            axes.tick_params(axis="y", labelsize=font)
    return png(drawing, say)


def _matrix(one: Outcomes) -> tuple[Counts, list[str], list[str]]:
    """Counts int[L, A] of labels and answers, with the names of both; what is rare is counted together."""
    there = Counter(one.labels)
    labels = list(one.classes)
    if len(labels) > MOST_CLASSES:
        commonest = set(sorted(labels, key=lambda name: -there[name])[:MOST_CLASSES])
        labels = [name for name in labels if name in commonest]
    said = [plain(answer) for answer in one.answers]
    answers = [*labels, *sorted(set(said) - set(one.classes))[:3]]
    rows, columns = ({name: i for i, name in enumerate(names)} for names in (labels, answers))
    matrix = np.zeros((len(labels) + 1, len(answers) + 1), int)  # the last ones are of all others
    for label, answer in zip(one.labels, said, strict=True):
        matrix[rows.get(label, len(labels)), columns.get(answer, len(answers))] += 1
    if len(labels) < len(one.classes):
        labels.append(OTHER)
    if matrix[:, -1].any():
        answers.append(OTHER)
    return matrix[: len(labels), : len(answers)], labels, answers


def _roc(p: Floats, positive: Booleans, figures: dict[str, Figure], threshold: float | None, say: Language) -> bytes:
    true, false = passed(p, positive)
    true, false = true / true[-1], false / false[-1]
    drawing, axes = _axes(say("ROC"), say("false positive rate"), say("recall (true positive rate)"))
    axes.plot([0, 1], [0, 1], "--", color=RATE, linewidth=1)
    axes.plot(false, true, color=TRAIN, label=_with_interval(say("area"), figures.get("roc_auc"), say))
    if threshold is not None:
        said = p >= threshold
        axes.plot((said & ~positive).sum() / (~positive).sum(), (said & positive).sum() / positive.sum(), "o",
                  color=VALID, label=_threshold(threshold, say))  # fmt: skip
    axes.legend(loc="lower right", fontsize=9)
    return png(drawing, say)


def passed(p: Floats, positive: Booleans) -> tuple[Counts, Counts]:
    """Positives and negatives that are at least as likely as each probability, int[U + 1] from none to all."""
    order = np.argsort(-p, kind="stable")
    ends = np.flatnonzero(np.diff(p[order], append=-1.0))
    true = positive[order].cumsum()[ends]
    return np.concatenate([[0], true]), np.concatenate([[0], ends + 1 - true])


def _precision_recall(
    p: Floats, positive: Booleans, figures: dict[str, Figure], threshold: float | None, say: Language
) -> bytes:
    true, false = passed(p, positive)
    recall, precision = true[::-1] / true[-1], np.append((true[1:] / (true + false)[1:])[::-1], 1.0)
    drawing, axes = _axes(say("precision and recall"), say("recall"), say("precision"))
    axes.axhline(positive.mean(), linestyle="--", color=RATE, linewidth=1)
    area = _with_interval(say("area"), figures.get("average_precision"), say)
    axes.plot(recall, precision, color=TRAIN, drawstyle="steps-post", label=area)
    if threshold is not None and (said := p >= threshold).any():
        hits = (said & positive).sum()
        axes.plot(hits / positive.sum(), hits / said.sum(), "o", color=VALID, label=_threshold(threshold, say))
    axes.legend(loc="lower left", fontsize=9)
    return png(drawing, say)


def _reliability(
    p: Floats, came_true: Booleans, figures: dict[str, Figure], say: Language, label: str | None = None
) -> bytes:
    """The drawing; `label` is what the probabilities are of, where it is not the answer."""
    bins = reliability(p, came_true)
    what = say("probability of the answer") if label is None else say("probability of %(label)s", label=label)
    drawing, axes = _axes(say("reliability"), what, say("how often that came true"))
    axes.plot([0, 1], [0, 1], "--", color=RATE, linewidth=1)
    sizes = [20 + 180 * one.records / len(p) for one in bins]
    points = [one.predicted for one in bins], [one.observed for one in bins]
    axes.plot(*points, color=TRAIN, linewidth=1)
    axes.scatter(*points, s=sizes, color=TRAIN, zorder=3)
    axes.set_title(_with_interval(say("reliability, error"), figures.get("ece"), say), fontsize=11)
    return png(drawing, say)
