"""Options that several commands share, so that they mean the same everywhere. Imports nothing heavy."""

import argparse
from typing import Any, TypedDict, TypeVar

from palitune import path_patterns
from palitune.cli import values
from palitune.config import TrainingConfig, training
from palitune.data.labels import LABELS
from palitune.errors import UsageError
from palitune.model_settings import ImageSettings, ModelSettings
from palitune.settings import Settings, settings_of

G = TypeVar("G", bound=Settings)

DTYPES = ("auto", "float32", "bfloat16")
SAVE_DTYPES = ("float32", "bfloat16", "float16")
ALLOCATORS = ("default", "grow", "platform", "async")
METHODS = ("attention", "full", "lora")
OPTIMIZERS = ("sgd", "adamw", "adafactor")
NEEDS_METHOD = {
    "weights": "full",
    "lora_dropout": "lora",
    "lora_rank": "lora",
    "lora_alpha": "lora",
    "lora_targets": "lora",
}
SCHEDULES = ("cosine", "linear", "constant")
BALANCES = ("none", "weights", "sample")
POOLS = ("worst", "mean", "best")
SELECTIONS = ("loss", "lowest_loss", "accuracy", "balanced_accuracy", "precision", "recall", "f_measure")


# Options that change what a run learns and not what it needs.
WITHOUT_MEMORY = {
    "--batch-size",  # plan has a list of them
    "--learning-rate",
    "--schedule",
    "--warmup",
    "--weight-decay",
    "--learning-rate-scale",
    "--clip-tensor",
    "--lora-alpha",
    "--lora-dropout",
    "--label-smoothing",
}


def add_method(parser: argparse.ArgumentParser, planning: bool = False) -> None:
    """How learning is done. Nothing has a default here: `config.training` has them, by method.

    Args:
      planning: leave out what changes neither memory nor time.
    """
    group = parser.add_argument_group("learning")

    def add(*names: str, **details: Any) -> None:
        if not (planning and names[-1] in WITHOUT_MEMORY):
            group.add_argument(*names, **details)

    text = "what learns: the language model's attention, every parameter, or LoRA adapters (attention)"
    add("--method", choices=METHODS, help=text)
    add("-b", "--batch-size", type=values.positive_int, metavar="N", help="examples a batch (2)")
    text = "batches to one update, which then equals that of a batch so many times larger (1)"
    add("--accumulate", type=values.positive_int, metavar="N", help=text)
    add("--optimizer", choices=OPTIMIZERS, help="the rule of an update (sgd; adamw for lora)")
    text = "the highest value of the learning rate, after warm-up (attention 0.03, full 0.01, lora 0.003)"
    add("-r", "--learning-rate", type=values.positive_float, metavar="R", help=text)
    add("--schedule", choices=SCHEDULES, help="how the learning rate goes on after warm-up (cosine)")
    add(
        "--warmup", type=values.share, metavar="SHARE", help="share of the steps in which the learning rate rises (0.1)"
    )
    text = "decay of weights whose path matches; without REGEX= of all. May be repeated, the first match counts (none)"
    add("--weight-decay", type=values.rule, action="append", metavar="[REGEX=]X", help=text)
    text = "learning rate of parameters whose path matches, as a factor. May be repeated (1)"
    add("--learning-rate-scale", type=values.rule, action="append", metavar="REGEX=X", help=text)
    add(
        "--clip-tensor",
        type=values.positive_float,
        metavar="NORM",
        help="largest norm of each tensor's gradient (none)",
    )
    text = "largest norm of all gradients together; not with full (none)"
    add("--clip-global", type=values.positive_float, metavar="NORM", help=text)
    text = "keep the moving average of what learns, with this decay, and not its last state (none)"
    add("--ema", type=values.share, metavar="DECAY", help=text)
    add("--lora-rank", type=values.positive_int, metavar="N", help="size of the adapters (16)")
    add("--lora-alpha", type=values.positive_float, metavar="X", help="adapters count alpha / rank times (16)")
    text = "share of the adapters' inputs that are left out at random (0)"
    add("--lora-dropout", type=values.share, metavar="SHARE", help=text)
    text = "share of each target that goes evenly to all words, so that the model is less sure of itself (0)"
    add("--label-smoothing", type=values.share, metavar="SHARE", help=text)
    text = "parameters that get an adapter (all projections of the language model's layers)"
    add("--lora-targets", type=values.path_expression, metavar="REGEX", help=text)
    text = "dtype of what --method full trains; bfloat16 is rounded stochastically (auto: that of the computation)"
    add("--weights", choices=DTYPES, help=text)
    text = "pieces in which the vocabulary goes by in the loss: less memory for long answers (1)"
    add("--vocabulary-chunks", type=values.chunks, metavar="N", help=text)
    text = "room for activations that are kept instead of computed twice, megabytes (all that is left; 256 on a CPU)"
    add("--keep", type=values.non_negative_int, metavar="MB", help=text)


def add_run(parser: argparse.ArgumentParser) -> None:
    """How long a run is, what it is shown, and how it looks after itself; as in `add_method` without defaults."""
    group = parser.add_argument_group("a run")
    text = "training examples shown in a pass; records come again as often as that takes (512)"
    group.add_argument("--examples", type=values.positive_int, metavar="N", help=text)
    text = "times that every record is shown in a pass, instead of --examples"
    group.add_argument("-t", "--epochs", type=values.positive_int, metavar="N", help=text)
    text = "against one-sided answers: count each label the same in the loss, or show each as often (none)"
    group.add_argument("--balance", choices=BALANCES, help=text)
    kinds = ",".join(values.AUGMENTATIONS)
    text = f"change training pictures at random, some of {kinds}; works without kept image tokens (none)"
    group.add_argument("--augment", type=values.augmentations, metavar="KINDS", help=text)
    text = "after the first pass, a second at a tenth of the rate"
    group.add_argument("-2", "--second-pass", action="store_true", default=None, help=text)
    text = "learning rate of the second pass (a tenth of the first's)"
    group.add_argument("--second-learning-rate", type=values.positive_float, metavar="R", help=text)
    text = "steps between two looks at the validation set (8 looks in a pass, fewer if the set is large)"
    group.add_argument("--evaluate-every", type=values.positive_int, metavar="N", help=text)
    text = "which look is the best, and which time of several (loss: the lowest, or a later look that is as good)"
    group.add_argument("--select", choices=SELECTIONS, help=text)
    text = "end a pass after so many looks without a better one (0 is never)"
    group.add_argument("--patience", type=values.non_negative_int, metavar="N", help=text)
    group.add_argument("--second-patience", type=values.non_negative_int, metavar="N", help="likewise the second pass")
    text = "how often to begin again from the base when learning diverges; at half the rate from the third on (3)"
    group.add_argument("--attempts", type=values.positive_int, metavar="N", help=text)


def configured(args: argparse.Namespace, prompt: str) -> TrainingConfig:
    """The run's configuration: the method's defaults, the prompt the model was made with, then what was typed.

    Raises:
      UsageError: an option that has no effect with the others.
    """
    method = args.method or METHODS[0]
    for option, needed in NEEDS_METHOD.items():
        if getattr(args, option, None) is not None and method != needed:
            raise UsageError(f"--{option.replace('_', '-')} is for --method {needed}, this is {method}")
    for option in ("second_learning_rate", "second_patience"):
        if getattr(args, option, None) is not None and not args.second_pass:
            raise UsageError(f"--{option.replace('_', '-')} is for a second pass: add -2")
    if args.keep and ((args.accumulate or 1) > 1 or args.clip_global):
        raise UsageError("--keep has no effect with --accumulate or --clip-global: leave it out")
    typed = {name: getattr(args, name, None) for name in training().as_json()}
    return training(**{"prompt": prompt, **{name: value for name, value in typed.items() if value is not None}})


def check_rules(config: TrainingConfig, learning: list[str]) -> None:
    """Raises UsageError if a rule over paths matches nothing of what learns."""
    for name in ("weight_decay", "learning_rate_scale"):
        for pattern, _ in getattr(config, name):
            if not any(path_patterns.compiled(pattern).matches(path) for path in learning):
                hint = f"What learns is {', '.join(learning[:4])}{' …' if len(learning) > 4 else ''}"
                raise UsageError(f"--{name.replace('_', '-')} {pattern}: no parameter that learns matches", hint=hint)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, and how it is run."""
    text = "a path, a bare name in checkpoints/, or a downloaded model's name (default: the latest downloaded)"
    parser.add_argument("-m", "-l", "--model", metavar="NAME", help=text)
    parser.add_argument("--tokenizer", metavar="FILE", help="SentencePiece model, if palitune does not know which")
    text = "dtype of the computation (auto: bfloat16 on a GPU, float32 on a CPU)"
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help=text)
    text = "look at every picture anew instead of keeping the image tower's tokens in cache/features/ (1 MB each at 3B)"
    parser.add_argument("--no-features", dest="features", action="store_false", help=text)
    text = "how JAX takes a GPU's memory; what you have exported counts more (grow; docs/memory.md)"
    parser.add_argument("--allocator", choices=ALLOCATORS, default="grow", help=text)


class ModelOptions(TypedDict):
    """What `infer.loading.load` takes of the options of `add_model`."""

    tokenizer: str | None
    dtype: str
    allocator: str
    quiet: bool


def model_options(args: argparse.Namespace) -> ModelOptions:
    """How a checkpoint is loaded, as typed."""
    return {"tokenizer": args.tokenizer, "dtype": args.dtype, "allocator": args.allocator, "quiet": args.quiet}


class ImageOptions(TypedDict):
    """What `infer.loading.image_source` takes of the options of `add_model` and `add_pictures`."""

    features: bool
    frames: str | None
    max_pixels: int | None
    quiet: bool


def image_options(args: argparse.Namespace) -> ImageOptions:
    """How images are read, as typed."""
    return {"features": args.features, "frames": args.frames, "max_pixels": args.max_pixels, "quiet": args.quiet}


def add_records(parser: argparse.ArgumentParser, judging: bool = False) -> None:
    """How records are turned into questions. `judging` as in `add_pictures`."""
    text = "the question where a record's prefix is empty (default: the model's own)"
    parser.add_argument("--prompt", type=values.prompt, metavar="TEXT", help=text)
    add_pictures(parser, judging)


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Which answers there are."""
    text = "what an answer is one of; the first of two is the positive one (yes,no)"
    parser.add_argument("--labels", type=values.labels, default=LABELS, metavar="A,B", help=text)


def add_classes(parser: argparse.ArgumentParser) -> None:
    """Which labels there are in a file of answers, which tells of most itself."""
    text = "the labels there are; the first of two is the positive one (yes,no, or those of FILE)"
    parser.add_argument("--labels", type=values.labels, metavar="A,B", help=text)


def add_answering(parser: argparse.ArgumentParser) -> None:
    """How scores become answers."""
    add_labels(parser)
    text = "let the model write freely instead of scoring the labels; what is no label is wrong, and listed"
    parser.add_argument("--decode", action="store_true", help=text)
    text = "answer with the first label from this probability on (what `palitune threshold` stored with the model; 0.5)"
    parser.add_argument("--threshold", type=values.probability, metavar="P", help=text)


class AnsweringOptions(TypedDict):
    """What `infer.answering.made_with` takes of the options of `add_answering`."""

    labels: tuple[str, ...]
    decode: bool
    threshold: float | None
    prompt: str | None
    quiet: bool


def answering_options(args: argparse.Namespace) -> AnsweringOptions:
    """How scores become answers, as typed."""
    return {
        "labels": tuple(args.labels),
        "decode": args.decode,
        "threshold": args.threshold,
        "prompt": args.prompt,
        "quiet": args.quiet,
    }


def add_pictures(parser: argparse.ArgumentParser, judging: bool = False) -> None:
    """Where pictures are, and how they are looked at.

    Args:
      judging: several frames of one picture can be looked at.
    """
    group = add_folder(parser)
    text = "largest picture (64 million, a quarter of it if it is animated)"
    group.add_argument("--max-pixels", type=values.positive_int, metavar="N", help=text)
    if not judging:
        text = "what an animated picture shows: first, middle, last or a number from 0 (the model's own; middle)"
        group.add_argument("--frames", type=values.frames, metavar="FRAME", help=text)
        return
    text = "what an animated picture shows: first, middle, last, a number from 0, or all (the model's own; middle)"
    group.add_argument("--frames", type=values.any_frames, metavar="FRAME", help=text)
    text = "with --frames all: how many frames, evenly spaced, are looked at (5)"
    group.add_argument("--most-frames", type=values.positive_int, metavar="N", help=text)
    text = "with --frames all: the frame that counts: worst (least sure of yes), best, or the mean of all (worst)"
    group.add_argument("--pool", choices=POOLS, help=text)


def add_folder(parser: argparse.ArgumentParser) -> Any:
    """Where pictures are; the group of options is for others about pictures."""
    group = parser.add_argument_group("pictures")
    text = "folder that image names are relative to (default: the data file's, or the one above)"
    group.add_argument("-i", "--images", metavar="FOLDER", help=text)
    text = "take pictures from anywhere: absolute paths, .. and links that leave the folder"
    group.add_argument("--allow-outside", action="store_true", help=text)
    return group


class FolderOptions(TypedDict):
    """What `data.dataset.load` and `evaluate.answer_files.located` take of the options of `add_folder`."""

    images: str | None
    allow_outside: bool


def folder_options(args: argparse.Namespace) -> FolderOptions:
    """Where images may be, as typed."""
    return {"images": args.images, "allow_outside": args.allow_outside}


def opening(args: argparse.Namespace) -> tuple[ModelSettings, ImageSettings]:
    """What `run.opening.open_model` takes of the options of `add_model` and `add_pictures`, as typed."""
    return _read(ModelSettings, args), _read(ImageSettings, args)


def _read(group: type[G], args: argparse.Namespace) -> G:
    return group(**{one.name: getattr(args, one.name) for one in settings_of(group)})
