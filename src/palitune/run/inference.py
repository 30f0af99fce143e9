"""A model's answers to a file of examples, or to a stream of them, as lines; an interrupted run can be continued."""

import collections
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tqdm import tqdm

from palitune import workspace
from palitune.config.predictor_config import PredictorConfig
from palitune.config.sharding import Shard
from palitune.data import answer_shards, dataset_files
from palitune.data.answer_shards import Facts
from palitune.data.answer_source import AnswerSource
from palitune.data.checks import seen_in_training
from palitune.data.example import Example
from palitune.data.example_files import Reader
from palitune.data.formats.lines import STDIN
from palitune.data.formats.tsv import to_tsv
from palitune.data.image_folders import ImageFolders
from palitune.data.images.loader import ImageSource
from palitune.data.long_chats import Shortener
from palitune.data.prediction import MadeWith, Prediction
from palitune.data.probabilities import rejected
from palitune.errors import NAMED, BadDataError, PalituneError, Stopped, UsageError, printable
from palitune.evaluate.unfinished_answers import resume
from palitune.infer import answering
from palitune.infer.asked import Frames, frames_of, image_problems, located
from palitune.infer.loading import announce
from palitune.infer.opening import open_model
from palitune.infer.predictor import Predictor
from palitune.labels import plain, plain_set
from palitune.run import whole_file
from palitune.run.answer_lines import LineWriter, continued_file, line_of
from palitune.run.wanted_answers import Wanted
from palitune.storage import remote

FOLDER = "Is it the right folder? -i names another one"
# What answers depend on beside the records, the model, the prompt and the labels.
SETTINGS = (
    *("text_column", "image_column", "label_column", "prompt_column", "label_columns", "map"),
    *("frames", "most_frames", "pool", "max_pixels", "min_p", "max_new_tokens", "dtype"),
)


def answer(config: PredictorConfig, wanted: Wanted) -> None:
    """Writes a line for every example, in their order, as soon as its batch is done; or an output when all are.

    Raises:
      MissingInputError, BadDataError, ConfigurationError: a model, a file or an image cannot be used.
      UsageError: the file to continue is the one that is read; or a shard has none, or an output has one.
      OutputExistsError: there is an output of this name.
      NetworkError: an address cannot be used.
      Stopped: by a signal.
    """
    if wanted.output is None:
        _answer(config, wanted)
        return
    if wanted.resume:
        raise UsageError("--output is written when all answers are there, and --resume as they come: leave one out")
    with whole_file.made(wanted.output) as path:
        is_table = whole_file.is_table(wanted.output)
        try:
            _answer(config, wanted._replace(resume=str(path), jsonl=wanted.jsonl or is_table))
        except Stopped as stopped:
            stopped.hint = None
            raise


def _answer(config: PredictorConfig, wanted: Wanted) -> None:
    """Writes the lines to standard output, or adds them to a file. Raises as `answer`."""
    if wanted.shard is not None:
        if not wanted.resume or wanted.resume == "-":
            raise UsageError("--shard needs --resume OUT: the shards' answers go into files beside it")
        wanted = wanted._replace(resume=str(answer_shards.path_of(Path(wanted.resume), wanted.shard)))
    source = workspace.checkpoint_to_read(config.model)
    images = ImageFolders.of(STDIN if remote.is_address(wanted.data) else Path(wanted.data), config)
    with continued_file(wanted.resume, wanted.data) as out, Asked(wanted, out, images) as asked:
        opened = open_model(source, config, config, quiet=wanted.quiet, limit=0)
        frames = frames_of(source, config)
        total = None if wanted.skip_bad_images else _checked(asked, images, opened.images, frames, wanted)
        if not wanted.quiet:
            announce(opened.model)
            if asked.done:
                print(f"{wanted.resume}: {asked.done} lines are there already", file=sys.stderr)
        made = answering.made_with(opened.model, config, config.prompt, quiet=wanted.quiet)
        if wanted.shard is not None:
            asked.begin(made, config)
        source_of = AnswerSource.of_file(Path(wanted.resume), made) if wanted.resume else AnswerSource.of_stdout()
        size, most = wanted.batch_size, config.max_new_tokens
        predictor = Predictor(*opened, made, frames=frames, batch_size=size, most=most, quiet=wanted.quiet)
        known = seen_in_training.TrainedImageCounter(source, wanted.quiet)
        shortener = Shortener(opened.model.template)
        examples = known.watch(shortener(located(asked, images, asked.tell)))
        answers = rejected_below(predictor.predict(examples, asked.tell, block_size=wanted.batch_size), config.min_p)
        try:
            written = asked.done + _write(asked.new(answers), total, out, made.labels, wanted)
            asked.finish()
        finally:
            source_of.write(made, known.seen if not asked.done and wanted.shard is None else None)
        known.tell(wanted.data)
        shortener.tell(wanted.data, wanted.quiet)
    asked.tell_of_more()
    if asked.left_out and not written and wanted.shard is None:
        raise BadDataError("no image can be used", where=wanted.data, hint=FOLDER)
    if asked.left_out and not wanted.quiet:
        print(f"{asked.left_out} of {written + asked.left_out} records are left out", file=sys.stderr)


class Asked:
    """The examples that are answered, which can be read more than once.

    Attributes:
      done: answers that are there already.
      gaps: the numbers of a shard's examples that have no answer.
    """

    def __init__(self, wanted: Wanted, out: IO[bytes] | None, folders: ImageFolders) -> None:
        """Args:
        out: the file that is continued.
        folders: where images are.
        """
        self.folders, self.wanted, self.deal = folders, wanted, wanted.deal
        self.source = self.file = Path(wanted.data)
        self.done = self.passed = 0
        self.scratch = tempfile.TemporaryDirectory()
        self.name = {"-": "stdin"}.get(wanted.data)  # in messages
        if remote.is_address(wanted.data):
            self.file, self.name = Path(self.scratch.name) / "copy", wanted.data
            remote.fetch(wanted.data, self.file)
        else:
            dataset_files.require_data(wanted.data)
        if self.source == STDIN and (not wanted.skip_bad_images or wanted.resume):
            self.file = workspace.copied_stdin(Path(self.scratch.name))
        self.gaps: list[int] = []
        if out is not None and wanted.resume:
            gaps = self.gaps if wanted.shard is not None else None
            if wanted.shard is not None:
                answer_shards.require_deal(Path(wanted.resume), self.deal)
            skips = wanted.skip_bad_images
            self.done, self.passed = resume(Path(wanted.resume), out, self._read, wanted.jsonl, skips, gaps)
        self.last = self.deal.nth(self.passed - 1) if self.passed else -1  # the last that has been answered
        self.again: set[str] = set()  # where those of its block are that are asked about again, for the others' sake
        self.records = 0  # of the file, once all were read
        self.facts: Facts | None = None
        self.begun = self.passed
        self.left_out = self.passed - self.done  # without an answer, because of their images
        self.told: collections.Counter[str] = collections.Counter()  # problems by kind

    def tell(self, problem: PalituneError) -> None:
        """Says what is wrong with an image, `NAMED` times of a kind; what to do is said once, at the end."""
        if problem.where in self.again:
            return
        self.left_out += 1
        self.told[problem.kind] += 1
        if self.told[problem.kind] <= NAMED:
            print(printable(f"{problem.where}: {problem.what}"), file=sys.stderr, flush=True)

    def tell_of_more(self) -> None:
        """Counts what was not named."""
        for kind, count in self.told.items():
            if count > NAMED:
                print(f"{printable(kind)}: {count - NAMED} more", file=sys.stderr)

    def begin(self, made: MadeWith, config: PredictorConfig) -> None:
        """Says beside a shard's answers what they are. Raises as `answer_shards.begin`."""
        if self.wanted.shard is not None and self.wanted.resume:
            self.facts = self.known(made, config)
            answer_shards.begin(Path(self.wanted.resume), self.facts, self.done > 0)

    def known(self, made: MadeWith, config: PredictorConfig) -> Facts:
        """What is known of a shard before its first answer."""
        told = {name: getattr(config, name) for name in SETTINGS}
        told |= {"jsonl": self.wanted.jsonl, "on_bad_image": self.wanted.skip_bad_images, **made._asdict()}
        source, as_read = answer_shards.sha256(self.file), json.loads(json.dumps(told))
        return Facts(self.wanted.shard or Shard(), self.deal.block, source, as_read)

    def finish(self) -> None:
        """Takes examples behind the last prediction for left out, and says beside a shard that it is whole."""
        if self.wanted.shard is not None:
            self._leave_out(self.records)
        if self.facts is not None and self.wanted.resume:
            answer_shards.finish(Path(self.wanted.resume), self.facts, self.records, self.gaps)

    def new(self, predictions: Iterator[Prediction]) -> Iterator[Prediction]:
        """The predictions whose lines are not there."""
        for one in predictions:
            if one.example.number > self.last:
                if self.wanted.shard is not None:
                    self._leave_out(one.example.number)
                self.passed = max(self.passed, self.deal.count(one.example.number + 1))
                yield one

    def _leave_out(self, end: int) -> None:
        """Takes the own examples that are before the number `end`, and have had no prediction, for left out."""
        while (number := self.deal.nth(self.passed)) < end:
            self.gaps.append(number)
            self.passed += 1

    def _read(self) -> Iterator[Example]:
        reader = Reader(self.file, labelled=False, name=self.name, folders=self.folders)
        yield from reader.numbered(None if self.wanted.shard is None else self.deal.has)
        self.records = reader.count

    def __iter__(self) -> Iterator[Example]:
        """The examples whose answers are not there, behind those of their block that are there."""
        block_start = self.begun - self.begun % self.deal.block
        for example in itertools.islice(self._read(), block_start, None):
            if example.number <= self.last:
                self.again.add(example.where)
            yield example

    def __enter__(self) -> "Asked":
        return self

    def __exit__(self, *error: object) -> None:
        self.scratch.cleanup()


def _checked(asked: Asked, images: ImageFolders, source: ImageSource, frames: Frames, wanted: Wanted) -> int:
    """The number of examples, if all of their images can be used; names those that cannot.

    Raises:
      BadDataError: there were some; or an example that TSV cannot hold.
    """
    count = 0

    def counted() -> Iterator[Example]:
        nonlocal count
        silent = wanted.quiet or not sys.stderr.isatty()
        for example in tqdm(asked, "checking", unit="records", leave=False, disable=silent):
            if not wanted.jsonl and not example.target.name:
                to_tsv(example)
            count += example.number > asked.last
            yield example

    problems = image_problems(counted(), images, source, frames)
    if not problems:
        return count
    hint = FOLDER if len(problems) == count else "--on-bad-image skip leaves them out"
    if len(problems) > NAMED:
        print(hint, file=sys.stderr)  # before what may be many lines
    for problem in problems:
        asked.tell(problem)
    asked.tell_of_more()
    raise BadDataError(f"{len(problems)} of {count} images cannot be used", where=wanted.data, hint=hint)


def rejected_below(predictions: Iterator[Prediction], least: float | None) -> Iterator[Prediction]:
    """The predictions, with "unsure" for what is less likely than the least probability.

    Raises:
      UsageError: there are several labels of one record, which are answered yes or no.
    """
    for one in predictions:
        if least is not None and one.target.name:
            hint = "14-validate_outtsv.py --min-p counts which of them are unsure"
            raise UsageError("--min-p is for one label of each record, and there are several", hint=hint)
        yield rejected(one, least)


def of_examples(predictions: Iterator[Prediction]) -> Iterator[list[Prediction]]:
    """The predictions of each example, as soon as all of them are there."""
    for first in predictions:
        yield [first, *itertools.islice(predictions, len(first.example.targets) - 1)]


def _write(
    predictions: Iterator[Prediction],
    total: int | None,
    out: IO[bytes] | None,
    labels: tuple[str, ...] | None,
    wanted: Wanted,
) -> int:
    """The number of lines, which go to `out` or else to standard output."""
    # Lines on a terminal are progress enough.
    silent = wanted.quiet or not sys.stderr.isatty() or (sys.stdout.isatty() and not wanted.resume)
    count = 0
    strange: list[tuple[str, str]] = []
    unknown, known = 0, plain_set(labels or ())
    with LineWriter(out) as write:
        try:
            each = tqdm(of_examples(predictions), "answering", total, unit="records", leave=False, disable=silent)
            for one, *others in each:
                write(line_of([one, *others], labels, wanted.jsonl))
                count += 1
                if not labels or one.target.name:
                    continue
                if one.made is not None and one.made.decode and plain(one.text) not in known:
                    strange.append((one.example.subject, one.text))
                unknown += bool(one.example.label) and plain(one.example.label) not in known
        except Stopped as stopped:
            if wanted.resume:
                stopped.hint = "continue with the same command"
            raise
    if not wanted.quiet:
        answering.tell_of_other_answers(wanted.data, strange, labels or (), count)
        if unknown:
            what = f"{unknown} of {count} labels are none of {', '.join(labels or ())}, so their answers are wrong"
            print(f"{wanted.data}: {what}; --labels names others", file=sys.stderr)
    return count
