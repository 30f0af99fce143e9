"""Text to tokens: BOS + prefix + newline, which see each other, then suffix + EOS, which are causal and learned."""

from pathlib import Path
from typing import NamedTuple

import sentencepiece

from palitune.errors import ConfigurationError, MissingInputError

SEPARATOR = "\n"


class Text(NamedTuple):
    """Tokens of one example; those from `suffix_start` on are causal and count in the loss."""

    ids: list[int]
    suffix_start: int


class Tokenizer:
    """A SentencePiece model with the ids PaliGemma uses."""

    def __init__(self, path: Path) -> None:
        """Raises MissingInputError without the file, ConfigurationError if it is no SentencePiece model."""
        if not path.is_file():
            raise MissingInputError("no tokenizer here", where=str(path), hint="Run ./01-download_models.py")
        try:
            self.model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError):
            raise ConfigurationError("not a SentencePiece model", where=str(path)) from None
        self.path = path
        self.eos: int = self.model.eos_id()

    @property
    def vocab_size(self) -> int:
        return int(self.model.vocab_size())

    def prompt(self, prefix: str) -> Text:
        """What comes before the answer."""
        ids = self.model.encode(prefix, add_bos=True) + self.model.encode(SEPARATOR)
        return Text(ids, len(ids))

    def example(self, prefix: str, suffix: str) -> Text:
        """Prompt and answer."""
        ids, start = self.prompt(prefix)
        return Text(ids + self.model.encode(suffix, add_eos=True), start)

    def answer(self, ids: list[int]) -> str:
        """The text of generated tokens up to EOS."""
        end = ids.index(self.eos) if self.eos in ids else len(ids)
        return str(self.model.decode(ids[:end]))
