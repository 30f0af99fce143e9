"""The trials of a run: from different seeds, over a grid of settings, or where a search proposes them."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from palitune.config.learning import LearningSettings, PassSettings
from palitune.config.run_config import RunConfig
from palitune.config.settings import Setting, settings_of
from palitune.errors import ConfigurationError, UsageError

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
    """Which trials there are; those of a search are known only when the ones before have ended."""

    def __init__(self, config: RunConfig) -> None:
        """Raises UsageError for more than can be meant, ConfigurationError without the library for a search."""
        self.seed, self.repeat, self.search = config.seed, config.repeat, config.search
        self.varied = varied(config.sweep, bool(config.search))
        self.grid = [] if self.search else list(itertools.product(*(one.values for one in self.varied)))
        self.count = self.search * self.repeat if self.search else len(self.grid) * self.repeat
        if self.count > MOST_TRIALS:
            raise UsageError(f"{self.count:,} trials are more than {MOST_TRIALS:,}")
        if self.search:
            if not self.varied:
                raise UsageError("--search needs --sweep, which says what it may vary and how far")
            try:
                import optuna
            except ImportError:
                hint = "Install it: pip install 'palitune[search]'"
                raise ConfigurationError("--search needs Optuna, which is not installed", hint=hint) from None
            optuna.logging.set_verbosity(optuna.logging.WARNING)

    def __getitem__(self, number: int) -> Trial:
        """Trial `number` of a grid, from 0; each combination of values is repeated with as many seeds."""
        values = self.grid[number // self.repeat]
        changes = {one.name: value for one, value in zip(self.varied, values, strict=True)}
        return Trial(self.seed + number % self.repeat, changes)

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
        for number in range(len(scores) // self.repeat + 1):
            asked = study.ask()
            changes: dict[str, object] = {}
            for one in self.varied:
                if one.range:
                    changes[one.name] = asked.suggest_float(one.name, *one.range, log=True)
                else:
                    changes[one.name] = asked.suggest_categorical(one.name, list[Any](one.values))
            own = scores[number * self.repeat : (number + 1) * self.repeat]
            told = [score for score in own if score is not None]
            if len(own) == self.repeat and told:
                study.tell(asked, sum(told) / len(told))
            elif len(own) == self.repeat:
                study.tell(asked, state=optuna.trial.TrialState.FAIL)
        return Trial(self.seed + len(scores) % self.repeat, changes)
