"""What predictions of labelled examples are worth, as an object that a notebook shows."""

import dataclasses
import functools
import html
from collections.abc import Iterable, Sequence

from palitune.data.prediction import MadeWith, Prediction, by_example
from palitune.errors import BadDataError, printable
from palitune.evaluate import label_figures, label_table, metrics, several_labels
from palitune.evaluate.confusion import Confusion
from palitune.evaluate.label_figures import LabelFigures
from palitune.evaluate.metrics import NAMES, Figure
from palitune.evaluate.outcomes import Outcomes, of_predictions
from palitune.evaluate.several_labels import SeveralResult
from palitune.labels import LABELS, plain
from palitune.text_tables import aligned

# What figures of several labels are called, which are means over the labels.
TITLES = {name: f"{title} (macro)" for name, title in NAMES.items()} | {
    "micro_f_measure": "F-measure (micro)",
    "exact_match": "exact match",
}


@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation:
    """Predictions beside their labels, and every figure of them.

    Attributes:
      answers: the labels and answers that were compared.
      figures: accuracy, precision, recall and so on, each with its 95 % interval; the names are those of
        `palitune.evaluate.metrics.NAMES`.
      made: what the predictions were made with; None where that is unknown or not the same for all.
      unlabelled: predictions of examples without a label, which are left out.
      several: where examples have several labels each, what the answers to them are worth. Then `answers` are those to
        all known labels together, and `figures` are means over the labels, with "exact_match" and "micro_f_measure".
    """

    answers: Outcomes
    figures: dict[str, Figure]
    made: MadeWith | None
    unlabelled: int
    several: SeveralResult | None = None

    @property
    def confusion(self) -> Confusion:
        """The confusion matrix. Raises ValueError unless there are two labels."""
        if not self.answers.is_binary:
            raise ValueError(f"a confusion matrix of true and false positives needs two labels: {self.answers.classes}")
        return self.answers.counts

    @property
    def accuracy(self) -> Figure:
        """The share of right answers, with its 95 % interval."""
        return self.figures["accuracy"]

    @functools.cached_property
    def labels(self) -> dict[str, LabelFigures]:
        """What the answers to each label are worth: support, precision, recall, and the F-measure with its interval."""
        if self.several is None:
            return label_figures.of_each_class(self.answers)
        return label_figures.of_each_label(self.several)

    def _facts(self) -> list[str]:
        """One line about the predictions, and for two labels one with the confusion matrix."""
        count = len(self.answers.labels)
        classes = self.answers.classes if self.several is None else self.several.table.names
        line = f"{count} prediction{'s' * (count != 1)} of {', '.join(classes)}"
        if self.made is not None and self.made.model:
            line += f" by {self.made.model}"
        if self.made is not None and self.answers.is_binary and not (self.made.decode or self.made.thresholds):
            line += f", threshold {self.made.threshold:.4g}"
        lines = [line + (f"; {self.unlabelled} without a label are left out" if self.unlabelled else "")]
        if self.answers.is_binary:
            counts = self.answers.counts
            together = "" if self.several is None else " (all labels together)"
            lines.append(f"Tp={counts.tp} Tn={counts.tn} Fp={counts.fp} Fn={counts.fn}{together}")
        return lines

    def _rows(self) -> list[tuple[str, str, str]]:
        """Name, value and interval of every figure."""
        return [
            (
                TITLES.get(name, name) if self.several is not None else label_figures.title_of(name, self.answers),
                "-" if figure.value is None else f"{figure.value:.4f}",
                _between(figure),
            )
            for name, figure in self.figures.items()
        ]

    def _label_rows(self) -> list[list[str]]:
        """The cells of a table of the labels, where there are more than two, with its head; else nothing."""
        if self.several is None and self.answers.is_binary:
            return []
        rows = [["label", "support", "precision", "recall", "F-measure", "95 %"]]
        for name, one in self.labels.items():
            figures = ["-" if one is None else f"{one:.4f}" for one in (*one[1:3], one.f_measure.value)]
            rows.append([printable(name), str(one.support), *figures, _between(one.f_measure)])
        return rows

    def __repr__(self) -> str:
        found = self._rows()
        width = max(*map(len, NAMES.values()), *(len(name) for name, _, _ in found))
        rows = [f"  {name:{width}}  {value}  {interval}".rstrip() for name, value, interval in found]
        return "\n".join([*self._facts(), *rows, *(f"  {line}" for line in aligned(self._label_rows()))])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        facts = "<br>".join(map(html.escape, self._facts()))
        rows = "".join(f"<tr><td>{a}</td><td>{b}</td><td>{c}</td></tr>" for a, b, c in self._rows())
        found = f"<p>{facts}</p><table><tr><th></th><th>value</th><th>95 %</th></tr>{rows}</table>"
        cells = [[html.escape(cell) for cell in row] for row in self._label_rows()]
        return found + (
            "<table>" + "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in cells) + "</table>"
            if cells
            else ""
        )


def _between(figure: Figure) -> str:
    return "" if figure.low is None or figure.high is None else f"{figure.low:.3f} to {figure.high:.3f}"


def evaluate(predictions: Iterable[Prediction], labels: Sequence[str] | None = None) -> Evaluation:
    """Compares predictions with the labels of their examples.

    Args:
      labels: which there are, of two the positive one first; None is what the predictions were made with.

    Raises:
      BadDataError: no example has a label, or one has a label that is none of those.
    """
    found = list(predictions)
    labelled = [one for one in found if one.target.answer]
    if not found:
        raise BadDataError("there are no predictions to evaluate")
    if not labelled:
        raise BadDataError("none of the predictions is of an example with a label", hint="Example.of(..., label=...)")
    made = labelled[0].made if len({one.made for one in labelled}) == 1 else None
    if label_table.are_several(found):
        return _of_several(found, made)
    asked = {one.made.labels if one.made is not None else None for one in labelled}
    known = labels or (asked.pop() if len(asked) == 1 else None) or LABELS
    answers = of_predictions([one._replace(p_yes=_probability(one, known)) for one in labelled], known)
    for one, label in zip(labelled, answers.labels, strict=True):
        if label not in answers.classes:
            what = f'label "{one.target.answer}" is none of {", ".join(known)}'
            raise BadDataError(what, where=one.example.where, hint="labels=... names others")
    return Evaluation(answers, metrics.with_intervals(answers), made, len(found) - len(labelled))


def _of_several(found: Sequence[Prediction], made: MadeWith | None) -> Evaluation:
    """The evaluation of predictions of several labels of each example."""
    table, _ = label_table.of_predictions(by_example(found))
    result = several_labels.evaluate(table)
    figures = {name: result.macro[name] for name in NAMES if name in result.macro}
    figures |= {"micro_f_measure": result.micro["f_measure"], "exact_match": result.exact_match}
    known = [one for one in found if one.target.answer is not None]
    answers = of_predictions(known, LABELS)
    return Evaluation(answers, figures, made, len(found) - len(known), result)


def _probability(one: Prediction, labels: Sequence[str]) -> float | None:
    """The probability of the first of two labels, of more that of the answer; None of other labels than these."""
    own = tuple(map(plain, one.made.labels or ())) if one.made is not None else ()
    wanted = tuple(map(plain, labels))
    if not own or own == wanted:
        return one.p_yes
    if one.probabilities is None or set(own) != set(wanted):
        return None
    return dict(zip(own, one.probabilities, strict=True)).get(wanted[0] if len(wanted) == 2 else plain(one.text))
