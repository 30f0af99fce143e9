"""Whether learning was worth it: a model beside what needs no learning, on the same records.

Axes: N records.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from palitune.confidence_interval import Figure, wilson_interval
from palitune.evaluate import comparison
from palitune.evaluate.answer_files import Answers
from palitune.evaluate.label_table import YES
from palitune.evaluate.outcomes import Booleans, Floats
from palitune.evaluate.several_answers import SeveralAnswers
from palitune.sentence import Sentence

# Below this p-value learning was worth it. It is stricter than for one comparison: settings were chosen on the same
# records, and three baselines are there to be better than.
SURE = 0.01
POWER_Z = 2.576 + 0.842  # normal quantiles of that p-value and of a chance of 80 % to see what is there
SMALLEST = 1e-6  # a probability
MOST_RECORDS = 1_000_000  # that are worth proposing
Either = Answers | SeveralAnswers


class Beside(NamedTuple):
    """A baseline, and the model against it.

    Attributes:
      accuracy: of the baseline.
      won, lost: records that only the model has right, and only the baseline.
      gain: how much higher the model's accuracy is, with the interval that goes with McNemar's test.
      p_value: McNemar's, exact.
    """

    name: str
    accuracy: Figure
    won: int
    lost: int
    gain: Figure
    p_value: float

    @property
    def is_beaten(self) -> bool:
        """Whether the model is better by more than chance."""
        return self.won > self.lost and self.p_value < SURE


class Conclusion(NamedTuple):
    """What a model is worth.

    Attributes:
      accuracy: of answers by models that have not learned from the record, with Wilson's interval.
      baselines: the best first.
    """

    accuracy: Figure
    records: int
    baselines: Sequence[Beside]

    @property
    def best(self) -> Beside:
        """The baseline with the highest accuracy."""
        return self.baselines[0]

    @property
    def is_worth_it(self) -> bool:
        """Whether the model is better than every baseline by more than chance."""
        return all(one.is_beaten for one in self.baselines)

    @property
    def needed(self) -> int | None:
        """About how many records would tell, if the difference from the best baseline is what it seems; None if none.

        Source: Connor, Sample size for testing differences in proportions for the paired-sample design, 1987.
        """
        won, lost = self.best.won, self.best.lost
        if self.is_worth_it or won <= lost:
            return None
        count = math.ceil(self.records * (won + lost) * (POWER_Z / (won - lost)) ** 2)
        return count if self.records < count <= MOST_RECORDS else None

    @property
    def sentences(self) -> list[str]:
        """The conclusion in words: whether it was worth it, then why."""
        best, gain = self.best, f"{(self.best.won - self.best.lost) / self.records:+.2f}"
        said = {"gain": gain, "name": best.name, "p": f"{best.p_value:.2g}", "records": self.records}
        if self.is_worth_it:
            told = [Sentence("Worth it: %(gain)s over %(name)s, more than chance (p = %(p)s).", **said)]
        elif best.won <= best.lost:
            told = [Sentence("Not worth it: %(name)s is as good or better (%(gain)s).", **said)]
        else:
            told = [
                Sentence(
                    "Not worth it so far: %(gain)s over %(name)s may be chance on %(records)d records (p = %(p)s).",
                    **said,
                )
            ]
        told.append(
            Sentence(
                "Accuracy %(accuracy).3f (95 %%: %(low).3f to %(high).3f) on %(records)d records, each answered by a "
                "model that has not learned from it.",
                accuracy=self.accuracy.value,
                low=self.accuracy.low,
                high=self.accuracy.high,
                records=self.records,
            )
        )
        if self.needed is not None:
            told.append(Sentence("About %(count)d records would tell.", count=self.needed))
        return list(told)


def conclude(right: Booleans, baselines: Mapping[str, Booleans]) -> Conclusion:
    """What answers are worth.

    Args:
      right: bool[N], whether each answer is right.
      baselines: the same of the baselines, by their names.
    """
    found = [_beside(name, own, right) for name, own in baselines.items()]
    found.sort(key=lambda one: -(one.accuracy.value or 0.0))
    return Conclusion(_share(right), len(right), found)


def _beside(name: str, own: Booleans, right: Booleans) -> Beside:
    won, lost = int((right & ~own).sum()), int((own & ~right).sum())
    low, high = comparison.discordant(won, lost)
    count = len(right)
    gain = Figure((won - lost) / count, low / count, high / count)
    return Beside(name, _share(own), won, lost, gain, comparison.mcnemar(won, lost))


def _share(right: Booleans) -> Figure:
    return Figure(float(right.mean()), *wilson_interval(int(right.sum()), len(right)))


def right_of(answers: Either) -> Booleans:
    """Whether each record is answered right, of several labels all of them, bool[N]."""
    return answers.table.right if isinstance(answers, SeveralAnswers) else answers.outcomes.right


def most_frequent(answers: Either) -> Booleans:
    """Whether the most frequent label is right of each record, of several labels that of each of them, bool[N]."""
    if isinstance(answers, SeveralAnswers):
        truth, known = answers.table.truth == YES, answers.table.known
        usual = (truth & known).sum(axis=0) * 2 > known.sum(axis=0)
        right: Booleans = ~((truth != usual) & known).any(axis=1)
        return right
    labels = np.array(answers.outcomes.labels)
    names, counts = np.unique(labels, return_counts=True)
    found: Booleans = labels == names[counts.argmax()]
    return found


def losses_of(answers: Either) -> Floats:
    """The log loss of each record, of several labels the mean of them, float64[N].

    Where a probability is not known it is 1 for a wrong answer and 0 for a right one.
    """
    if isinstance(answers, SeveralAnswers):
        table = answers.table
        if np.isnan(table.p[table.known]).any():
            return (~table.right).astype(float)
        own = np.where(table.truth == YES, table.p, 1 - table.p)
        own = np.where(table.known, -np.log(np.maximum(np.nan_to_num(own), SMALLEST)), 0.0)
        means: Floats = own.sum(axis=1) / table.known.sum(axis=1)
        return means
    one = answers.outcomes
    if one.p is not None:
        is_first = np.array([label == one.classes[0] for label in one.labels])
        found: Floats = -np.log(np.maximum(np.where(is_first, one.p, 1 - one.p), SMALLEST))
        return found
    if one.shares is not None:
        places = [one.classes.index(label) for label in one.labels]
        of_labels: Floats = -np.log(np.maximum(one.shares[np.arange(len(places)), places], SMALLEST))
        return of_labels
    return (~one.right).astype(float)


def is_clearly_lower(first: Sequence[Floats], second: Sequence[Floats]) -> bool:
    """Whether the first of two losses is lower by more than a standard error of the difference.

    Otherwise the simpler choice is kept. Source: Breiman, Friedman, Olshen and Stone, Classification and regression
    trees, 1984.

    Args:
      first, second: float64[N] of each of several rounds, in each of which both are about the same records.
    """
    difference = np.mean([b - a for a, b in zip(first, second, strict=True)], axis=0)
    error = difference.std(ddof=1) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
    return bool(difference.mean() > error)
