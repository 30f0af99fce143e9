"""Settings of an export: which checkpoint, where to, and in which form."""

import dataclasses

from palitune.config.settings import Settings, setting
from palitune.config.value_kinds import Choice, File, Flag

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
    tokenizer: str | None = setting(
        None, File(), "tokenizer.model, tokenizer.json or their folder, if palitune does not know which", metavar="FILE"
    )
    overwrite: bool = setting(False, Flag(), "let --to replace a folder that has a model, and nothing else")
