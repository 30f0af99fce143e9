"""Prompts put to a model, each about the same examples: the images are encoded once for all of them."""

import sys
from collections.abc import Mapping, Sequence

import jax
from tqdm import tqdm

from palitune.data import probabilities
from palitune.data.example import Example
from palitune.data.images.loader import ImageRequest, ImageSource, raise_first
from palitune.evaluate import metrics
from palitune.evaluate.prompt_ranking import Prompt, Scored
from palitune.infer.loading import Model
from palitune.infer.scoring import Scorer
from palitune.labels import LABELS


def score_prompts(
    model: Model,
    image_source: ImageSource,
    params: Mapping[str, jax.Array],
    records: Sequence[Example],
    prompts: Sequence[Prompt],
    *,
    classes: tuple[str, ...] = LABELS,
    batch_size: int = 8,
    quiet: bool = False,
) -> list[Scored]:
    """The answers to every prompt about the same examples; the prompt takes the place of the examples' own.

    Args:
      params: the model's parameters on the device.
      classes: the positive and the negative label.
      quiet: show no progress.

    Raises:
      BadDataError: a prompt is too long, an image cannot be used, or a score is not finite.
    """
    scorers = {
        words: Scorer(model.sizes, model.tokenizer, words, model.dtype, batch_size)
        for words in dict.fromkeys(prompt.words for prompt in prompts)
    }
    labels = [record.label for record in records]
    questions = [model.tokenizer.prompt(prompt.text) for prompt in prompts]  # the longest is refused before all work
    found = []
    silent = quiet or not sys.stderr.isatty()
    with tqdm(total=len(prompts) * len(records), desc="scoring", unit="answers", leave=False, disable=silent) as bar:
        for prompt, question in zip(prompts, questions, strict=True):
            tokens = raise_first(image_source.prefetch(ImageRequest(one.image.path, one.where) for one in records))
            asked = ((one, question) for one in tokens)
            p = []
            for record, scores in zip(records, scorers[prompt.words](params, asked), strict=True):
                probabilities.require_finite(scores, record, model.path)
                p.append(float(probabilities.probabilities(scores)[0]))
                bar.update()
            said = [classes[0] if one >= 0.5 else classes[1] for one in p]
            found.append(Scored(prompt, metrics.outcomes_of(labels, said, p, classes)))
    return found
