"""RunConfig: everything that a run of learning can be asked for, each setting defined once; and what comes of it."""

import dataclasses
from typing import ClassVar

from palitune.config.answering import LabelSettings
from palitune.config.hosts import HostSettings
from palitune.config.learning import EXAMPLES, LearningSettings, PassSettings
from palitune.config.model import ImageSettings, ModelSettings, PromptSettings
from palitune.config.page import PageSettings
from palitune.config.settings import Settings, setting, settings_of
from palitune.config.value_kinds import COUNT, POSITIVE, SEED, Choice, File, Flag, Text, Texts, Whole
from palitune.errors import UsageError
from palitune.labels import LABELS
from palitune.method import METHODS

PROMPT = "Is this image appropriate based on Federal Food, Drug, and Cosmetic Act?"
COMBINATIONS = ENSEMBLE, SOUP, GREEDY, DISTIL, BEST = ("ensemble", "soup", "greedy-soup", "distil", "best")
TRACKERS = ("wandb", "mlflow")
MAX_PIXELS = 64_000_000  # of an image: what a telephone takes, and no more memory than decoding may have


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """The data that the model is trained on, and the data it is evaluated on during training."""

    data: str = setting(
        "set1", File(), "a split in dataset/, or its folder; or a data file, JSONL or TSV", "-d", metavar="DATA"
    )
    valid_data: str | None = setting(
        None,
        File(),
        "evaluates the model while it learns, where -d is not a split",
        metavar="FILE",
        shown="default: the examples that it learns from",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SavingSettings(Settings):
    """What is kept of a run."""

    write: str | None = setting(
        None, File(), "save the result: a bare name goes into checkpoints/", "-w", "-s", metavar="NAME", recorded=False
    )
    overwrite: bool = setting(False, Flag(), "let -w replace a checkpoint and its run", recorded=False)
    report: bool = setting(
        False,
        Flag(),
        "also write NAME.run/report.html: the validation set before and after, with curves and images",
        recorded=False,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeedSettings(Settings):
    """The seed that all randomness of a run comes from."""

    seed: int = setting(0, SEED, "another seed shows the examples in another order")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialSettings(Settings):
    """Several trials in one run."""

    TITLE: ClassVar[str | None] = "several trials in one process"

    repeat: int = setting(1, POSITIVE, "from N seeds", metavar="N")
    sweep: tuple[str, ...] = setting(
        (),
        Texts(),
        "for each of several values, e.g. lr=0.01,0.03 batch=2,8; names are those of the options here",
        metavar="NAME=V,V",
    )
    combine: str | None = setting(
        None,
        Choice(COMBINATIONS),
        "what several trials become: an ensemble that answers by the mean of their probabilities, the mean of their "
        "weights (soup), of those that make it better (greedy-soup), one model taught by the ensemble (distil), or the "
        "best one",
        shown="ensemble with --repeat where answers are labels, else best",
    )
    unlabelled: str | None = setting(
        None,
        File(),
        "with --combine distil: a file of records without labels, which the model is taught beside the others",
        metavar="FILE",
    )
    folds: int | None = setting(
        None,
        Whole(2),
        "cross-validate: learn K times, each time from all records but a Kth, which is evaluated; then from all "
        "of them, for as many steps as was best. -d NAME of a split into folds does it with those",
        metavar="K",
    )
    nested: bool = setting(
        False,
        Flag(),
        "with --folds: keep one more part of the records out of everything, and evaluate on it at the end",
    )
    together: int | None = setting(
        None,
        POSITIVE,
        "trials, or folds, whose steps are one program that reads the frozen parameters once; 1 is one after another",
        metavar="N",
        shown="as many as that is quicker for, on a CPU; 1 on a GPU",
    )
    search: int | None = setting(
        None,
        POSITIVE,
        "search N times for better settings in what --sweep allows, ranges lr=0.003..0.1 too (needs palitune[search])",
        metavar="N",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContinuingSettings(Settings):
    """Going on with a run, and making one again."""

    TITLE: ClassVar[str | None] = "going on and starting over"

    save_every: int | None = setting(
        None,
        COUNT,
        "steps between two saved states of the run; 0 saves none",
        metavar="N",
        shown="every ten minutes",
        recorded=False,
    )
    resume: bool = setting(
        False,
        Flag(),
        "continue the run of -w NAME, which was stopped or killed; it needs no other option",
        recorded=False,
    )
    source: str | None = setting(
        None,
        File(),
        "everything as in a run's config.json, but what is typed beside it",
        option="from",
        metavar="FILE",
        recorded=False,
    )
    recipe: str | None = setting(
        None,
        Text(),
        "settings from a recipe, a Python file with get_config(); what is typed beside it counts more",
        option="config",
        metavar="FILE.py[:NAME=VALUE,...]",
        recorded=False,
    )
    tensorboard: bool = setting(
        False, Flag(), "write the metrics for TensorBoard too (needs palitune[tensorboard])", recorded=False
    )
    track: str | None = setting(
        None,
        Choice(TRACKERS),
        "send the metrics to Weights & Biases or MLflow too, as their own variables say (palitune[wandb], [mlflow])",
        recorded=False,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(
    DataSettings,
    LabelSettings,
    SavingSettings,
    SeedSettings,
    PassSettings,
    TrialSettings,
    ContinuingSettings,
    LearningSettings,
    ModelSettings,
    HostSettings,
    PromptSettings,
    ImageSettings,
    PageSettings,
):
    """A run of learning: what it learns from, how, and what is kept.

    `RunConfig(data="set1", method="lora", write="mine")` says the same as these options on the command line do, and is
    checked in the same way. `dataclasses.replace` changes it.

    Raises:
      UsageError: a setting has no such value.
    """

    quiet: bool = setting(False, Flag(), "no progress and no notes, only results and errors", recorded=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(LearningSettings, PassSettings):
    """Everything that training depends on beside its data and its base weights, with nothing left open.

    It is stored with what a run made, as JSON.
    """

    optimizer: str
    learning_rate: float
    examples: int
    frames: str = "middle"  # of an animated image: first, middle, last or a number from 0
    max_pixels: int = MAX_PIXELS  # of an image; larger ones are refused
    prompt: str = PROMPT  # where an example's prefix is empty
    labels: tuple[str, ...] = LABELS  # what an answer is one of; of two the first is the positive one; () is free text
    positive: str = ""  # of more than two, the one that figures and thresholds are of
    dtype: str = "auto"  # of the computation; bfloat16 where the device has it
    quantize: str = "none"  # how frozen weights of the language model's layers are kept
    quantize_embeddings: bool = False  # whether the embedding table is kept in 8 bits
    seed: int = 0

    def as_json(self) -> dict[str, object]:
        """The content of "config" in `config.json` and in a checkpoint's manifest, by name."""
        names = sorted(one.name for one in dataclasses.fields(self) if one.name not in ("given", "epochs"))
        # Of images, and of yes and no, it is the same as before there were others.
        usual: dict[str, object] = {"loss_on": "all", "max_length": None, "labels": LABELS, "positive": ""}
        usual |= {"quantize": "none", "quantize_embeddings": False, "offload": "none"}
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if name not in usual or value != usual[name]}


def training(config: LearningSettings | None = None, **others: object) -> TrainingConfig:
    """What settings of learning come to: the method's defaults, then what was given.

    Args:
      config: the settings; a RunConfig has those of the passes too.
      others: what the settings leave open, by name: `frames`, `prompt`, or any other field of `TrainingConfig`.

    Raises:
      UsageError: settings that have no effect together.
    """
    config = config or LearningSettings()
    known = {one.name for one in dataclasses.fields(TrainingConfig)}
    method = METHODS[str(others.get("method", config.method))]
    values: dict[str, object] = {
        "optimizer": method.optimizer,
        "learning_rate": method.learning_rate,
        "examples": EXAMPLES,
        "quantize": method.quantize,
    }
    own = {one.name: getattr(config, one.name) for one in settings_of(type(config)) if one.name in known}
    values |= {name: value for name, value in own.items() if value is not None}
    values |= others
    return TrainingConfig(**values)  # type: ignore[arg-type]  # checked at run time, each by its setting


def require_effect(config: LearningSettings) -> None:
    """Raises UsageError for a setting that has no effect with the others."""
    for one in settings_of(type(config)):
        methods = one.details.methods
        if one.name in config.given and methods and config.method not in methods:
            raise UsageError(f"{one.option} is for --method {' or '.join(methods)}, this is {config.method}")
    if isinstance(config, PassSettings) and not config.second_pass:
        for name in ("second_learning_rate", "second_patience"):
            if name in config.given:
                raise UsageError(f"--{name.replace('_', '-')} is for a second pass: add -2")
    if config.offload != "none":
        optimizer = config.optimizer or METHODS[config.method].optimizer
        if optimizer != "adamw":
            raise UsageError(
                f"--offload {config.offload} is for --optimizer adamw: {optimizer} has little state or none"
            )
        if config.accumulate > 1 or config.clip_global:
            raise UsageError(
                f"--offload {config.offload} excludes --accumulate and --clip-global, which update all layers at once"
            )
    if config.keep > 0 and (config.accumulate > 1 or config.clip_global):
        raise UsageError("--keep has no effect with --accumulate or --clip-global: leave it out")
