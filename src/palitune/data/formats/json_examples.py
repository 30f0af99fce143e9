"""The formats "jsonl" and "tsv": examples with palitune's own keys or with other ones, also as one JSON list."""

from collections.abc import Callable, Iterable
from pathlib import Path

from palitune.data.formats import (
    column_roles,
    json_documents,
    json_lines,
    label_values,
    source_labels,
    text_files,
    tsv,
)
from palitune.data.formats.label_values import LabelNames
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
    """Yields lines of image or text and label, with a model's answer if it is there. Raises as `read`."""
    is_image: Callable[[str], bool] = _every if options.folders is None else options.folders.names
    for where, line in text_files.read_lines(path, options):
        try:
            example, said = tsv.parse_answered(line, where, is_image=is_image)
        except BadDataError as error:
            options.lose("a line is no record", where, error.what, error.hint or "")
            continue
        of_text = options.text is not None or (options.image is None and not example.images)
        key = "text" if of_text else "image"
        fields: Fields = {"prefix": example.prompt, "suffix": example.label, key: example.subject}
        if said is not None:
            fields |= {"p_yes": said.p_yes, "answer": said.text}
        yield where, fields


def _every(name: str) -> bool:
    return True


def _examples(objects: Iterable[tuple[str, Fields]], options: Options) -> Found:
    for where, fields in objects:
        one = _example(fields, where, options)
        if one is not None:
            yield where, one


def _example(fields: Fields, where: str, options: Options) -> Fields | None:
    if fields.get("image", "") is None and isinstance(fields.get("text"), str):
        fields = {key: value for key, value in fields.items() if key != "image"}
    is_named = options.image or options.label or options.prefix or options.text or options.labels
    if "messages" in fields and fields.get("image") is None:
        options.lose("a chat is among other records", where, hint="Put the chats into a file of their own")
        return None
    if options.labels or (not options.label and "suffix" not in fields and isinstance(fields.get("labels"), dict)):
        return _of_several(fields, where, options)
    if "image" in fields and "suffix" in fields and not is_named:
        chosen = column_roles.OWN_ROLES
    else:
        try:
            chosen = column_roles.of(list(fields), options, where)
        except BadDataError as error:
            options.lose("a record's keys do not tell what it is", where, error.what, error.hint or "")
            return None
    label = _label(fields[chosen.label or ""], where, options)
    if label is None:
        return None
    about = _about(fields, chosen, where, options)
    if about is None or chosen == column_roles.OWN_ROLES:
        return None if about is None else fields | {"suffix": label}
    rest = {key: value for key, value in fields.items() if key not in chosen}
    prefix = fields.get(chosen.prefix) if chosen.prefix else ""
    return source_labels.with_rest({"prefix": prefix, "suffix": label} | about, rest, where, options)


def _about(fields: Fields, chosen: column_roles.Roles, where: str, options: Options) -> Fields | None:
    """The image and the text of an object, as far as they are there; None where one is no text."""
    found: Fields = {}
    if chosen.image is not None:
        image = fields[chosen.image]
        if not isinstance(image, str) and not (image is None and chosen.text is not None):
            options.lose("the image is no text", where, _shown(image), "It is the name of a file")
            return None
        found |= {"image": image} if image is not None else {}
    if chosen.text is not None:
        if not isinstance(fields[chosen.text], str):
            options.lose('"text" is no text', where, _shown(fields[chosen.text]))
            return None
        found["text"] = fields[chosen.text]
    return found


def _of_several(fields: Fields, where: str, options: Options) -> Fields | None:
    """The example of an object with several labels, which become `labels`."""
    names = LabelNames(options.labels)
    try:
        chosen = column_roles.of(list(fields), options._replace(labels=names.names or ("labels", "label")), where)
        answers: Fields = {name: fields.get(name) for name in names.names}
        if label_values.are_in(fields):
            answers = dict(label_values.answers_of(fields, names, None, where))
    except BadDataError as error:
        options.lose("several labels do not tell what they are", where, error.what, error.hint or "")
        return None
    if chosen.text is None and isinstance(fields.get("text"), str):
        chosen = chosen._replace(text="text")
    about = _about(fields, chosen, where, options)
    if about is None:
        return None
    taken = {*chosen, *names.names, *(("labels", "label") if label_values.are_in(fields) else ())}
    rest = {key: value for key, value in fields.items() if key not in taken}
    prefix = fields.get(chosen.prefix) if chosen.prefix else ""
    return source_labels.with_rest({"prefix": prefix} | about | {"labels": answers}, rest, where, options)


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
