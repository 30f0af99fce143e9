"""Prompts put to a model, each about the same examples: the images are encoded once for all of them."""

import sys
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from tqdm import tqdm

from palitune.data.example import Example
from palitune.data.prediction import MadeWith, Prediction
from palitune.evaluate.outcomes import Outcomes, outcomes_of
from palitune.evaluate.prompt_ranking import LABEL, Prompt, Scored
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
      classes: the labels there are, of two the positive one first; each prompt has as many answer words.
      quiet: show no progress.

    Raises:
      BadDataError: a prompt is too long, an image cannot be used, or a score is not finite.
    """
    predictors = {
        words: Predictor(model, images, MadeWith(words), batch_size=batch_size, quiet=True)
        for words in dict.fromkeys(prompt.words for prompt in prompts)
    }
    for prompt in prompts:
        about = "" if any(record.images for record in records) else None
        model.template.prompt(Example.of(about, prompt.text), "")  # the longest is refused before all work
    known = [record for record in records if any(target.answer is not None for target in record.targets)]
    total = len(prompts) * sum(target.answer is not None for record in known for target in record.targets)
    found = []
    silent = quiet or not sys.stderr.isatty()
    with tqdm(total=total, desc="scoring", unit="answers", leave=False, disable=silent) as bar:
        for prompt in prompts:
            said = []
            for one in predictors[prompt.words].predict((_asked(record, prompt) for record in known), params=params):
                said.append(one)
                bar.update()
            found.append(Scored(prompt, _outcomes(said, prompt.words, classes)))
    return found


def _asked(record: Example, prompt: Prompt) -> Example:
    """An example that a prompt is put to: once, or for each of several labels that is known, by its name."""
    if not record.target.name:
        return record.with_prompt(prompt.text)
    known = (one for one in record.targets if one.answer is not None)
    targets = (one._replace(question=prompt.text.replace(LABEL, one.name), choices=prompt.words) for one in known)
    return record._replace(targets=tuple(targets))


def _outcomes(said: Sequence[Prediction], words: tuple[str, ...], classes: tuple[str, ...]) -> Outcomes:
    """Answers in a prompt's words as answers in labels."""
    labels, p = [one.target.answer or "" for one in said], [one.p_yes or 0.0 for one in said]
    if len(classes) == 2:
        return outcomes_of(labels, [classes[0] if one >= 0.5 else classes[1] for one in p], p, classes)
    answers = [classes[words.index(one.text)] for one in said]
    return outcomes_of(labels, answers, p, classes, shares=np.array([one.probabilities for one in said]))
