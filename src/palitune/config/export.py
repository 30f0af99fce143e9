"""Settings of an export: which checkpoint, where to, and in which form."""

import dataclasses

from palitune.config.settings import Settings, setting
from palitune.config.value_kinds import POSITIVE, Choice, File, Flag
from palitune.errors import UsageError

DTYPES = ("float32", "float16", "bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSettings(Settings):
    """What is exported, where to, and in which form."""

    model: str | None = setting(
        None, File(), "a path, a bare name in checkpoints/, or a downloaded model's name", "-m", metavar="NAME"
    )
    to: str | None = setting(None, File(), "the folder to make", metavar="DIR")
    dtype: str | None = setting(
        None, Choice(DTYPES), "dtype of all weights", shown="default: that of most of the base's weights"
    )
    adapter: bool = setting(False, Flag(), "write the LoRA adapters alone, in PEFT's form, and no base")
    as_lora: int | None = setting(
        None,
        POSITIVE,
        "write what learning has changed as adapters of this rank, and print how close they come",
        metavar="RANK",
    )
    keep_quantized: bool = setting(
        False,
        Flag(),
        "of a model that was trained beside weights of 4 or 8 bits, write those, as numbers: its scores stay the same, "
        "to their last digits",
    )
    tokenizer: str | None = setting(
        None, File(), "tokenizer.model, tokenizer.json or their folder, if palitune does not know which", metavar="FILE"
    )
    overwrite: bool = setting(False, Flag(), "let --to replace a folder that has a model, and nothing else")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adapter and self.as_lora:
            raise UsageError(
                "--adapter writes the adapters that are there, --as-lora makes others: leave one of them out"
            )
        if self.keep_quantized and (self.adapter or self.as_lora):
            raise UsageError("--keep-quantized is for whole weights: an adapter has none")
