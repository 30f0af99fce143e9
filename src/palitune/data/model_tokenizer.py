"""The tokenizer of a model by name, without loading the model."""

from pathlib import Path

from palitune import workspace
from palitune.checkpoint import opening
from palitune.data import model_vocabulary
from palitune.data.tokens import Tokenizer
from palitune.errors import MissingInputError


def tokenizer_of(model: str | None, file: str | None = None) -> Tokenizer | None:
    """A model's tokenizer, or None where no tokenizer is known.

    Args:
      model: as `workspace.checkpoint_to_read` takes it; None is the latest downloaded model, if there is one.
      file: the tokenizer to use instead, as `Vocabulary.open` takes it.

    Raises:
      MissingInputError: the model that was named, or its tokenizer, is not there.
      ConfigurationError: the file is not PaliGemma's tokenizer.
    """
    if file:
        return Tokenizer(Path(file))
    try:
        checkpoint = opening.load(workspace.checkpoint_to_read(model), workspace.checkpoint_to_read)
        rows = checkpoint.leaves()["llm/embedder/input_embedding"].shape[0]
        path = model_vocabulary.find(checkpoint.whole.path, rows)
        return Tokenizer(path) if path is not None else None
    except (MissingInputError, KeyError):
        if model:
            raise
        return None  # data can be checked before there is a model
