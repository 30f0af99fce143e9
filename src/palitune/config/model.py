"""Settings of commands that run a model: which one, what it is asked, about which images."""

import dataclasses
from typing import ClassVar

from palitune.config.mesh_sizes import MeshSizes
from palitune.config.name_kinds import Names, Pairs
from palitune.config.quantization import KINDS
from palitune.config.settings import Settings, setting
from palitune.config.value_kinds import POSITIVE, Choice, File, Flag, Frames, Prompt, Text
from palitune.errors import UsageError

DTYPES = ("auto", "float32", "bfloat16")
ALLOCATORS = ("default", "grow", "platform", "async")
POOLS = ("worst", "mean", "best")
ALL_FRAMES = "all"
# The settings of how records are read; files of answers have palitune's own names.
RECORDS = (
    *("text_column", "image_column", "label_column", "prompt_column"),
    *("label_columns", "questions", "map", "allow_download"),
)


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
    quantize: str | None = setting(
        None,
        Choice(KINDS),
        "how frozen weights of the language model's layers are kept: in 4 bits, 8 bits or as they are",
        shown="as the model was trained; nf4 for --method qlora",
    )
    quantize_embeddings: bool = setting(
        False, Flag(), "keep the embedding table in 8 bits: 0.5 to 1 GB less where it has 16"
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
    devices: int | None = setting(
        None,
        POSITIVE,
        "devices that the model and each batch are spread over",
        metavar="N",
        shown="all of this machine's",
        recorded=False,
    )
    mesh: tuple[tuple[str, int], ...] = setting(
        (),
        MeshSizes(),
        "how they are arranged: data copies of the model, each of which is split over fsdp devices",
        metavar="data=N,fsdp=N",
        shown="one copy, split over all",
        recorded=False,
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
    """How records are read, and where their images are."""

    TITLE: ClassVar[str | None] = "records and images"

    text_column: str | None = setting(
        None,
        Text(),
        "column of a table, key of JSON lines, or number of a TSV's column, of the text",
        metavar="NAME",
        shown="text, or what is no image",
    )
    image_column: str | None = setting(None, Text(), "the same of the image", metavar="NAME", shown="image")
    label_column: str | None = setting(None, Text(), "the same of the label", metavar="NAME", shown="label, suffix")
    prompt_column: str | None = setting(
        None, Text(), "the same of the question", metavar="NAME", shown="prompt, question, prefix"
    )
    label_columns: tuple[str, ...] = setting(
        (), Names(), "the columns or keys of several labels of each record, which say yes or no", metavar="A,B,..."
    )
    questions: str | None = setting(
        None,
        File(),
        "a file of names of several labels, each with a tab and the question that asks for it",
        metavar="FILE",
        shown="Is this text NAME?",
    )
    map: tuple[tuple[str, str], ...] = setting(
        (), Pairs(), "names that labels have from here on, as in 1=positive 0=neutral -1=negative", metavar="OLD=NEW"
    )
    allow_download: bool = setting(False, Flag(), "download the images of chats that are named by their addresses")

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
