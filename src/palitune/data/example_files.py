"""Files of examples: JSONL, TSV, or a table with a header; which of them, the first line tells."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from palitune import console
from palitune.data.example import Example
from palitune.data.formats import error_hints, json_lines, jsonl, table_rows, tsv
from palitune.data.formats.jsonl import parse as parse_json
from palitune.data.formats.lines import Line, Lines
from palitune.data.formats.record_fields import RecordFields
from palitune.data.formats.tsv import parse as parse_tsv
from palitune.data.image_folders import ImageFolders
from palitune.data.invisible_characters import shown
from palitune.data.prediction import Prediction
from palitune.errors import BadDataError, listed
from palitune.labels import LABELS, plain, plain_set

T = TypeVar("T")


class Reader(Lines):
    """The lines of a file, and examples of them.

    Attributes:
      count: records that `numbered` has read so far, those that are not kept too.
    """

    def __init__(
        self, path: Path, labelled: bool = True, name: str | None = None, folders: ImageFolders | None = None
    ) -> None:
        """Args:
        path: a file, or `-` for standard input.
        labelled: an example needs a label.
        name: of the file in messages.
        folders: where its images are, beside it by default; in TSV what is no image is a text.
        """
        super().__init__(path, name)
        self.labelled = labelled
        folders = folders or ImageFolders.beside(path)
        self.is_image = folders.names
        self.fields = RecordFields(folders.settings)
        self.is_plain = self.fields.is_plain
        self.by_name = not self.is_plain  # or it is a table
        self.columns: dict[str, str] = {}  # of a table, by palitune's own keys
        self.count = 0

    def header(self, text: str, where: str) -> tuple[tuple[str, ...], str] | None:
        """The names of columns and what separates them, if a first line is a header. Raises as `RecordFields`."""
        found = self.fields.header(text, where)
        if found is not None:
            self.by_name = True
            self.columns = self.fields.columns(found[0], self.labelled, where)
        elif self.name.lower().endswith((".csv", ".parquet")):
            self.fields.require_header(text, where)
        return found

    def examples(self) -> Iterator[tuple[Line, Example]]:
        """All lines with their examples. Raises as `__iter__` and `example`."""
        return self._each(self.example)

    def numbered(self, keep: Callable[[int], bool] | None = None) -> Iterator[Example]:
        """The examples with their numbers; a line whose number is not to `keep` is not parsed. Raises as `examples`."""
        lines = self.__iter__()
        try:
            for number, line in enumerate(lines):
                self.count = number + 1
                if keep is None or keep(number):
                    yield self.example(line)._replace(number=number)
        finally:
            lines.close()  # type: ignore[attr-defined]
        if not self.is_plain:
            self._tell_of_unused()

    def answered(self) -> Iterator[tuple[Line, tuple[Example, Prediction | None]]]:
        """All lines with their examples, and what a model said of them. Raises as `__iter__` and `prediction`."""
        return self._each(self.prediction)

    def _each(self, made: Callable[[Line], T]) -> Iterator[tuple[Line, T]]:
        lines = self.__iter__()
        try:
            for line in lines:
                yield line, made(line)
        finally:
            lines.close()  # type: ignore[attr-defined]  # and the file with it, whoever keeps the error
        if not self.is_plain:
            self._tell_of_unused()

    def example(self, line: Line) -> Example:
        """Raises BadDataError: the line is not an example."""
        where, text = self.text(line)
        if self.by_name:
            return self._by_name(text, where)
        if self.kind == "jsonl":
            return parse_json(text, where, self.labelled)
        return parse_tsv(text, where, self.labelled, self.is_image)

    def prediction(self, line: Line) -> tuple[Example, Prediction | None]:
        """The example, and what a model said of it, where the line tells. Raises as `example`."""
        if self.kind == "jsonl" or self.table is not None:
            example = self.example(line)
            return example, jsonl.prediction(example)
        where, text = self.text(line)
        example, said = tsv.parse_answered(text, where, self.labelled, self.is_image)
        if not self.is_plain and said is None:
            return self._by_name(text, where), None
        renamed = self.fields.relabelled(example)
        return renamed, said if said is None else said._replace(example=renamed, target=renamed.target)

    def _by_name(self, text: str, where: str) -> Example:
        """The example of a row of a table, or of a line whose columns, keys or labels have other names."""
        if self.table is not None:
            cells = table_rows.cells_of(text, self.table.separator, where)
            row = table_rows.fitted(cells, self.table.columns, where)
            return self.fields.of_row(row, self.columns, where, self.labelled)
        if self.kind == "jsonl":
            return self.fields.of_object(json_lines.parse_object(text, where), where, self.labelled)
        if self.fields.by_number:
            return self.fields.of_columns(text, where, self.labelled)
        if self.fields.labels.names or self.fields.given:
            what = "the first line has no names of columns"
            raise BadDataError(what, where=where, hint="Name a column of TSV by its number, or write a header above it")
        return self.fields.relabelled(parse_tsv(text, where, self.labelled, self.is_image))

    def _tell_of_unused(self) -> None:
        """Says once which names of --map no label has."""
        unused = [name for name in self.fields.renaming.names if name in self.fields.renaming.unused]
        if unused and (self.name, *unused) not in _told:
            _told.add((self.name, *unused))
            console.note(f"{self.name}: --map: no label is {listed(unused)}")


_told: set[tuple[str, ...]] = set()  # notes, each of which is printed once


def stream(path: Path, labelled: bool = True, folders: ImageFolders | None = None) -> Iterator[Example]:
    """The examples of a file or of standard input, one after another; images are not looked for.

    Raises:
      MissingInputError: there is no such file.
      BadDataError: the file is empty, or a line is not an example.
    """
    return (example for _, example in Reader(path, labelled, folders=folders).examples())


def read(path: Path, folders: ImageFolders | None = None) -> list[Example]:
    """All examples of a file, with their images' files. Raises as `stream` and `ImageFolders.locate`."""
    folders = folders or ImageFolders.beside(path)
    return [folders.placed(one) for one in stream(path, folders=folders)]


def require_labels(examples: Sequence[Example], labels: Sequence[str] = LABELS) -> None:
    """Raises BadDataError at the first label that is none of the labels: a confusion matrix needs known classes.

    Targets that have choices of their own are left alone.
    """
    known = plain_set(labels)
    for example in examples:
        if example.target.choices is not None:  # several labels, each of which is known
            continue
        if example.label not in known and plain(example.label) not in known:
            none_of = "neither yes nor no" if tuple(labels) == LABELS else f"none of {', '.join(labels)}"
            hint = error_hints.YES_OR_NO if tuple(labels) == LABELS else "--labels names others"
            if names := error_hints.of_labels({one.label for one in examples if one.label}):
                hint = f"{names} gives labels names that say what they mean"
            raise BadDataError(f"suffix {shown(example.label)} is {none_of}", where=example.where, hint=hint)
