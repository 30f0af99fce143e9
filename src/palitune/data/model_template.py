"""The template of a model by name, without loading the model."""

from pathlib import Path

from palitune import workspace
from palitune.checkpoint import opening
from palitune.data import model_vocabulary, templates
from palitune.data.templates import PaliGemma, Template
from palitune.data.vocabulary import Vocabulary
from palitune.errors import MissingInputError
from palitune.models import families


def template_of(model: str | None, file: str | None = None) -> Template | None:
    """A model's template with its tokenizer, or None where no tokenizer is known.

    Args:
      model: as `workspace.checkpoint_to_read` takes it; None is the latest downloaded model, if there is one.
      file: the tokenizer to use instead, as `Vocabulary.open` takes it.

    Raises:
      MissingInputError: the model that was named, or its tokenizer, is not there.
      ConfigurationError: the file is not PaliGemma's tokenizer.
    """
    try:
        source = workspace.checkpoint_to_read(model)
        checkpoint = opening.load(source, workspace.checkpoint_to_read)
        sizes = checkpoint.spec or families.read(checkpoint.leaves(), str(source))
        path = model_vocabulary.find(checkpoint.whole.path, sizes.llm.vocab_size, file)
        if path is None:
            return None
        return templates.make(sizes.template, Vocabulary.open(path), takes_images=sizes.img is not None)
    except MissingInputError:
        if model:
            raise
        # Data can be checked before there is a model.
        return PaliGemma(Vocabulary.open(Path(file))) if file else None
