"""Label Studio's exports, JSON and JSON-MIN. https://labelstud.io/guide/export"""

import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palitune.data import foreign
from palitune.data.foreign import Fields, Options
from palitune.data.records import HEADS, LABEL_HEADS
from palitune.errors import BadDataError


def read(path: Path, options: Options) -> Iterator[Fields]:
    """The labelled tasks. Raises MissingInputError or BadDataError: it cannot be read, or is something else."""
    tasks = foreign.parsed(path)
    if not isinstance(tasks, list):
        raise BadDataError("Label Studio's export is a list of tasks", where=str(path))
    for number, task in enumerate(tasks, 1):
        where = f"{path}: task {number}"
        if not isinstance(task, dict):
            raise BadDataError("a task must be an object", where=where)
        data = task.get("data", task)
        if not isinstance(data, dict):
            raise BadDataError('"data" must be an object', where=where)
        image = data.get(options.image) if options.image else next((data[key] for key in HEADS if key in data), None)
        if not isinstance(image, str) or not image:
            raise BadDataError("the task has no image", where=where, hint="Name its key with --image-column")
        label = _minimal_label(task, options, where) if "data" not in task else _annotated(task, options, where)
        if label is None:
            continue  # nobody has labelled it, or somebody skipped it
        question = data.get(options.prefix or "prefix", "")
        rest = {key: task[key] for key in ("id",) if key in task}
        yield {
            "prefix": question if isinstance(question, str) else "",
            "suffix": label,
            "image": _upload(image, where),
        } | rest


def _upload(image: str, where: str) -> str:
    """A picture's path behind the addresses that Label Studio gives it; other names are as they are."""
    if not image.startswith(("/data/", "http://", "https://")):
        return image
    try:
        parts = urllib.parse.urlsplit(image)
    except ValueError:
        raise BadDataError(f"no address: {image[:80]}", where=where) from None
    if parts.path.endswith("/local-files/") and parts.query:
        return urllib.parse.parse_qs(parts.query).get("d", [image])[0]
    return urllib.parse.unquote(parts.path).removeprefix("/data/").lstrip("/")


def _minimal_label(task: Fields, options: Options, where: str) -> str | None:
    names = [options.label] if options.label else [*LABEL_HEADS, "choice", "choices", "text"]
    return _chosen(next((task[name] for name in names if name in task), None), where)


def _annotated(task: Fields, options: Options, where: str) -> str | None:
    for annotation in _listed(task.get("annotations", task.get("completions")), where):
        if annotation.get("was_cancelled"):
            continue
        for result in _listed(annotation.get("result"), where):
            if options.label and result.get("from_name") != options.label:
                continue
            value = result.get("value")
            label = _chosen(value.get("choices", value.get("text")) if isinstance(value, dict) else None, where)
            if label is not None:
                return label
    return None


def _listed(value: Any, where: str) -> list[Fields]:
    """A list of objects, which may be missing."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise BadDataError("annotations and their results must be lists of objects", where=where)
    return value


def _chosen(value: Any, where: str) -> str | None:
    """The label among choices, of which there may be none and not more than one."""
    if isinstance(value, dict) and "choices" in value:
        value = value["choices"]
    several = [value] if isinstance(value, str) else value
    if several is None or several == []:
        return None
    if not isinstance(several, list) or not all(isinstance(one, str) for one in several):
        raise BadDataError("a label must be text", where=where)
    if len(several) > 1:
        raise BadDataError(f"{len(several)} choices where one is the label", where=where)
    return several[0] if several[0].strip() else None
