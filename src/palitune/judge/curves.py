"""Confusion matrix, ROC, precision-recall and reliability as PNG."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from palitune.judge.metrics import Figure, Judged, reliability
from palitune.judge.plots import RATE, TRAIN, VALID, png

SIDE = 4.2  # inches


def draw(one: Judged, figures: dict[str, Figure], threshold: float | None = None) -> dict[str, bytes]:
    """PNG by name: "confusion" always, "roc", "pr" and "reliability" where probabilities and both classes are there.

    Args:
      threshold: marked on the curves.
    """
    drawn = {"confusion": _confusion(one)} if one.labels else {}
    positive = np.array([label == one.classes[0] for label in one.labels], bool)
    if one.p is not None and positive.any() and not positive.all():
        drawn["roc"] = _roc(one.p, positive, figures, threshold)
        drawn["pr"] = _precision_recall(one.p, positive, figures, threshold)
    if one.confidence is not None:
        drawn["reliability"] = (
            _reliability(one.p, positive, figures, f"probability of {one.classes[0]}")
            if one.p is not None
            else _reliability(one.confidence, one.right, figures, "probability of the answer")
        )
    return drawn


def _axes(title: str, x: str, y: str) -> tuple[Drawing, Any]:
    drawing = Drawing(figsize=(SIDE, SIDE), layout="tight")
    axes = drawing.subplots()
    axes.set(title=title, xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    return drawing, axes


def _with_interval(name: str, figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return name
    interval = f" ({figure.low:.3f} to {figure.high:.3f})" if figure.low is not None else ""
    return f"{name} {figure.value:.3f}{interval}"


def _confusion(one: Judged) -> bytes:
    from sklearn.metrics import confusion_matrix

    said = [answer.strip() for answer in one.answers]
    names = [*one.classes, *sorted(set(said) - set(one.classes))[:3]]
    other = "(other)"
    if set(said) - set(names):
        names.append(other)
    said = [text if text in names else other for text in said]
    matrix = confusion_matrix(one.labels, said, labels=names)[: len(one.classes)]
    drawing = Drawing(
        figsize=(max(SIDE, 0.8 * len(names) + 2), max(SIDE, 0.8 * len(one.classes) + 1.5)), layout="tight"
    )
    axes = drawing.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{count}\n{100 * shares[row, column]:.0f} %", ha="center", va="center", color=colour)
    axes.set(title="confusion matrix", xlabel="answer", ylabel="label")
    axes.set_xticks(range(len(names)), [name[:16] for name in names])
    axes.set_yticks(range(len(one.classes)), [name[:16] for name in one.classes])
    return png(drawing)


def _roc(p: np.ndarray[Any, Any], positive: Any, figures: dict[str, Figure], threshold: float | None) -> bytes:
    true, false = _passed(p, positive)
    true, false = true / true[-1], false / false[-1]
    drawing, axes = _axes("ROC", "false positive rate", "recall (true positive rate)")
    axes.plot([0, 1], [0, 1], "--", color=RATE, linewidth=1)
    axes.plot(false, true, color=TRAIN, label=_with_interval("area", figures.get("roc_auc")))
    if threshold is not None:
        said = p >= threshold
        axes.plot((said & ~positive).sum() / (~positive).sum(), (said & positive).sum() / positive.sum(), "o",
                  color=VALID, label=f"threshold {threshold:.3g}")  # fmt: skip
    axes.legend(loc="lower right", fontsize=9)
    return png(drawing)


def _passed(p: np.ndarray[Any, Any], positive: Any) -> tuple[Any, Any]:
    """Positives and negatives that are at least as likely as each probability, int[U + 1] from none to all."""
    order = np.argsort(-p, kind="stable")
    ends = np.flatnonzero(np.diff(p[order], append=-1.0))
    true = positive[order].cumsum()[ends]
    return np.concatenate([[0], true]), np.concatenate([[0], ends + 1 - true])


def _precision_recall(
    p: np.ndarray[Any, Any], positive: Any, figures: dict[str, Figure], threshold: float | None
) -> bytes:
    true, false = _passed(p, positive)
    recall, precision = true[::-1] / true[-1], np.append((true[1:] / (true + false)[1:])[::-1], 1.0)
    drawing, axes = _axes("precision and recall", "recall", "precision")
    axes.axhline(positive.mean(), linestyle="--", color=RATE, linewidth=1)
    area = _with_interval("area", figures.get("average_precision"))
    axes.plot(recall, precision, color=TRAIN, drawstyle="steps-post", label=area)
    if threshold is not None and (said := p >= threshold).any():
        hits = (said & positive).sum()
        axes.plot(hits / positive.sum(), hits / said.sum(), "o", color=VALID, label=f"threshold {threshold:.3g}")
    axes.legend(loc="lower left", fontsize=9)
    return png(drawing)


def _reliability(p: np.ndarray[Any, Any], came_true: Any, figures: dict[str, Figure], what: str) -> bytes:
    bins = reliability(p, came_true)
    drawing, axes = _axes("reliability", what, "how often that came true")
    axes.plot([0, 1], [0, 1], "--", color=RATE, linewidth=1)
    sizes = [20 + 180 * one.records / len(p) for one in bins]
    points = [one.predicted for one in bins], [one.observed for one in bins]
    axes.plot(*points, color=TRAIN, linewidth=1)
    axes.scatter(*points, s=sizes, color=TRAIN, zorder=3)
    axes.set_title(_with_interval("reliability, error", figures.get("ece")), fontsize=11)
    return png(drawing)
