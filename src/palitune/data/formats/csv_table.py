"""The format "csv": tables with a header (RFC 4180), as spreadsheets and pandas write them."""

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from palitune.data.formats import column_roles, source_labels, text_files
from palitune.data.formats.json_lines import to_json
from palitune.data.formats.options import OWN, Fields, Found, Options
from palitune.errors import BadDataError

SEPARATORS = (",", ";", "\t", "|")
LONGEST_CELL = 1 << 26  # characters
EXCEL = re.compile(r'"?sep=(.)"?\s*(?:\r\n|\r|\n|\Z)', re.I)  # Excel's own line, which names the separator
RECORD = re.compile(r"\.(jpe?g|jfif|png|gif|webp|bmp|tiff?|heic|avif)$|^https?://", re.I)
QUOTED = re.compile(r'"((?:[^"]|"")*)"')
VALUES = ("yes", "no", "true", "false", "0", "1")  # no column has such a name
# The start of a formula for spreadsheets, also in full width.
FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")  # noqa: RUF001
NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
OWN_OF_TEXTS = (("text", "prefix"), ("prefix", "suffix"))  # what tables without images begin with
SPARSE = 1_000_000  # cells that a table may have in addition to twenty for each filled one


def quoted(text: str) -> str:
    """Returns a cell that no spreadsheet runs as a formula."""
    return f"'{text}" if FORMULA.match(text) else text


def unquoted(text: str) -> str:
    """Returns a cell as it was before `quoted`."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def first_cells(text: str) -> list[str]:
    """Returns the cells of the header, without blanks around them."""
    start = found.end() if (found := EXCEL.match(text)) else 0
    line = re.match(r"[^\r\n]*", text[start:])
    separator = separator_of(text[start:], found)
    return [cell.strip() for cell in (line[0] if line else "").split(separator)]


def separator_of(text: str, excel: re.Match[str] | None = None) -> str:
    """Returns the separator of the columns: the one that Excel's line names, else the best one for the header."""
    if excel:
        return excel[1]
    head = text[: 1 << 16].splitlines()[0] if text else ""

    def meaning(separator: str) -> tuple[int, int]:
        cells = [cell.strip(' "').lower() for cell in head.split(separator)]
        return sum(cell in column_roles.NAMES for cell in cells) if len(cells) > 1 else 0, head.count(separator)

    return max(SEPARATORS, key=meaning)


class _Rows:
    """Rows of a CSV, each without the blanks around cells that are not quoted.

    Attributes:
      where: `file:line` of the last row.
    """

    def __init__(self, text: str, path: Path) -> None:
        excel = EXCEL.match(text)
        body = text[excel.end() :] if excel else text
        self.path, self.before = path, 1 if excel else 0
        self.raw: list[str] = []
        csv.field_size_limit(LONGEST_CELL)
        self.reader = csv.reader(
            self._remembered(io.StringIO(body, newline="")),
            delimiter=separator_of(body, excel),
            strict=True,
            skipinitialspace=True,
        )
        self.where = f"{path}:1"

    def _remembered(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self.raw.append(line)
            yield line.removeprefix(text_files.MARK)  # of a file that was joined from others

    def __iter__(self) -> Iterator[list[str]]:
        while True:
            self.raw.clear()
            try:
                row = next(self.reader)
            except StopIteration:
                return
            except csv.Error as error:
                where = f"{self.path}:{self.before + self.reader.line_num}"
                hint = None if "expected after" not in str(error) else "Blanks after a closing quote are not read"
                raise BadDataError(f"broken CSV ({error})", where=where, hint=hint) from None
            self.where = f"{self.path}:{self.before + self.reader.line_num}"
            if any(cell != cell.strip() for cell in row):
                kept = {text.replace('""', '"') for text in QUOTED.findall("".join(self.raw))}
                row = [cell if cell in kept else cell.strip() for cell in row]
            yield row


def read(path: Path, options: Options) -> Found:
    """Yields the rows. Raises MissingInputError or BadDataError if the file cannot be read, or lacks columns."""
    text = text_files.read_text(path, options)
    if "\0" in text:
        where = f"{path}:{text[: text.index(chr(0))].count(chr(10)) + 1}"
        raise BadDataError("the file has a NUL character", where=where, hint="--encoding reads other texts than UTF-8")
    rows = _Rows(text, path)
    waiting = iter(rows)
    columns = next(waiting, [])
    named = [name for name in columns if name]
    if len(set(named)) < len(named):
        raise BadDataError("two columns have the same name", where=rows.where)
    chosen = _roles(columns, options, rows.where)
    own = _is_own(columns) and not options.formulas
    nameless = _Nameless([i for i, name in enumerate(columns) if not name], options)
    for row in waiting:
        if not any(row) or row == columns:  # blank lines, and headers of files that were joined
            continue
        if len(row) > len(columns) and not any(row[len(columns) :]):
            row = row[: len(columns)]
        if len(row) != len(columns):
            detail = f"{len(row)} columns, the header has {len(columns)}"
            options.lose("a row does not fit the header", rows.where, detail)
            continue
        nameless.see(row, rows.where)
        cells = {name: unquoted(cell) if own else cell for name, cell in zip(columns, row, strict=True) if name}
        if own:
            cells = {unquoted(name): cell for name, cell in cells.items()}
        fields = _record(cells, chosen, rows.where, options)
        if fields is not None:
            yield rows.where, fields


def _is_own(columns: Sequence[str]) -> bool:
    """Whether `lines` has written a table."""
    of_texts = "image" not in columns and tuple(columns[:2]) in OWN_OF_TEXTS
    return tuple(columns[:3]) == OWN or of_texts


def _roles(columns: list[str], options: Options, where: str) -> column_roles.Roles:
    try:
        return column_roles.of([name for name in columns if name], options, where)
    except BadDataError:
        if not any(RECORD.search(cell) or cell.lower() in VALUES for cell in columns):
            raise
    listed = ", ".join(columns)[:200]
    hint = "Put a line with the columns' names above it, such as image,label"
    raise BadDataError(f"the first line has no names but a record: {listed}", where=where, hint=hint)


def _record(cells: dict[str, str], chosen: column_roles.Roles, where: str, options: Options) -> Fields | None:
    own_text = "text" if "text" in cells and "text" not in chosen else None
    if chosen.image and (text := chosen.text or own_text) and not cells[chosen.image].strip() and cells[text].strip():
        chosen = chosen._replace(image=None, text=text)  # texts and images are in one table
    if chosen.text and chosen.prefix and not cells[chosen.text].strip() and cells[chosen.prefix].strip():
        chosen = chosen._replace(text=None)  # a question that stands for itself
    named = (("image", chosen.image), ("text", chosen.text), ("label", chosen.label))
    for what, name in named:
        no_values = source_labels.NO_VALUES if what != "text" else ("",)
        if name is not None and cells[name].strip().lower() in no_values:
            options.lose(f"the {what} is empty", where, cells[name])
            return None
    fields: Fields = {"prefix": cells[chosen.prefix] if chosen.prefix else ""}
    fields |= {"suffix": cells[chosen.label]} if chosen.label else {}
    fields |= {what: cells[name] for what, name in named[:2] if name is not None}
    fields |= {"labels": {name: cells.get(name) for name in options.labels}} if options.labels else {}
    taken = {*chosen, *options.labels}
    rest = {name: cell for name, cell in cells.items() if name not in taken}
    return source_labels.with_rest(fields, rest, where, options)


class _Nameless:
    """Columns without a name: those of trailing commas, and the row numbers of pandas. Other ones are losses."""

    def __init__(self, columns: Sequence[int], options: Options) -> None:
        self.columns, self.options = columns, options
        self.previous: int | None = None

    def see(self, row: list[str], where: str) -> None:
        for i in self.columns:
            cell = row[i]
            if not cell:
                continue
            if i == 0 and cell.isdecimal() and len(cell) < 20 and self.previous in (None, int(cell) - 1):
                self.previous = int(cell)
                self.options.remark("the column without a name has row numbers, and is left out", where)
            else:
                hint = "Give it a name in the first line"
                self.options.lose("a column has no name", where, f"{cell[:80]} in column {i + 1}", hint)


class _Echo:
    """A file for `csv.writer` whose `write` returns the text."""

    def write(self, text: str) -> str:
        return text


def lines(found: Found, options: Options) -> Iterator[str]:
    """Yields the lines of a table, which has the keys of all examples as columns; values other than text become JSON.

    Several labels are columns of their own.

    Raises:
      BadDataError: few examples have the same keys, so that the table would be almost empty.
    """
    everything = [(where, fields, _flat(fields, where, options)) for where, fields in found]
    everything = [one for one in everything if one[2] is not None]
    there = set[str]().union(*(fields for _, fields, _ in everything))
    own: Sequence[str] = OWN
    if everything and "image" not in there:
        own = [name for name in ("text", "prefix", "suffix") if name in there or (name == "prefix" and "text" in there)]
    columns = list(dict.fromkeys([*own, *itertools.chain.from_iterable(flat or () for _, _, flat in everything)]))
    filled = sum(len(flat or ()) for _, _, flat in everything)
    if len(columns) * len(everything) > 20 * filled + SPARSE:
        what = f"a table of {len(columns):,} columns and {len(everything):,} rows would be almost empty"
        raise BadDataError(what, hint="Records have to have the same keys")
    rows = [_row(flat or {}, "image" in fields, where, options) for where, fields, flat in everything]
    heads = {name: _cell(name, options) for name in columns if name}
    # Most readers end a line at a carriage return, which `csv` does not quote by itself; nor does it quote blanks.
    cells = itertools.chain(heads.values(), *(row.values() for row in rows))
    odd = any("\r" in cell or cell != cell.strip() for cell in cells)
    quoting: Literal[0, 1] = csv.QUOTE_ALL if odd else csv.QUOTE_MINIMAL
    writer = csv.DictWriter(_Echo(), list(heads), restval="", lineterminator="\n", quoting=quoting)
    yield str(writer.writerow(heads))
    for row in rows:
        yield str(writer.writerow(row))


def _flat(fields: Fields, where: str, options: Options) -> Fields | None:
    """An example's fields with several labels beside the others; None where a table has no room for them."""
    if "messages" in fields and "suffix" not in fields:
        options.lose("csv has no room for chats", where, hint="--turns makes a record of each question")
        return None
    if "suffix" in fields or "labels" not in fields:
        return fields
    rest = {key: value for key, value in fields.items() if key != "labels"}
    labels: dict[str, str | None] = fields["labels"]
    if twice := [name for name in labels if name in rest]:
        options.lose("a label has the name of another key", where, twice[0][:80])
        return None
    hint = f"--label-columns {','.join(labels)} reads them"
    options.remark("several labels become columns", where, hint=hint)
    return rest | {name: answer or "" for name, answer in labels.items()}


def _row(fields: Fields, of_image: bool, where: str, options: Options) -> dict[str, str]:
    row = {}
    for name, value in fields.items():
        text = value if isinstance(value, str) else to_json(value)
        if not isinstance(value, str):
            options.remark("numbers, lists and the like become text in CSV", where, name)
        if not name or "\0" in text or "\0" in name:
            what = "CSV has no room for NUL characters and keys without a name"
            options.lose(what, where, name[:80])
            continue
        # Numbers are not formulas; of texts, labels such as -1 stay as they are, so that every command reads them.
        is_number = not isinstance(value, str) or (not of_image and NUMBER.fullmatch(text) is not None)
        row[name] = text if is_number else _cell(text, options)
    return row


def _cell(text: str, options: Options) -> str:
    return text if options.formulas else quoted(text)
