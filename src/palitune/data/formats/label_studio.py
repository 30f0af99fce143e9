"""The format "labelstudio": Label Studio's exports JSON and JSON-MIN (https://labelstud.io/guide/export)."""

import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from palitune.data.formats import column_roles, json_documents, source_labels
from palitune.data.formats.options import OWN, Fields, Found, Lists, Options
from palitune.errors import BadDataError

# Label Studio's own keys of a task, which JSON-MIN puts beside the data.
BOOKS = frozenset(
    """annotations completions predictions drafts data id meta created_at updated_at inner_id total_annotations
    cancelled_annotations total_predictions comment_count unresolved_comment_count last_comment_updated_at project
    updated_by comment_authors file_upload annotators avg_lead_time annotation_id annotator lead_time overlap
    is_labeled draft_exists reviewed reviews_accepted reviews_rejected precomputed_agreement agreement
    annotations_results annotations_ids predictions_score predictions_results predictions_model_versions
    storage_filename ground_truth was_cancelled""".split()  # noqa: SIM905
)
# Keys by which a list of objects is recognised as an export.
MARKS = frozenset(("annotations", "completions", "data", "annotation_id", "annotator", "lead_time"))
# Kinds of controls whose value is a label of the whole image, and where it is.
READ = {
    "choices": "choices",
    "taxonomy": "taxonomy",
    "textarea": "text",
    "rating": "rating",
    "number": "number",
    "datetime": "datetime",
}
DISAGREE = "annotators disagree about a label"
TRUTH = "Mark one annotation of each task as ground truth"


class Result(NamedTuple):
    """What one control says about a task; `label` is None if it is not the label of a whole image."""

    control: str
    kind: str
    label: str | None
    detail: str


def read(path: Path, options: Options) -> Found:
    """Yields the labelled tasks. Raises MissingInputError or BadDataError if the file cannot be read, or is another."""
    tasks = json_documents.read_json(path, options)
    if not isinstance(tasks, list):
        raise BadDataError("Label Studio's export is a list of tasks", where=str(path))
    for number, task in enumerate(tasks, 1):
        if not isinstance(task, dict):
            raise BadDataError("a task must be an object", where=f"{path}: task {number}")
    if not any("data" in task for task in tasks):
        yield from _minimal(tasks, path, options)
        return
    control = options.label or _only_control(tasks, path)
    for number, task in enumerate(tasks, 1):
        where = f"{path}: task {number}"
        label = _annotated(task, control, where, options)
        if label is None:
            continue
        data = task.get("data", {})
        if not isinstance(data, dict):
            raise BadDataError('"data" must be an object', where=where)
        meta = task.get("meta")
        own = {"id": task["id"]} if "id" in task else {}
        own |= {key: value for key, value in task.items() if key not in BOOKS} | ({"meta": meta} if meta else {})
        fields = _fields(data, own, label, where, options)
        if fields is not None:
            yield where, fields


def _fields(data: Fields, own: Fields, label: str, where: str, options: Options) -> Fields | None:
    try:
        key = column_roles.image_of(list(data), options, where)
        question = column_roles.prefix_of([name for name in data if name != key], options, where)
    except BadDataError as error:
        options.lose("a task's keys do not tell what it is", where, error.what, error.hint or "")
        return None
    image = data[key]
    if not isinstance(image, str) or not image:
        options.lose("the task has no image", where, hint="Name its key with --image-column")
        return None
    rest = {name: value for name, value in (own | data).items() if name not in (key, question)}
    fields: Fields = {
        "prefix": data[question] if question else "",
        "suffix": label,
        "image": _upload(image, where),
    }
    return source_labels.with_rest(fields, rest, where, options)


def _upload(image: str, where: str) -> str:
    """Returns the path of an image, without the address that Label Studio's server gives it."""
    if not re.match(r"(https?://[^/]*)?/data/", image):
        return image
    try:
        parts = urllib.parse.urlsplit(image)
    except ValueError:
        raise BadDataError(f"no address: {image[:80]}", where=where) from None
    if parts.path.endswith("/local-files/") and parts.query:
        return urllib.parse.parse_qs(parts.query).get("d", [image])[0]
    return urllib.parse.unquote(parts.path).removeprefix("/data/").lstrip("/")


def address(image: str) -> str:
    """Returns a name that `read` turns back into `image`, also if that looks like an address of the server."""
    return f"/data/local-files/?d={urllib.parse.quote(image)}" if image.startswith("/data/") else image


# Annotated tasks.


def _annotations(task: Fields, where: str) -> list[Fields]:
    """Returns the annotations of a task that count: ground truth if there is any, else all that were not cancelled."""
    found = _listed(task.get("annotations", task.get("completions")), where)
    valid = [one for one in found if not one.get("was_cancelled")]
    return [one for one in valid if one.get("ground_truth") is True] or valid


def _results(annotation: Fields, where: str) -> Iterator[Result]:
    for result in _listed(annotation.get("result"), where):
        value = result.get("value")
        control = result.get("from_name")
        if not isinstance(value, dict):
            value = {}
        kind = result.get("type")
        if not isinstance(kind, str):
            kind = next((kind for kind, key in READ.items() if key in value), next(iter(value), "relation"))
        yield _result(control if isinstance(control, str) else "", kind, value, where)


def _result(control: str, kind: str, value: Fields, where: str) -> Result:
    content = value.get(READ[kind]) if kind in READ else None
    if kind == "taxonomy" and isinstance(content, list):
        content = ["/".join(map(str, path)) if isinstance(path, list) else path for path in content]
    if isinstance(content, dict):
        raise BadDataError("a label must be text", where=where)
    several = content if isinstance(content, list) else [content]
    labels = [text for one in several if (text := source_labels.label_text(one)) is not None]
    if kind not in READ or "x" in value or "start" in value:
        detail = f"{kind} {control}" if control else kind
        return Result(control, kind, None, detail)
    if len(labels) > 1:
        return Result(control, kind, None, f"{len(labels)} choices where one is the label")
    return Result(control, kind, labels[0] if labels else "", "")


def _only_control(tasks: list[Fields], path: Path) -> str | None:
    """Returns the control that gives the label, or None. Raises BadDataError if there are several."""
    counts: dict[tuple[str, str], int] = {}
    for number, task in enumerate(tasks, 1):
        where = f"{path}: task {number}"
        found = ((one.control, one.kind) for each in _annotations(task, where) for one in _results(each, where))
        for key in dict.fromkeys(found):
            counts[key] = counts.get(key, 0) + 1
    names = list(dict.fromkeys(control for control, kind in counts if kind in READ))
    if len(names) < 2:
        return names[0] if names else None
    most = sorted(counts.items(), key=lambda one: (one[0][1] != "choices", -one[1]))
    listed = ", ".join(f"{control or 'without a name'} ({kind}, {count} tasks)" for (control, kind), count in most[:8])
    more = f" and {len(most) - 8} more" if len(most) > 8 else ""
    best = next(control for (control, kind), _ in most if kind in READ)
    hint = f"Choose one with --control {best}"
    raise BadDataError(f"several controls may be the label: {listed}{more}", where=str(path), hint=hint)


def _annotated(task: Fields, control: str | None, where: str, options: Options) -> str | None:
    """Returns the label on which the annotations of a task agree; None if there is none."""
    given = _annotations(task, where)
    results = [result for each in given for result in _results(each, where)]
    said: list[str] = []
    lost = others = False
    for result in results:
        if result.control != control and (result.label is not None or options.label):
            others = others or bool(result.label is None or result.label)
        elif result.label is None:
            hint = "palitune learns one label of a whole image"
            options.lose(
                "a label is not one text for the image, and has no place in a record", where, result.detail, hint
            )
            lost = True
        elif result.label:
            said.append(result.label)
    if others:
        options.remark(f"other controls than {control} are left out", where)
    if said:
        return source_labels.agreed_label(said, DISAGREE, where, options, TRUTH)
    if not lost:
        guessed = not results and bool(task.get("predictions"))
        what = "tasks without an annotation are left out"
        options.remark(f"{what}; their predictions are a model's" if guessed else what, where)
    return None


def _listed(value: object, where: str) -> list[Fields]:
    """Returns a list of objects, empty if it is missing. Raises BadDataError if it is something else."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise BadDataError("annotations and their results must be lists of objects", where=where)
    return value


# JSON-MIN: the controls are keys beside the data, and each annotation is an object of its own.


def _minimal(tasks: list[Fields], path: Path, options: Options) -> Found:
    names = list(dict.fromkeys(name for task in tasks for name in task if name not in BOOKS))
    label = column_roles.label_of(names, options, str(path))
    by_task: dict[str | int, list[int]] = {}
    for i, task in enumerate(tasks):
        number, shown = task.get("id"), [task.get(name) for tier in column_roles.IMAGES for name in tier]
        by_task.setdefault(f"{number} {shown}" if number is not None else i, []).append(i)
    for several in by_task.values():
        where = f"{path}: task {several[0] + 1}"
        given = [tasks[i] for i in several]
        given = [one for one in given if one.get("ground_truth") is True] or given
        said = [text for one in given if (text := _minimal_label(one.get(label), where, options))]
        if not said:
            if all(one.get(label) in (None, "", []) for one in given):
                options.remark("tasks without an annotation are left out", where)
            continue
        agreed = source_labels.agreed_label(said, DISAGREE, where, options, TRUTH)
        if agreed is None:
            continue
        data = {key: value for key, value in given[0].items() if key not in BOOKS and key != label}
        for key in [key for key, value in data.items() if any(one.get(key) != value for one in given)]:
            options.remark("keys that annotators fill in differently are left out", where, key)
            del data[key]
        own = {"id": given[0]["id"]} if "id" in given[0] else {}
        fields = _fields(data, own, agreed, where, options)
        if fields is not None:
            yield where, fields


def _minimal_label(value: object, where: str, options: Options) -> str | None:
    if isinstance(value, dict) and "choices" in value:
        value = value["choices"]
    if value in (None, "", []):
        return None
    labels = value if isinstance(value, list) else [value]
    texts = ["/".join(map(str, one)) if isinstance(one, list) else source_labels.label_text(one) for one in labels]
    if len(texts) == 1 and texts[0]:
        return texts[0]
    detail = f"{len(texts)} choices where one is the label" if None not in texts else "a region or the like"
    options.lose("a label is not one text for the image, and has no place in a record", where, detail)
    return None


def write(found: list[tuple[str, Fields]]) -> Lists:
    """Returns the list of tasks; their own numbers are kept if all have different ones."""
    numbers = [fields.get("id") for _, fields in found]
    own = all(type(number) is int for number in numbers) and len(set(numbers)) == len(numbers)
    kept = (*OWN, "id") if own else OWN
    tasks = (
        {
            "id": fields["id"] if own else number,
            "data": {"image": address(fields["image"])}
            | ({"prefix": fields.get("prefix") or ""} if fields.get("prefix") or _may_ask(fields) else {})
            | {key: value for key, value in fields.items() if key not in kept},
            "annotations": [{"result": [_choice(fields["suffix"])]}],
        }
        for number, (_, fields) in enumerate(found, 1)
    )
    return {"": tasks}


def _may_ask(fields: Fields) -> bool:
    """Returns whether another key would be taken for the question."""
    return any(key.lower() in tier for tier in column_roles.PREFIXES for key in fields if key not in OWN)


def _choice(label: str) -> Fields:
    return {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}
