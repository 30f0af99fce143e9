"""The result block that scripts parse, and the table of a sweep's trials."""

import dataclasses
import itertools
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from palitune.errors import printable
from palitune.evaluate.class_counts import ClassCounts, Counts, counts_of
from palitune.evaluate.confusion import NEGATIVE, POSITIVE, Confusion, is_right
from palitune.labels import plain_set
from palitune.text_tables import aligned

LABELS_SHOWN = 10
MOST_IN_MATRIX = 64  # classes
HEAD = re.compile(r"Result: (?P<path>.+?)(?: \((?P<label>[^()]*)\))?")
COUNTS = re.compile(r"  Tp=(\d{1,9}) Tn=(\d{1,9}) Fp=(\d{1,9}) Fn=(\d{1,9})")
RATIOS = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f_measure": "F-measure"}


@dataclasses.dataclass
class TrialResult:
    """How one time of learning ended, or what was made of several is worth."""

    seed: int
    changes: Mapping[str, object]  # settings that differ between trials
    attempts: int  # 0 of what was made of several
    diverged: str | None = None  # why it came to no end
    step: int = 0  # where it was best
    score: float = 0.0  # what the best trial is chosen by, higher is better
    loss: float = 0.0  # on the validation set
    ratios: Mapping[str, float | None] = dataclasses.field(default_factory=dict)

    def is_better(self, other: "TrialResult") -> bool:
        """Whether the score is higher, or with the same score the validation loss lower."""
        return (self.score, -self.loss) > (other.score, -other.loss)


def result_block(path: str, confusion: Confusion, label: str | None = None, title: str = "Result") -> str:
    """The block that people's scripts parse; ratios are Python's floats, and one without a value has no line."""
    ratios = {
        "accuracy: ": confusion.accuracy,
        "precision:": confusion.precision,
        "recall:   ": confusion.recall,
        "F-measure:": confusion.f_measure,
    }
    head = printable(f"{title}: {path} ({label})" if label else f"{title}: {path}")
    counts = f"  Tp={confusion.tp} Tn={confusion.tn} Fp={confusion.fp} Fn={confusion.fn}"
    return "\n".join([head, counts, *(f"  {name} {value}" for name, value in ratios.items() if value is not None)])


class Block(NamedTuple):
    """What a `result_block` says."""

    path: str
    label: str
    confusion: Confusion


def read_blocks(text: str) -> list[Block]:
    """The result blocks in a text, in its order; what else is there is left out."""
    lines = text.splitlines()
    found = []
    for head, counts in itertools.pairwise(lines):
        named, counted = HEAD.fullmatch(head), COUNTS.fullmatch(counts)
        if named and counted:
            tp, tn, fp, fn = map(int, counted.groups())
            found.append(Block(named["path"], named["label"] or "", Confusion(tp=tp, tn=tn, fp=fp, fn=fn)))
    return found


def outcome_block(
    path: str,
    labels: Sequence[str],
    answers: Sequence[str],
    classes: Sequence[str],
    label: str | None = None,
    positive: str = "",
) -> str:
    """`counts_block` of answers beside labels; of free text, which has no classes, counts of right and wrong alone."""
    if not classes:
        head = printable(f"Result: {path}{f' ({label})' if label else ''}")
        return "\n".join([head, *_right_and_wrong(sum(map(is_right, answers, labels)), len(labels))])
    return counts_block(path, counts_of(labels, answers, classes), label, positive=positive)


def counts_block(path: str, counts: Counts, label: str | None = None, title: str = "Result", positive: str = "") -> str:
    """`result_block` of two classes; of more right and wrong answers, macro means, and the confusion matrix.

    Args:
      positive: of more than two classes, one of which precision and recall are told against all others.
    """
    if isinstance(counts, Confusion):
        return result_block(path, counts, label, title)
    head = printable(f"{title}: {path}{f' ({label})' if label else ''}")
    lines = [head, *_right_and_wrong(counts.right, counts.total)]
    ratios = {"precision:": counts.precision, "recall:   ": counts.recall, "F-measure:": counts.f_measure}
    lines += [f"  {name} {value} (macro)" for name, value in ratios.items() if value is not None]
    if positive in counts.classes:
        one = counts.against_rest(positive)
        told = {"precision": one.precision, "recall": one.recall, "F-measure": one.f_measure}
        figures = ", ".join(f"{name} {value:.4f}" for name, value in told.items() if value is not None)
        lines.append(f"  {printable(positive)} against the rest: {figures}" if figures else "")
    return "\n".join([line for line in lines if line] + _matrix(counts))


def _matrix(counts: ClassCounts) -> list[str]:
    """The confusion matrix: a row for each label, a column for each answer, by their numbers; of many, mistakes."""
    if len(counts.classes) > MOST_IN_MATRIX:
        return _commonest_mistakes(counts)
    has_others = any(row[-1] for row in counts.rows)
    numbers = list(map(str, range(1, len(counts.classes) + 1)))
    rows = [["label", "", *numbers, *(["none"] if has_others else [])]]
    for number, name, row in zip(numbers, counts.classes, counts.rows, strict=True):
        rows.append([number, name, *(str(one) if one else "." for one in (row if has_others else row[:-1]))])
    return [f"  {line}" for line in aligned(rows, numbers_from=2)]


def _commonest_mistakes(counts: ClassCounts) -> list[str]:
    named = [*counts.classes, "none of them"]
    wrong = [
        (number, counts.classes[label], named[answer])
        for label, row in enumerate(counts.rows)
        for answer, number in enumerate(row)
        if number and answer != label
    ]
    wrong.sort(key=lambda one: -one[0])
    return [printable(f"  {label} -> {answer}: {number}") for number, label, answer in wrong[:LABELS_SHOWN]]


def _right_and_wrong(right: int, total: int) -> list[str]:
    return [f"  right={right} wrong={total - right}", *([f"  accuracy:  {right / total}"] if total else [])]


def unsure_line(unsure: int, right: int, total: int, least: float | None) -> str:
    """How many answers are unsure, with a probability below the least one, and how many of the rest are right."""
    below = "" if least is None else f" below {least:g}"
    rest = total - unsure
    accuracy = f"{right / rest:.4f}" if rest else "-"
    share = f" ({unsure / total:.4f})" if total else ""
    return f"  unsure{below}: {unsure} of {total}{share}, accuracy of the rest: {accuracy}"


def aggregate_block(
    path: str, kinds: Mapping[str, int], labels: Mapping[str, int], unlabelled: int, classes: Sequence[str] = ()
) -> str:
    """The block of a file of answers; of one with labels alone, what always saying the same would score.

    Args:
      kinds: numbers of "tp", "tn", "fp" and "fn"; empty where there are no answers.
      labels: how often each is there; of lines without any label, the answers.
      unlabelled: lines without a label.
      classes: of two, which they are; empty is yes and no.
    """
    two = {POSITIVE, NEGATIVE} if len(classes) != 2 else set(classes)
    if kinds and plain_set(labels) <= two:
        counts = Confusion(**{kind: kinds.get(kind, 0) for kind in ("tp", "tn", "fp", "fn")})
        block = result_block(path, counts, title="Aggregate")
        if two != {POSITIVE, NEGATIVE}:
            right = counts.tp + counts.tn
            block += f'\n  right={right} wrong={counts.fp + counts.fn}; Tp and Fp are of "{printable(classes[0])}"'
    elif kinds:
        right, total = kinds.get("tp", 0) + kinds.get("tn", 0), sum(kinds.values())
        block = "\n".join([printable(f"Aggregate: {path}"), *_right_and_wrong(right, total)])
    else:
        shares = sorted(labels.items(), key=lambda pair: (-pair[1], pair[0]))
        shown = " ".join(f"{printable(label)}={number}" for label, number in shares[:LABELS_SHOWN])
        alone = sum(labels.values()) == unlabelled
        block = printable(f"Aggregate: {path} ({'answers' if alone else 'labels'} alone)") + f"\n  {shown}"
        if shares and not alone:
            block += f'\n  always "{printable(shares[0][0])}": accuracy {shares[0][1] / sum(labels.values())}'
    return f"{block}\n  without a label: {unlabelled}" if unlabelled else block


def trial_table(results: Sequence[TrialResult], best: str = "", others: Sequence[tuple[str, TrialResult]] = ()) -> str:
    """One line a trial, mean and standard deviation of those that came to an end, what came of them, and the best one.

    Args:
      results: of the trials, or of the folds of each.
      best: the last line, where one of them is the best.
      others: what was learned or made after them, with what it is: none of it is one more draw of the same.
    """
    settings = list(dict.fromkeys(name for result in results for name in result.changes))
    head = ["trial", "seed", *settings, "attempts", "step", "valid loss", *RATIOS.values()]
    rows = [_trial_row(str(number), result, settings) for number, result in enumerate(results, 1)]
    ended = [result for result in results if not result.diverged]
    if len(ended) > 1:
        columns: list[list[float | None]] = [[result.loss for result in ended]]
        columns += [[result.ratios.get(name) for result in ended] for name in RATIOS]
        summaries: dict[str, Callable[[list[float]], float]] = {"mean": statistics.fmean, "sd": statistics.stdev}
        for name, summary in summaries.items():
            known = [[value for value in column if value is not None] for column in columns]
            figures = [f"{summary(values):.4f}" if len(values) > 1 else "" for values in known]
            rows.append([name, *[""] * (len(head) - len(figures) - 1), *figures])
    rows += [_trial_row(name, result, settings) for name, result in others]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]
    return "\n".join([*lines, best] if best else lines)


def _trial_row(name: str, result: TrialResult, settings: Sequence[str]) -> list[str]:
    """A line of the table; what was made of several has no seed, attempts and step of its own."""
    row = [name, str(result.seed) if result.attempts else ""]
    row += [_short(result.changes.get(one, "")) for one in settings]
    if result.diverged:
        return [*row, str(result.attempts), "diverged", *[""] * (len(RATIOS) + 1)]
    row += [str(result.attempts), str(result.step)] if result.attempts else ["", ""]
    return [*row, f"{result.loss:.4f}", *(_ratio(result.ratios.get(one)) for one in RATIOS)]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
