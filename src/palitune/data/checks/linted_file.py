"""A data file as lint has read it: its examples, and findings about the lines that are not examples."""

from pathlib import Path
from typing import NamedTuple

from palitune.data.checks.example_checks import Finding
from palitune.data.example import Example
from palitune.data.example_files import Reader
from palitune.data.formats import error_hints
from palitune.data.formats.json_lines import RECORD
from palitune.data.formats.lines import Line
from palitune.data.formats.table_rows import Table
from palitune.data.image_folders import HINT as OUTSIDE
from palitune.data.image_folders import ImageFolders
from palitune.errors import BadDataError, MissingInputError, PalituneError

# Hints that add nothing to a finding.
USUAL = (RECORD, error_hints.TSV, OUTSIDE, "Formats are", "Images are looked for", "Replace the file")


class Entry(NamedTuple):
    """A line, and the example that it holds."""

    line: Line
    example: Example


class LintedFile(NamedTuple):
    """A data file.

    Attributes:
      path: the file.
      kind: "jsonl", "tsv" or "csv".
      entries: the lines that are examples.
      broken: the number of lines that are not; each has a finding.
      subset: one of subset_names.PARTS; None if the name of the file does not say it.
      table: its header, if it has one.
      image_column: the column of a table that names images.
    """

    path: Path
    kind: str
    entries: list[Entry]
    broken: int = 0
    subset: str | None = None
    table: Table | None = None
    image_column: str | None = None


def read(path: Path, folders: ImageFolders, findings: list[Finding]) -> LintedFile:
    """Reads a file and looks for its images; adds what is wrong with its lines to `findings`.

    Raises:
      MissingInputError: there is no such file.
    """
    reader = Reader(path, folders=folders)
    entries: list[Entry] = []
    located: dict[str, Path] = {}  # many lines may share one image, and a path takes more memory than its line
    total = 0
    try:
        for line in reader:
            total += 1
            try:
                example = reader.example(line)
                entries.append(Entry(line, _placed(example, folders, located)))
            except BadDataError as error:
                findings.append(finding_of(error, f"{path}:{line[0]}"))
    except BadDataError as error:
        findings.append(finding_of(error, str(path)))
    table, columns = reader.table, reader.columns
    broken = total - len(entries)
    return LintedFile(path, reader.kind or "jsonl", entries, broken, None, table, columns.get("image"))


def _placed(example: Example, folders: ImageFolders, located: dict[str, Path]) -> Example:
    if len(example.images) != 1:
        return folders.placed(example)
    if example.image.path.is_absolute():
        return example
    name = example.image.name
    if name not in located:
        located[name] = folders.locate(name, example.where)
    return example.with_image(path=located[name])


def finding_of(error: PalituneError, where: str) -> Finding:
    """Returns an error as a finding, at `where` if it does not say where it is."""
    check = "missing picture" if isinstance(error, MissingInputError) else "unusable"
    advice = f". {error.hint}" if error.hint and not any(usual in error.hint for usual in USUAL) else ""
    return Finding("error", check, error.where or where, error.what + advice)
