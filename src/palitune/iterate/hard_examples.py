"""A loop over hard examples: a model learns again and again from the training records that it answers wrong."""

import contextlib
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from palitune.checkpoint import beside
from palitune.config.learning import EXAMPLES
from palitune.evaluate import comparison, conclusion
from palitune.evaluate.answer_files import Answers
from palitune.evaluate.conclusion import Either
from palitune.iterate import loop_folder
from palitune.iterate.search import PASSED_OVER
from palitune.iterate.steps import Steps
from palitune.method import METHODS
from palitune.run import run_reading
from palitune.run.folder import RunFolder
from palitune.sentence import Sentence

SLOWER = 0.1  # of the learning rate, as in a second pass
SHOWN = 8  # times that a round shows a hard example at most
MOST_ROUNDS = 20
COPIED = "kept"  # the event of the result that was copied


class Round(NamedTuple):
    """A round that has ended.

    Attributes:
      number: 0 is learning from the whole training set.
      kept: how many training records it learned from.
      loss: mean log loss on the validation set.
      accuracy: on the same.
    """

    number: int
    kept: int
    loss: float
    accuracy: float


class HardExamples:
    """The loop at work."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.config, self.folder, self.records = steps, steps.config, steps.folder, steps.records
        self.why: str = ""

    def run(self) -> None:
        """Takes every step that is left. Raises as `Steps.take`."""
        with contextlib.closing(self.steps.bar):
            number = 0
            while number < MOST_ROUNDS and self._round(number):
                if number:
                    self.steps.note(self._helped(number))
                number += 1
            self.why = self.why or Sentence("It ended with the most rounds there are.")
            self._copy()

    def _round(self, number: int) -> bool:
        """One round; whether there may be another."""
        if number and (reason := self._ended_before(number)):
            self.why = reason
            return False
        settings: dict[str, object] = {"valid_data": str(self.records.valid)}
        settings |= {"images": self.records.images} if self.records.images else {}
        if number == 0:
            settings["data"] = self.records.file
            self.steps.run(key_of(0), Sentence("learning from all training records"), settings, self._facts)
            return True
        if (kept := self._kept(number)) == 0:
            self.why = Sentence("It ended because no training record is answered so any more.")
            return False
        method = METHODS[self.config.method]
        rate = self.config.learning_rate or method.learning_rate * SLOWER
        settings |= {"data": self.steps.output(f"hard-{number}"), "model": self._checkpoint(number - 1)}
        settings |= {"learning_rate": float(f"{rate:.2g}"), "seed": self.config.seed + number}
        if kept * SHOWN < EXAMPLES and not self.config.given & {"examples", "epochs"}:
            settings["epochs"] = SHOWN
        title = Sentence("round %(number)d, from %(count)d hard examples", number=number, count=kept)
        step = self.steps.run(key_of(number), title, settings, self._facts, may_fail=PASSED_OVER)
        if step.code:
            self.why = Sentence("It ended because round %(number)d diverged.", number=number)
            return False
        return True

    def _ended_before(self, number: int) -> str:
        """Why there is no such round; empty where there is one."""
        if (warning := self._warning(number - 1)) is not None:
            return Sentence("It ended because one answer takes over: %(warning)s.", warning=warning)
        if number > 1 and self.best().number != number - 1:
            return Sentence("It ended because round %(number)d did not help any more.", number=number - 1)
        if self.config.runs is not None and number >= self.config.runs:
            return Sentence("It ended with the number of runs.")
        rounds = self.rounds()
        if self.config.seconds is not None and self.folder.seconds * (1 + 1 / len(rounds)) > self.config.seconds:
            return Sentence("It ended with the time.")
        return ""

    def _kept(self, number: int) -> int:
        """How many training records the model of the round before answers as `--keep` says; they are in a file."""
        asked, hard = f"answers-{number}", f"hard-{number}"
        words = ["inference", "-d", self.records.file, "-m", self._checkpoint(number - 1), "--jsonl"]
        words += self.steps.reading()
        self.steps.take(asked, Sentence("answers to all training records"), words)
        words = ["filter", "--keep", ",".join(self.config.outcomes), self.steps.output(asked)]
        title = Sentence("those answered as %(kinds)s", kinds=",".join(self.config.outcomes))
        step = self.steps.take(hard, title, words, lambda: {"count": _lines(self.folder.path / f"{hard}.out")})
        return int(step.facts["count"])

    def _checkpoint(self, number: int) -> str:
        """The model of a round, as `-m` finds it."""
        return loop_folder.typed(self.steps.target(key_of(number)).with_suffix(""))

    def _facts(self, metrics: Path) -> Mapping[str, Any]:
        """What has come of a round, by its answers to the validation set."""
        run = RunFolder(metrics.parent.with_suffix(".npz"))
        past = run_reading.read(run.path, run.target.stem)
        answers = self.steps.answers(run.target.stem)
        right = conclusion.right_of(answers)
        loss = float(conclusion.losses_of(answers).mean())
        return {"loss": loss, "right": int(right.sum()), "total": len(right), "records": past.trained_on.records}

    def rounds(self) -> list[Round]:
        """The rounds that have ended well."""
        found = []
        for number in range(MOST_ROUNDS):
            step = self.folder.steps.get(key_of(number))
            if step is not None and not step.code:
                facts = step.facts
                found.append(
                    Round(number, int(facts["records"]), float(facts["loss"]), facts["right"] / facts["total"])
                )
        return found

    def best(self) -> Round:
        """The round with the lowest loss."""
        return min(self.rounds(), key=lambda one: (one.loss, one.number))

    def answers(self, number: int) -> Either:
        """The answers of a round to the validation set."""
        return self.steps.answers(key_of(number))

    def _warning(self, number: int) -> str | None:
        """Whether yes, or no, has taken over in a round."""
        if number == 0:
            return None
        before, after = self.answers(0), self.answers(number)
        if not isinstance(before, Answers) or not isinstance(after, Answers):
            return None
        return comparison.compare(before.outcomes, after.outcomes).warning

    def _helped(self, number: int) -> str:
        """What a round did to the validation loss."""
        rounds = {one.number: one for one in self.rounds()}
        before = min((one.loss for one in rounds.values() if one.number < number), default=math.inf)
        after = rounds[number].loss
        return f"validation loss {before:.4f} -> {after:.4f}: it {'helps' if after < before else 'does not help'}"

    def _copy(self) -> None:
        """The best round's model under the name of the result, which does not need the others."""
        if COPIED in self.folder.events:
            return
        best = self.steps.target(key_of(self.best().number))
        target = self.folder.target
        if (run := beside.run_of(target)).exists():
            shutil.rmtree(run)
        shutil.copytree(beside.run_of(best), run)
        shutil.copyfile(beside.manifest_of(best), beside.manifest_of(target))
        shutil.copyfile(best, target)
        self.folder.write({"event": COPIED, "round": self.best().number, "why": self.why})


def key_of(number: int) -> str:
    """The key of a round among the steps."""
    return f"round-{number}"


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)
