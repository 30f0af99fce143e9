"""A report about answers: a page, text or JSON."""

import argparse

from palitune import streams
from palitune.cli import arguments, values
from palitune.evaluate.past_run import FIGURES

DESCRIPTION = """\
Says what answers are worth, from a FILE of lines that 13-inference.py wrote: figures with 95 % intervals, next to them
those of a constant answer, curves, calibration, the wrong answers with their images, and what the model was least sure
of.

It writes one HTML page that needs no network, and its images as PNG files beside it; --text and --json print instead.
With --before there are two models side by side; with -m also the losses and the configuration of learning.

--runs writes a page about all runs instead: the best one and what that is worth, the figure over all of them, which
settings mattered, losses, and confusion matrices before and after.
"""
EXAMPLES = """\
examples:
  palitune report tmp/out.tsv -i dataset -o report.html
  palitune report tmp/out.tsv --before tmp/zero.tsv -m trained-set1 -o report.html
  palitune report tmp/out.tsv --text | less
  palitune report tmp/out.tsv --json | jq .figures.roc_auc
  palitune report --runs --by f_measure -o runs.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune report` to its parser."""
    parser.epilog = EXAMPLES
    text = "answers, TSV or JSONL; - is standard input. With --runs a folder of runs (checkpoints/)"
    parser.add_argument("file", nargs="?", metavar="FILE", help=text)
    parser.add_argument("--runs", action="store_true", help="a page about all runs, and no answers")
    parser.add_argument("--by", choices=FIGURES, default="accuracy", help="with --runs: the figure (accuracy)")
    parser.add_argument("--before", metavar="FILE", help="answers of another model to the same examples")
    text = "the page to write (report.html, runs.html); the drawings of a report are PNG files beside it"
    arguments.add_page(parser, text, "report.html")
    parser.add_argument("--text", action="store_true", help="print it for a terminal instead")
    parser.add_argument("--json", action="store_true", help="print it as JSON instead")
    text = "wrong answers shown as images, and half as many uncertain ones (60)"
    parser.add_argument("--most", type=values.positive_int, default=60, metavar="N", help=text)
    text = "the model that gave the answers: its threshold, losses and configuration are shown"
    parser.add_argument("-m", "--model", metavar="NAME", help=text)
    arguments.add_classes(parser)
    arguments.add_folder(parser)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune report` with the arguments that were given."""
    from palitune import workspace
    from palitune.errors import UsageError
    from palitune.evaluate import stored_threshold
    from palitune.evaluate.report import answers_report, page_files

    if args.runs:
        _of_runs(args)
        return
    if args.file is None or "by" in args.typed:
        raise UsageError("--by is for --runs" if args.file else "the following arguments are required: FILE, or --runs")
    if (args.text or args.json) and args.typed & {"output", "lang"}:
        raise UsageError("-o is for the page, and so is --lang: leave out --text and --json")
    if args.text and args.json:
        raise UsageError("--text and --json are two ways to print: leave one out")
    if args.file == args.before == "-":
        raise UsageError("standard input can be one of the files only")
    prints = args.text or args.json
    inputs = [args.file, *([args.before] if args.before else [])]
    target = None if prints else page_files.page_to_write(args.output, args.overwrite, inputs)
    stored = learned = None
    if args.model:
        from palitune.run.provenance import learning_of

        stored = stored_threshold.current(workspace.checkpoint_to_read(args.model))
        learned = learning_of(args.model)
    made = answers_report.of_file(
        args.file,
        args.before,
        labels=arguments.classes(args),
        positive=args.positive,
        stored=stored,
        learned=learned,
        most=args.most,
        images=None if prints else arguments.folders(args),
        quiet=args.quiet,
    )
    if args.json:
        streams.document(answers_report.as_json(made), 2)
    elif args.text:
        print(answers_report.text(made))
    elif target is not None:
        answers_report.write(target, made, args.lang, args.quiet)


def _of_runs(args: argparse.Namespace) -> None:
    """The page about all runs."""
    from palitune import workspace
    from palitune.errors import UsageError
    from palitune.evaluate.report import runs_page
    from palitune.run import ledger

    if unused := sorted(args.typed - {"file", "runs", "by", "output", "overwrite", "lang", "quiet", "debug"}):
        hint = "palitune runs prints a table, or JSON"
        raise UsageError(f"--{unused[0].replace('_', '-')} has no effect with --runs", hint=hint)
    output = args.output if "output" in args.typed else "runs.html"
    target = workspace.file_to_write(output, args.overwrite)
    found, left_out = ledger.read([args.file] if args.file else [])
    ledger.tell(left_out)
    runs_page.write(target, runs_page.summarize(found, args.by, left_out=len(left_out)), args.lang, args.quiet)
