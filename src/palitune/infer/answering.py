"""What predictions are made with: the labels that an answer is one of, the prompt, and the threshold."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from palitune.checkpoint import manifest, operating_point
from palitune.checkpoint.operating_point import OperatingPoint
from palitune.config.answering import AnsweringSettings, LabelSettings
from palitune.config.run_config import PROMPT
from palitune.data import chat_turns, label_sets
from palitune.data.example import Example
from palitune.data.label_sets import LabelSet
from palitune.data.prediction import MadeWith
from palitune.errors import UsageError, listed, printable
from palitune.infer.loading import Model
from palitune.labels import LABELS, plain


def prompt_of(source: Path, prompt: str | None = None) -> str:
    """The prompt of examples that have none of their own: the given one, or else the checkpoint's."""
    return prompt if prompt is not None else manifest.prompt(source, PROMPT)


def labels_of(source: Path, settings: LabelSettings, examples: Sequence[Example] = (), quiet: bool = False) -> LabelSet:
    """What a model's answers are one of: the labels that were typed, or the model's own, or those of some examples.

    Args:
      source: the model's checkpoint.
      examples: what the model is asked about, where that is known.

    Raises:
      UsageError: the positive label is none of them.
      MissingInputError, BadDataError: the file of labels, or the checkpoint's manifest, cannot be used.
    """
    if (typed := label_sets.typed(settings)) is not None:
        return label_sets.with_positive(typed, settings.positive)
    own, positive = manifest.labels(source)
    if own is not None:
        return label_sets.with_positive(own or None, settings.positive or positive or None)
    found = label_sets.of_examples(examples) if examples else LABELS
    if found is None and all(chat_turns.is_chat(one) or not one.images for one in examples):
        return label_sets.with_positive(None, settings.positive)  # of images it is a mistake in the labels
    if found not in (None, LABELS) and not quiet:
        tell_of_labels(found, settings.positive)
    return label_sets.with_positive(found or LABELS, settings.positive)


def tell_of_labels(labels: Sequence[str], positive: str | None = None) -> None:
    """Says on stderr which labels data have, the most frequent first, where nobody has said which there are."""
    what = f"labels: {printable(listed(labels))}"
    if len(labels) == 2 and positive is None:
        what += f"; the first is the positive one (--positive {printable(labels[1])} says otherwise)"
    print(what, file=sys.stderr)


def made_with(
    model: Model,
    settings: AnsweringSettings | None = None,
    prompt: str | None = None,
    *,
    labels: LabelSet | None = None,
    quiet: bool = False,
) -> MadeWith:
    """As settings say, with what is stored beside the checkpoint; says which threshold counts.

    What is stored holds for its parameters, its labels and the model's own prompt.

    Args:
      prompt: of examples that have none of their own; None is the model's own.
      labels: what an answer is one of; None is as `labels_of` finds it.

    Raises:
      BadDataError: what is stored is damaged.
      UsageError: a threshold was given, and there is no label that it is for.
    """
    settings = settings or AnsweringSettings()
    chosen = labels_of(model.path, settings, quiet=quiet) if labels is None else labels
    decode, threshold = settings.decode or chosen.labels is None, settings.threshold
    if settings.max_new_tokens is not None and not decode:
        what = f"--max-new-tokens has no effect where an answer is one of {listed(chosen.classes)}"
        raise UsageError(what, hint="--decode lets the model write freely")
    point, note, is_stored = OperatingPoint(), "", False
    if (stored := operating_point.read(model.path)) is not None:
        if (other := _not_meant(stored, model, chosen, settings.positive, prompt)) is None:
            point = stored.point
            note = _in_words(stored, chosen)
            if chosen.is_several and stored.positive:
                chosen, is_stored = dataclasses.replace(chosen, positive=stored.positive), True
        else:
            note = f"its stored threshold is for {other}, and is left out"
    if threshold is not None:
        if decode or (chosen.is_several and not chosen.positive):
            other = "free text" if decode else f"more than two labels ({listed(chosen.classes)})"
            raise UsageError(
                f"--threshold has no effect with {other}", hint="--positive LABEL says which one it is for"
            )
        point = point._replace(threshold=threshold)
        note = f"threshold {threshold:.4g}"
    if decode and note:
        note = "its stored threshold has no effect on what is written freely"
    if point.temperature != 1:
        note += f", temperature {point.temperature:.3g} in p_yes"
    if note and not quiet:
        print(f"{model.path.stem}: {note}", file=sys.stderr)
    mark, asked = model.mark, prompt_of(model.path, prompt)
    name, temperature, positive = model.path.stem, point.temperature, chosen.positive
    if not chosen.is_several:
        by_name = tuple(stored.thresholds.items()) if stored is not None and point is stored.point else ()
        return MadeWith(chosen.labels, point.threshold, temperature, name, mark, asked, decode, by_name)
    own = (("", point.threshold),) if positive and (threshold is not None or is_stored) else ()
    return MadeWith(chosen.labels, 0.5, temperature, name, mark, asked, decode, own, positive)


def _in_words(stored: operating_point.Stored, labels: LabelSet) -> str:
    """A stored threshold in words; of more than two labels of which none is positive, there is a temperature alone."""
    if labels.is_several and not stored.positive:
        return "no threshold is stored"
    if stored.thresholds and not labels.is_several:
        each = ", ".join(f"{printable(name)} {value:.4g}" for name, value in stored.thresholds.items())
        return f"thresholds {each} ({stored.chosen})"
    of = f" of {stored.positive}" if labels.is_several else ""
    return f"threshold {stored.point.threshold:.4g}{of} ({stored.chosen})"


def _not_meant(
    stored: operating_point.Stored, model: Model, labels: LabelSet, positive: str | None, prompt: str | None
) -> str | None:
    """What a stored threshold is for, if not for what is asked."""
    if stored.checkpoint != model.mark:
        return "other parameters"
    known, asked = tuple(map(plain, stored.labels)), tuple(map(plain, labels.classes))
    if known != asked and not (labels.is_several and set(known) == set(asked)):
        return f"the labels {','.join(stored.labels)}"
    if positive is not None and stored.positive and plain(positive) != plain(stored.positive):
        return f"the label {stored.positive}"
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
