"""Files that a tokenizer comes in: a SentencePiece model, or `tokenizer.json` of the tokenizers library.

They are untrusted: they are read whole and bounded, and what the libraries raise of them, which for a defect of the
Rust library is no Exception at all, becomes one line.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from palitune.data.json_pieces import JsonPieces
from palitune.data.pieces import HINT, Pieces, SentencePieces
from palitune.errors import ConfigurationError, MissingInputError, listed
from palitune.storage import files

# In a folder the first of these is its tokenizer, unless the second has pieces that were added since.
SENTENCE_PIECE, JSON = "tokenizer.model", "tokenizer.json"
# Beside either, files that name added pieces and say which piece begins and ends a text.
ADDED, CONFIG, SPECIAL_MAP = "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json"
LARGEST = 64 << 20  # bytes; Gemma 3's tokenizer.json has 33 million
LARGEST_COMPANION = 8 << 20  # bytes; Gemma 3's tokenizer_config.json has 1.2 million
# Pieces that structure what a model reads. SentencePiece matches most of them in any text, because they are
# user-defined, as newlines and HTML's tags are, which are text.
SPECIAL = frozenset(
    {*("<bos>", "<eos>", "<pad>", "<mask>", "<2mass>", "[@BOS@]", "[multimodal]", "<image>")}
    | {"<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"}
)


class Companions(NamedTuple):
    """What the files beside a tokenizer say of it.

    Attributes:
      added: ids of added pieces, by their names.
      special: names of the pieces that are no text.
      roles: the name of the piece that has a role: `bos_token`, `eos_token`, `pad_token`, `unk_token`.
    """

    added: dict[str, int]
    special: frozenset[str]
    roles: dict[str, str]


def find(path: Path) -> Path | None:
    """The tokenizer's file of a folder, or None where it has none; a path that is no folder is the file itself."""
    if not path.is_dir():
        return path
    return next((path / name for name in (SENTENCE_PIECE, JSON) if (path / name).is_file()), None)


def read(path: Path) -> Pieces:
    """The pieces of one file; which kind it is tells its name or its first byte.

    Raises:
      MissingInputError: there is no such file, or it cannot be read.
      ConfigurationError: it is no tokenizer.
    """
    content = _content(path, LARGEST)
    if path.suffix.lower() == ".json" or content.startswith(b"{"):  # a SentencePiece model begins with a newline
        return JsonPieces(content, path)
    return SentencePieces(content, path)


def _content(path: Path, most: int) -> bytes:
    try:
        return files.read(path, most)
    except OSError as error:
        raise files.unreadable(error, path, "tokenizer") from None
    except ValueError as error:
        raise ConfigurationError(f"not a tokenizer: {error}", where=str(path), hint=HINT) from None


def companions(folder: Path) -> Companions:
    """What the files in a tokenizer's folder say of it; most folders have some of them, and none is needed.

    Raises:
      ConfigurationError: one of them is no JSON, or says what makes no sense.
    """
    added: dict[str, int] = {}
    special: set[str] = set()
    roles: dict[str, str] = {}
    for name, id in _object(folder / ADDED).items():
        added[name] = _id(id, folder / ADDED)
    for path in (folder / CONFIG, folder / SPECIAL_MAP):
        found = _object(path)
        for id, token in _entries(found, "added_tokens_decoder"):
            if name := _name(token):
                added[name] = _id(id, path)
                special |= {name} if isinstance(token, dict) and token.get("special") is True else set()
        for role, token in found.items():
            if role.endswith("_token") and (name := _name(token)):
                roles.setdefault(role, name)
        for key in ("additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"):
            special.update(name for _, token in _entries(found, key) if (name := _name(token)))
    special.update(roles.values())
    return Companions(added, frozenset(special), roles)


def _object(path: Path) -> dict[str, object]:
    """A JSON object; the empty one where there is no file."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(_content(path, LARGEST_COMPANION))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError("not a JSON object", where=str(path), hint="Download it again, or remove it")
    return found


def _entries(found: dict[str, object], key: str) -> list[tuple[object, object]]:
    """The items of a dict or a list at `key`, or none."""
    value = found.get(key)
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _name(token: object) -> str:
    """The name of a piece, which is written alone or in an object."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) and content.isprintable() else ""  # a lone surrogate is none


def _id(value: object, path: Path) -> int:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        what = f"{str(value)[:40]!r} is not the id of a piece"
        raise ConfigurationError(what, where=str(path), hint="Download it again, or remove it")
    return int(text)


def lacking(pieces: Pieces, beside: Companions) -> list[str]:
    """Names of added pieces that a tokenizer's own file has with another id, or, where they are text, not at all."""
    special = SPECIAL | beside.special
    found = {name: pieces.id(name) for name in beside.added}
    return [name for name, id in found.items() if id != beside.added[name] and (id is not None or name not in special)]


def is_stale(pieces: Pieces, beside: Companions, folder: Path) -> bool:
    """Whether `tokenizer.json` has added pieces that a SentencePiece model in its folder has elsewhere or lacks.

    Version 5 of transformers writes added tokens there and leaves the other file as it was. A special piece that the
    model lacks makes no difference: it is in no text.

    Raises:
      ConfigurationError: `tokenizer.json` is none.
    """
    special = SPECIAL | beside.special
    for name, id, is_special in _added(folder / JSON):
        found = pieces.id(name)
        if found is not None and pieces.name(found) != name:  # known by its role alone, such as <bos>
            found = id if is_special else None
        if found != id and (found is not None or not (is_special or name in special)):
            return True
    return False


def _added(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Names, ids and whether they are special of a `tokenizer.json`'s added tokens.

    They are in front of millions of bytes of the model, which are not parsed.
    """
    content = _content(path, LARGEST).decode(errors="replace")
    begins = re.search(r'"added_tokens"\s*:\s*', content)
    try:
        tokens = json.JSONDecoder().raw_decode(content, begins.end())[0] if begins else []
    except (ValueError, RecursionError):
        tokens = None
    if not isinstance(tokens, list):
        raise ConfigurationError("not a tokenizer.json", where=str(path), hint="Download it again, or remove it")
    for token in tokens:
        name = token.get("content") if isinstance(token, dict) else None
        if isinstance(name, str) and not re.search("[\ud800-\udfff]", name):  # a lone surrogate is no text
            yield name, _id(token.get("id"), path), token.get("special") is True


def read_with_companions(path: Path) -> tuple[Path, Pieces, Companions]:
    """A tokenizer's file, its pieces, and what the files beside it say.

    A SentencePiece model whose folder adds pieces that are text writes texts in another way than the library that
    added them; there `tokenizer.json` has all of them, and is read instead.

    Args:
      path: a file, or a folder that has one.

    Raises:
      MissingInputError: there is no tokenizer, or it cannot be read.
      ConfigurationError: it is no tokenizer, or lacks pieces.
    """
    file = find(path)
    if file is None:
        what, hint = f"no tokenizer here: neither {SENTENCE_PIECE} nor {JSON}", "Name one with --tokenizer"
        raise MissingInputError(what, where=str(path), hint=hint)
    pieces, beside = read(file), companions(file.parent)
    missing = lacking(pieces, beside)
    has_both = path.is_dir() and file.name == SENTENCE_PIECE and (path / JSON).is_file()
    if has_both and (missing or is_stale(pieces, beside, path)):
        file = path / JSON
        pieces = read(file)
        missing = lacking(pieces, beside)
    if missing:
        what = f"the files beside this tokenizer name pieces that it has not, or has elsewhere: {listed(missing)}"
        raise ConfigurationError(what, where=str(file), hint=f"Put the {JSON} that goes with them into its folder")
    return file, pieces, beside
