"""Files of examples: JSONL, or TSV without a header; which of them, the first line tells."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from palitune.data.example import Example
from palitune.data.formats import error_hints, jsonl, tsv
from palitune.data.formats.jsonl import parse as parse_json
from palitune.data.formats.lines import Line, Lines
from palitune.data.formats.tsv import parse as parse_tsv
from palitune.data.image_folders import ImageFolders
from palitune.data.invisible_characters import shown
from palitune.data.prediction import Prediction
from palitune.errors import BadDataError
from palitune.labels import LABELS, plain, plain_set

T = TypeVar("T")


class Reader(Lines):
    """The lines of a file, and examples of them."""

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
        self.is_image = (folders or ImageFolders.beside(path)).names

    def examples(self) -> Iterator[tuple[Line, Example]]:
        """All lines with their examples. Raises as `__iter__` and `example`."""
        return self._each(self.example)

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

    def example(self, line: Line) -> Example:
        """Raises BadDataError: the line is not an example."""
        where, text = self.text(line)
        if self.kind == "jsonl":
            return parse_json(text, where, self.labelled)
        return parse_tsv(text, where, self.labelled, self.is_image)

    def prediction(self, line: Line) -> tuple[Example, Prediction | None]:
        """The example, and what a model said of it, where the line tells. Raises as `example`."""
        where, text = self.text(line)
        if self.kind == "jsonl":
            example = jsonl.parse(text, where, self.labelled)
            return example, jsonl.prediction(example)
        return tsv.parse_answered(text, where, self.labelled, self.is_image)


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
    """Raises BadDataError at the first label that is none of the labels: a confusion matrix needs known classes."""
    known = plain_set(labels)
    for example in examples:
        if example.label not in known and plain(example.label) not in known:
            none_of = "neither yes nor no" if tuple(labels) == LABELS else f"none of {', '.join(labels)}"
            hint = error_hints.YES_OR_NO if tuple(labels) == LABELS else "--labels names others"
            if renamed := error_hints.of_label(example.label):
                hint = f"A confusion matrix needs yes or no: {renamed}"
            raise BadDataError(f"suffix {shown(example.label)} is {none_of}", where=example.where, hint=hint)
