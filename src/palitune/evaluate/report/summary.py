"""Everything that a report says, before it is written as text, JSON or a page."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from palitune.confidence_interval import wilson_interval
from palitune.data.example import Example
from palitune.data.probabilities import log_odds
from palitune.errors import printable
from palitune.evaluate import comparison, metrics, per_class
from palitune.evaluate.comparison import Comparison
from palitune.evaluate.confusion import is_right, kind, plain
from palitune.evaluate.metrics import Figure, Outcomes
from palitune.sentence import Sentence

MOST_SLICES = 12  # of one kind
MOST_ALWAYS = 50  # labels of which it is said what always saying them would score


class Item(NamedTuple):
    """An example with its answer."""

    record: Example
    label: str
    answer: str
    p_yes: float | None
    before: str | None  # what another model said


class Slice(NamedTuple):
    """Records that have something in common."""

    kind: str  # "format", "source" …
    name: str
    records: int
    right: int
    low: float  # of the accuracy's interval
    high: float


@dataclasses.dataclass
class Summary:
    """What a model's answers to some records are worth.

    Attributes:
      facts: what was run, in words, by name.
      before: another model's answers to the same records, with their figures.
      wrong: the most confident mistakes first.
      uncertain: the answers nearest to the threshold, right or wrong.
    """

    title: str
    facts: dict[str, str]
    outcomes: Outcomes
    figures: dict[str, Figure]
    always: dict[str, dict[str, float | None]]
    slices: list[Slice]
    items: list[Item]
    wrong: list[Item]
    uncertain: list[Item]
    remarks: list[str]
    threshold: float | None = None
    heading: str = Sentence("Wrong answers, the most confident first")
    advice: str = Sentence("A wrong label is often among the first.")
    leads: bool = False  # whether these images come before the figures
    before: Outcomes | None = None
    before_figures: dict[str, Figure] | None = None
    comparison: Comparison | None = None
    configuration: Mapping[str, object] | None = None
    losses: Path | None = None
    metrics: Path | None = None
    next_runs: Sequence[tuple[str, str]] = ()  # as `Learned` has them


class Learned(NamedTuple):
    """How a model was made: in words, the configuration of its run, and the drawing of its losses.

    Attributes:
      next_runs: what the run's metrics say of it, each with the command to try next.
      metrics: the file of the rows that the losses are drawn from.
    """

    facts: dict[str, str]
    configuration: Mapping[str, object] | None
    losses: Path | None
    next_runs: Sequence[tuple[str, str]] = ()
    metrics: Path | None = None


def told(learned: Learned | None, facts: Mapping[str, str], records: Iterable[Example]) -> dict[str, str]:
    """How a model was made, then what was run; without a prompt that nobody asks about these records.

    The built-in prompt is about images, and each of several labels has a question of its own.
    """
    made = dict(learned.facts) if learned else {}
    prompt = made.get("prompt", "")
    if not any(not one.target.name and (one.images or one.asked(prompt) == prompt) for one in records):
        made.pop("prompt", None)
    return {**made, **facts}


def summarize(
    title: str,
    facts: Mapping[str, str],
    records: Sequence[Example],
    outcomes: Outcomes,
    before: Outcomes | None = None,
    threshold: float | None = None,
    most: int = 60,
    learned: Learned | None = None,
) -> Summary:
    """The summary of answers to records, in one order.

    Args:
      facts: what was run; what is told of learning comes before it.
      before: other answers to the same records.
      threshold: on p_yes, where the answers have one.
      most: wrong answers that are shown with their images, and half as many uncertain ones.
    """
    p = [None] * len(records) if outcomes.p is None else outcomes.p.tolist()
    if outcomes.p is None and outcomes.confidence is not None:
        p = outcomes.confidence.tolist()
    earlier = before.answers if before else [None] * len(records)
    shown = [record.with_image(printable(record.image.name)) if record.images else record for record in records]
    said = [printable(answer) for answer in outcomes.answers]
    items = [Item(*one) for one in zip(shown, outcomes.labels, said, p, earlier, strict=True)]
    sure = [0.0] * len(items) if outcomes.confidence is None else outcomes.confidence.tolist()
    wrong = [index for index, item in enumerate(items) if not is_right(item.answer, item.label)]
    wrong.sort(key=lambda index: -sure[index])
    return Summary(
        title=title,
        facts=told(learned, facts, records),
        outcomes=outcomes,
        figures=metrics.with_intervals(outcomes),
        always={label: metrics.figures(metrics.always(label, outcomes)) for label in _commonest(outcomes)},
        slices=_slices(items),
        items=items,
        wrong=[items[index] for index in wrong[:most]],
        uncertain=[items[index] for index in doubtful(outcomes, threshold)[: most // 2]],
        remarks=metrics.remarks(outcomes),
        threshold=threshold,
        before=before,
        before_figures=metrics.with_intervals(before) if before else None,
        comparison=comparison.compare(before, outcomes) if before else None,
        configuration=learned.configuration if learned else None,
        losses=learned.losses if learned else None,
        metrics=learned.metrics if learned else None,
        next_runs=learned.next_runs if learned else (),
    )


def _commonest(outcomes: Outcomes) -> list[str]:
    """The classes, of very many the commonest, in their order."""
    counts = collections.Counter(outcomes.labels)
    kept = set(sorted(outcomes.classes, key=lambda label: -counts[label])[:MOST_ALWAYS])
    return [label for label in outcomes.classes if label in kept]


def threshold_of(outcomes: Outcomes, stored: float | None = None) -> float | None:
    """The threshold that answers were given with: 0.5 or the stored one if they fit, else what parts them best.

    None where no probability is known.
    """
    if outcomes.p is None:
        return None
    said = np.array([plain(answer) == outcomes.classes[0] for answer in outcomes.answers])
    low = outcomes.p[~said].max() if (~said).any() else 0.0
    high = outcomes.p[said].min() if said.any() else 1.0
    for known in (stored, 0.5):
        if known is not None and low <= known + 1e-6 and known - 1e-6 <= high:
            return known
    return float((low + high) / 2)


def doubtful(outcomes: Outcomes, threshold: float | None = None) -> list[int]:
    """Records by how uncertain their answers are, the most uncertain first; none where no probability is known.

    Of two classes the distance from the threshold in log-odds counts, of more the probability of the answer.
    """
    if outcomes.p is not None:
        distance = np.abs(log_odds(outcomes.p) - log_odds(np.array(0.5 if threshold is None else threshold)))
    elif outcomes.confidence is not None:
        distance = outcomes.confidence
    else:
        return []
    return [int(index) for index in np.argsort(distance, kind="stable")]


def _slices(items: Sequence[Item]) -> list[Slice]:
    """By format, source, data file and question, each where there are several; the largest first."""
    kinds: dict[str, Callable[[Item], str]] = {
        Sentence("format"): lambda item: _format(item.record.image.name) if item.record.images else Sentence("text"),
        Sentence("source"): lambda item: _source(item.record),
        Sentence("file"): lambda item: item.record.where.rpartition(":")[0],
        Sentence("question"): lambda item: item.record.prompt,
    }
    found = []
    for name, key in kinds.items():
        counts: collections.Counter[str] = collections.Counter()
        right: collections.Counter[str] = collections.Counter()
        for item in items:
            counts[key(item)] += 1
            right[key(item)] += is_right(item.answer, item.label)
        if len(counts) < 2 and name != "format":
            continue
        for value, count in counts.most_common(MOST_SLICES):
            found.append(
                Slice(name, value or Sentence("(none)"), count, right[value], *wilson_interval(right[value], count))
            )
    return found


def _format(name: str) -> str:
    """The format of an image, by its name without the frame."""
    ending = Path(name.partition("#")[0]).suffix.lower().removeprefix(".")
    return {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper() or Sentence("(no ending)"))


def _source(record: Example) -> str:
    """The key "source" of a line of JSON, else the image's folder."""
    source = record.fields.get("source")
    if isinstance(source, str) and source:
        return source
    return str(Path(record.image.name).parent) if record.images else ""


def subject_of(record: Example) -> dict[str, str]:
    """What an example is about, as JSON names it: an image, or else a text."""
    return {"image" if record.images else "text": record.subject}


def as_json(one: Summary) -> dict[str, object]:
    """Everything in it as JSON has it."""
    content: dict[str, object] = {
        "title": one.title,
        "facts": one.facts,
        "records": len(one.items),
        "classes": list(one.outcomes.classes),
        "figures": {name: figure._asdict() for name, figure in one.figures.items()},
        "always": one.always,
        "slices": [part._asdict() for part in one.slices],
        "remarks": one.remarks,
        "threshold": one.threshold,
        "wrong": [_plain(item, one.outcomes.classes) for item in one.wrong],
        "uncertain": [_plain(item, one.outcomes.classes) for item in one.uncertain],
    }
    if top := per_class.top_k(one.outcomes):
        content["top_k"] = {str(k): share for k, share in top.items()}
    if one.outcomes.is_binary:
        content["confusion"] = dataclasses.asdict(one.outcomes.counts)
    if one.comparison is not None and one.before_figures is not None:
        found = one.comparison
        content["before"] = {name: figure._asdict() for name, figure in one.before_figures.items()}
        content["mcnemar"] = comparison.mcnemar_as_json(found)
        content["warning"] = found.warning
    if one.configuration is not None:
        content["configuration"] = dict(one.configuration)
    if one.next_runs:
        content["advice"] = [{"what": what, "command": command} for what, command in one.next_runs]
    return content


def _plain(item: Item, classes: Sequence[str]) -> dict[str, object]:
    found: dict[str, object] = {
        **subject_of(item.record),
        "label": item.label,
        "answer": item.answer,
        "p_yes": item.p_yes,
    }
    right = {"kind": kind(item.answer, item.label, classes)} if len(classes) == 2 else {}
    return found | right | ({} if item.before is None else {"before": item.before})
