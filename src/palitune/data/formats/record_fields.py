"""Which column of a table, or key of a line of JSON, is the image, the text, the label and the question of a record."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from palitune.config.model import FolderSettings
from palitune.data.example import Example, simple, simple_text, targets_of
from palitune.data.formats import chat_examples, column_roles, jsonl, label_values, table_rows
from palitune.data.formats.json_lines import Fields
from palitune.data.formats.label_renaming import Renaming
from palitune.data.formats.label_values import LabelNames
from palitune.errors import BadDataError, listed
from palitune.labels import canonical

OWN = ("image", "text", "suffix", "prefix")  # palitune's own keys, in the order of their options
OPTIONS = {"image": "--image-column", "text": "--text-column", "suffix": "--label-column", "prefix": "--prompt-column"}
THINGS = ("image", "text", "prefix")
# Usual names of columns; of several the first group counts that has one.
USUAL: dict[str, Sequence[Sequence[str]]] = {
    "image": column_roles.IMAGES,
    "text": column_roles.TEXTS,
    "suffix": column_roles.LABELS_OF_TEXTS,
    "prefix": column_roles.PREFIXES_OF_TEXTS,
}
VALUES = re.compile(r"(yes|no|true|false|-?\d+([.,]\d+)?)$|.*\.(jpe?g|png|gif|webp|bmp)$", re.IGNORECASE)
MOST_COLUMNS = 10_000


class RecordFields:
    """How records are read: which fields they have, and what their labels are named.

    Attributes:
      is_plain: whether nothing differs from palitune's own names.
    """

    def __init__(self, settings: FolderSettings) -> None:
        """Raises MissingInputError, BadDataError: the file of questions cannot be used."""
        given = (settings.image_column, settings.text_column, settings.label_column, settings.prompt_column)
        self.given = {own: name for own, name in zip(OWN, given, strict=True) if name}
        self.renaming = Renaming(settings.map)
        questions: Mapping[str, str] = {}
        if settings.questions:
            questions = label_values.read_questions(Path(settings.questions), settings.label_columns)
        self.download = settings.allow_download
        self.labels = LabelNames(settings.label_columns, questions)
        self.is_plain = not (self.given or settings.map or self.labels.names or questions or self.download)
        self.by_number = bool(self.given) and all(name.isdecimal() for name in self.given.values())

    def header(self, text: str, where: str) -> tuple[tuple[str, ...], str] | None:
        """The names of columns and what separates them, if a first line is a header; else None.

        Raises:
          BadDataError: it is one, and lacks columns that were named, or two have the same name.
        """
        if self.by_number or len(text) > table_rows.LONGEST_ROW:
            return None
        named = [*self.given.values(), *self.labels.names]
        best: tuple[str, ...] = ()
        for separator in table_rows.SEPARATORS:
            if separator not in text:
                continue
            try:
                cells = tuple(cell.strip() for cell in table_rows.cells_of(text, separator, where))
            except BadDataError:
                continue
            if set(named) <= set(cells) if named else self._is_header(cells):
                self._require_different(cells, where)
                return cells, separator
            best = max(best, cells, key=len)
        if named and (missing := [name for name in named if name not in best]) and best:
            what = f"no column {missing[0]}; there are {listed(list(best)[:50])}"
            raise BadDataError(what, where=where, hint="The first line of a table has the names of its columns")
        return None

    @staticmethod
    def require_header(text: str, where: str) -> None:
        """Raises BadDataError where the first line of a table has names, and none of an image or a text."""
        best = max((text.split(separator) for separator in table_rows.SEPARATORS), key=len)
        names = [cell.strip().strip('"') for cell in best]
        if len(names) > 1 and "\t" not in text and all(names) and not any(map(VALUES.match, names)):
            hint = "--text-column NAME says which, and --label-column or --label-columns what is right"
            raise BadDataError(
                f"no column is an image or a text; there are {listed(names[:50])}", where=where, hint=hint
            )

    @staticmethod
    def _require_different(cells: Sequence[str], where: str) -> None:
        names = [cell for cell in cells if cell]
        if len(set(names)) < len(names):
            raise BadDataError("two columns have the same name", where=where)
        if len(cells) > MOST_COLUMNS:
            raise BadDataError(f"{len(cells):,} columns; {MOST_COLUMNS:,} are allowed", where=where)

    @staticmethod
    def _is_header(cells: Sequence[str]) -> bool:
        """Whether cells are the usual names of an image, a text or a question and of something else."""
        names = {cell.lower() for cell in cells}
        known = {own for own, tiers in USUAL.items() if any(name in tier for tier in tiers for name in names)}
        two = len(cells) > 1 and bool(known & set(THINGS)) and not any(VALUES.match(cell) for cell in cells)
        return two and ("suffix" in known or len(known) > 1 or len(cells) > 2)

    def columns(self, columns: Sequence[str], labelled: bool, where: str) -> dict[str, str]:
        """The column of each of palitune's own keys that a table has.

        Raises:
          BadDataError: it has no image, text or question, or no label where there has to be one, or may have two.
        """
        found = dict(self.given)
        taken = {*found.values(), *self.labels.names}
        for own, tiers in USUAL.items():
            if own not in found and not (own == "suffix" and self.labels.names):
                name = _usual([column for column in columns if column not in taken], own, tiers, where)
                found |= {own: name} if name else {}
                taken.add(name or "")
        there = listed([name for name in columns if name][:50])
        if not any(own in found for own in THINGS):
            raise BadDataError(
                f"no column is an image or a text; there are {there}", where=where, hint="--text-column NAME says which"
            )
        if labelled and "suffix" not in found and not self.labels.names:
            hint = "--label-column NAME says which, --label-columns A,B,C of several"
            raise BadDataError(f"no column is the label; there are {there}", where=where, hint=hint)
        return found

    def of_row(self, row: Mapping[str, str], columns: Mapping[str, str], where: str, labelled: bool) -> Example:
        """The example of a row of a table. Raises BadDataError: it has an empty cell, or a label that is none."""
        return self._example(_renamed(row, columns), where, labelled)

    def of_object(self, fields: Fields, where: str, labelled: bool) -> Example:
        """The example of a line of JSON. Raises BadDataError: it lacks a key, or a value is no text."""
        if self.by_number:
            raise BadDataError("a number names a column of TSV, and this is JSON", where=where, hint="Name its key")
        for own, name in self.given.items():
            if name not in fields and not (own == "suffix" and not labelled):
                there = listed([str(key) for key in fields][:50])
                raise BadDataError(f'the record has no "{name}"; there are {there}', where=where, hint=OPTIONS[own])
        return self._example(_renamed(fields, self.given), where, labelled)

    def _example(self, fields: Fields, where: str, labelled: bool) -> Example:
        if "messages" in fields and fields.get("image") is None:
            return chat_examples.of_fields(fields, where, labelled, self.download)
        if self.labels.names or label_values.are_in(fields):
            return jsonl.of_several(fields, where, self.labels, self.renaming)
        for key in jsonl.LABEL_KEYS:
            if isinstance(fields.get(key), (bool, int, float)):
                fields[key] = json.dumps(fields[key])
            if isinstance(label := fields.get(key), str) and self.renaming.names:
                fields[key] = self.renaming(label)
        return jsonl.of_fields(fields, where, labelled)

    def of_columns(self, text: str, where: str, labelled: bool) -> Example:
        """The example of a line of TSV whose columns are named by their numbers. Raises BadDataError: it has fewer."""
        cells = text.split("\t")
        found = {own: self._cell(cells, own, int(name), where, labelled) for own, name in self.given.items()}
        if "suffix" not in found:
            rest = [cell for number, cell in enumerate(cells, 1) if str(number) not in self.given.values()]
            if len(rest) != 1 and labelled:
                what = f"{len(cells)} columns between tabs, and which one is the label is not said"
                raise BadDataError(what, where=where, hint="--label-column NUMBER says it")
            found["suffix"] = rest[0] if len(rest) == 1 else ""
        name, content, label = found.get("image", ""), found.get("text", ""), canonical(found["suffix"])
        if not (name or content or found.get("prefix")) or (labelled and not label):
            raise BadDataError("a column is empty", where=where)
        if name and content:
            return self._example({own: cell for own, cell in found.items() if cell}, where, labelled)
        made = simple(name, found.get("prefix", ""), label, where) if name else None
        return self.relabelled(made or simple_text(content, found.get("prefix", ""), label, where))

    def _cell(self, cells: Sequence[str], own: str, number: int, where: str, labelled: bool) -> str:
        if 0 < number <= len(cells):
            return cells[number - 1]
        if own == "suffix" and not labelled:
            return ""
        raise BadDataError(f"{len(cells)} columns between tabs, and {OPTIONS[own]} is {number}", where=where)

    def relabelled(self, example: Example) -> Example:
        """An example of TSV with the new name of its label."""
        if not self.renaming.names or not example.label:
            return example
        return example._replace(targets=targets_of(canonical(self.renaming(example.label))))


def _usual(columns: Sequence[str], own: str, tiers: Sequence[Sequence[str]], where: str) -> str | None:
    for tier in tiers:
        found = [name for name in columns if name.lower() in tier]
        if len(found) > 1:
            what = f"several columns may be the {own if own in ('image', 'text') else OPTIONS[own][2:-7]}"
            raise BadDataError(f"{what}: {listed(found)}", where=where, hint=f"{OPTIONS[own]} {found[0]} chooses")
        if found:
            return found[0]
    return None


def _renamed(fields: Mapping[str, object], columns: Mapping[str, str]) -> Fields:
    """Fields with palitune's own keys; another column of such a name stays as NAME_column."""
    chosen = set(columns.values())
    found: Fields = {}
    for name, value in fields.items():
        if name not in chosen:
            found[f"{name}_column" if name in columns else name] = value
    for own, name in columns.items():
        if name in fields:
            value = fields[name]
            found[own] = value.strip() if own in ("image", "suffix") and isinstance(value, str) else value
    return found
