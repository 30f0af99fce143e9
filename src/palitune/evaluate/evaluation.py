"""What predictions of labelled examples are worth, as an object that a notebook shows."""

import dataclasses
import html
from collections.abc import Iterable, Sequence

from palitune.data.prediction import MadeWith, Prediction
from palitune.errors import BadDataError
from palitune.evaluate import metrics
from palitune.evaluate.confusion import Confusion
from palitune.evaluate.metrics import NAMES, Figure
from palitune.evaluate.outcomes import Outcomes, of_predictions
from palitune.labels import LABELS, plain


@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation:
    """Predictions beside their labels, and every figure of them.

    Attributes:
      answers: the labels and answers that were compared.
      figures: accuracy, precision, recall and so on, each with its 95 % interval; the names are those of
        `palitune.evaluate.metrics.NAMES`.
      made: what the predictions were made with; None where that is unknown or not the same for all.
      unlabelled: predictions of examples without a label, which are left out.
    """

    answers: Outcomes
    figures: dict[str, Figure]
    made: MadeWith | None
    unlabelled: int

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

    def _facts(self) -> list[str]:
        """One line about the predictions, and for two labels one with the confusion matrix."""
        count = len(self.answers.labels)
        line = f"{count} prediction{'s' * (count != 1)} of {', '.join(self.answers.classes)}"
        if self.made is not None and self.made.model:
            line += f" by {self.made.model}"
        if self.made is not None and self.answers.is_binary and not self.made.decode:
            line += f", threshold {self.made.threshold:.4g}"
        lines = [line + (f"; {self.unlabelled} without a label are left out" if self.unlabelled else "")]
        if self.answers.is_binary:
            counts = self.answers.counts
            lines.append(f"Tp={counts.tp} Tn={counts.tn} Fp={counts.fp} Fn={counts.fn}")
        return lines

    def _rows(self) -> list[tuple[str, str, str]]:
        """Name, value and interval of every figure."""
        return [
            (
                NAMES[name],
                "-" if figure.value is None else f"{figure.value:.4f}",
                "" if figure.low is None or figure.high is None else f"{figure.low:.3f} to {figure.high:.3f}",
            )
            for name, figure in self.figures.items()
        ]

    def __repr__(self) -> str:
        width = max(map(len, NAMES.values()))
        rows = [f"  {name:{width}}  {value}  {interval}".rstrip() for name, value, interval in self._rows()]
        return "\n".join([*self._facts(), *rows])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        facts = "<br>".join(map(html.escape, self._facts()))
        rows = "".join(f"<tr><td>{a}</td><td>{b}</td><td>{c}</td></tr>" for a, b, c in self._rows())
        return f"<p>{facts}</p><table><tr><th></th><th>value</th><th>95 %</th></tr>{rows}</table>"


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
    asked = {one.made.labels if one.made is not None else None for one in labelled}
    known = labels or (asked.pop() if len(asked) == 1 else None) or LABELS
    answers = of_predictions([one._replace(p_yes=_probability(one, known)) for one in labelled], known)
    for one, label in zip(labelled, answers.labels, strict=True):
        if label not in answers.classes:
            what = f'label "{one.target.answer}" is none of {", ".join(known)}'
            raise BadDataError(what, where=one.example.where, hint="labels=... names others")
    return Evaluation(answers, metrics.with_intervals(answers), made, len(found) - len(labelled))


def _probability(one: Prediction, labels: Sequence[str]) -> float | None:
    """The probability of the first of two labels, of more that of the answer; None of other labels than these."""
    own = tuple(map(plain, one.made.labels or ())) if one.made is not None else ()
    wanted = tuple(map(plain, labels))
    if not own or own == wanted:
        return one.p_yes
    if one.probabilities is None or set(own) != set(wanted):
        return None
    return dict(zip(own, one.probabilities, strict=True)).get(wanted[0] if len(wanted) == 2 else plain(one.text))
