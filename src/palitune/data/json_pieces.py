"""The pieces of a `tokenizer.json` of the tokenizers library.

What it says is checked before that library sees it, whose defects end a program with lines of their own; and what no
Gemma has is not read, above all regular expressions, which can take for ever.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from palitune.data.pieces import HINT, refused
from palitune.errors import ConfigurationError

MOST_PIECES = 1 << 24
# How a text is changed before and after it is written as pieces. Gemma's files have the first five.
STEPS = ("Replace", "Split", "Sequence", "ByteFallback", "Fuse", "Metaspace", "Prepend", "Strip")
NO_TOKENIZER = "not a tokenizer.json of the tokenizers library"


class JsonPieces:
    """The pieces of a `tokenizer.json`."""

    def __init__(self, content: bytes, path: Path) -> None:
        """Raises ConfigurationError if `content` is no `tokenizer.json`, or has what is not read."""
        import tokenizers

        with refused(NO_TOKENIZER, path):
            problem = _problem(content)
        if problem:
            raise ConfigurationError(problem, where=str(path), hint="Name a SentencePiece model with --tokenizer")
        with refused(NO_TOKENIZER, path):
            self.model = tokenizers.Tokenizer.from_buffer(content)
            # A file may ask for both, and for pieces chosen by chance.
            self.model.no_truncation()
            self.model.no_padding()
            model = self.model.model
            assert isinstance(model, tokenizers.models.BPE)
            model.dropout = None
            self.model.encode_special_tokens = True  # so that their names in a text are text
            self._ids = self.model.get_vocab(with_added_tokens=True)
            added = self.model.get_added_tokens_decoder()
        self.special = frozenset(token.content for token in added.values() if token.special)
        self.size = 1 + max(self._ids.values(), default=-1)
        if not 0 < self.size <= MOST_PIECES:
            what = f"this tokenizer.json has {len(self._ids):,} pieces, and {self.size - 1:,} is the highest id"
            raise ConfigurationError(what, where=str(path), hint=HINT)
        self.unknown = self._ids.get(model.unk_token or "<unk>", -1)

    def encode(self, text: str) -> list[int]:
        """As `Pieces`."""
        return list(self.model.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        """As `Pieces`."""
        return self.model.decode(ids, skip_special_tokens=False)

    def id(self, piece: str) -> int | None:
        """As `Pieces`."""
        return self._ids.get(piece)

    def name(self, id: int) -> str:
        """As `Pieces`."""
        return self.model.id_to_token(id) or "" if 0 <= id < self.size else ""

    def highest(self, but: frozenset[int]) -> int:
        """As `Pieces`."""
        return max((id for id in self._ids.values() if id not in but), default=-1)


def _problem(content: bytes) -> str | None:
    """What a `tokenizer.json` has that is not read, or None."""
    found = json.loads(content)
    model = found.get("model") if isinstance(found, dict) else None
    if not isinstance(model, dict) or not isinstance(vocab := model.get("vocab"), dict) or not vocab:
        return NO_TOKENIZER
    if (kind := model.get("type", "BPE")) != "BPE":
        return f"this tokenizer.json is of the kind {str(kind)[:40]}, and BPE is what palitune reads"
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        return "this tokenizer.json marks the beginning or the end of words, which palitune does not read"
    if any("".join(pair) not in vocab for pair in _merges(model.get("merges"))):
        return "this tokenizer.json merges pieces into one that it has not"
    for step in _steps([found.get(name) for name in ("normalizer", "pre_tokenizer", "decoder")]):
        pattern = step.get("pattern", {"String": ""})
        if step["type"] not in STEPS or not isinstance(pattern, dict) or pattern.keys() != {"String"}:
            kind = "a regular expression" if step["type"] in STEPS else str(step["type"])[:40]
            return f"this tokenizer.json changes text by {kind}, which palitune does not read"
    return None


def _merges(merges: object) -> Iterator[list[str]]:
    """Pairs of pieces that become one; older files have a blank between the two. Raises TypeError for anything else."""
    for pair in merges if isinstance(merges, list) else ():
        yield pair.split(" ") if isinstance(pair, str) else pair


def _steps(part: object) -> Iterator[dict[str, object]]:
    """Every object that has a type, however deep."""
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _steps(inner)
    if isinstance(part, dict) and "type" in part:
        yield part
