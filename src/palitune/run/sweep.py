"""The trials of a run: from different seeds, over a grid of settings, or where a search proposes them."""

import copy
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from palitune.config.learning import LearningSettings, PassSettings
from palitune.config.run_config import BEST, ENSEMBLE, RunConfig
from palitune.config.settings import Setting, settings_of
from palitune.data.label_sets import LabelSet
from palitune.errors import ConfigurationError, UsageError
from palitune.evaluate.report.result_block import TrialResult
from palitune.run import combination

SHORT = {"lr": "learning-rate", "batch": "batch-size"}
MOST_TRIALS = 10_000
SHARED = ("method", "loss_on", "max_length")


class Varied(NamedTuple):
    """A setting that differs between trials, and the values that it takes."""

    name: str
    values: list[object]
    range: tuple[float, float] | None  # of a search, instead of values


class Trial(NamedTuple):
    """One training from the base."""

    seed: int
    changes: dict[str, object]  # settings by name

    def of(self, config: RunConfig) -> RunConfig:
        """The settings of this trial in a run of many."""
        return RunConfig.of({**config.options(), "seed": self.seed, **self.changes})


def _known() -> dict[str, Setting]:
    """The settings that a sweep can vary, by the name that is typed for them.

    All trials share the method, with the parameters that it freezes, and the examples as tokens.
    """
    found = [*settings_of(LearningSettings), *settings_of(PassSettings)]
    return {one.option[2:]: one for one in found if not one.is_flag and one.name not in SHARED}


def varied(sweep: Sequence[str], searching: bool) -> list[Varied]:
    """What `--sweep lr=0.01,0.03 batch=2,8` asks for.

    Raises:
      UsageError: no such setting, or a value that it does not take.
    """
    known, made = _known(), []
    for text in sweep:
        name, equals, values = text.partition("=")
        option = SHORT.get(name, name.replace("_", "-"))
        if not equals or option not in known:
            what = f"--sweep cannot vary {name}" if equals else f"--sweep {text!r} is no NAME=VALUE,VALUE"
            raise UsageError(what, hint=f"Names are {', '.join([*SHORT, *sorted(known)])}")
        low, dots, high = values.partition("..")
        if dots and not searching:
            raise UsageError(f"--sweep {text}: a range needs --search, which chooses the values")
        if dots:
            ends = tuple(_parsed(known[option], text, value) for value in (low, high))
            if not (isinstance(ends[0], float) and isinstance(ends[1], float) and 0 < ends[0] < ends[1]):
                raise UsageError(f"--sweep {text}: a range is of two numbers above 0, of an option with fractions")
            made.append(Varied(known[option].name, [], (ends[0], ends[1])))
        else:
            parsed = [_parsed(known[option], text, value) for value in values.split(",")]
            made.append(Varied(known[option].name, parsed, None))
    if len({one.name for one in made}) < len(made):
        raise UsageError("--sweep names a setting twice")
    return made


def _parsed(one: Setting, text: str, value: str) -> object:
    if not value:
        raise UsageError(f"--sweep {text}: a value is empty")
    try:
        return one.details.kind.parse(value)
    except ValueError as error:
        raise UsageError(f"--sweep {text}: argument {one.option}: {error}") from None


class Trials:
    """Which trials there are; those of a search are known only when the ones before have ended.

    Each combination of settings is a group of trials: from several seeds, or the folds of one seed.

    Attributes:
      how: what they are combined to, the setting `combine`; several seeds become an ensemble where nobody has said.
      is_asked: whether somebody has said so.
      by_epochs: whether a pass is as long as there are examples.
    """

    def __init__(self, config: RunConfig) -> None:
        """Raises UsageError for more than can be meant, ConfigurationError without the library for a search."""
        self.seed, self.repeat, self.search, self.folds = config.seed, config.repeat, config.search, config.folds
        self.how = config.combine or (ENSEMBLE if self.repeat > 1 else BEST)
        self.is_asked = config.combine is not None
        self.by_epochs = config.epochs is not None
        self.group = self.folds or self.repeat
        self.varied = varied(config.sweep, bool(config.search))
        self.grid = [] if self.search else list(itertools.product(*(one.values for one in self.varied)))
        self.count = self.search * self.group if self.search else len(self.grid) * self.group
        if self.count > MOST_TRIALS:
            raise UsageError(f"{self.count:,} trials are more than {MOST_TRIALS:,}")
        if config.combine and self.count == 1:
            what = f"--combine {config.combine} is for several trials"
            raise UsageError(what, hint="--repeat 5 learns five times, from as many seeds")
        if self.search:
            if not self.varied:
                raise UsageError("--search needs --sweep, which says what it may vary and how far")
            try:
                import optuna
            except ImportError:
                hint = "Install it: pip install 'palitune[search]'"
                raise ConfigurationError("--search needs Optuna, which is not installed", hint=hint) from None
            optuna.logging.set_verbosity(optuna.logging.WARNING)

    def of(self, labels: LabelSet) -> "Trials":
        """The same trials of data with these labels: of free text, whose writing costs most, the best one is kept."""
        return self.with_best() if labels.labels is None and not self.is_asked else self

    def with_best(self) -> "Trials":
        """The same trials, of which the best is kept."""
        found = copy.copy(self)
        found.how = BEST
        return found

    @property
    def members(self) -> int:
        """How many trials are combined at most."""
        if self.folds and self.repeat == 1:
            return self.folds
        return self.repeat if self.repeat > 1 else min(combination.MOST, max(2, self.count // 2))

    @property
    def joins_folds(self) -> bool:
        """Whether the models of the folds become the result together, and none is learned on everything."""
        return self.folds is not None and self.repeat == 1 and self.how != BEST

    def _seed(self, number: int) -> int:
        """The seed of a trial by its number: that of all folds is the same."""
        return self.seed if self.folds else self.seed + number % self.group

    def __getitem__(self, number: int) -> Trial:
        """Trial `number` of a grid, from 0."""
        values = self.grid[number // self.group]
        return Trial(self._seed(number), {one.name: value for one, value in zip(self.varied, values, strict=True)})

    def wanted(self, results: Sequence[TrialResult]) -> set[int]:
        """The trials, of those that have ended, of which something may be part of the result."""
        best = combination.ranked(results)
        if self.group == 1 or (self.how == BEST and not self.folds):
            return set(best[: 1 if self.how == BEST else combination.MOST])
        latest = [one for one in best if one // self.group == (len(results) - 1) // self.group]
        return {*best[:1], *combination.chosen(results, self.group), *latest, *self.best_group(results)}

    def best_group(self, results: Sequence[TrialResult]) -> list[int]:
        """The trials of the combination of settings with the best mean, of those whose trials all came to an end."""
        whole = [
            list(range(first, first + self.group))
            for first in range(0, len(results) - self.group + 1, self.group)
            if not any(one.diverged for one in results[first : first + self.group])
        ]
        return max(whole, key=lambda group: combination.mean_of(results, group), default=[])

    def known(self) -> list[Trial]:
        """Trials that show everything that can be wrong: all of a grid; of a search each value and end of a range."""
        if not self.search:
            return [self[number] for number in range(self.count)]
        alone: list[dict[str, object]] = [
            {one.name: value} for one in self.varied for value in one.values or one.range or ()
        ]
        return [Trial(self.seed, changes) for changes in ({}, *alone)]

    def next(self, scores: Sequence[float | None]) -> Trial:
        """The trial after those that have ended with these scores; None is one that diverged."""
        if not self.search:
            return self[len(scores)]
        import optuna

        # The search is asked and told everything again, so that a run that was resumed gets the same proposals.
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=self.seed))
        for number in range(len(scores) // self.group + 1):
            asked = study.ask()
            changes: dict[str, object] = {}
            for one in self.varied:
                if one.range:
                    changes[one.name] = asked.suggest_float(one.name, *one.range, log=True)
                else:
                    changes[one.name] = asked.suggest_categorical(one.name, list[Any](one.values))
            own = scores[number * self.group : (number + 1) * self.group]
            told = [score for score in own if score is not None]
            if len(own) == self.group and told:
                study.tell(asked, sum(told) / len(told))
            elif len(own) == self.group:
                study.tell(asked, state=optuna.trial.TrialState.FAIL)
        return Trial(self._seed(len(scores)), changes)
