"""Baselines on a split, and beside them a fine-tuned model: who answers, from which training examples."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune import console
from palitune.checkpoint import manifest
from palitune.config.run_config import PROMPT
from palitune.data.checks import seen_in_training
from palitune.data.example import Example
from palitune.data.label_sets import LabelSet
from palitune.data.prediction import MadeWith
from palitune.evaluate import baseline, probe
from palitune.evaluate.baseline import Contestant
from palitune.evaluate.outcomes import of_predictions
from palitune.evaluate.prompt_ranking import Prompt, ranked
from palitune.infer import probe_features
from palitune.infer.answering import made_with
from palitune.infer.asked import check_images
from palitune.infer.loading import announce
from palitune.infer.opening import Opened
from palitune.infer.predictor import Predictor
from palitune.labels import LABELS
from palitune.run.prompt_search import score_prompts

ONE_LABEL = "no linear probe: it learns one label of each record, and there are several"

Open = Callable[[Path], Opened]


class Split(NamedTuple):
    """Training examples, from which baselines learn or choose, and validation examples, which all of them answer."""

    train_file: Path
    valid_file: Path
    train: Sequence[Example]
    valid: Sequence[Example]
    classes: tuple[str, ...] = LABELS


def known(records: Sequence[Example]) -> list[Example]:
    """Records with those of their labels that are known; records of which none is are left out."""
    found = []
    for record in records:
        targets = tuple(target for target in record.targets if target.answer is not None)
        if targets:
            found.append(record if targets == record.targets else record._replace(targets=targets))
    return found


def contestants(
    split: Split,
    base: Path,
    open_model: Open,
    *,
    prompts: Sequence[Prompt] | None = None,
    metric: str = "balanced_accuracy",
    seed: int = 0,
    quiet: bool = False,
) -> list[Contestant]:
    """The majority, the base model zero-shot, and of images a linear probe on their features, in this order.

    Args:
      base: the base model's checkpoint.
      prompts: take the place of the examples' own questions; the best on the training examples is used.
      metric: what prompts are ranked by.
      seed: of the probe's cross-validation.

    Raises:
      BadDataError: every training label is the same, an image cannot be used, or a score is not finite.
    """
    opened = open_model(base)
    labels, truth = (
        [target.answer or "" for record in part for target in record.targets] for part in (split.train, split.valid)
    )
    probe.require_classes(labels, where=str(split.train_file))
    check_images([split.train, split.valid], opened.images)
    if not quiet:
        announce(opened.model)
    seen_in_training.tell(base, str(split.valid_file), split.valid, quiet)
    found = [baseline.majority(labels, truth, split.classes), _zero_shot(opened, split, prompts, metric, quiet)]
    if not all(record.images for record in (*split.train, *split.valid)):
        console.note("no linear probe: it learns from image features, and there are texts")
        return found
    if any(record.target.name for record in split.train):
        console.note(ONE_LABEL)
        return found
    train, valid = (probe_features.features(part, opened.images, quiet) for part in (split.train, split.valid))
    found.append(baseline.linear_probe(train, labels, valid, truth, seed, split.classes))
    return found


def _zero_shot(opened: Opened, split: Split, prompts: Sequence[Prompt] | None, metric: str, quiet: bool) -> Contestant:
    """The base model's answers: to the best of some prompts, or to what the examples ask themselves, else its own."""
    model, images = opened
    params = opened.params()
    if prompts is None:
        own = manifest.prompt(model.path, PROMPT)
        predictor = Predictor(model, images, MadeWith(split.classes, prompt=own), quiet=quiet)
        outcomes = of_predictions(predictor.predict_all(split.valid, params=params), split.classes)
        return Contestant("zero-shot", _questions(split.valid, own), outcomes)
    if (count := sum(bool(record.prompt) for record in split.valid)) and not quiet:
        what = f"--prompts takes the place of the questions of {count} of {len(split.valid)} records"
        console.note(f"{what}: without it they are asked their own")
    chosen = prompts[0]
    if len(prompts) > 1:
        order, _ = ranked(
            score_prompts(model, images, params, split.train, prompts, classes=split.classes, quiet=quiet), metric
        )
        chosen = prompts[order[0]]
    (zero,) = score_prompts(model, images, params, split.valid, [chosen], classes=split.classes, quiet=quiet)
    detail = chosen.text + (f" ({'/'.join(chosen.words)})" if chosen.words != split.classes else "")
    return Contestant("zero-shot", detail, zero.outcomes)


def _questions(records: Sequence[Example], prompt: str) -> str:
    """What examples are asked, in words."""
    own = sorted({record.asked(prompt) for record in records})
    return own[0] if len(own) == 1 else f"{len(own)} questions of the records' own"


def fine_tuned(
    checkpoint: Path,
    valid: Sequence[Example],
    data: str,
    open_model: Open,
    quiet: bool,
    classes: tuple[str, ...] = LABELS,
) -> Contestant:
    """A fine-tuned model's answers, with its own prompt and threshold.

    Args:
      data: what a note on stderr calls the validation examples.
    """
    model, images = opened = open_model(checkpoint)
    predictor = Predictor(model, images, made_with(model, labels=LabelSet(classes), quiet=quiet), quiet=quiet)
    seen_in_training.tell(checkpoint, data, valid, quiet)
    predictions = predictor.predict_all(valid, params=opened.params())
    return Contestant("fine-tuned", checkpoint.stem, of_predictions(predictions, classes))
