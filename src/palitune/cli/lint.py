"""What is wrong with data, before it costs an evening."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palitune.cli import arguments, streams, values
from palitune.data import dataset
from palitune.data.image_folders import ImageFolders
from palitune.errors import NAMED, UsageError, printable

if TYPE_CHECKING:
    from palitune.data.checks.findings import Finding
    from palitune.data.checks.lint import Report

DESCRIPTION = """\
Looks at every line and every picture of FILEs and says what would spoil a run: pictures that are missing, damaged,
tiny, or named as what they are not; the same picture twice, with two labels, or in two files; pictures that look
alike on both sides of a split; labels of one kind; answers and prompts that are too long. Last it says what the shares
and numbers of records allow to be known. Files together are taken as parts of one split. Exit code 65 where there
are errors.
"""
EXAMPLES = """\
examples:
  palitune lint dataset/data.jsonl                all that there is, before it is split
  palitune lint set1                              dataset/set1/train and valid, and what leaks between them
  palitune lint dataset/data.jsonl --fix dataset/clean.jsonl
  palitune lint dataset/data.jsonl --json | jq -r '.findings[] | select(.level == "error") | .where'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="+", metavar="FILE", help="records, JSONL or TSV; or a split, by name or folder")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    parser.add_argument("--all", action="store_true", help=f"name every finding, not {NAMED} of a kind")
    text = "write what can be repaired: a file, or for several FILEs a folder. What contradicts itself is left out"
    parser.add_argument("--fix", metavar="OUT", help=text)
    parser.add_argument("--overwrite", action="store_true", help="let --fix replace files")
    parser.add_argument("-m", "-l", "--model", metavar="NAME", help="whose tokens are counted (the latest downloaded)")
    parser.add_argument("--tokenizer", metavar="FILE", help="SentencePiece model, if palitune does not know which")
    parser.add_argument("--prompt", type=values.prompt, metavar="TEXT", help="the question where a prefix is empty")
    arguments.add_pictures(parser)


def run(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from palitune.config import MAX_PIXELS, PROMPT
    from palitune.data.checks.lint import lint
    from palitune.data.images import decoder
    from palitune.data.images.decoder import Decoding
    from palitune.data.split import subset_names
    from palitune.errors import BadDataError
    from palitune.infer.decoding import MAX_ANSWER

    paths = _files(args.files)
    targets = _targets(args, paths)
    silent = args.quiet or not sys.stderr.isatty()
    report = lint(
        paths,
        lambda path: ImageFolders.of(path, args.images, args.allow_outside),
        Decoding(args.frames or "middle", args.max_pixels or MAX_PIXELS),
        _tokenizer(args),
        args.prompt if args.prompt is not None else PROMPT,
        MAX_ANSWER,
        lambda items, count: tqdm(items, "looking", count, unit="pictures", leave=False, disable=silent),
    )
    decoder.unreadable.clear()  # each is among the findings
    if args.json:
        streams.document(_as_json(report), 1)
    else:
        print(_text(report, args.all))
    note = subset_names.assumed({one.path: one.part for one in report.sets})
    if note and not args.quiet:
        print(printable(note), file=sys.stderr)
    if targets:
        from palitune.data.checks.repair import repair

        _targets(args, paths)  # once more: nobody else has written there by now
        for path, done in repair(report, targets).items():
            dropped = ", ".join(f"{count} {reason}" for reason, count in done.dropped.items())
            changes = f"{done.kept} records, {done.renamed} renamed, left out: {dropped or 'none'}"
            print(f"{path} -> {targets[path]}: {changes}", file=sys.stderr)
        if remaining := sum(finding.check == "near leak" for finding in report.findings):
            print(f"near leaks that remain: {remaining}; a new split keeps what looks alike together", file=sys.stderr)
    sys.stdout.flush()
    if errors := report.count("error"):
        can_fix = not targets and any(one.entries for one in report.sets)
        hint = "--fix OUT writes what is sound" if can_fix else None
        raise BadDataError(f"{errors} error{'s' * (errors > 1)}", hint=hint)


def _files(names: list[str]) -> list[Path]:
    """Files, and those of splits by their names or folders; `shuffle` holds what the others hold."""
    from palitune.data.records import KINDS
    from palitune.data.split import subset_names

    found: list[Path] = []
    for name in names:
        folder = Path(name) if Path(name).exists() else Path("dataset") / name
        if folder.is_dir():
            found += [path for path in dataset.data_files(name) if path is not None]
            found += subset_names.within(folder, subset_names.TEST, KINDS)[:1]
        else:
            found.append(Path(name))
    parents = [path.parent for path in found]
    found = [path for path in found if path.stem != "shuffle" or parents.count(path.parent) == 1]
    if "-" in map(str, found):
        raise UsageError("lint looks at files more than once", hint="Write standard input into one first")
    return list(dict.fromkeys(found))


def _targets(args: argparse.Namespace, paths: list[Path]) -> dict[Path, Path]:
    from palitune.errors import OutputExistsError

    if not args.fix:
        return {}
    out = Path(args.fix)
    targets = {paths[0]: out} if len(paths) == 1 else {path: out / path.name for path in paths}
    if len(set(targets.values())) < len(paths):  # as in train/annotations.jsonl and valid/annotations.jsonl
        shared = os.path.commonpath([path.absolute().parent for path in paths])
        targets = {path: out / os.path.relpath(path.absolute(), shared) for path in paths}
    for path, target in targets.items():
        if target.exists() and path.exists() and target.samefile(path):
            raise UsageError(f"--fix {target} is the file that is looked at", hint="Name another place")
        if target.exists() and not args.overwrite:
            raise OutputExistsError("this exists", where=str(target), hint="Name another place, or use --overwrite")
    return targets


def _tokenizer(args: argparse.Namespace) -> Any:
    """The model's tokenizer, if there is one."""
    from palitune import workspace
    from palitune.checkpoint import delta
    from palitune.data.tokens import Tokenizer
    from palitune.errors import MissingInputError
    from palitune.hub import catalogue

    if args.tokenizer:
        return Tokenizer(Path(args.tokenizer))
    try:
        checkpoint = delta.load(workspace.checkpoint_to_read(args.model), workspace.checkpoint_to_read)
        path = catalogue.tokenizer_path(checkpoint["llm/embedder/input_embedding"].shape[0], workspace.cache())
        return Tokenizer(path) if path is not None else None
    except (MissingInputError, KeyError):
        if args.model:
            raise
        return None  # data can be looked at before there is a model


def _as_json(report: "Report") -> dict[str, Any]:
    from collections import Counter

    files = [
        {
            "file": str(one.path),
            "records": len(one.entries),
            "labels": dict(Counter(record.suffix for _, record in one.entries).most_common()),
        }
        for one in report.sets
    ]
    return {
        "files": files,
        "findings": [
            {key: value for key, value in finding._asdict().items() if value != ()} for finding in report.findings
        ],
        "verdicts": report.verdicts,
        "tokens": report.tokens,
        **{f"{level}s": report.count(level) for level in ("error", "warning", "note")},
    }


def _text(report: "Report", everything: bool) -> str:
    from palitune.cli.tables import label_table

    lines = [label_table({str(one.path): [record.suffix for _, record in one.entries] for one in report.sets}), ""]
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in report.findings:
        groups.setdefault((finding.level, finding.check), []).append(finding)
    for (level, check), findings in groups.items():
        lines.append(f"{level}: {check} ({len(findings)})")
        if check == "missing picture" and len(findings) > NAMED:
            lines.append("  -i FOLDER names the folder that images' names are relative to")
        shown = findings if everything else findings[:NAMED]
        lines += [f"  {printable(f'{finding.where}: {finding.what}')}" for finding in shown]
        if len(shown) < len(findings):
            lines.append(f"  and {len(findings) - len(shown)} more; --all names them")
    if report.tokens and any(one.entries for one in report.sets):
        lines.append(f"tokens: prompts up to {report.tokens['prompt']}, answers up to {report.tokens['answer']}")
    lines += report.verdicts
    counts = [(report.count(level), level) for level in ("error", "warning", "note")]
    lines.append(", ".join(f"{count} {level}{'s' * (count != 1)}" for count, level in counts))
    return "\n".join(lines)
