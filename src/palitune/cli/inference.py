"""Stage 13: a model's answers as lines of text."""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from palitune.cli import arguments

DESCRIPTION = """\
Asks a model about every record and writes a line for each, in their order, as soon as its batch is done:
  image, correct (True or False), p_yes (from 0 to 1), label, answer, with tabs between
Training, filtering and 14-validate_outtsv.py read these lines again. A record without a label is answered too; it is
neither correct nor wrong. p_yes is the probability of yes against no as the first word of the answer.

All pictures are looked at before the model is asked, and every bad one is named. With --on-bad-image skip they are
named on the way and left out, and standard input is answered while it comes, however long it is.
"""
EXAMPLES = """\
examples:
  ./13-inference.py -l checkpoints/x.npz -d tmp/splitted-ab.tsv -i dataset/pub_judges -b 4 | tee tmp/out-ab.tsv
  ./13-inference.py -l x -d tmp/all.tsv --resume tmp/out.tsv       write tmp/out.tsv, or go on with it
  ./13-inference.py -d tmp/all.tsv | grep -v '\\bTrue\\b.*\\byes$'    all but the true positives
  ls images | ./13-inference.py -d - -i images --on-bad-image skip  pictures without labels
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    text = "records, JSONL or TSV; - is standard input"
    parser.add_argument("-d", "--data", required=True, metavar="FILE", help=text)
    parser.add_argument("-b", "--batch-size", type=arguments.positive_int, default=8, metavar="N", help="(%(default)s)")
    text = "stop before the model is asked, naming all of them, or leave their records out (stop)"
    parser.add_argument("--on-bad-image", choices=("stop", "skip"), default="stop", help=text)
    text = "write to OUT instead of standard output, after the lines that an interrupted run left there"
    parser.add_argument("--resume", metavar="OUT", help=text)
    text = "write JSONL: all keys of a record, with correct, p_yes and answer"
    parser.add_argument("--jsonl", action="store_true", help=text)
    arguments.add_model(parser)
    arguments.add_records(parser, judging=True)


def run(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _run(args, Path(folder))


def _run(args: argparse.Namespace, scratch: Path) -> None:
    from tqdm import tqdm

    from palitune.checkpoint import manifest
    from palitune.cli import workspace
    from palitune.cli.judging import Judge, folders, frames_of, located, picture_problems
    from palitune.cli.main import Stopped
    from palitune.cli.model import announce, decoding, load, pictures, shown_params
    from palitune.config import PROMPT
    from palitune.data.records import STDIN, Reader, Record, to_tsv
    from palitune.errors import BadDataError, PalituneError
    from palitune.judge.confusion import is_right

    path = Path(args.data)
    source = workspace.checkpoint_to_read(args.model)
    prompt = args.prompt if args.prompt is not None else manifest.prompt(source, PROMPT)
    images = folders(path, args)
    streaming = args.on_bad_image == "skip"
    file = path
    if path == STDIN and (not streaming or args.resume):
        file = scratch / "stdin"  # it is read more than once
        with file.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)

    def records() -> Iterator[Record]:
        reader = Reader(file, labelled=False, name="stdin" if path == STDIN else None)
        return (record for _, record in reader.records())

    done, passed = _resumed(Path(args.resume), records) if args.resume else (0, 0)
    model = load(source, args)
    shown = pictures(model, args, limit=0)
    frames = frames_of(args, decoding(source, args))

    def tell(problem: PalituneError) -> None:
        print(problem, file=sys.stderr, flush=True)

    total = None
    if not streaming:
        silent = args.quiet or not sys.stderr.isatty()
        asked = _rest(records(), passed)
        if not args.jsonl:
            asked = (record for record in asked if to_tsv(record))
        checked = tqdm(asked, "checking", unit="pictures", leave=False, disable=silent)
        problems = picture_problems(checked, images, shown, frames)
        for problem in problems:
            tell(problem)
        if problems:
            what = f"{len(problems)} image{'s' * (len(problems) > 1)} cannot be used"
            raise BadDataError(what, where=str(path), hint="--on-bad-image skip leaves them out")
        total = checked.n
    if not args.quiet:
        announce(model)
        if done:
            print(f"{args.resume}: {done} lines are there already", file=sys.stderr)
    judge = Judge(model, shown, prompt, args.quiet, frames, args.batch_size)
    params = shown_params(model, shown)
    answers = judge.stream(params, located(_rest(records(), passed), images, tell), tell)
    # Lines on a terminal are progress enough.
    silent = args.quiet or not sys.stderr.isatty() or (sys.stdout.isatty() and not args.resume)
    with Lines(args.resume) as write:
        try:
            for record, answer in tqdm(answers, "answering", total, unit="pictures", leave=False, disable=silent):
                correct = is_right(answer.text, record.suffix)
                write(_line(record, correct, answer.p_yes, answer.text, args.jsonl))
        except Stopped as stopped:
            if args.resume:
                stopped.hint = "go on with the same command"
            raise


def _line(record: Any, correct: bool, p_yes: float, answer: str, jsonl: bool) -> str:
    from palitune.data.records import to_answer, to_json

    if not jsonl:
        return to_answer(record, correct, p_yes, answer)
    fields = record.fields or {"image": record.name, **({"suffix": record.suffix} if record.suffix else {})}
    verdict = {"correct": correct} if record.suffix else {}
    return to_json(fields | verdict | {"p_yes": round(p_yes, 6), "answer": answer})


class Lines:
    """Takes lines: standard output, or a file to which they are added."""

    def __init__(self, path: str | None) -> None:
        self.file: IO[bytes] | None = open(path, "ab") if path else None  # noqa: SIM115

    def __enter__(self) -> Callable[[str], None]:
        return self.write

    def write(self, line: str) -> None:
        if self.file is None:
            print(line, flush=True)
        else:
            self.file.write(line.encode("utf-8", "surrogateescape") + b"\n")
            self.file.flush()

    def __exit__(self, *error: object) -> None:
        if self.file is not None:
            os.fsync(self.file.fileno())
            self.file.close()


def _rest(records: Iterator[Any], passed: int) -> Iterator[Any]:
    """What comes after the first `passed` records."""
    for number, record in enumerate(records):
        if number >= passed:
            yield record


def _resumed(path: Path, records: Callable[[], Iterator[Any]]) -> tuple[int, int]:
    """Lines that are there already, and records up to the last of them; half a line at the end is cut off.

    Records without a line were left out: their pictures were bad.

    Raises:
      BadDataError: the lines are answers to other records.
    """
    from palitune.data.records import stream
    from palitune.errors import BadDataError

    if not path.exists() or path.stat().st_size == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        return 0, 0
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        tail = b""
        while end and b"\n" not in tail:
            start = max(0, end - (1 << 16))
            file.seek(start)
            tail = file.read(end - start) + tail
            end = start
        file.truncate(end + tail.rfind(b"\n") + 1)
    if path.stat().st_size == 0:
        return 0, 0
    done = passed = 0
    asked = enumerate(records(), 1)
    for answer in stream(path, labelled=False):
        for number, record in asked:
            if (record.name, record.suffix) == (answer.name, answer.suffix):
                passed = number
                break
        else:
            hint = "Name another file with --resume, or remove this one"
            raise BadDataError("this is no answer to the records that are asked about", where=answer.where, hint=hint)
        done += 1
    return done, passed
