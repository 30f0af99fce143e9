"""The pieces of a tokenizer: text to their ids and back, and the ids of special ones, which text never has.

Sources of what the published tokenizers have:
  google-deepmind/gemma, gemma/gm/text/_tokenizer.py: `<start_of_turn>` and `<end_of_turn>` are 106 and 107 in Gemma 1
    and 2, 105 and 106 in Gemma 3, which has `<start_of_image>` as 255,999 and `<end_of_image>` as 256,000.
  transformers, convert_gemma3_weights.py: `<image_soft_token>` is added to Gemma 3's 262,144 pieces as 262,144, so
    it is in `added_tokens.json` and `tokenizer.json` only.
  transformers, convert_slow_tokenizer.py (pull request 32191): pieces that are user-defined in the SentencePiece model
    are added tokens of `tokenizer.json`, special where they are control pieces, `<start_of_turn>` or `<end_of_turn>`.
"""

import re
from functools import cached_property
from pathlib import Path
from typing import Self

from palitune.data import tokenizer_files
from palitune.data.pieces import HINT, Pieces, is_of_library, refused
from palitune.data.tokenizer_files import SPECIAL, Companions
from palitune.errors import BadDataError, ConfigurationError, listed

BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"
# Each with what it is in `tokenizer_config.json`, and its name where no file says it.
ROLES = ((BOS, "bos_token", "<s>"), (EOS, "eos_token", "</s>"), (PAD, "pad_token", PAD))
# PaliGemma writes places and outlines as text, whatever a file says of these pieces.
TEXT = re.compile(r"<loc\d{4}>|<seg\d{3}>")
# Rows of published models that no piece has. More are noted; where they are more than a hundredth, or so many as
# PaliGemma has beyond Gemma (1,152), the tokenizer is another model's.
PADDING, MOST_SPARE = 64, 1024
SHORTEST_SPECIAL = 3  # characters; what is shorter is text


class Vocabulary:
    """The pieces of a tokenizer.

    Attributes:
      path: the file that they come from.
      size: the highest id and one, added pieces included.
      special_ids: ids of pieces that are no text; no text has them, whatever is typed.
    """

    def __init__(self, path: Path, pieces: Pieces, beside: Companions) -> None:
        """`open` makes one. Raises ConfigurationError if text cannot be told from a special piece."""
        self.path, self.pieces = path, pieces
        self._ids = _special(pieces, beside)
        self.size = max(pieces.size, *(1 + id for id in self._ids.values()), 0)
        self.special_ids = frozenset(self._ids.values())
        # Neither library matches what begins or ends a text or fills it up: these names are text as it is.
        never = {self._ids[name] for name, _, _ in ROLES if name in self._ids}
        matched = sorted((name for name, id in self._ids.items() if id not in never), key=len, reverse=True)
        self._matched = re.compile(f"({'|'.join(map(re.escape, matched))})") if matched else None
        with refused("the library cannot use this tokenizer", path):
            self._spelled = {name: self._spelling(name) for name in matched}
            wrong = [name for name, ids in self._spelled.items() if self._differs(name, ids)]
        if wrong:
            what = f"this tokenizer cannot write as text what is typed like its special pieces: {listed(wrong)}"
            raise ConfigurationError(what, where=str(path), hint=HINT)

    def _spelling(self, name: str) -> list[int]:
        """The ids of a special piece's name as text: no library can match what comes to it in two parts."""
        for parts in ((name[0], name[1:]), name):
            ids = [id for part in parts for id in self.pieces.encode(part)]
            if self.special_ids.isdisjoint(ids):
                break
        return [id for id in ids if id not in self.special_ids]

    def _differs(self, name: str, ids: list[int]) -> bool:
        return self.unknown not in ids and self.pieces.decode(ids) != name

    @classmethod
    def open(cls, path: Path) -> Self:
        """The pieces of a file or folder.

        Args:
          path: a SentencePiece model, a `tokenizer.json`, or a folder that has one of them, the former first. Files
            beside it that transformers writes are read too.

        Raises:
          MissingInputError: there is no tokenizer, or it cannot be read.
          ConfigurationError: it is no tokenizer, or one that cannot tell text from special pieces.
        """
        return cls(*tokenizer_files.read_with_companions(path))

    def encode(self, text: str) -> list[int]:
        """A text's ids and no others: a special piece that somebody has typed is written as any other text.

        Raises:
          BadDataError: the library refuses the text.
        """
        parts = self._matched.split(text) if self._matched else [text]
        ids: list[int] = []
        try:
            for place, part in enumerate(parts):  # text, special piece, text, special piece, …, text
                ids += self._spelled[part] if place % 2 else self.pieces.encode(part)
            if not self.special_ids.isdisjoint(ids):  # the text has become one when it was normalised
                spelled = ([id] if id not in self.special_ids else self._spelling(self.piece(id)) for id in ids)
                ids = [id for part in spelled for id in part]
        except BaseException as error:  # what the libraries raise has no common family
            if not is_of_library(error):
                raise
            what = f"its tokenizer cannot take the text {text[:40]!r} ({type(error).__name__})"
            raise BadDataError(what, where=str(self.path)) from None
        return ids

    def decode(self, ids: list[int]) -> str:
        """The text of ids; those of special pieces, and those that no piece has, have none."""
        known = [id for id in ids if 0 <= id < self.pieces.size and id not in self.special_ids]
        try:
            return self.pieces.decode(known)
        except BaseException as error:  # pieces that are not text
            if not is_of_library(error):
                raise
            return "\N{REPLACEMENT CHARACTER}" * len(known)

    def has(self, piece: str) -> bool:
        """Whether there is a piece of this name; `<bos>`, `<eos>` and `<pad>` are known whatever their names."""
        return self._id(piece) is not None

    def _id(self, piece: str) -> int | None:
        return self._ids[piece] if piece in self._ids else self.pieces.id(piece)

    def special(self, piece: str) -> int:
        """The id of a piece by its name, as `has`. Raises ConfigurationError if there is none."""
        found = self._id(piece)
        if found is None:
            what = f"this tokenizer has no piece {piece}"
            raise ConfigurationError(what, where=str(self.path), hint="Name the model's own with --tokenizer")
        return found

    @cached_property
    def bos(self) -> int:
        """The id of the piece that begins a text. Raises as `special`."""
        return self.special(BOS)

    @cached_property
    def eos(self) -> int:
        """The id of the piece that ends a text. Raises as `special`."""
        return self.special(EOS)

    def piece(self, id: int) -> str:
        """The name of a piece in its file, where a blank is U+2581; the empty string where there is none."""
        return self.pieces.name(id)

    @property
    def unknown(self) -> int:
        """The id of what the tokenizer cannot write, or -1."""
        return self.pieces.unknown


def _special(pieces: Pieces, beside: Companions) -> dict[str, int]:
    """Ids of the pieces that are no text, by their names; that of what cannot be written is not among them."""
    found = {name: pieces.id(name) for name in SPECIAL | pieces.special | beside.special}
    known = {name: id for name, id in found.items() if id is not None and id != pieces.unknown}
    known = {name: id for name, id in known.items() if len(name) >= SHORTEST_SPECIAL and not TEXT.fullmatch(name)}
    known |= {name: id for name, id in beside.added.items() if pieces.id(name) is None}
    for name, role, usual in ROLES:
        # `<s>` is a tag of HTML where `<bos>` begins a text.
        names = (name, beside.roles.get(role, name), *({usual} & (pieces.special | beside.special)))
        id = next((id for one in names if (id := pieces.id(one)) is not None), None)
        known |= {name: id} if id is not None else {}
    return known


def rows_note(vocabulary: Vocabulary, rows: int) -> str | None:
    """What is to be said of a tokenizer for a model whose embedding has `rows` rows; None where all is usual.

    Published models have rows that no piece has (transformers adds 64 to those of PaliGemma and Gemma 3, for one more
    piece), or a piece without a row (Gemma 3 1B and 270M take no images, and their tokenizer has `<image_soft_token>`).

    Raises:
      ConfigurationError: the tokenizer is another model's.
    """
    spare, pieces = rows - vocabulary.size, vocabulary.size
    of_text = 1 + vocabulary.pieces.highest(vocabulary.special_ids)
    if of_text > rows or not -PADDING <= spare <= max(PADDING, min(MOST_SPARE, rows // 100)):
        what = f"a tokenizer with {pieces:,} pieces for a model with a vocabulary of {rows:,}"
        raise ConfigurationError(what, where=str(vocabulary.path), hint="Name the right one with --tokenizer")
    if spare <= PADDING:
        return None
    return f"{vocabulary.path} has {pieces:,} pieces for a vocabulary of {rows:,}; the others are never used"
