"""A SentencePiece model of Gemma's kind as a `tokenizer.json`, which more programs read without other packages.

Source of the formats: sentencepiece's `sentencepiece_model.proto`, and the `tokenizer.json` of published Gemmas.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from palitune.data.tokenizer_files import SPECIAL
from palitune.data.vocabulary import Vocabulary

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # types of pieces
BPE = 2  # a type of models
BLANK = "\u2581"  # what a blank is in a piece
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


class Piece(NamedTuple):
    """A piece as the file has it."""

    name: str
    score: float
    kind: int


def of_model(content: bytes, special: Iterable[str], bos: str) -> bytes | None:
    """The tokenizer of a SentencePiece model.

    Args:
      content: the SentencePiece model.
      special: names of pieces to add behind the model's own.
      bos: the name of the piece that begins a text.

    Returns:
      The content of `tokenizer.json`; None for a model that is of another kind, or that changes texts.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    try:
        pieces = _pieces(content)
    except (ValueError, IndexError):
        return None
    if pieces is None:
        return None
    ids = {piece.name: id for id, piece in enumerate(pieces)}
    unknown = next((piece.name for piece in pieces if piece.kind == 2), None)
    if len(ids) < len(pieces) or unknown is None or bos not in ids:
        return None
    model = models.BPE(ids, _merges(pieces, ids), byte_fallback=True, fuse_unk=True, unk_token=unknown)
    made = Tokenizer(model)
    made.normalizer = normalizers.Replace(" ", BLANK)
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse()])
    one = f"{bos} $A"
    made.post_processor = processors.TemplateProcessing(
        single=one, pair=f"{one} {bos}:1 $B:1", special_tokens=[(bos, ids[bos])]
    )
    named = [piece.name for piece in pieces if piece.kind == CONTROL or piece.name in (*SPECIAL, unknown)]
    made.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in (*named, *special)])
    text = [piece.name for piece in pieces if piece.kind == USER_DEFINED and piece.name not in SPECIAL]
    made.add_tokens([AddedToken(name, normalized=False) for name in text])
    return f"{made.to_str(pretty=True)}\n".encode()


def agrees(made: bytes, vocabulary: Vocabulary, texts: Iterable[str]) -> bool:
    """Whether a `tokenizer.json` writes texts as a vocabulary does."""
    from tokenizers import Tokenizer

    other = Tokenizer.from_buffer(made)
    return all(other.encode(text, add_special_tokens=False).ids == vocabulary.pieces.encode(text) for text in texts)


def _merges(pieces: list[Piece], ids: dict[str, int]) -> list[tuple[str, str]]:
    """Pairs of pieces that become another, the likeliest first."""
    merged = [(-one.score, ids[one.name], one.name) for one in pieces if one.kind in (NORMAL, USER_DEFINED)]
    return [
        (name[:at], name[at:])
        for _, _, name in sorted(merged)
        for at in range(1, len(name))
        if name[:at] in ids and name[at:] in ids
    ]


def _pieces(content: bytes) -> list[Piece] | None:
    """The pieces of a model of the kind that is converted, or None. Raises what reading damage raises."""
    pieces: list[Piece] = []
    kind: int | bytes = NORMAL  # of the model, by default of another
    # Gemma's model changes nothing in a text: the defaults of the three are to add a blank, remove some, mark all.
    steps: dict[int, int | bytes] = {2: b"", 3: 1, 4: 1, 5: 1}
    for number, value in _fields(content):
        if number == 1 and isinstance(value, bytes):
            pieces.append(_piece(value))
        elif number == 2 and isinstance(value, bytes):
            kind = dict(_fields(value)).get(3, NORMAL)
        elif number == 3 and isinstance(value, bytes):
            steps |= dict(_fields(value))
    is_plain = (steps[2], steps[3], steps[4], steps[5]) == (b"", 0, 0, 1)
    return pieces if kind == BPE and is_plain else None


def _piece(content: bytes) -> Piece:
    found = {1: b"", 2: 0, 3: NORMAL, **dict(_fields(content))}
    name, score, kind = found[1], found[2], found[3]
    if not (isinstance(name, bytes) and isinstance(score, int) and score < 1 << 32 and isinstance(kind, int)):
        raise ValueError("a piece has values of other kinds")
    return Piece(name.decode(), struct.unpack("<f", score.to_bytes(4, "little"))[0], kind)


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a message's fields; a fixed value is its bits. Raises ValueError or IndexError."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(content, at)
            yield number, value
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(kind)
        if length is None:
            if kind != BYTES:
                raise ValueError(f"wire type {kind}")
            length, at = _varint(content, at)
        part, at = content[at : at + length], at + length
        if len(part) < length:
            raise ValueError("cut off")
        yield number, part if kind == BYTES else int.from_bytes(part, "little")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number has too many digits")
