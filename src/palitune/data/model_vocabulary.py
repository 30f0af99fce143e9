"""The tokenizer of a model: the one that the user names, the one beside its weights, or the one known by its size."""

from pathlib import Path

from palitune import workspace
from palitune.console import note
from palitune.data import tokenizer_files
from palitune.data.vocabulary import PADDING, Vocabulary, rows_note
from palitune.errors import ConfigurationError, MissingInputError
from palitune.hub import catalogue, checksum

# A folder with weights of these names is a model's own; other folders have checkpoints of several.
WEIGHTS = (".safetensors", ".safetensors.index.json")


def find(weights: Path, rows: int, option: str | None = None) -> Path | None:
    """The file or folder where a model's tokenizer is, or will be once downloaded; None where that is not known.

    Args:
      weights: the file or folder of the whole model; that of a delta's base.
      rows: of the embedding, up to `PADDING` of which no piece may have.
      option: the file or folder that the user has named.
    """
    if option:
        return Path(option)
    folder = weights.parent if weights.name.endswith(WEIGHTS) else weights
    beside = folder if folder.is_dir() and tokenizer_files.find(folder) else None  # which of two tells what is in them
    # As many rows as pieces, or as many more as transformers adds; only then what else may be.
    sizes = [rows, rows - PADDING, *range(rows - 1, rows - PADDING, -1)]
    known = (catalogue.tokenizer_path(size, workspace.cache()) for size in sizes if size > 0)
    return beside or next((path for path in known if path is not None), None)


def of_model(weights: Path, rows: int, option: str | None = None, *, quiet: bool = False) -> Vocabulary:
    """A model's tokenizer, held to the number of rows; what is unusual there is noted on stderr unless `quiet`.

    Args:
      weights, rows, option: as of `find`.

    Raises:
      MissingInputError: it is not there, or cannot be read.
      BadDataError: it was downloaded, and is no longer what it was then.
      ConfigurationError: none is known, or it is another model's, or no tokenizer.
    """
    path = find(weights, rows, option)
    if path is None:
        what = f"palitune knows no tokenizer for a vocabulary of {rows}"
        raise ConfigurationError(what, where=str(weights), hint="Name its tokenizer with --tokenizer")
    if not path.exists():
        hint = "Run palitune download, set PALITUNE_HOME to the folder that has the cache, or name it with --tokenizer"
        raise MissingInputError("the model's tokenizer is not there", where=str(path), hint=hint)
    checksum.verify(tokenizer_files.find(path) or path)
    found = Vocabulary.open(path)
    checksum.verify(found.path)  # another of the folder's files, where the first is stale
    unusual = rows_note(found, rows)
    if unusual and not quiet:
        note(f"note: {unusual}")
    return found
