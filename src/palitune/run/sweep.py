"""Learning several times: from different seeds, over a grid of settings, or where a search looks next."""

import argparse
import copy
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from palitune.cli import arguments
from palitune.cli.main import Parser
from palitune.errors import ConfigurationError, UsageError

SHORT = {"lr": "learning-rate", "batch": "batch-size"}
MOST_TRIALS = 10_000


class Setting(NamedTuple):
    """One setting that a sweep varies: what was typed for it, and the values of the option that it stands for."""

    name: str
    option: str
    values: list[Any]
    range: tuple[float, float] | None  # of a search, instead of values


class Trial(NamedTuple):
    """One time of learning."""

    seed: int
    changes: dict[str, Any]  # by option


def settings_of(sweep: Sequence[str], searching: bool) -> list[Setting]:
    """What `--sweep lr=0.01,0.03 batch=2,8` asks for; values are those of the options of these names.

    Raises:
      UsageError: no such option, or a value that it does not take.
    """
    parser = Parser(prog="--sweep", add_help=False)
    arguments.add_method(parser)
    arguments.add_run(parser)
    known = {name[2:]: action for action in parser._actions for name in action.option_strings if name[:2] == "--"}
    made = []
    del known["method"]  # which all trials share, with the weights that rest
    for text in sweep:
        name, equals, values = text.partition("=")
        option = SHORT.get(name, name)
        if not equals or option not in known or known[option].nargs == 0:
            there = ", ".join([*SHORT, *sorted(name for name in known if known[name].nargs != 0)])
            what = f"--sweep cannot vary {name}" if equals else f"--sweep {text!r} is no NAME=VALUE,VALUE"
            raise UsageError(what, hint=f"Names are {there}")
        low, dots, high = values.partition("..")
        if dots:
            if not searching:
                raise UsageError(f"--sweep {text}: a range needs --search, which looks where to try next")
            ends = tuple(_parsed(parser, option, text, value) for value in (low, high))
            if not all(isinstance(end, float) for end in ends) or not 0 < ends[0] < ends[1]:
                raise UsageError(f"--sweep {text}: a range is of two numbers above 0, of an option with fractions")
            made.append(Setting(name, known[option].dest, [], (ends[0], ends[1])))
        else:
            parsed = [_parsed(parser, option, text, value) for value in values.split(",")]
            made.append(Setting(name, known[option].dest, parsed, None))
    if len({setting.option for setting in made}) < len(made):
        raise UsageError("--sweep names a setting twice")
    return made


def _parsed(parser: argparse.ArgumentParser, option: str, text: str, value: str) -> Any:
    if not value:
        raise UsageError(f"--sweep {text}: a value is empty")
    return next(found for found in vars(parser.parse_args([f"--{option}={value}"])).values() if found is not None)


def changed(args: argparse.Namespace, trial: Trial) -> argparse.Namespace:
    """The arguments of one trial."""
    own = copy.copy(args)
    own.seed = trial.seed
    for option, value in trial.changes.items():
        setattr(own, option, value)
    return own


class Trials:
    """Which trials there are; those of a search are known only when the ones before have ended."""

    def __init__(self, seed: int, repeat: int, settings: Sequence[Setting], search: int | None) -> None:
        """Raises UsageError for more than can be meant, ConfigurationError without the library for a search."""
        self.seed, self.repeat, self.settings, self.search = seed, repeat, list(settings), search
        self.grid = [] if search else list(itertools.product(*(setting.values for setting in settings)))
        self.count = search * repeat if search else len(self.grid) * repeat
        if self.count > MOST_TRIALS:
            raise UsageError(f"{self.count:,} times of learning are more than {MOST_TRIALS:,}")
        if search:
            if not settings:
                raise UsageError("--search needs --sweep, which says what it may vary and how far")
            try:
                import optuna
            except ImportError:
                hint = "Install it: pip install 'palitune[search]'"
                raise ConfigurationError("--search needs Optuna, which is not installed", hint=hint) from None
            optuna.logging.set_verbosity(optuna.logging.WARNING)

    def __getitem__(self, number: int) -> Trial:
        """Trial `number` of a grid, from 0; each setting is repeated with as many seeds."""
        values = self.grid[number // self.repeat]
        changes = {setting.option: value for setting, value in zip(self.settings, values, strict=True)}
        return Trial(self.seed + number % self.repeat, changes)

    def known(self) -> list[Trial]:
        """Trials that show everything that can be wrong: all of a grid; of a search each value and end of a range."""
        if not self.search:
            return [self[number] for number in range(self.count)]
        alone = [{one.option: value} for one in self.settings for value in one.values or one.range or ()]
        return [Trial(self.seed, changes) for changes in ({}, *alone)]

    def next(self, scores: Sequence[float | None]) -> Trial:
        """The trial after those that have ended with these scores; None is one that diverged."""
        if not self.search:
            return self[len(scores)]
        import optuna

        # Asked and told everything anew, so that a run that was taken up again gets the same proposals.
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=self.seed))
        for number in range(len(scores) // self.repeat + 1):
            asked = study.ask()
            changes = {}
            for setting in self.settings:
                if setting.range:
                    changes[setting.option] = asked.suggest_float(setting.option, *setting.range, log=True)
                else:
                    changes[setting.option] = asked.suggest_categorical(setting.option, setting.values)
            own = scores[number * self.repeat : (number + 1) * self.repeat]
            told = [score for score in own if score is not None]
            if len(own) == self.repeat:
                if told:
                    study.tell(asked, sum(told) / len(told))
                else:
                    study.tell(asked, state=optuna.trial.TrialState.FAIL)
        return Trial(self.seed + len(scores) % self.repeat, changes)
