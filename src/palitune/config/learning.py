"""Settings of learning: how parameters are updated, and how long a pass is and what it shows."""

import dataclasses
from typing import ClassVar

from palitune.config.model import DTYPES
from palitune.config.settings import Settings, setting
from palitune.config.value_kinds import (
    COUNT,
    POSITIVE,
    POSITIVE_NUMBER,
    SHARE,
    Choice,
    Flag,
    PathExpression,
    Rule,
    Rules,
    Several,
    Whole,
)
from palitune.method import DEFAULT, METHODS

OPTIMIZERS = ("sgd", "adamw", "adafactor")
OFFLOADED = ("none", "optimizer")
SCHEDULES = ("cosine", "linear", "constant")
BALANCES = ("none", "weights", "sample")
LOSS_ON = ("all", "last")
AUGMENTATIONS = ("flip", "crop", "color")
SELECTIONS = ("loss", "lowest_loss", "accuracy", "balanced_accuracy", "precision", "recall", "f_measure")
MOST_CHUNKS = 1024
LONGEST = 32_768  # tokens of a text; attention's memory grows with the square
EXAMPLES = 512  # shown in a pass

ADAPTED = tuple(name for name, method in METHODS.items() if method.adds_adapters)
SUMMARIES = ", ".join(method.summary for method in METHODS.values())
RATES = ", ".join(f"{name} {method.learning_rate}" for name, method in METHODS.items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassSettings(Settings):
    """How long a run is, what it is trained on, and how it is evaluated and restarted."""

    TITLE: ClassVar[str | None] = "a run"

    examples: int | None = setting(
        None,
        POSITIVE,
        "training examples shown in a pass; they come again as often as that takes",
        metavar="N",
        shown=str(EXAMPLES),
        memory=False,
    )
    epochs: int | None = setting(
        None,
        POSITIVE,
        "times that every example is shown in a pass, instead of --examples",
        "-t",
        metavar="N",
        memory=False,
    )
    balance: str = setting(
        "none",
        Choice(BALANCES),
        "against one-sided answers: count each label the same in the loss, or show each as often",
        memory=False,
    )
    augment: tuple[str, ...] = setting(
        (),
        Several(AUGMENTATIONS),
        f"change training images at random, some of {','.join(AUGMENTATIONS)}; works without stored image features",
        metavar="KINDS",
        shown="none",
    )
    second_pass: bool = setting(False, Flag(), "after the first pass, a second at a tenth of the rate", "-2")
    second_learning_rate: float = setting(
        0.0, POSITIVE_NUMBER, "learning rate of the second pass", metavar="R", shown="a tenth of the first's"
    )
    evaluate_every: int = setting(
        0,
        POSITIVE,
        "steps between two evaluations on the validation set",
        metavar="N",
        shown="8 evaluations in a pass, fewer if the set is large",
    )
    select: str = setting(
        "loss",
        Choice(SELECTIONS),
        "which evaluation is the best, and which trial of several",
        shown="loss: the lowest, or a later evaluation that is as good",
    )
    patience: int = setting(
        0, COUNT, "end a pass after so many evaluations without a better one", metavar="N", shown="0 is never"
    )
    second_patience: int = setting(-1, COUNT, "likewise the second pass", metavar="N", shown="as the first")
    attempts: int = setting(
        3,
        POSITIVE,
        "how often to restart from the base when training diverges; at half the rate from the third on",
        metavar="N",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningSettings(Settings):
    """How learning is done."""

    TITLE: ClassVar[str | None] = "learning"

    method: str = setting(
        DEFAULT,
        Choice(tuple(METHODS)),
        f"what is trained: {SUMMARIES}",
    )
    batch_size: int = setting(2, POSITIVE, "examples a batch", "-b", metavar="N", memory=False)
    accumulate: int = setting(
        1, POSITIVE, "batches to one update, which then equals that of a batch so many times larger", metavar="N"
    )
    optimizer: str | None = setting(
        None, Choice(OPTIMIZERS), "the rule of an update", shown="sgd; adamw for lora and qlora"
    )
    offload: str = setting(
        "none",
        Choice(OFFLOADED),
        "what waits in the host's memory: the state of adamw, of which each layer's comes to the device in turn",
    )
    learning_rate: float | None = setting(
        None,
        POSITIVE_NUMBER,
        "the highest value of the learning rate, after warm-up",
        "-r",
        metavar="R",
        shown=RATES,
        memory=False,
    )
    schedule: str = setting("cosine", Choice(SCHEDULES), "how the learning rate goes on after warm-up", memory=False)
    warmup: float = setting(
        0.1, SHARE, "share of the steps in which the learning rate rises", metavar="SHARE", memory=False
    )
    weight_decay: tuple[Rule, ...] = setting(
        (),
        Rules(),
        "decay of weights whose path matches; without REGEX= of all. May be repeated, the first match counts",
        metavar="[REGEX=]X",
        shown="none",
        memory=False,
    )
    learning_rate_scale: tuple[Rule, ...] = setting(
        (),
        Rules(),
        "learning rate of parameters whose path matches, as a factor. May be repeated",
        metavar="REGEX=X",
        shown="1",
        memory=False,
    )
    clip_tensor: float = setting(
        0.0, POSITIVE_NUMBER, "largest norm of each tensor's gradient", metavar="NORM", shown="none", memory=False
    )
    clip_global: float = setting(
        0.0, POSITIVE_NUMBER, "largest norm of all gradients together; not with full", metavar="NORM", shown="none"
    )
    ema: float = setting(
        0.0,
        SHARE,
        "keep the moving average of the trainable parameters, with this decay, and not their last state",
        metavar="DECAY",
        shown="none",
    )
    lora_rank: int = setting(16, POSITIVE, "size of the adapters", metavar="N", methods=ADAPTED)
    lora_alpha: float = setting(
        16.0,
        POSITIVE_NUMBER,
        "adapters count alpha / rank times",
        metavar="X",
        shown="16",
        methods=ADAPTED,
        memory=False,
    )
    lora_dropout: float = setting(
        0.0,
        SHARE,
        "share of the adapters' inputs that are left out at random",
        metavar="SHARE",
        shown="0",
        methods=ADAPTED,
        memory=False,
    )
    label_smoothing: float = setting(
        0.0,
        SHARE,
        "share of each target that goes evenly to all words, so that the model is less sure of itself",
        metavar="SHARE",
        shown="0",
        memory=False,
    )
    lora_targets: str = setting(
        r"llm/layers/(attn/.*/w|mlp/(gating_einsum|linear))",
        PathExpression(),
        "parameters that get an adapter",
        metavar="REGEX",
        shown="all projections of the language model's layers",
        methods=ADAPTED,
    )
    weights: str = setting(
        "auto",
        Choice(DTYPES),
        "dtype of what --method full trains; bfloat16 is rounded stochastically",
        shown="auto: that of the computation",
        methods=("full",),
    )
    vocabulary_chunks: int = setting(
        1,
        Whole(1, MOST_CHUNKS),
        "pieces in which the vocabulary goes by in the loss: less memory for long answers",
        metavar="N",
    )
    loss_on: str = setting(
        "all", Choice(LOSS_ON), "of a chat, the assistant's turns that the loss counts: all of them, or the last"
    )
    max_length: int | None = setting(
        None,
        Whole(8, LONGEST),
        "most tokens of an example's text; a longer chat is learned without its oldest turns, others are refused",
        metavar="N",
        shown="1024 in the prompt",
    )
    pack: bool = setting(
        True,
        Flag(),
        "one text a row of a batch, instead of several short ones that do not see each other",
        option="no-pack",
        memory=False,
    )
    keep: int = setting(
        -1,
        COUNT,
        "room for activations that are kept instead of computed twice, megabytes",
        metavar="MB",
        shown="all that is left; 256 on a CPU",
    )
