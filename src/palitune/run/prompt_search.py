"""Prompts put to a model, each about the same examples: the images are encoded once for all of them."""

import sys
from collections.abc import Mapping, Sequence

import jax
from tqdm import tqdm

from palitune.data.example import Example
from palitune.data.prediction import MadeWith
from palitune.evaluate import metrics
from palitune.evaluate.prompt_ranking import Prompt, Scored
from palitune.infer.loading import Model
from palitune.infer.opening import ImagesOfModel
from palitune.infer.predictor import Predictor
from palitune.labels import LABELS


def score_prompts(
    model: Model,
    images: ImagesOfModel,
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
    predictors = {
        words: Predictor(model, images, MadeWith(words), batch_size=batch_size, quiet=True)
        for words in dict.fromkeys(prompt.words for prompt in prompts)
    }
    for prompt in prompts:
        model.template.prompt(Example.of("", prompt.text), "")  # the longest is refused before all work
    labels = [record.label for record in records]
    found = []
    silent = quiet or not sys.stderr.isatty()
    with tqdm(total=len(prompts) * len(records), desc="scoring", unit="answers", leave=False, disable=silent) as bar:
        for prompt in prompts:
            asked = (record.with_prompt(prompt.text) for record in records)
            p = []
            for one in predictors[prompt.words].predict(asked, params=params):
                p.append(one.p_yes or 0.0)
                bar.update()
            said = [classes[0] if one >= 0.5 else classes[1] for one in p]
            found.append(Scored(prompt, metrics.outcomes_of(labels, said, p, classes)))
    return found
