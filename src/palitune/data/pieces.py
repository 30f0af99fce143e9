"""What palitune asks of a tokenizer, and a SentencePiece model that answers it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from palitune.errors import ConfigurationError

HINT = "Download it again, or name another with --tokenizer"


class Pieces(Protocol):
    """What the two libraries know of a tokenizer.

    Attributes:
      size: the highest id and one.
      unknown: the id of what the tokenizer cannot write, or -1.
      special: names of the pieces that its file calls special.
    """

    size: int
    unknown: int
    special: frozenset[str]

    def encode(self, text: str) -> list[int]:
        """The ids of a text, and no others. Raises what the library raises."""
        ...

    def decode(self, ids: list[int]) -> str:
        """The text of ids that are all known. Raises what the library raises."""
        ...

    def id(self, piece: str) -> int | None:
        """The id of a piece by its name, or None."""
        ...

    def name(self, id: int) -> str:
        """The name of a piece; the empty string where there is none."""
        ...

    def highest(self, but: frozenset[int]) -> int:
        """The highest id that is none of `but`, or -1."""
        ...


def is_of_library(error: BaseException) -> bool:
    """Whether a library refuses its input: an Exception, or a panic of a Rust library, whose class has no module."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


@contextlib.contextmanager
def refused(what: str, path: Path) -> Iterator[None]:
    """Raises ConfigurationError with `what` for anything that a library raises inside."""
    try:
        yield
    except BaseException as error:  # what the libraries raise of damage has no common family
        if not is_of_library(error):
            raise
        raise ConfigurationError(what, where=str(path), hint=HINT) from None


class SentencePieces:
    """The pieces of a SentencePiece model."""

    special: frozenset[str] = frozenset()  # the model knows which pieces are never matched in a text, and that is all

    def __init__(self, content: bytes, path: Path) -> None:
        """Raises ConfigurationError if `content` is no SentencePiece model."""
        import sentencepiece

        with refused("not a SentencePiece model", path):
            self.model = sentencepiece.SentencePieceProcessor()
            self.model.LoadFromSerializedProto(content)  # the constructor takes no bytes at all for no model
            self.size = int(self.model.vocab_size())
            self.unknown = int(self.model.unk_id())
        self._roles = {"<bos>": self.model.bos_id(), "<eos>": self.model.eos_id(), "<pad>": self.model.pad_id()}

    def encode(self, text: str) -> list[int]:
        """As `Pieces`."""
        return list(self.model.encode(text))

    def decode(self, ids: list[int]) -> str:
        """As `Pieces`."""
        return str(self.model.decode(ids))

    def id(self, piece: str) -> int | None:
        """As `Pieces`; `<bos>`, `<eos>` and `<pad>` are known whatever their names."""
        found = int(self.model.piece_to_id(piece))
        if found != self.unknown or self.name(found) == piece:
            return found
        role = self._roles.get(piece, -1)
        return role if 0 <= role != self.unknown else None

    def name(self, id: int) -> str:
        """As `Pieces`."""
        try:
            return str(self.model.id_to_piece(id)) if 0 <= id < self.size else ""
        except UnicodeDecodeError:  # bytes that are no text
            return "\N{REPLACEMENT CHARACTER}"

    def highest(self, but: frozenset[int]) -> int:
        """As `Pieces`."""
        return next((id for id in reversed(range(self.size)) if id not in but), -1)
