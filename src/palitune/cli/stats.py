"""How often yes and no are there, or other labels."""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from palitune import streams
from palitune.cli import arguments
from palitune.config.model import RECORDS, FolderSettings
from palitune.errors import BadDataError, UsageError

if TYPE_CHECKING:
    from palitune.data.checks.label_census import Census
    from palitune.data.checks.label_counts import NoColumnError

DESCRIPTION = """\
Counts yes and no in every column that says one of them in each line (true, false, 1 and 0 too), or in --columns. FILE
is JSONL, whose keys are columns; TSV, of which the label is one; or CSV with a header. Where no column says yes or no,
and where options say how records are read, it counts the records' labels, and of chats their turns.
"""
EXAMPLES = """\
examples:
  palitune stats dataset/data.jsonl               suffix: so many yes, so many no
  palitune stats toxicity.csv --columns toxic,obscene,insult
  palitune stats reviews.jsonl --map 1=positive 0=normal -1=negative
"""


def names(text: str) -> list[str]:
    """Returns different names of columns, separated by commas."""
    chosen = text.split(",")
    if not all(chosen) or len(set(chosen)) < len(chosen):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of different names")
    return chosen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune stats` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSONL, TSV or CSV; - is standard input")
    parser.add_argument("--columns", type=names, metavar="A,B", help="columns to count (all that say yes or no)")
    parser.add_argument("--json", action="store_true", help="as one JSON object a file")
    arguments.add(parser, FolderSettings, ("questions", "allow_outside"))


def run(args: argparse.Namespace) -> None:
    """Runs `palitune stats` with the arguments that were given."""
    from palitune.data.checks import label_census, label_counts
    from palitune.data.checks.label_tables import share_counts, share_table

    how = args.typed & set(RECORDS)
    if args.columns and how:
        raise UsageError(f"--columns and --{sorted(how)[0].replace('_', '-')} say in two ways what is counted")
    for file in args.files:
        census: Census | None
        head = f"{file}:\n" if len(args.files) > 1 else ""
        try:
            table = None if how else label_counts.read(Path(file), args.columns)
        except label_counts.NoColumnError as error:
            table, census = None, _of_others(file, args, error)
        else:
            census = _census(Path(file), args) if how else None
        if table is not None and args.json:
            counts = share_counts(table.names, table.values)
            streams.document({"file": file, "records": len(table.lines), "columns": counts})
        elif table is not None:
            print(head + share_table(table.names, table.values), flush=True)
        elif census is not None and args.json:
            streams.document({"file": file} | label_census.as_json(census))
        elif census is not None:
            print(head + "\n".join(label_census.lines(census)), flush=True)


def _of_others(file: str, args: argparse.Namespace, error: "NoColumnError") -> "Census":
    """The labels of a file in which no column says yes or no. Raises the error if its lines are no records."""
    try:
        if file != "-":
            return _census(Path(file), args)
        with tempfile.NamedTemporaryFile() as copy:
            copy.write(error.content)
            copy.flush()
            return _census(Path(copy.name), args, "stdin")
    except BadDataError:
        raise error from None


def _census(path: Path, args: argparse.Namespace, name: str | None = None) -> "Census":
    from palitune.data.checks import label_census
    from palitune.data.example_files import Reader
    from palitune.data.image_folders import ImageFolders

    beside = Path("-") if name else path
    return label_census.take(Reader(path, name=name, folders=ImageFolders.of(beside, arguments.folders(args))))
