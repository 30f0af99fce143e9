"""Several labels of one record: their names, their questions, and what is right of each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.data.example import Target
from palitune.data.formats.json_lines import Fields
from palitune.data.formats.label_renaming import Renaming
from palitune.data.formats.lines import LONGEST, LONGEST_LINE
from palitune.data.invisible_characters import shown
from palitune.errors import BadDataError, MissingInputError, listed
from palitune.labels import LABELS

MOST = 1_000  # labels of one record
YES, NO = ("yes", "true", "1", "1.0"), ("no", "false", "0", "0.0")
UNKNOWN = ("", "nan", "<na>", "#n/a", "null", "none")  # what tables say where there is nothing
NAMES = "--label-columns A,B,C gives the names of the labels"


class LabelNames(NamedTuple):
    """Which labels records have, in their order; empty where each record tells.

    Attributes:
      names: of the labels.
      questions: what is asked for each, by name; others are asked the default question.
    """

    names: tuple[str, ...] = ()
    questions: Mapping[str, str] = {}


NO_NAMES = LabelNames()


def question_of(name: str, of_image: bool) -> str:
    """The question for a label of which nobody has said how it is asked for."""
    plain = name.replace("_", " ").strip()
    return f"Does {plain} apply to this image?" if of_image else f"Is this text {plain}?"


def read_questions(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Questions by the names of labels, from lines of name, tab, question.

    Args:
      names: which labels there are; empty if any are allowed.

    Raises:
      MissingInputError, BadDataError: the file cannot be read, a line is none, or a name is none of those.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LONGEST_LINE + 1)
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(raw) > LONGEST_LINE:
        raise BadDataError(f"larger than {LONGEST_LINE:,} bytes", where=str(path))
    try:
        lines = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise BadDataError("not UTF-8 text", where=str(path), hint="Save the file as UTF-8") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        name, _, question = (part.strip() for part in line.partition("\t"))
        if not (name and question) or len(question) > LONGEST:
            raise BadDataError("a line is the name of a label, a tab and its question", where=where)
        if names and name not in names:
            raise BadDataError(f"no label is named {shown(name)}; there are {listed(list(names))}", where=where)
        if found.setdefault(name, question) != question:
            raise BadDataError(f"{shown(name)} has two questions", where=where)
    return found


def are_in(fields: Mapping[str, object]) -> bool:
    """Whether an object has several labels in palitune's own form, or in that of ms-swift, and not a single one."""
    return "suffix" not in fields and (
        isinstance(fields.get("labels"), (dict, list)) or isinstance(fields.get("label"), list)
    )


def answers_of(fields: Fields, asked: LabelNames, renaming: Renaming | None, where: str) -> dict[str, str | None]:
    """What is right of each label, "yes" or "no" by name, None where that is unknown.

    `labels` is an object of names and values, or a list of the names of those that apply; `label` a list of their
    numbers from 0, as ms-swift has it. Else the labels are keys of their own.

    Raises:
      BadDataError: a value is neither yes nor no, a name or number is none of the labels, or a label has two values.
    """
    given = fields.get("labels")
    if isinstance(given, dict):
        names = asked.names or tuple(given)
        if not names or len(names) > MOST:
            raise BadDataError(f'"labels" has {len(names):,} labels, 1 to {MOST:,} are allowed', where=where)
        _require_names(given, names, where)
        answers = {name: _value(given.get(name), name, renaming, where) for name in names}
        return _undisputed(answers, asked, fields, renaming, where)
    names = asked.names or tuple(asked.questions)
    positives = given if isinstance(given, list) else fields.get("label")
    if isinstance(positives, list):
        if not names:
            raise BadDataError("a list of labels does not tell which there are", where=where, hint=NAMES)
        chosen = {_name(one, names, where) for one in positives}
        answers = {name: LABELS[0] if name in chosen else LABELS[1] for name in names}
        return _undisputed(answers, asked, fields, renaming, where)
    return {name: _value(fields.get(name), name, renaming, where) for name in names}


def _undisputed(
    answers: dict[str, str | None], asked: LabelNames, fields: Fields, renaming: Renaming | None, where: str
) -> dict[str, str | None]:
    """The answers. Raises BadDataError where a key of a label's name says the opposite; it may also be a score."""
    for name in asked.names:
        try:
            own = _value(fields.get(name), name, renaming, where)
        except BadDataError:
            continue
        if own is not None and answers[name] not in (None, own):
            what = f"{shown(name)} is {own} in its own key and {answers[name]} among the labels"
            raise BadDataError(what, where=where, hint="Remove one of them")
    return answers


def _require_names(given: Mapping[str, object], names: Sequence[str], where: str) -> None:
    """Raises BadDataError where a label that is not there has the name of one that is, but for case and blanks."""
    if set(names) <= set(given):
        return
    others = {str(name).strip().lower(): str(name) for name in given if name not in names}
    for name in names:
        if name not in given and (other := others.get(name.strip().lower())) is not None:
            raise BadDataError(f'"labels" has {shown(other)}, and the label is {shown(name)}', where=where, hint=NAMES)


def _name(one: object, names: Sequence[str], where: str) -> str:
    if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < len(names):
        return names[one]
    if isinstance(one, str) and one in names:
        return one
    raise BadDataError(f"{one!r:.60} is none of the labels {listed(list(names))}", where=where, hint=NAMES)


def _value(value: object, name: str, renaming: Renaming | None, where: str) -> str | None:
    if value is None or isinstance(value, bool):
        return None if value is None else LABELS[0] if value else LABELS[1]
    text = str(value)
    plain = (renaming(text) if renaming is not None else text).strip().lower()
    if plain in YES:
        return LABELS[0]
    if plain in NO:
        return LABELS[1]
    if plain in UNKNOWN:
        return None
    what = f"{name[:60]} is {shown(text)} and neither yes nor no"
    raise BadDataError(what, where=where, hint="--map OLD=yes gives values other names; an empty one is unknown")


def targets_of(answers: Mapping[str, str | None], questions: Mapping[str, str], of_image: bool) -> tuple[Target, ...]:
    """A target for each label: yes or no, and its own question."""
    return tuple(
        Target(name, LABELS, answer, questions.get(name) or question_of(name, of_image))
        for name, answer in answers.items()
    )
