"""Fewer examples, in proportion."""

import argparse
import sys

from palitune.cli import stats, values
from palitune.errors import UsageError

DESCRIPTION = """\
Leaves out lines of FILE at random until each column's share of yes is near --target. Lines with a yes in any of the
columns stay; with --drop-yes a line may also go if every column in which it says yes is above the target. The lines
that stay are written as they are and in their order; counts before and after go to standard error.
"""
EXAMPLES = """\
examples:
  palitune thin all.tsv > thinned.tsv             as few no as yes, where no is the more frequent one
  palitune thin toxicity.csv --columns toxic,obscene,insult --target 0.3 -o thinned.csv
  palitune thin toxicity.jsonl --target obscene=0.2,violent=0.3    a share of each label
  palitune thin tweets.jsonl --positive negative --target 0.4     one class against the rest
  palitune thin dataset/data.jsonl --drop-yes     also where yes is the more frequent one
"""


def targets(text: str) -> float | dict[str, float]:
    """Returns a share, or the share of each of some columns, from A=0.2,B=0.3."""
    if "=" not in text:
        return values.share(text)
    parts = [part.rpartition("=") for part in text.split(",")]
    names = [name.strip() for name, _, _ in parts]
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of different columns with their shares: A=0.2,B=0.3")
    return {name: values.share(share) for name, (_, _, share) in zip(names, parts, strict=True)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune thin` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("file", metavar="FILE", help="JSONL, TSV or CSV; - is standard input")
    text = "columns to balance (all that say yes or no)"
    parser.add_argument("--columns", type=stats.names, metavar="A,B", help=text)
    text = "share of yes that every column is to come near, or A=SHARE,B=SHARE of each of some columns (%(default)s)"
    parser.add_argument("--target", type=targets, default=0.5, metavar="SHARE", help=text)
    text = "the label that counts as yes, and any other as no, in the columns that have it (yes)"
    parser.add_argument("--positive", metavar="LABEL", help=text)
    parser.add_argument("--drop-yes", action="store_true", help="lines with a yes may go too")
    parser.add_argument("--seed", type=values.seed, default=0, help="another seed drops others (%(default)s)")
    parser.add_argument("-o", "--output", metavar="OUT", help="a file that is not there yet (standard output)")
    parser.add_argument("--overwrite", action="store_true", help="let -o replace a file")


def _targets(args: argparse.Namespace) -> tuple[list[str] | None, float | dict[str, float]]:
    """The columns to balance, and the share of all of them or of each.

    Raises:
      UsageError: --columns and --target name different ones.
    """
    if not isinstance(args.target, dict):
        return args.columns, float(args.target)
    columns = args.columns or list(args.target)
    if set(columns) != set(args.target):
        raise UsageError(f"--columns {','.join(columns)} and --target name different columns: leave --columns out")
    return columns, args.target


def run(args: argparse.Namespace) -> None:
    """Runs `palitune thin` with the arguments that were given."""
    from pathlib import Path

    from palitune import streams, workspace
    from palitune.data.checks import label_counts, thinning
    from palitune.data.checks.label_tables import share_table
    from palitune.storage import atomic_files

    target = workspace.file_to_write(args.output, args.overwrite) if args.output else None
    columns, target_of = _targets(args)
    table = label_counts.read(Path(args.file), columns, args.positive)
    wanted = target_of if isinstance(target_of, float) else [target_of[name] for name in table.names]
    keep = thinning.thin(table, wanted, args.drop_yes, args.seed)
    content = table.head + b"".join(line for line, kept in zip(table.lines, keep.tolist(), strict=True) if kept)
    if target is None:
        streams.raw(content)
        sys.stdout.flush()
    else:
        workspace.file_to_write(args.output, args.overwrite)  # once more: nobody else has written it by now
        atomic_files.write(target, content)
    if not args.quiet:
        print(share_table(table.names, table.values, table.values[keep]), file=sys.stderr)
        if keep.all():
            why = (
                "--drop-yes lets lines with a yes go too"
                if not args.drop_yes
                else "the shares are as near as they come"
            )
            print(f"no line was left out: {why}", file=sys.stderr)
