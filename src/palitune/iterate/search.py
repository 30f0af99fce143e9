"""The search of a loop: candidates by successive halving, as many as there is time for, and which of them is chosen."""

import math
from collections.abc import Sequence

from palitune import errors
from palitune.errors import DivergedError
from palitune.evaluate import conclusion
from palitune.iterate import candidates, halving
from palitune.iterate.candidates import Space
from palitune.iterate.halving import RECIPE, Try
from palitune.iterate.loop_folder import CUT, PLAN, TRY
from palitune.iterate.steps import Steps
from palitune.sentence import Sentence

RESERVE = 1.15  # of the time that the last steps are expected to take
BESIDE = 2  # runs behind the search: the last one, and the recipe beside it
SAMPLE = 8  # candidates whose work tells what one costs
PASSED_OVER = (DivergedError.exit_code, errors.ConfigurationError.exit_code)  # of a candidate, which is then out


class Search:
    """The candidates of a loop.

    How many there are is decided once, when the recipe has been timed, and written down: from there on everything
    follows from what the runs have answered.
    """

    def __init__(self, steps: Steps, space: Space, listed: Sequence[dict[str, object]] | None) -> None:
        """`listed` are candidates that somebody has named; None is to draw them."""
        self.steps, self.space, self.config, self.folder = steps, space, steps.config, steps.folder
        self.listed = listed

    def run(self) -> None:
        """Tries what is left to try. Raises as `Steps.learn`."""
        self._try(Try(RECIPE, 0))
        if PLAN not in self.folder.events:
            self.folder.write({"event": PLAN, "first": self._count()})
            rounds, runs = len(halving.sizes(self.count)), halving.runs(self.count)
            some = "1 candidate, the recipe" if self.count == 1 else f"{self.count} candidates"
            what = f"{some}; up to {runs} runs in {rounds} rounds"
            self.steps.note(f"{what}, each in {self.config.folds} folds")
            if self.config.seconds is not None and self.folder.seconds + self._last_seconds() > self.config.seconds:
                took, left = self._recipe_seconds, self._last_seconds()
                self.steps.note(
                    f"the time is short: the recipe took {took:.0f} s, the last run will take about {left:.0f}"
                )
        while CUT not in self.folder.events:
            following = halving.following(self.count, self.losses)
            if following is None:
                return
            if self._is_late(following):
                self.folder.write({"event": CUT, "before": key_of(following)})
                self.steps.note("the time is nearly over: what has been found so far is taken")
                return
            self._try(following)

    @property
    def count(self) -> int:
        """How many candidates there are."""
        return int(self.folder.events[PLAN]["first"])

    @property
    def seed(self) -> int:
        """A seed that no round has."""
        return self.config.seed + len(halving.sizes(self.count))

    def _count(self) -> int:
        """How many candidates there is time for."""
        if self.listed is not None:
            return 1 + len(self.listed)
        allowed = math.inf if self.config.runs is None else self.config.runs - BESIDE
        if (seconds := self.config.seconds) is not None:
            work = [candidates.work_of(self.space.config, self.changes(number)) for number in range(1, SAMPLE + 1)]
            left = seconds - self.folder.seconds - self._last_seconds()
            allowed = min(allowed, 1 + left / (self._recipe_seconds * sum(work) / len(work)))
        return halving.most(allowed)

    @property
    def _recipe_seconds(self) -> float:
        return self.folder.steps[key_of(Try(RECIPE, 0))].seconds

    def _last_seconds(self) -> float:
        """How long the steps behind the search will take: the last run, the recipe beside it, and what is asked."""
        last = self._recipe_seconds * (1 + self.config.repeat / self.config.folds)
        return RESERVE * (last + self._recipe_seconds + 3 * self.folder.steps["zero-shot"].seconds)

    def _is_late(self, one: Try) -> bool:
        """Whether the last steps would not end in time behind this try."""
        if self.config.seconds is None:
            return False
        needed = self._recipe_seconds * candidates.work_of(self.space.config, self.changes(one.candidate))
        return self.folder.seconds + needed + self._last_seconds() > self.config.seconds

    def changes(self, number: int) -> dict[str, object]:
        """What a candidate has other than the recipe."""
        if self.listed is not None:
            return self.listed[number - 1] if number else {}
        return candidates.candidate(self.space, number, self.config.seed)

    def settings(self, number: int) -> str:
        """The same for a person."""
        return ", ".join(f"{name} {_text(value)}" for name, value in self.changes(number).items())

    def _try(self, one: Try) -> None:
        """One candidate in one round; what diverges, or does not fit, is out."""
        changes = self.changes(one.candidate)
        seed = int(str(changes.get("seed", self.config.seed))) + one.round
        title: str = Sentence("the recipe")
        if one.candidate != RECIPE:
            title = Sentence(
                "candidate %(number)d: %(settings)s", number=one.candidate, settings=self.settings(one.candidate)
            )
        may_fail: Sequence[int] = PASSED_OVER if one.candidate != RECIPE else PASSED_OVER[:1]
        self.steps.learn(key_of(one), title, changes, seed, may_fail=may_fail)

    @property
    def losses(self) -> dict[tuple[int, int], float]:
        """Mean losses out of fold by candidate and round, of every try so far."""
        found: dict[tuple[int, int], float] = {}
        for key, step in self.folder.steps.items():
            if (one := try_of(key)) is not None:
                found[one] = math.inf if step.code else float(step.facts["loss"])
        return found

    @property
    def rounds(self) -> int:
        """How many rounds are complete."""
        return halving.complete(self.count, self.losses)

    def chosen(self) -> int:
        """The candidate with the lowest mean loss, but the recipe where that is as good within a standard error."""
        losses, rounds = self.losses, self.rounds
        if rounds == 0:
            return RECIPE
        among = halving.members(self.count, rounds - 1, losses)
        best = min(among, key=lambda one: (halving.mean(one, rounds, losses), one))
        if best == RECIPE or RECIPE not in among:
            return best
        mine, recipes = (
            [conclusion.losses_of(self.steps.answers(key_of(Try(one, round)))) for round in range(rounds)]
            for one in (best, RECIPE)
        )
        return best if conclusion.is_clearly_lower(mine, recipes) else RECIPE


def key_of(one: Try) -> str:
    """The key of a try among the steps."""
    return f"{TRY}{one.candidate}-{one.round + 1}"


def try_of(key: str) -> Try | None:
    """The try of a key; None of another step."""
    if not key.startswith(TRY):
        return None
    candidate, number = map(int, key.removeprefix(TRY).split("-"))
    return Try(candidate, number - 1)


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
