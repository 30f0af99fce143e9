"""IterateConfig: everything that a loop of runs can be asked for."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from palitune.config.answering import LabelSettings
from palitune.config.learning import LearningSettings, PassSettings
from palitune.config.model import ImageSettings, ModelSettings, PromptSettings
from palitune.config.page import PageSettings
from palitune.config.run_config import RunConfig, SeedSettings
from palitune.config.settings import Settings, setting, settings_of
from palitune.config.time_span import TimeSpan
from palitune.config.value_kinds import File, Flag, Several, Text, Whole
from palitune.errors import UsageError

BUDGET = 3600.0  # seconds, where nothing is said
OUTCOMES = ("fp", "fn", "tn", "tp")
# Settings of a run that have no place in a loop in folds, and one whose option means something else here.
LEFT_OUT = ("second_pass", "second_learning_rate", "second_patience", "patience", "keep")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopSettings(Settings):
    """What is looped over, and how long."""

    data: str = setting("set1", File(), "a data file, or a split in dataset/, or its folder", "-d", metavar="DATA")
    write: str = setting(
        "iterated", File(), "what the result is called: a bare name goes into checkpoints/", "-w", metavar="NAME"
    )
    budget: float | None = setting(None, TimeSpan(), "how long it may take: 10m, 2h", metavar="TIME", shown="1h")
    runs: int | None = setting(
        None, Whole(2, 10_000), "how often it may learn, the last run included, instead of --budget", metavar="N"
    )
    folds: int = setting(5, Whole(2, 100), "parts of the records, each of which is held out once", metavar="K")
    repeat: int = setting(5, Whole(1, 100), "the last run learns from so many seeds, for an ensemble", metavar="N")
    prompts: str | None = setting(
        None, File(), "a file of questions, one a line, that may be better than the model's own", metavar="FILE"
    )
    candidates: str | None = setting(
        None,
        File(),
        "a file of settings to try instead of drawing them, a line for each: learning-rate=0.01 method=lora",
        metavar="FILE",
    )
    unlabelled: str | None = setting(
        None, File(), "a file of records without labels: which of them to label next is told", metavar="FILE"
    )
    goal: str | None = setting(
        None,
        Text(),
        "choose a threshold at the end: f-measure, precision=0.95 or recall=0.99",
        metavar="GOAL",
        shown="0.5",
    )
    hard_examples: bool = setting(
        False,
        Flag(),
        "instead: learn again and again from those training records that were answered as --keep says",
    )
    outcomes: tuple[str, ...] = setting(
        ("fp", "fn"),
        Several(OUTCOMES),
        "with --hard-examples: which answers' records",
        option="keep",
        metavar="KINDS",
        shown="fp,fn",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopRunSettings(Settings):
    """How the loop itself is run."""

    TITLE: ClassVar[str | None] = "going on and starting over"

    resume: bool = setting(
        False, Flag(), "continue the loop of -w NAME, which was stopped or killed; it needs no other option"
    )
    overwrite: bool = setting(False, Flag(), "let -w replace a checkpoint, its run and its loop")


@dataclasses.dataclass(frozen=True, kw_only=True)
class IterateConfig(
    LoopSettings,
    LabelSettings,
    SeedSettings,
    LoopRunSettings,
    PassSettings,
    LearningSettings,
    ModelSettings,
    PromptSettings,
    ImageSettings,
    PageSettings,
):
    """A loop of runs: what they learn from, and what may be changed between them.

    Settings of learning that somebody has asked for are the same in all runs.

    Raises:
      UsageError: a setting has no such value, or no effect.
    """

    quiet: bool = setting(False, Flag(), "no progress and no notes, only results and errors")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hard_examples and (unused := sorted({"folds", "prompts", "candidates", "repeat"} & self.given)):
            raise UsageError(f"--{unused[0]} has no effect with --hard-examples")
        if "outcomes" in self.given and not self.hard_examples:
            raise UsageError("--keep is for --hard-examples: add it, or leave --keep out")
        if self.prompts and self.prompt is not None:
            raise UsageError("--prompts and --prompt both say what is asked: leave one out")

    @property
    def seconds(self) -> float | None:
        """How long it may take; None is as long as so many runs take."""
        return self.budget if self.budget is not None or self.runs is not None else BUDGET

    def run(self, changes: Mapping[str, object] | None = None, **others: object) -> RunConfig:
        """A run of the loop.

        Args:
          changes: settings that are other than was asked for.
          others: where it learns from, and where to.
        """
        known = {one.name for one in settings_of(RunConfig)}
        own = {name: value for name, value in self.options().items() if name in known and name not in NOT_OF_RUNS}
        return RunConfig.of({**own, **(changes or {}), **others})


NOT_OF_RUNS = {one.name for group in (LoopSettings, LoopRunSettings, PageSettings) for one in settings_of(group)}
