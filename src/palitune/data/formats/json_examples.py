"""The formats "jsonl" and "tsv": examples with palitune's own keys or with other ones, also as one JSON list."""

from collections.abc import Iterable
from pathlib import Path

from palitune.data.formats import column_roles, json_documents, json_lines, source_labels, text_files, tsv
from palitune.data.formats.options import Fields, Found, Options
from palitune.errors import BadDataError


def read(path: Path, options: Options) -> Found:
    """Yields JSON objects, of lines or of one list. Raises MissingInputError or BadDataError if it cannot be read."""
    if text_files.starts_with(path, "[", options):
        return _examples(_listed(path, options), options)
    return _examples(_lines(path, options), options)


def _listed(path: Path, options: Options) -> Found:
    values = json_documents.read_json(path, options)
    if not isinstance(values, list):
        raise BadDataError("it must be a list of objects", where=str(path))
    for number, value in enumerate(values, 1):
        where = f"{path}: record {number}"
        if isinstance(value, dict):
            yield where, value
        else:
            options.lose("a record must be an object", where, _shown(value), "It needs an image and a label")


def _lines(path: Path, options: Options) -> Found:
    for where, line in text_files.read_lines(path, options):
        try:
            fields = json_lines.parse_object(line, where)
        except BadDataError as error:
            options.lose("a line is no record", where, error.what, error.hint or "")
            continue
        yield where, fields


def read_tsv(path: Path, options: Options) -> Found:
    """Yields lines of image and label, with a model's answer if it is there. Raises as `read`."""
    for where, line in text_files.read_lines(path, options):
        try:
            example, said = tsv.parse_answered(line, where)
        except BadDataError as error:
            options.lose("a line is no record", where, error.what, error.hint or "")
            continue
        fields: Fields = {"prefix": example.prompt, "suffix": example.label, "image": example.image.name}
        if said is not None:
            fields |= {"p_yes": said.p_yes, "answer": said.text}
        yield where, fields


def _examples(objects: Iterable[tuple[str, Fields]], options: Options) -> Found:
    for where, fields in objects:
        one = _example(fields, where, options)
        if one is not None:
            yield where, one


def _example(fields: Fields, where: str, options: Options) -> Fields | None:
    if "image" in fields and "suffix" in fields and not (options.image or options.label or options.prefix):
        chosen = column_roles.Roles("image", "suffix", "prefix")
    else:
        try:
            chosen = column_roles.of(list(fields), options, where)
        except BadDataError as error:
            options.lose("a record's keys do not tell what it is", where, error.what, error.hint or "")
            return None
    label = _label(fields[chosen.label], where, options)
    if label is None:
        return None
    image = fields[chosen.image]
    if not isinstance(image, str):
        options.lose("the image is no text", where, _shown(image), "It is the name of a file")
        return None
    prefix = fields.get(chosen.prefix) if chosen.prefix else ""
    if chosen == ("image", "suffix", "prefix"):
        return fields | {"suffix": label}
    rest = {key: value for key, value in fields.items() if key not in chosen}
    return source_labels.with_rest({"prefix": prefix, "suffix": label, "image": image}, rest, where, options)


def _label(value: object, where: str, options: Options) -> str | None:
    if isinstance(value, list) and len(value) > 1:
        said = [source_labels.label_text(one.get("answer") if isinstance(one, dict) else one) for one in value]
        if None not in said:
            return source_labels.agreed_label(
                [one for one in said if one], "several labels for one record", where, options
            )
    label = source_labels.label_text(value)
    if label is None:
        options.lose("the label is empty or no single label", where, _shown(value))
    return label


def _shown(value: object) -> str:
    return repr(value)[:80] if not isinstance(value, (list, dict)) else f"{type(value).__name__} of {len(value)}"
