"""Stage 13: a model's answers as lines of text."""

import argparse
import collections
import contextlib
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from palitune import streams
from palitune.cli import arguments, values
from palitune.cli.inputs import Input
from palitune.data import dataset_files
from palitune.data.image_folders import ImageFolders
from palitune.errors import NAMED, BadDataError, PalituneError, UsageError, printable
from palitune.labels import LABELS, plain, plain_set
from palitune.storage import append_file, files

if TYPE_CHECKING:
    from palitune.data.example import Example
    from palitune.data.images.loader import ImageSource
    from palitune.data.prediction import Prediction
    from palitune.infer.predictor import Frames

FOLDER = "Is it the right folder? -i names another one"
INPUT = Input()
DESCRIPTION = """\
Asks a model about every record and writes a line for each, in their order, as soon as its batch is done:
  image, correct (True or False), p_yes (from 0 to 1), label, answer, with tabs between
Training, filtering and 14-validate_outtsv.py read these lines again. A record without a label is answered too; it is
neither correct nor wrong. p_yes is the probability of yes against no. With other --labels it is that of the first of
two, and of more than two the answer's own; JSONL then has that of each label too.

A threshold or a temperature that `palitune threshold` stored with the model is used.

All images are checked before the model runs, and every unusable one is named. With --on-bad-image skip they are
named on the way and left out, and standard input is answered while it comes, however long it is.
"""
EXAMPLES = """\
examples:
  ./13-inference.py -l checkpoints/x.npz -d tmp/splitted-ab.tsv -i dataset -b 4 | tee tmp/out-ab.tsv
  ./13-inference.py -l x -d tmp/all.tsv --resume tmp/out.tsv       write tmp/out.tsv, or continue it
  ./13-inference.py -d tmp/all.tsv | grep -v '\\bTrue\\b.*\\byes$'    all but the true positives
  ls dataset/images | ./13-inference.py -d - -i dataset/images      images without labels

--resume trusts OUT: that its lines are of the same model and prompt, no line tells.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune inference` to its parser."""
    parser.epilog = EXAMPLES
    text = "records, JSONL or TSV; - is standard input"
    parser.add_argument("-d", "--data", metavar="FILE", help=text)
    parser.add_argument("-b", "--batch-size", type=values.positive_int, default=8, metavar="N", help="(%(default)s)")
    text = "stop before the model is asked, naming all of them, or leave their records out (stop)"
    parser.add_argument("--on-bad-image", choices=("stop", "skip"), default="stop", help=text)
    text = "write to OUT instead of standard output, after the lines that an interrupted run left there"
    parser.add_argument("--resume", metavar="OUT", help=text)
    text = "write JSONL: all keys of a record, with correct, p_yes and answer"
    parser.add_argument("--jsonl", action="store_true", help=text)
    arguments.add_model(parser)
    arguments.add_records(parser, evaluation=True)
    arguments.add_answering(parser)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune inference` with the arguments that were given."""
    from palitune import workspace
    from palitune.data.answer_source import AnswerSource
    from palitune.data.checks import seen_in_training
    from palitune.infer import answering
    from palitune.infer.loading import announce, decoding, image_source, load
    from palitune.infer.predictor import Predictor, frames_of, located

    source = workspace.checkpoint_to_read(args.model)
    answering.check(args.labels, args.decode, args.threshold)
    images = ImageFolders.of(Path(args.data), args.images, args.allow_outside)
    with _output(args) as out, Asked(args, out) as asked:
        model = load(source, **arguments.model_options(args))
        shown = image_source(model, **arguments.image_options(args), limit=0)
        frames = frames_of(decoding(source, args.frames, args.max_pixels), args.frames, args.most_frames, args.pool)
        total = None if args.on_bad_image == "skip" else _checked(asked, images, shown, frames, args)
        if not args.quiet:
            announce(model)
            if asked.done:
                print(f"{args.resume}: {asked.done} lines are there already", file=sys.stderr)
        made = answering.made_with(model, **arguments.answering_options(args))
        source_of = AnswerSource.of_file(Path(args.resume), made) if args.resume else AnswerSource.of_stdout()
        predictor = Predictor(model, shown, made, frames=frames, batch_size=args.batch_size, quiet=args.quiet)
        known = seen_in_training.TrainedImageCounter(source, args.quiet)
        located_ones = known.watch(located(asked, images, asked.tell))
        found = predictor.predict(located_ones, asked.tell)
        try:
            written = asked.done + _write(found, total, out, args)
        finally:
            source_of.write(made)
        known.tell(args.data)
    asked.tell_of_more()
    if asked.left_out and not written:
        raise BadDataError("no image can be used", where=args.data, hint=FOLDER)
    if asked.left_out and not args.quiet:
        print(f"{asked.left_out} of {written + asked.left_out} records are left out", file=sys.stderr)


class Asked:
    """The records that are asked about, which can be read more than once.

    Attributes:
      done: answers that are there already.
    """

    def __init__(self, args: argparse.Namespace, out: IO[bytes] | None) -> None:
        """Args:
        out: the file that is continued.
        """
        from palitune import workspace
        from palitune.data.formats.lines import STDIN
        from palitune.evaluate.unfinished_answers import resume

        dataset_files.require_data(args.data)
        self.source = self.file = Path(args.data)
        self.done = self.passed = 0
        self.scratch = tempfile.TemporaryDirectory()
        if self.source == STDIN and (args.on_bad_image == "stop" or args.resume):
            self.file = workspace.copied_stdin(Path(self.scratch.name))
        if out is not None:
            self.done, self.passed = resume(Path(args.resume), out, self._read, args.jsonl, args.on_bad_image == "skip")
        self.left_out = self.passed - self.done  # without an answer, because of their images
        self.told: collections.Counter[str] = collections.Counter()  # problems by kind

    def tell(self, problem: PalituneError) -> None:
        """Says what is wrong with an image, `NAMED` times of a kind; what to do is said once, at the end."""
        self.left_out += 1
        self.told[problem.kind] += 1
        if self.told[problem.kind] <= NAMED:
            print(printable(f"{problem.where}: {problem.what}"), file=sys.stderr, flush=True)

    def tell_of_more(self) -> None:
        """Counts what was not named."""
        for kind, count in self.told.items():
            if count > NAMED:
                print(f"{printable(kind)}: {count - NAMED} more", file=sys.stderr)

    def _read(self) -> "Iterator[Example]":
        from palitune.data.example_files import Reader
        from palitune.data.formats.lines import STDIN

        reader = Reader(self.file, labelled=False, name="stdin" if self.source == STDIN else None)
        return (record for _, record in reader.examples())

    def __iter__(self) -> "Iterator[Example]":
        """The records whose answers are not there."""
        return itertools.islice(self._read(), self.passed, None)

    def __enter__(self) -> "Asked":
        return self

    def __exit__(self, *error: object) -> None:
        self.scratch.cleanup()


def _checked(
    asked: Asked, images: ImageFolders, shown: "ImageSource", frames: "Frames", args: argparse.Namespace
) -> int:
    """The number of records, if all of their images can be used; names those that cannot.

    Raises:
      BadDataError: there were some; or a record that TSV cannot hold.
    """
    from tqdm import tqdm

    from palitune.data.formats.tsv import to_tsv
    from palitune.infer.predictor import image_problems

    count = 0

    def counted() -> "Iterator[Example]":
        nonlocal count
        silent = args.quiet or not sys.stderr.isatty()
        for record in tqdm(asked, "checking", unit="images", leave=False, disable=silent):
            if not args.jsonl:
                to_tsv(record)
            count += 1
            yield record

    problems = image_problems(counted(), images, shown, frames)
    if not problems:
        return count
    hint = FOLDER if len(problems) == count else "--on-bad-image skip leaves them out"
    if len(problems) > NAMED:
        print(hint, file=sys.stderr)  # before what may be many lines
    for problem in problems:
        asked.tell(problem)
    asked.tell_of_more()
    raise BadDataError(f"{len(problems)} of {count} images cannot be used", where=args.data, hint=hint)


def _write(
    predictions: "Iterator[Prediction]", total: int | None, out: IO[bytes] | None, args: argparse.Namespace
) -> int:
    """The number of lines, which go to `out` or else to standard output."""
    from tqdm import tqdm

    from palitune.errors import Stopped
    from palitune.infer.answering import tell_of_other_answers

    # Lines on a terminal are progress enough.
    silent = args.quiet or not sys.stderr.isatty() or (sys.stdout.isatty() and not args.resume)
    count = 0
    strange: list[tuple[str, str]] = []
    unknown, known = 0, plain_set(args.labels)
    with Lines(out) as write:
        try:
            for one in tqdm(predictions, "answering", total, unit="images", leave=False, disable=silent):
                write(_line(one, args))
                count += 1
                if args.decode and plain(one.text) not in known:
                    strange.append((one.example.image.name, one.text))
                unknown += bool(one.example.label) and plain(one.example.label) not in known
        except Stopped as stopped:
            if args.resume:
                stopped.hint = "continue with the same command"
            raise
    if not args.quiet:
        tell_of_other_answers(args.data, strange, args.labels, count)
        if unknown:
            what = f"{unknown} of {count} labels are none of {', '.join(args.labels)}, so their answers are wrong"
            print(f"{args.data}: {what}; --labels names others", file=sys.stderr)
    return count


def _line(one: "Prediction", args: argparse.Namespace) -> str:
    from palitune.data.formats.json_lines import to_json
    from palitune.data.formats.tsv import to_answer
    from palitune.evaluate.confusion import is_right

    record, p_yes = one.example, one.p_yes or 0.0
    correct = is_right(one.text, record.label) and plain(one.text) in plain_set(args.labels)
    if not args.jsonl:
        return to_answer(record, correct, p_yes, one.text)
    fields = dict(record.fields) or {"image": record.image.name, **({"suffix": record.label} if record.label else {})}
    marked = {"correct": correct} if record.label else {}
    said = {"p_yes": round(p_yes, 6), "answer": one.text}
    if tuple(args.labels) != LABELS:
        said["p"] = {label: round(p, 6) for label, p in zip(args.labels, one.probabilities or (), strict=True)}
    return to_json(fields | marked | said)


class Lines:
    """Takes lines: standard output, or a file to which they are added."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self.file = file

    def __enter__(self) -> Callable[[str], None]:
        return self.write

    def write(self, line: str) -> None:
        if self.file is None:
            streams.line(line)
        else:
            self.file.write(line.encode("utf-8", "surrogateescape") + b"\n")

    def __exit__(self, *error: object) -> None:
        if self.file is not None:
            with files.optional():
                os.fsync(self.file.fileno())


def _output(args: argparse.Namespace) -> contextlib.AbstractContextManager[IO[bytes] | None]:
    """The file of --resume, which is this process's alone from here on.

    Raises:
      UsageError: it is no file, or the one that is asked about.
      OutputExistsError: another process is writing it.
    """
    if not args.resume:
        return contextlib.nullcontext()
    path, asked = Path(args.resume), Path(args.data)
    if (path.exists() and not path.is_file()) or args.resume == "-":
        raise UsageError(f"--resume {path} is no file")
    if path.exists() and asked.exists() and path.samefile(asked):
        raise UsageError(f"--resume {path} is the file that is asked about")
    return append_file.exclusive(path)
