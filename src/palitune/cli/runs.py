"""All runs: a table, two compared, the best, and some removed."""

import argparse

from palitune import console, streams
from palitune.cli import values
from palitune.errors import UsageError
from palitune.evaluate.past_run import FIGURES

DESCRIPTION = """\
Lists what has been learned so far: a line for each run in checkpoints/, or in the folders that are named, by date, with
its state, data, method, figures on the validation set with 95 % intervals, and what it has other than the run before.

  palitune runs [FOLDER ...]       the table; a folder has NAME.run folders in it, or is one
  palitune runs diff A B           settings, data and figures of two runs, and McNemar's test of their answers
  palitune runs best [FOLDER ...]  the name of the best run, and on stderr what that is worth
  palitune runs rm NAME ...        removes checkpoints with everything that belongs to them

Figures are those that each run wrote down at its end, and of `palitune validate -m NAME FILE` on other files ("test").
"""
EXAMPLES = """\
examples:
  palitune runs --sort accuracy --reverse --most 20
  palitune runs --where data=set1 --where method=lora --where 'name=trial*'
  palitune runs --json | jq '.[] | select(.state == "finished") | [.name, .after.figures.accuracy.value]'
  palitune runs diff trained-set1 trained-set1-2
  palitune validate -m "$(palitune runs best --by f_measure)" dataset/set1/test.jsonl

--where NAME=PATTERN keeps the runs that it is true of, and several of them those that all are true of; * stands for
anything. NAME is name, date, state (finished, failed, running, stopped), base, a figure, or any setting of learning.
"""
OPTIONS = {"": {"json", "sort", "reverse", "where", "most"}, "diff": {"json"}, "rm": {"yes"}}
OPTIONS["best"] = {"by", "data", "where"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune runs` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("words", nargs="*", metavar="diff | best | rm | FOLDER", help="what to do, as above")
    parser.add_argument("--json", action="store_true", help="print everything that is known, as JSON (list, diff)")
    parser.add_argument("--sort", metavar="NAME", help="order by anything that --where takes (date)")
    parser.add_argument("--reverse", action="store_true", help="the other way round")
    text = "only runs of which this is true; may be given several times (list, best)"
    parser.add_argument("--where", action="append", metavar="NAME=PATTERN", help=text)
    parser.add_argument(
        "--most",
        type=values.positive_int,
        metavar="N",
        help="only the first N in the order of --sort, else the N latest",
    )
    parser.add_argument("--by", choices=FIGURES, default="accuracy", help="best: by which figure (accuracy)")
    text = "best: on which data, a name as in -d, a file or the beginning of its hash (those of the latest run)"
    parser.add_argument("--data", metavar="DATA", help=text)
    parser.add_argument("--yes", action="store_true", help="rm: do not ask")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune runs` with the arguments that were given."""
    verb, *names = args.words if args.words and args.words[0] in OPTIONS else ["", *args.words]
    if unused := sorted((args.typed & set().union(*OPTIONS.values())) - OPTIONS[verb]):
        raise UsageError(f"--{unused[0]} has no effect on {f'palitune runs {verb}'.rstrip()}")
    {"": _list, "diff": _diff, "best": _best, "rm": _rm}[verb](names, args)


def _list(folders: list[str], args: argparse.Namespace) -> None:
    from palitune.evaluate import run_selection, run_settings
    from palitune.evaluate.report import runs_table
    from palitune.run import ledger

    found, left_out = ledger.read(folders)
    changed = run_settings.since_the_one_before(found)
    chosen = run_selection.chosen(found, args.where or ())
    chosen = run_selection.ordered(chosen, args.sort, args.reverse, args.most)
    ledger.tell(left_out)
    if args.json:
        streams.document([runs_table.as_json(one, changed[str(one.folder)]) for one in chosen], 2)
        return
    shown = runs_table.table(chosen, changed, console.limit())
    print("\n".join(shown.lines), end="\n" if shown.lines else "")
    if not args.quiet:
        ledger.tell_of_table(folders, len(chosen), len(found), shown.left_out)


def _diff(names: list[str], args: argparse.Namespace) -> None:
    from palitune.evaluate import run_difference
    from palitune.evaluate.report import difference_text
    from palitune.run import ledger

    if len(names) != 2:
        raise UsageError("diff takes two runs", hint="palitune runs diff A B")
    found = run_difference.compare(*map(ledger.of_name, names))
    if args.json:
        streams.document(difference_text.as_json(found), 2)
    else:
        print("\n".join(difference_text.lines(found)))


def _best(folders: list[str], args: argparse.Namespace) -> None:
    from palitune.evaluate import run_choice, run_selection
    from palitune.evaluate.report import choice_text
    from palitune.run import ledger

    found, left_out = ledger.read(folders)
    choice = run_choice.best(run_selection.chosen(found, args.where or ()), args.by, args.data)
    ledger.tell(left_out)
    for line in () if args.quiet else choice_text.sentences(choice):
        console.note(line)
    streams.line(choice.best.name)


def _rm(names: list[str], args: argparse.Namespace) -> None:
    from palitune.run import removal

    if not names:
        raise UsageError("rm takes the names of runs", hint="palitune runs rm NAME ...")
    removed = removal.remove(names, yes=args.yes)
    for one in () if args.quiet else removed:
        console.note(f"removed {one.names}: {one.size:,} bytes")
