"""The steps of a loop as they are taken: each is a command, which is run once and written down with what came of it."""

import contextlib
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from palitune import console
from palitune.checkpoint import beside
from palitune.config.iterate_config import IterateConfig
from palitune.config.model import RECORDS
from palitune.config.run_config import SOUP
from palitune.errors import BadDataError, PalituneError
from palitune.evaluate import answer_files, several_answers
from palitune.evaluate.conclusion import Either
from palitune.iterate import command, loop_folder
from palitune.iterate.loop_folder import LoopFolder, Step
from palitune.iterate.records import Records
from palitune.labels import LABELS
from palitune.run import next_run
from palitune.run.folder import RunFolder, end_of
from palitune.run.run_reading import out_of_fold

LAST = "last"  # the run whose result is kept
# Settings of how a base is asked about records.
ASKING = (
    *("model", "prompt", "tokenizer", "quantize", "quantize_embeddings", "dtype", "labels", "labels_from", "features"),
    *("images", "allow_outside", "max_pixels", "frames", *RECORDS),
)
READING = ("images", "allow_outside", "max_pixels", "frames", *RECORDS)  # and of how records are read


class Steps:
    """Takes the steps of a loop that were not taken yet.

    Attributes:
      config: what was asked for.
      folder: of the loop, which knows the steps that were taken.
      records: that it is about.
      name: what `-w` calls the result.
      again: the command that continues the loop.
    """

    def __init__(self, config: IterateConfig, folder: LoopFolder, records: Records) -> None:
        self.config, self.folder, self.records = config, folder, records
        self.name = loop_folder.name_of(folder.target)
        self.again = f"palitune iterate --resume -w {shlex.quote(self.name)}"
        silent = config.quiet or not console.is_watched()
        self.bar: tqdm[Any] = tqdm(bar_format="{desc} [{elapsed}] {postfix}", leave=False, disable=silent)

    def typed(self, *names: str) -> list[str]:
        """Some settings of the loop as a command takes them."""
        every = self.config.options() | self.records.settings
        return next_run.typed({name: value for name, value in every.items() if name in names})

    def asking(self) -> list[str]:
        """How the base is asked about the records, as a command takes it."""
        own = self.typed(*ASKING)
        labels = tuple(self.records.labels)
        if self.records.are_of_one_label and labels != LABELS and not self.config.given & {"labels", "labels_from"}:
            own += ["--labels", ",".join(labels)]
        return own

    def reading(self) -> list[str]:
        """How the records are read, as a command takes it."""
        return self.typed(*READING)

    def output(self, key: str) -> str:
        """The file that has the lines of a step, as it is typed."""
        return loop_folder.typed(self.folder.path / f"{key}.out")

    def take(
        self,
        key: str,
        title: str,
        words: list[str],
        facts: Callable[[], Mapping[str, Any]] = dict,
        *,
        done: list[str] | None = None,
        may_fail: Sequence[int] = (),
        is_needed: bool = False,
    ) -> Step:
        """A step, which is taken if it was not yet.

        Args:
          words: the command that a person types, behind `palitune`.
          facts: tells what has come of it.
          done: the command that is run, where a person would type another.
          may_fail: exit codes that are no error here: the loop goes on, or whoever takes the step says what is wrong.
          is_needed: the loop does not go on without it, and nothing is said here of its failure.

        Raises:
          PalituneError: it has ended with another one.
          ResumableError: stopped on request.
        """
        if (known := self.folder.steps.get(key)) is not None:
            return known
        number, place = len(self.folder.steps) + 1, self.folder.path
        self.bar.set_description_str(f"step {number}: {title}")
        if self.bar.disable:  # nobody would see anything until its end
            self.note(f"step {number}: {title}")
        typed = command.shown(words, Path(self.output(key)))
        ended = command.run(done or words, place / f"{key}.err", place / f"{key}.out", self.bar, self.again)
        if ended.code and ended.code not in may_fail:
            raise _failed(ended, typed, self.again)
        told = {"error": ended.error} if ended.code else facts()
        self.folder.write(Step(key, title, typed, ended.seconds, ended.code, told).as_row())
        if not (ended.code and is_needed):
            done_now = title if not self.bar.disable else "done"
            self.note(f"step {number}, {ended.seconds:.0f} s: {done_now}{_worth(told)}")
        return self.folder.steps[key]

    def learn(
        self,
        key: str,
        title: str,
        changes: Mapping[str, object],
        seed: int,
        *,
        repeat: int = 1,
        may_fail: Sequence[int] = (),
    ) -> Step:
        """Learns in folds. Of the last run the result is kept, of others answers and metrics alone.

        Args:
          changes: settings that are other than was asked for.
          repeat: from how many seeds the last run learns on everything.

        Raises: as `take`.
        """
        own = {**changes, **self.records.settings, "folds": self.config.folds, "seed": seed}
        own |= {"combine": SOUP} if key != LAST else {"repeat": repeat} if repeat > 1 else {}
        with self._cleaned(self.target(key), keep=key == LAST):
            return self.run(key, title, own, out_of_fold, may_fail=may_fail)

    def run(
        self,
        key: str,
        title: str,
        settings: Mapping[str, object],
        facts: Callable[[Path], Mapping[str, Any]],
        *,
        may_fail: Sequence[int] = (),
    ) -> Step:
        """A run, which goes on where it was saved.

        Args:
          settings: of the run, beside those that were asked for.
          facts: tells what has come of it, of the file of its metrics.

        Raises: as `take`.
        """
        run = RunFolder(self.target(key))
        name = self.name if key == LAST else loop_folder.typed(run.target.with_suffix(""))
        words = ["learn", *next_run.typed(self.config.run(settings, write=name).options())]
        if run.state.exists() and end_of(run) is None:
            done = ["learn", "--resume", "-w", name]
        else:
            done = [*words, "--overwrite"]  # of what was killed before it had saved anything
        return self.take(key, title, words, lambda: facts(run.metrics), done=done, may_fail=may_fail)

    def target(self, key: str) -> Path:
        """The checkpoint that a run of the loop makes."""
        return self.folder.target if key == LAST else self.folder.path / f"{key}.npz"

    @contextlib.contextmanager
    def _cleaned(self, target: Path, *, keep: bool) -> Iterator[None]:
        """Weights of a candidate are not needed once its answers are known, and may be large."""
        yield
        if not keep:
            target.unlink(missing_ok=True)
            beside.manifest_of(target).unlink(missing_ok=True)

    def note(self, text: str) -> None:
        """Says something on stderr."""
        if not self.config.quiet:
            self.bar.clear()
            console.note(text)

    def answers(self, key: str) -> Either:
        """The answers of a run to all records, out of fold. Raises BadDataError: they are no longer there."""
        run = RunFolder(self.target(key))
        if run.answers_there is None:
            raise BadDataError("the answers of this run are no longer there", where=loop_folder.typed(run.path))
        return read_answers(run.answers_there)

    def read_json(self, key: str) -> Any:
        """What a step has printed as JSON. Raises BadDataError: it is damaged."""
        try:
            return json.loads((self.folder.path / f"{key}.out").read_bytes())
        except (OSError, ValueError, RecursionError):
            raise BadDataError("this is no longer what a step has written", where=self.output(key)) from None


def read_answers(path: Path, labels: tuple[str, ...] | None = None) -> Either:
    """A file of answers to one label or several. Raises as `answer_files.read`."""
    if several_answers.are_in(path):
        return several_answers.read(path, quiet=True)
    return answer_files.read(path, labels, quiet=True)


def _worth(told: Mapping[str, Any]) -> str:
    if "error" in told:
        return f" (left out: {told['error']})"
    if "right" not in told:
        return ""
    return f": log loss {told['loss']:.4f}, accuracy {told['right'] / told['total']:.4f}"


def _failed(ended: command.Ended, typed: str, again: str) -> PalituneError:
    """The error of a command as the loop's own, with its exit code."""
    kinds = [one for one in PalituneError.__subclasses__() if one.exit_code == ended.code]
    kind = kinds[0] if kinds else PalituneError
    return kind(f"{typed} ended with {ended.code}: {ended.error}", hint=f"Mend that, then {again}")
