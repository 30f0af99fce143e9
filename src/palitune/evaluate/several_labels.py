"""What answers to several yes/no labels of each record are worth: per label, together, and record by record.

A label that is unknown of a record is left out there, and never counts as no. A figure that is not defined is None: of
a label that no record has there is no recall, F-measure and area; macro figures are means over the labels that have
one. Figures are scikit-learn's where it has them, computed on what is known, and intervals are as in `metrics`.

Axes: N records, L labels, R draws.
"""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from palitune.confidence_interval import wilson_interval
from palitune.evaluate import metrics
from palitune.evaluate.confusion import Confusion
from palitune.evaluate.label_table import NO, YES, LabelTable
from palitune.evaluate.metrics import CONFIDENCE, RESAMPLES, Figure

Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
COUNTED = ("accuracy", "precision", "recall", "f_measure")
AREAS = ("roc_auc", "average_precision")
CELLS = 4_000_000  # of a table of draws that is held at once: 32 MB


@dataclasses.dataclass(frozen=True)
class LabelResult:
    """What answers to one label are worth.

    Attributes:
      counts: over the records of which it is known.
      figures: those of `metrics.NAMES` that are defined for two classes.
    """

    counts: Confusion
    figures: dict[str, Figure]

    @property
    def records(self) -> int:
        """The records of which it is known."""
        return self.counts.tp + self.counts.tn + self.counts.fp + self.counts.fn

    @property
    def support(self) -> int:
        """The records that have it."""
        return self.counts.tp + self.counts.fn


@dataclasses.dataclass(frozen=True)
class SeveralResult:
    """What answers to several labels are worth.

    Attributes:
      table: what was compared.
      labels: the result of each label, by name.
      micro: figures of all known labels of all records, counted together.
      macro: means of the labels' figures, over the labels of which one is defined.
      samples: means of the records' figures, over the records of which one is defined.
      exact_match: the share of records all of whose known labels are answered right.
      together: int[L, L], records that have both labels; on the diagonal those that have one.
      said_together: int[L, L], records that are answered yes to both, where both are known.
      per_record: how many records have so many labels, of those that are wholly known.
      said_per_record: how many of the same records are answered yes to so many labels.
      partly_known: records with an unknown label, which the last two leave out.
    """

    table: LabelTable
    labels: dict[str, LabelResult]
    micro: dict[str, Figure]
    macro: dict[str, Figure]
    samples: dict[str, Figure]
    exact_match: Figure
    together: Counts
    said_together: Counts
    per_record: dict[int, int]
    said_per_record: dict[int, int]
    partly_known: int


def counts_of(table: LabelTable) -> list[Confusion]:
    """The confusion matrix of each label, over the records of which it is known."""
    counted = _cells(table).sum(axis=0, dtype=np.int64).reshape(4, -1).T.tolist()
    return [Confusion(tp=tp, fp=fp, fn=fn, tn=tn) for tp, fp, fn, tn in counted]


def _cells(table: LabelTable) -> Booleans:
    """bool[N, 4 L]: of each label whether an answer is a true or false positive, a false or true negative."""
    yes, no, said = table.truth == YES, table.truth == NO, table.said
    return np.concatenate([yes & said, no & said, yes & ~said, no & ~said], axis=1)


def rates(tp: Floats, fp: Floats, fn: Floats, tn: Floats) -> dict[str, Floats]:
    """Accuracy, precision, recall and F-measure of counts of any shape; NaN where one is not defined.

    The F-measure is 0 where what is there was never found, and not defined where nothing is there to be found.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        f = np.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan)
        found = ((tp + tn) / (tp + fp + fn + tn), tp / (tp + fp), tp / (tp + fn), f)
    return dict(zip(COUNTED, found, strict=True))


def _means(values: Floats) -> Floats:
    """Means along the last axis of what is no NaN; NaN where all of it is."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(defined, values, 0).sum(axis=-1) / defined.sum(axis=-1)


def _counted(sums: Floats, labels: int) -> Floats:
    """Four counts of each label, float64[4, rows, L], of rows that begin with those of `_cells`."""
    return np.moveaxis(sums[:, : 4 * labels].reshape(len(sums), 4, labels), 1, 0)


class Drawn:
    """Figures of all labels for draws of the same records, with what all draws share computed once."""

    def __init__(self, table: LabelTable) -> None:
        cells = _cells(table).astype(np.float64)
        self.width = len(table.names)
        known = table.known.any(axis=1)
        by_record = rates(*_counted(cells, self.width).sum(axis=2))
        samples = [by_record[name] for name in COUNTED]
        defined = [~np.isnan(values) for values in samples]
        parts = [np.where(there, values, 0) for there, values in zip(defined, samples, strict=True)]
        columns = [known & table.right, known, *parts, *defined]
        self.columns = np.concatenate([cells, np.array(columns, np.float64).T], axis=1)

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Figures float64[R] by group and name, of how often each record was drawn, float64[R, N]."""
        sums = weights @ self.columns
        counts = _counted(sums, self.width)
        labels, micro = rates(*counts), rates(*counts.sum(axis=2))
        right, known, *samples = sums[:, 4 * self.width :].T
        found = {f"micro {name}": micro[name] for name in COUNTED}
        found |= {f"macro {name}": _means(labels[name]) for name in COUNTED}
        with np.errstate(invalid="ignore", divide="ignore"):
            each = zip(COUNTED, samples[: len(COUNTED)], samples[len(COUNTED) :], strict=True)
            found |= {f"samples {name}": total / count for name, total, count in each}
            found["exact_match"] = right / known
        return found | {f"{place} f_measure": row for place, row in enumerate(labels["f_measure"].T)}

    def samples(self, draws: metrics.Indices) -> dict[str, Floats]:
        """Figures float64[R] of draws int32[R, N], in pieces, so that memory does not grow with the number of draws."""
        count = draws.shape[1]
        rows = max(1, CELLS // max(count, 1))
        pieces = []
        for start in range(0, len(draws), rows):
            some = draws[start : start + rows]
            places = some + (np.arange(len(some)) * count)[:, None]
            weights = np.bincount(places.ravel(), minlength=len(some) * count).reshape(len(some), count)
            pieces.append(self(weights.astype(np.float64)))
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def evaluate(table: LabelTable, resamples: int = RESAMPLES, seed: int = 0) -> SeveralResult:
    """Every figure with its interval; the same seed gives the same ones. Of 0 resamples there are no intervals."""
    values = drawn_figures(table, resamples, seed)
    counts = counts_of(table)
    labels = {}
    for column, name in enumerate(table.names):
        outcomes = table.outcomes(column)
        if resamples:
            own = metrics.with_intervals(outcomes, resamples, seed)
        else:
            own = {figure: Figure(value) for figure, value in metrics.figures(outcomes).items()}
        labels[name] = LabelResult(counts[column], own | {"f_measure": values[f"{column} f_measure"]})
    groups = {group: {name: values[f"{group} {name}"] for name in COUNTED} for group in ("micro", "macro", "samples")}
    areas = {name: _mean_of([one.figures.get(name) for one in labels.values()]) for name in AREAS}
    whole = table.known.all(axis=1)
    return SeveralResult(
        table,
        labels,
        micro=groups["micro"] | _pooled_areas(table),
        macro=groups["macro"] | areas,
        samples=groups["samples"],
        exact_match=values["exact_match"],
        together=_together(table.truth == YES),
        said_together=_together(table.said & table.known),
        per_record=_per_record((table.truth == YES)[whole]),
        said_per_record=_per_record(table.said[whole]),
        partly_known=int((~whole).sum()),
    )


def drawn_figures(table: LabelTable, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Figure]:
    """The figures of `Drawn` by group and name, with their intervals; of 0 resamples there are no intervals."""
    drawn = Drawn(table)
    count = len(table.truth)
    values = {name: _figure(row[0]) for name, row in drawn(np.ones((1, count))).items()}
    return _with_intervals(table, values, drawn, resamples, seed) if resamples and count else values


def _figure(value: float) -> Figure:
    return Figure(None if np.isnan(value) else float(value))


def _with_intervals(
    table: LabelTable, values: dict[str, Figure], drawn: Drawn, resamples: int, seed: int
) -> dict[str, Figure]:
    """Figures with percentile bootstraps over the records; where all draws agree, a share has Wilson's interval."""
    samples = drawn.samples(metrics.draws(len(table.truth), resamples, seed))
    found = {}
    for name, figure in values.items():
        sample = samples[name]
        defined = sample[~np.isnan(sample)]
        if figure.value is None or len(defined) < len(sample) / 2:
            found[name] = Figure(figure.value)
            continue
        low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
        if high - low >= 1e-9:
            found[name] = Figure(figure.value, low, high)
        elif name == "exact_match":
            total = int(table.known.any(axis=1).sum())
            found[name] = Figure(figure.value, *wilson_interval(round(figure.value * total), total))
        else:
            found[name] = Figure(figure.value)
    return found


def _pooled_areas(table: LabelTable) -> dict[str, Figure]:
    """Areas over all known labels of all records together; the entries of a record are no draws, so no intervals."""
    known = table.known
    if np.isnan(table.p[known]).any():
        return dict.fromkeys(AREAS, Figure(None))
    pooled = LabelTable(("",), table.truth[known][:, None], table.said[known][:, None], table.p[known][:, None],
                        np.full(1, np.nan))  # fmt: skip
    found = metrics.figures(pooled.outcomes(0))
    return {name: Figure(found.get(name)) for name in AREAS}


def _mean_of(figures: Sequence[Figure | None]) -> Figure:
    values = [one.value for one in figures if one is not None and one.value is not None]
    return Figure(sum(values) / len(values) if values else None)


def _together(yes: Booleans) -> Counts:
    """How often two labels are there together, int[L, L], of what is there, bool[N, L]."""
    counted = yes.astype(np.int64)
    return counted.T @ counted


def _per_record(yes: Booleans) -> dict[int, int]:
    """How many records have so many labels, of what is there, bool[N, L]."""
    return dict(sorted(collections.Counter(yes.sum(axis=1).tolist()).items()))
