"""What answers are worth: a page, text or JSON."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from palitune import console
from palitune.cli import arguments, streams, values
from palitune.data import dataset

if TYPE_CHECKING:
    from palitune.checkpoint.operating_point import Stored
    from palitune.evaluate.report.summary import Learned, Summary

DESCRIPTION = """\
Says what answers are worth, from a FILE of lines that 13-inference.py wrote: figures with 95 % intervals, always saying
the same beside them, curves, calibration, the wrong answers with their pictures, and what the model was least sure of.

It writes one HTML page that needs no network, and its pictures as PNG files beside it; --text and --json print instead.
With --before there are two models side by side; with -m also the losses and the configuration of learning.
"""
EXAMPLES = """\
examples:
  palitune report tmp/out.tsv -i dataset -o report.html
  palitune report tmp/out.tsv --before tmp/zero.tsv -m trained-set1 -o report.html
  palitune report tmp/out.tsv --text | less
  palitune report tmp/out.tsv --json | jq .figures.roc_auc
"""
DRAWINGS = ("confusion", "roc", "pr", "reliability")  # as `judge.curves` draws them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("file", metavar="FILE", help="answers, TSV or JSONL; - is standard input")
    parser.add_argument("--before", metavar="FILE", help="answers of another model to the same records")
    text = "the page to write (report.html); its drawings are PNG files beside it"
    parser.add_argument("-o", "--output", metavar="HTML", help=text)
    parser.add_argument("--overwrite", action="store_true", help="let -o replace a page")
    parser.add_argument("--text", action="store_true", help="print it for a terminal instead")
    parser.add_argument("--json", action="store_true", help="print it as JSON instead")
    text = "wrong answers shown as pictures, and half as many uncertain ones (60)"
    parser.add_argument("--most", type=values.positive_int, default=60, metavar="N", help=text)
    text = "the model that gave the answers: its threshold, losses and configuration are shown"
    parser.add_argument("-m", "--model", metavar="NAME", help=text)
    arguments.add_classes(parser)
    arguments.add_folder(parser)


def run(args: argparse.Namespace) -> None:
    from palitune.errors import UsageError
    from palitune.evaluate import answer_files
    from palitune.evaluate.report import summary

    if (args.text or args.json) and args.output:
        raise UsageError("-o is for the page: leave out --text and --json")
    if args.text and args.json:
        raise UsageError("--text and --json are two ways to print: leave one out")
    if args.file == args.before == "-":
        raise UsageError("standard input can be one of the files only")
    prints = args.text or args.json
    inputs = [args.file, *([args.before] if args.before else [])]
    output = "report.html" if args.output is None else args.output
    target = None if prints else page_to_write(output, args.overwrite, inputs)
    dataset.require_data(args.file)
    found, earlier = answer_files.read(Path(args.file), args.labels, args.quiet), None
    if args.before:
        dataset.require_data(args.before)
        earlier = answer_files.read(Path(args.before), found.judged.classes, args.quiet)
        earlier, found = answer_files.same_records(earlier, found)
    facts = {"answers": args.file} | ({"before": args.before} if args.before else {})
    stored = threshold_stored(args.model) if args.model else None
    threshold = summary.threshold_of(found.judged, stored.point.threshold if stored else None)
    if stored is not None:
        fits = threshold == stored.point.threshold
        facts["threshold"] = f"{stored.point.threshold:.4g} ({stored.chosen})"
        facts["threshold"] += "" if fits else " is stored, and is not what these answers were given with"
    records = (
        found.records
        if prints
        else answer_files.located(found.records, Path(args.file), **arguments.folder_options(args))
    )
    before, learned = earlier.judged if earlier else None, learning_of(args.model) if args.model else None
    made = summary.summarize(args.file, facts, records, found.judged, before, threshold, args.most, learned)
    if args.json:
        streams.document(summary.as_json(made), 2)
    elif args.text:
        from palitune.evaluate.report.text import text

        print(text(made))
    else:
        assert target is not None
        write(target, made, args.quiet)


def threshold_stored(name: str) -> "Stored | None":
    """What is stored for the very parameters of a checkpoint. Raises MissingInputError, BadDataError."""
    from palitune import workspace
    from palitune.checkpoint import delta, operating_point

    path = workspace.checkpoint_to_read(name)
    stored = operating_point.read(path)
    if stored is None:
        return None
    mark = operating_point.mark(delta.load(path, workspace.checkpoint_to_read))
    return stored if stored.checkpoint == mark else None


def learning_of(name: str) -> "Learned":
    """What a checkpoint and its run tell of how it was made. Raises MissingInputError, BadDataError."""
    from palitune import workspace
    from palitune.checkpoint import manifest
    from palitune.evaluate.report.summary import Learned
    from palitune.run.folder import RunFolder

    path = workspace.checkpoint_to_read(name)
    content = manifest.read(path)
    config = content.get("config", {})
    facts = {"model": min(str(path), os.path.relpath(path), key=len)}
    if base := content.get("base"):
        facts["learned from"] = base["name"]
    if data := content.get("data"):
        facts["learned on"] = str(data)
    if prompt := config.get("prompt"):
        facts["prompt"] = prompt
    # Without what has no effect: empty, zero and absent values.
    used = {key: value for key, value in config.items() if value not in (None, "", 0, False, [], ())}
    losses: Path | None = RunFolder(path).picture
    if losses is not None and losses.is_symlink():
        console.note(f"{losses}: a link, which is left out: a page has what a run drew itself")
        losses = None
    return Learned(facts, used or None, losses)


def page_to_write(name: str, overwrite: bool, inputs: Iterable[str] = ()) -> Path:
    """Where a page goes. Raises as `workspace.file_to_write`, also for the drawings beside it."""
    from palitune import workspace

    target = workspace.file_to_write(name, overwrite, inputs)
    for drawing in DRAWINGS:
        workspace.file_to_write(str(_beside(target, drawing)), overwrite, inputs)
    return target


def _beside(target: Path, drawing: str) -> Path:
    return target.with_name(f"{target.stem}-{drawing}.png")


def write(target: Path, made: "Summary", quiet: bool) -> None:
    """The page, and its drawings beside it as `NAME-roc.png` and so on. Raises StorageError."""
    from palitune import atomic_files

    console.status("drawing", quiet)
    from palitune.evaluate.report import canvas, curves, page

    target.parent.mkdir(parents=True, exist_ok=True)
    drawings = curves.draw(made.judged, made.figures, made.threshold, made.before)
    content = page.html(made, drawings).encode("utf-8", "replace")
    for name, drawing in drawings.items():
        atomic_files.write(_beside(target, name), drawing)
    atomic_files.write(target, content)
    if why := canvas.reason():
        console.note(f"{target}: {why}")
    if not quiet:
        beside = f", {target.stem}-{{{','.join(drawings)}}}.png beside it" if drawings else ""
        console.note(f"wrote {target}{beside}")
