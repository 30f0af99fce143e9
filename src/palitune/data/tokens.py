"""Text to tokens: BOS + prefix + newline, which see each other, then suffix + EOS, which are causal and learned."""

from pathlib import Path
from typing import NamedTuple

from palitune.console import command
from palitune.data.vocabulary import BOS, EOS, Vocabulary
from palitune.errors import BadDataError, ConfigurationError, MissingInputError

SEPARATOR = "\n"
LONGEST_PROMPT = 1024  # tokens: attention's memory grows with the square of these and the image's, 256 at 224 pixels
REMEMBERED = 4096  # prompts, which most records share
# Pieces that the published vocabulary has beside Gemma's, by which its tokenizer is recognised.
PUBLISHED_PIECES, PUBLISHED_VOCABULARY = ("<loc0000>", "<seg000>"), 257_152


class Text(NamedTuple):
    """Tokens of one example; those from `suffix_start` on are causal and count in the loss."""

    ids: list[int]
    suffix_start: int


class Tokenizer:
    """A vocabulary with the ids PaliGemma uses."""

    def __init__(self, source: Path | Vocabulary) -> None:
        """Opens a file or folder as `Vocabulary.open` takes it, or takes what is open.

        Raises:
          MissingInputError: there is no tokenizer, or it cannot be read.
          ConfigurationError: it cannot be a PaliGemma's tokenizer.
        """
        if isinstance(source, Path) and not source.exists():
            raise MissingInputError("no tokenizer here", where=str(source), hint=f"Run {command('download')}")
        self.vocabulary = Vocabulary.open(source) if isinstance(source, Path) else source
        self.path = self.vocabulary.path
        self._prompts: dict[str, Text] = {}
        self._check()
        self.eos = self.vocabulary.eos

    def _check(self) -> None:
        """Raises ConfigurationError where a token is missing that every example has."""
        pieces = self.vocabulary
        missing = [name for name in (BOS, EOS) if not pieces.has(name)]
        separator = self.encode(SEPARATOR)
        # Some tokenizers take it for a blank, which is written as this.
        if not separator or pieces.unknown in separator or not all(pieces.piece(i).strip("\u2581") for i in separator):
            missing.append("the newline")
        if self.vocab_size >= PUBLISHED_VOCABULARY:
            missing += [piece for piece in PUBLISHED_PIECES if not pieces.has(piece)]
        if missing:
            what = f"this tokenizer has no token for {', '.join(missing)}, which PaliGemma needs"
            raise ConfigurationError(what, where=str(self.path), hint="Name the model's own with --tokenizer")

    def encode(self, text: str) -> list[int]:
        """A text's tokens and no others. Raises BadDataError for a text that the library refuses."""
        return self.vocabulary.encode(text)

    @property
    def vocab_size(self) -> int:
        """The number of tokens that the tokenizer knows."""
        return self.vocabulary.size

    def prompt(self, prefix: str, where: str | None = None) -> Text:
        """What comes before the answer. Raises BadDataError, with `where`, for one of more than `LONGEST_PROMPT`."""
        found = self._prompts.get(prefix)
        if found is None:
            ids = [self.vocabulary.bos, *self.encode(prefix), *self.encode(SEPARATOR)]
            found = Text(ids, len(ids))
            if len(self._prompts) >= REMEMBERED:
                self._prompts.clear()
            self._prompts[prefix] = found
        if len(found.ids) > LONGEST_PROMPT:
            what = f"a prompt of {len(found.ids):,} tokens ({len(prefix):,} characters); {LONGEST_PROMPT:,} are allowed"
            raise BadDataError(what, where=where, hint="Ask in fewer words")
        return found

    def example(self, prefix: str, suffix: str, where: str | None = None) -> Text:
        """Prompt and answer. Raises as `prompt`."""
        ids, start = self.prompt(prefix, where)
        return Text([*ids, *self.encode(suffix), self.eos], start)

    def answer(self, ids: list[int]) -> str:
        """The text of generated tokens up to EOS."""
        end = ids.index(self.eos) if self.eos in ids else len(ids)
        return self.vocabulary.decode(ids[:end])
