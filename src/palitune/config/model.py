"""Settings of commands that run a model: which one, what it is asked, about which images."""

import dataclasses
from typing import ClassVar

from palitune.config.settings import Settings, setting
from palitune.config.value_kinds import POSITIVE, Choice, File, Flag, Frames, Prompt
from palitune.errors import UsageError

DTYPES = ("auto", "float32", "bfloat16")
ALLOCATORS = ("default", "grow", "platform", "async")
POOLS = ("worst", "mean", "best")
ALL_FRAMES = "all"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """Which model, and how it is run."""

    model: str | None = setting(
        None,
        File(),
        "a path, a bare name in checkpoints/, or a downloaded model's name",
        "-m",
        "-l",
        metavar="NAME",
        shown="default: the latest downloaded",
    )
    tokenizer: str | None = setting(
        None, File(), "tokenizer.model, tokenizer.json or their folder, if palitune does not know which", metavar="FILE"
    )
    dtype: str = setting(
        "auto",
        Choice(DTYPES),
        "dtype of the computation",
        shown="auto: bfloat16 on a GPU, float32 on a CPU",
    )
    features: bool = setting(
        True,
        Flag(),
        "compute every image again instead of storing image features in cache/features/ (1 MB each at 3B)",
        option="no-features",
    )
    allocator: str = setting(
        "grow",
        Choice(ALLOCATORS),
        "how JAX takes a GPU's memory; what you have exported counts more",
        shown="grow; docs/memory.md",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptSettings(Settings):
    """What is asked where an example has no question of its own."""

    prompt: str | None = setting(
        None,
        Prompt(),
        "the question where an example's prefix is empty",
        metavar="TEXT",
        shown="default: the model's own",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderSettings(Settings):
    """Where images are."""

    TITLE: ClassVar[str | None] = "images"

    images: str | None = setting(
        None,
        File(),
        "folder that image names are relative to",
        "-i",
        metavar="FOLDER",
        shown="default: the data file's, or the one above",
    )
    allow_outside: bool = setting(
        False, Flag(), "take images from anywhere: absolute paths, .. and links that leave the folder"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSettings(FolderSettings):
    """Where images are, and how they are read."""

    max_pixels: int | None = setting(
        None,
        POSITIVE,
        "largest image, in pixels",
        metavar="N",
        shown="64 million, a quarter of it if it is animated",
    )
    frames: str | None = setting(
        None,
        Frames(),
        "what an animated image shows: first, middle, last or a number from 0",
        metavar="FRAME",
        shown="the model's own; middle",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluatedImageSettings(ImageSettings):
    """As `ImageSettings`, where several frames of one image can be evaluated together."""

    frames: str | None = setting(
        None,
        Frames((ALL_FRAMES,)),
        "what an animated image shows: first, middle, last, a number from 0, or all",
        metavar="FRAME",
        shown="the model's own; middle",
    )
    most_frames: int | None = setting(
        None, POSITIVE, "with --frames all: how many frames, evenly spaced, are evaluated", metavar="N", shown="5"
    )
    pool: str | None = setting(
        None,
        Choice(POOLS),
        "with --frames all: the frame that counts: worst (least sure of yes), best, or the mean of all",
        shown="worst",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames != ALL_FRAMES and (self.most_frames or self.pool):
            raise UsageError("--most-frames and --pool are for --frames all")
