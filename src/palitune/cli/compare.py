"""What changed between models."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palitune import console
from palitune.cli import arguments, streams
from palitune.data import dataset
from palitune.errors import printable

if TYPE_CHECKING:
    from palitune.evaluate.answer_files import Answers
    from palitune.evaluate.comparison import Change, Comparison

DESCRIPTION = """\
Compares files of answers of 13-inference.py to the same records: each with the first. It prints the figures of all,
which answers changed (no to yes, yes to no), McNemar's test of whether more became right than wrong, and the warning
that matters in practice: recall rose, precision fell, so it learned to say yes.
"""
EXAMPLES = """\
examples:
  palitune compare zero.tsv trained.tsv
  palitune compare zero.tsv trained.tsv --flips | cut -f1          the pictures whose answer changed
  palitune compare zero.tsv a.tsv b.tsv -o flips.html -i dataset   with pictures
"""
METRICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f_measure", "matthews", "roc_auc")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="+", metavar="FILE", help="answers, TSV or JSONL; two or more")
    text = "print only the records that changed: image, label, the first's answer, the other's, fixed or broken"
    parser.add_argument("--flips", action="store_true", help=text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    text = "also write a page of the last file against the first, with pictures"
    parser.add_argument("-o", "--output", metavar="HTML", help=text)
    parser.add_argument("--overwrite", action="store_true", help="let -o replace a page")
    arguments.add_classes(parser)
    arguments.add_folder(parser)


def run(args: argparse.Namespace) -> None:
    from palitune.cli import report
    from palitune.errors import UsageError
    from palitune.evaluate import answer_files, comparison

    if len(args.files) < 2:
        raise UsageError(
            "comparing takes two or more files", hint="The first is the one before: palitune compare BEFORE AFTER"
        )
    if args.files.count("-") > 1:
        raise UsageError("standard input can be one of the files only")
    target = None if args.output is None else report.page_to_write(args.output, args.overwrite, args.files)
    for file in args.files:
        dataset.require_data(file)
    first = answer_files.read(Path(args.files[0]), args.labels, args.quiet)
    others = [answer_files.read(Path(file), first.judged.classes, args.quiet) for file in args.files[1:]]
    pairs = [answer_files.same_records(first, other) for other in others]
    found = [comparison.compare(before.judged, after.judged) for before, after in pairs]
    if args.json:
        streams.document([_as_json(*both, one) for both, one in zip(pairs, found, strict=True)], 2)
    else:
        for (before, after), one in zip(pairs, found, strict=True):
            if args.flips:
                for line in _flips(before, after, one):
                    streams.line(line)
            else:
                print("\n".join(map(printable, _text(before, after, one))))
    for (_, after), one in zip(pairs, found, strict=True):
        if one.warning and (args.flips or args.json):
            console.note(f"{after.name}: WARNING: {one.warning}")
    if target is not None:
        _page(target, *pairs[-1], args)


def _direction(before: str, after: str) -> str:
    return f"{before or '(nothing)'} -> {after or '(nothing)'}"


def _flips(before: "Answers", after: "Answers", found: "Comparison") -> list[str]:
    lines = []
    for flip in found.flips:
        record = after.records[flip.record]
        was = before.judged.right[flip.record]
        verdict = "fixed" if flip.is_better else "broken" if was else "wrong still"
        lines.append(f"{record.name}\t{record.suffix}\t{flip.before}\t{flip.after}\t{verdict}")
    return lines


def _text(before: "Answers", after: "Answers", found: "Comparison") -> list[str]:
    import collections

    from palitune.evaluate import metrics
    from palitune.evaluate.report.result_block import aligned
    from palitune.evaluate.report.text import value

    lines = [f"{after.name} against {before.name}, {len(after.records)} records"]
    old, new = metrics.figures(before.judged), metrics.figures(after.judged)
    rows = [["", "before", "after", "difference", "95 %", "verdict", "by"]]
    for name, change in _changes(before, after, found).items():
        shown = "-" if change.value is None else f"{change.value:+.4f}"
        test = change.test if change.verdict else ""
        rows.append(
            [metrics.NAMES[name], value(old[name]), value(new[name]), shown, _interval(change), change.verdict, test]
        )
    lines += aligned(rows)
    directions = collections.Counter(_direction(flip.before, flip.after) for flip in found.flips)
    for direction, count in directions.most_common():
        fixed = sum(flip.is_better for flip in found.flips if _direction(flip.before, flip.after) == direction)
        lines.append(f"{direction}: {count}, of which {fixed} are right now")
    lines.append(
        f"right now and wrong before: {found.won}, the other way: {found.lost}; McNemar's p = {found.p_value:.3g}"
        + f": the difference in accuracy is {found.verdict}"
    )
    return lines + ([f"WARNING: {found.warning}"] if found.warning else [])


def _changes(before: "Answers", after: "Answers", found: "Comparison") -> "dict[str, Change]":
    """How each figure changed that both have."""
    from palitune.evaluate import comparison, metrics

    old, new = metrics.figures(before.judged), metrics.figures(after.judged)
    names = [name for name in METRICS if name in old and name in new]
    return {name: comparison.change(before.judged, after.judged, found, name) for name in names}


def _interval(change: "Change") -> str:
    """Three digits, or as many as tell a limit from 0."""
    if change.low is None or change.high is None:
        return ""
    return " to ".join(
        f"{limit:+.3f}" if not limit or abs(limit) >= 0.0005 else f"{limit:+.1g}" for limit in change[1:3]
    )


def _as_json(before: "Answers", after: "Answers", found: "Comparison") -> dict[str, Any]:
    from palitune.evaluate import metrics

    return {
        "before": before.name,
        "after": after.name,
        "records": len(after.records),
        "figures": {"before": metrics.figures(before.judged), "after": metrics.figures(after.judged)},
        "differences": {name: change._asdict() for name, change in _changes(before, after, found).items()},
        "mcnemar": {"won": found.won, "lost": found.lost, "p_value": found.p_value, "verdict": found.verdict},
        "flips": [
            {
                "image": after.records[f.record].name,
                "label": after.records[f.record].suffix,
                "before": f.before,
                "after": f.after,
                "fixed": f.is_better,
            }
            for f in found.flips
        ],
        "warning": found.warning,
    }


def _page(target: Path, before: "Answers", after: "Answers", args: argparse.Namespace) -> None:
    from palitune.cli import report
    from palitune.evaluate import answer_files
    from palitune.evaluate.report import summary

    records = answer_files.located(after.records, Path(after.name), **arguments.folder_options(args))
    facts = {"before": before.name, "after": after.name}
    title, threshold = f"{after.name} against {before.name}", summary.threshold_of(after.judged)
    made = summary.summarize(title, facts, records, after.judged, before.judged, threshold)
    report.write(target, made, args.quiet)
