"""One loop: data checked, baselines, prompts, a search, a last run, a threshold, and what it all comes to."""

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

from palitune.data.example import Example
from palitune.errors import BadDataError, UsageError
from palitune.evaluate import answer_files, comparison, conclusion, several_answers
from palitune.evaluate.answer_files import Answers
from palitune.evaluate.conclusion import Conclusion, Either
from palitune.evaluate.outcomes import Booleans
from palitune.evaluate.prompt_ranking import read_prompts
from palitune.evaluate.several_answers import SeveralAnswers
from palitune.iterate import candidates, loop_folder
from palitune.iterate import records as records_of
from palitune.iterate.candidates import Space
from palitune.iterate.halving import RECIPE
from palitune.iterate.search import PASSED_OVER, Search
from palitune.iterate.steps import LAST, READING, Steps, read_answers
from palitune.run.folder import RunFolder
from palitune.sentence import Sentence
from palitune.storage import files

MOST_PROMPTS = 3  # of a file, that are tried on folds
MOST_UNSURE = 20  # records that are named to be labelled next
ZERO_SHOT, PROBE, PROMPTS, AGAIN, TEST, UNSURE = (
    "zero-shot",
    "linear-probe",
    "prompts",
    "recipe-again",
    "test",
    "next",
)
# What a step without which the loop goes on may end with.
REFUSED = (BadDataError.exit_code, UsageError.exit_code)
BASELINES: dict[str, str] = {ZERO_SHOT: Sentence("answers without learning"), PROBE: Sentence("the linear probe")}
MOST_FREQUENT = Sentence("the most frequent label")


class Loop:
    """A loop at work.

    Attributes:
      steps: that it takes.
      prompts: questions to try.
      listed: candidates that somebody has named; None where they are drawn.
    """

    def __init__(self, steps: Steps) -> None:
        self.steps, self.config, self.records, self.folder = steps, steps.config, steps.records, steps.folder
        self.prompts = self._prompts()
        self.listed = candidates.read(self.config.candidates) if self.config.candidates else None

    def _prompts(self) -> list[str]:
        """The questions of the file. Raises UsageError: they would have no effect."""
        if self.config.prompts is None:
            return []
        if any(one.prompt for one in self.records.examples):
            what = "--prompts has no effect on records that have questions of their own"
            raise UsageError(what, hint="palitune prompts shows what others would do")
        labels = tuple(self.records.labels)
        found = read_prompts(self.config.prompts, [labels])
        if any(one.words != labels for one in found):
            raise UsageError("--prompts takes questions alone, without answer words behind a tab")
        return [one.text for one in found]

    def run(self) -> None:
        """Takes every step that is left.

        Raises:
          PalituneError: a step without which there is no result has failed.
          ResumableError: stopped on request.
        """
        with contextlib.closing(self.steps.bar):
            self._check()
            self._baselines()
            self.search.run()
            self._last_run()
            self._behind()

    def _check(self) -> None:
        """The data put together, and linted: errors end the loop before it costs anything."""
        if self.records.sources and not Path(self.records.file).exists():
            records_of.write(self.records)
        file = self.records.file
        words = ["lint", file, *self.steps.reading(), *self.steps.typed("model", "tokenizer", "prompt")]
        step = self.steps.take("lint", Sentence("the data checked"), words, may_fail=REFUSED, is_needed=True)
        if step.code:
            hint = f"{self.steps.output('lint')} names all. Mend the data, then start over with --overwrite"
            raise BadDataError(f"the data have faults: {self._fault() or step.facts['error']}", where=file, hint=hint)

    def _fault(self) -> str:
        """The first error that lint has printed; empty where there is none."""
        text = files.read(self.folder.path / "lint.out", loop_folder.MOST).decode("utf-8", "replace")
        found = itertools.dropwhile(lambda line: not line.startswith("error:"), text.splitlines())
        return next((line.strip() for line in found if line.startswith(" ")), "")

    def _baselines(self) -> None:
        """Answers without any learning: the base's own, a linear probe's where there are images, other questions."""
        file, asking = self.records.file, self.steps.asking()
        self.steps.take(ZERO_SHOT, BASELINES[ZERO_SHOT], ["inference", "-d", file, "--jsonl", *asking])
        if self.records.has_images and self.records.are_of_one_label:
            words = ["suspect", "-d", file, "--folds", str(self.config.folds), "--seed", str(self.config.seed), *asking]
            self.steps.take(PROBE, BASELINES[PROBE], words, may_fail=REFUSED)
        if self.config.prompts:
            words = ["prompts", self.config.prompts, "-d", file, "--json", *asking]
            title = Sentence("questions without learning")
            self.steps.take(PROMPTS, title, words, self._best_prompts)

    def _best_prompts(self) -> dict[str, object]:
        """The questions that do best without learning, of what the step has printed."""
        return {"best": [str(one["prompt"]) for one in self.steps.read_json(PROMPTS)][:MOST_PROMPTS]}

    @property
    def search(self) -> Search:
        """The candidates, once the questions are known that are worth trying."""
        best = self.folder.steps[PROMPTS].facts["best"] if PROMPTS in self.folder.steps else ()
        space = Space(self.config.run(), list(map(str, best)), self.records.has_images, self.records.rarest)
        return Search(self.steps, space, self.listed)

    def _last_run(self) -> None:
        """What was chosen, from a seed that nothing was chosen by, and the recipe from the same where it is another."""
        search = self.search
        chosen = search.chosen()
        if chosen != RECIPE:
            self.steps.learn(AGAIN, Sentence("the recipe beside it"), {}, search.seed, may_fail=PASSED_OVER)
        title: str = Sentence("the last run, by the recipe")
        if chosen != RECIPE:
            title = Sentence("the last run, as candidate %(number)d", number=chosen)
        self.steps.learn(LAST, title, search.changes(chosen), search.seed, repeat=self.config.repeat)

    def _behind(self) -> None:
        """What follows from the last run: threshold, temperature, answers to other records."""
        take, name = self.steps.take, self.steps.name
        answers = RunFolder(self.folder.target).answers_there
        if answers is not None:
            goal, _, value = (self.config.goal or "").partition("=")
            words = ["threshold", loop_folder.typed(answers), "--temperature", "-m", name]
            words += [f"--{goal}", *([value] if value else [])] if goal else []
            take("threshold", Sentence("threshold and temperature"), words, may_fail=() if goal else REFUSED)
        asking = ["-m", name, *self.steps.reading()]
        if self.config.unlabelled:
            title = Sentence("answers to records without labels")
            words = ["inference", "-d", self.config.unlabelled, "--jsonl", "-m", name, *self._reading_unlabelled()]
            take("unlabelled", title, words)
            words = ["uncertain", self.steps.output("unlabelled"), "-n", str(MOST_UNSURE)]
            take(UNSURE, Sentence("what to label next"), words)
        if self.records.test is not None:
            words = ["inference", "-d", str(self.records.test), "--jsonl", *asking]
            take(TEST, Sentence("answers to the test records, which nothing was chosen by"), words)

    def _reading_unlabelled(self) -> list[str]:
        """As the records are read, but for their folder of images where nobody has named one."""
        names = [name for name in READING if name != "images" or self.config.images]
        return self.steps.typed(*names)

    def conclusion(self) -> Conclusion:
        """What the last run is worth beside everything that needs no learning, on the same records."""
        last = self.steps.answers(LAST)
        baselines: dict[str, Booleans] = {MOST_FREQUENT: conclusion.most_frequent(last)}
        for key, name in BASELINES.items():
            step = self.folder.steps.get(key)
            if step is not None and not step.code:
                said = read_answers(Path(self.steps.output(key)), tuple(self.records.labels))
                baselines[name] = paired(last, said)[1]
        return conclusion.conclude(conclusion.right_of(last), baselines)

    def against_recipe(self) -> comparison.Comparison | None:
        """What was chosen against the recipe, from a seed that nothing was chosen by; None where it is the recipe."""
        step = self.folder.steps.get(AGAIN)
        if step is None or step.code:
            return None
        before, after = paired(self.steps.answers(AGAIN), self.steps.answers(LAST))
        won, lost = int((after & ~before).sum()), int((before & ~after).sum())
        return comparison.Comparison([], won, lost, comparison.mcnemar(won, lost), None)


def paired(first: Either, second: Either) -> tuple[Booleans, Booleans]:
    """Whether answers to the same records are right, in the first's order, bool[N] each."""
    if isinstance(first, SeveralAnswers) and isinstance(second, SeveralAnswers):
        both = several_answers.same_records(first, second)
        return conclusion.right_of(both[0]), conclusion.right_of(both[1])
    if isinstance(first, Answers) and isinstance(second, Answers):
        places = answer_files.paired(first.examples, second.examples, (first.name, second.name), _identity(second))
        mine, other = (conclusion.right_of(one) for one in (first, second))
        return mine[[place for place, _ in places]], other[[place for _, place in places]]
    raise BadDataError("one of them has one label for each record, and the other several", where=second.name)


def _identity(of: Answers) -> Callable[[Example], answer_files.Identity]:
    """What answers have in common that are to the same record; lines of TSV have no questions."""
    if any(one.prompt for one in of.examples):
        return answer_files.of_example
    return lambda example: (example.subject, example.label)
