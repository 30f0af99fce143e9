"""What predictions are made with: the labels that an answer is one of, the prompt, and the threshold."""

import sys
from collections.abc import Sequence
from pathlib import Path

from palitune.checkpoint import manifest, operating_point
from palitune.checkpoint.operating_point import OperatingPoint
from palitune.config.answering import AnsweringSettings
from palitune.config.run_config import PROMPT
from palitune.data.prediction import MadeWith
from palitune.errors import listed
from palitune.infer.loading import Model
from palitune.labels import plain


def prompt_of(source: Path, prompt: str | None = None) -> str:
    """The prompt of examples that have none of their own: the given one, or else the checkpoint's."""
    return prompt if prompt is not None else manifest.prompt(source, PROMPT)


def made_with(
    model: Model, settings: AnsweringSettings | None = None, prompt: str | None = None, *, quiet: bool = False
) -> MadeWith:
    """As settings say, with what is stored beside the checkpoint; says which threshold counts.

    What is stored holds for its parameters, its labels and the model's own prompt.

    Args:
      prompt: of examples that have none of their own; None is the model's own.

    Raises:
      BadDataError: what is stored is damaged.
    """
    settings = settings or AnsweringSettings()
    labels, decode, threshold = settings.labels, settings.decode, settings.threshold
    point, note = OperatingPoint(), ""
    if (stored := operating_point.read(model.path)) is not None:
        if (other := _not_meant(stored, model, labels, prompt)) is None:
            point = stored.point
            note = f"threshold {point.threshold:.4g} ({stored.chosen})"
        else:
            note = f"its stored threshold is for {other}, and is left out"
    if threshold is not None:
        point = point._replace(threshold=threshold)
        note = f"threshold {threshold:.4g}"
    if decode and note:
        note = "its stored threshold has no effect on what is written freely"
    if point.temperature != 1:
        note += f", temperature {point.temperature:.3g} in p_yes"
    if note and not quiet:
        print(f"{model.path.stem}: {note}", file=sys.stderr)
    mark, asked = operating_point.mark(model.checkpoint), prompt_of(model.path, prompt)
    return MadeWith(labels, point.threshold, point.temperature, model.path.stem, mark, asked, decode)


def _not_meant(stored: operating_point.Stored, model: Model, labels: Sequence[str], prompt: str | None) -> str | None:
    """What a stored threshold is for, if not for what is asked."""
    if stored.checkpoint != operating_point.mark(model.checkpoint):
        return "other parameters"
    if tuple(map(plain, stored.labels)) != tuple(map(plain, labels)):
        return f"the labels {','.join(stored.labels)}"
    if prompt is not None and prompt != manifest.prompt(model.path, PROMPT):
        return "another prompt"
    return None


def tell_of_other_answers(name: str, strange: Sequence[tuple[str, str]], labels: Sequence[str], total: int) -> None:
    """Lists on stderr what a model wrote that is not a label, as (image, answer), out of `total` answers."""
    if not strange:
        return
    named = listed([f'{image} "{text[:30]}"' for image, text in strange])
    what = f"{len(strange)} of {total} answers are none of {', '.join(labels)} and count as wrong"
    print(f"{name}: {what}: {named}", file=sys.stderr)
