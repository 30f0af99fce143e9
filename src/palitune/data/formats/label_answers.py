"""Answers to several labels of one record, in its line of JSON.

`"labels": {"obscene": "yes", "violent": null}` has what is right, `"p_yes": {"obscene": 0.93, "violent": 0.2}` the
probabilities of yes, and `"answer": {"obscene": "yes", "violent": "no"}` what a model said.
"""

import json
import math
from collections.abc import Mapping, Sequence

from palitune.data.example import Example, Target
from palitune.data.formats.json_lines import to_json
from palitune.data.prediction import Prediction
from palitune.errors import BadDataError
from palitune.labels import LABELS, canonical, plain

MOST = 1_000  # labels of one record


def predictions(example: Example) -> list[Prediction] | None:
    """What a model said of each label of an example, where its line tells; None where these are no such answers.

    Raises:
      BadDataError: an answer is neither yes nor no, or a probability is none.
    """
    said, p_yes = example.fields.get("answer"), example.fields.get("p_yes")
    if not isinstance(said, dict) or not said or not isinstance(p_yes, dict):
        return None
    if len(said) > MOST:
        raise BadDataError(f"{len(said):,} labels, {MOST:,} are allowed", where=example.where)
    example, known = _with_targets(example, said)
    found = []
    for name, answer in said.items():
        if not isinstance(answer, str) or plain(answer) not in LABELS:
            what = f"the answer to {name[:60]} is {json.dumps(answer, ensure_ascii=False)[:40]} and neither yes nor no"
            raise BadDataError(what, where=example.where)
        found.append(Prediction(example, known[name], answer, _probability(p_yes.get(name), name, example.where)))
    return found


def _with_targets(example: Example, names: Mapping[str, object]) -> tuple[Example, dict[str, Target]]:
    """The example with a target for each of its labels and for each name, and the targets by name."""
    known = {one.name: one for one in example.targets if one.name}
    labels = example.fields.get("labels")
    answers = labels if isinstance(labels, dict) else {}
    for name in names:
        answer = answers.get(name)
        is_known = isinstance(answer, str) and plain(answer) in LABELS
        known.setdefault(name, Target(name, LABELS, canonical(str(answer)) if is_known else None))
    targets = tuple(known.values())
    return (example if example.targets == targets else example._replace(targets=targets)), known


def _probability(value: object, name: str, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and 0 <= value <= 1):
        what = f"p_yes of {name[:60]} is {json.dumps(value, ensure_ascii=False)[:40]} and no probability"
        raise BadDataError(what, where=where)
    return float(value)


def to_line(example: Example, said: Sequence[Prediction]) -> str:
    """The line of an example with answers to its labels: all of its fields, what is right, and what was said.

    `correct` is whether every known label is answered right; where none is known it is left out.
    """
    fields = dict(example.fields) or _own_fields(example)
    known = [one for one in said if one.target.answer is not None]
    correct = all(plain(one.text) == plain(one.target.answer or "") for one in known)
    found: dict[str, object] = {"labels": {one.target.name: one.target.answer for one in said}}
    found |= {"correct": correct} if known else {}
    found["p_yes"] = {one.target.name: None if one.p_yes is None else round(one.p_yes, 6) for one in said}
    found["answer"] = {one.target.name: one.text for one in said}
    return to_json(fields | found)


def _own_fields(example: Example) -> dict[str, object]:
    """What a line has of an example that did not come from a line of JSON."""
    fields: dict[str, object] = {"image": example.image.name} if example.images else {}
    fields |= {"text": "\n\n".join(example.contents)} if example.contents else {}
    return fields | ({"prefix": example.prompt} if example.prompt else {})
