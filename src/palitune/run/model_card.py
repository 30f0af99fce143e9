"""The model card: `README.md` as Hugging Face shows it, with YAML in front for its search.

It names no file or folder of this machine: counts, settings and figures only.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from palitune import __version__
from palitune.checkpoint.operating_point import Stored
from palitune.checkpoint.transformers_config import GEMMA3_IMAGES, PALIGEMMAS, SHIELDGEMMA2
from palitune.config.run_config import PROMPT, TrainingConfig
from palitune.config.settings import settings_of
from palitune.errors import printable
from palitune.evaluate.label_figures import LabelFigures
from palitune.evaluate.metrics import Figure
from palitune.hub import published_models
from palitune.models.spec import ModelSpec
from palitune.run.run_results import RunResults

GEMMA_LICENCE, OWN_LICENCE = "gemma", "apache-2.0"  # by Hugging Face's names
OWN = ("tiny", "tiny3", "tinytext")  # models that ship with palitune
# Settings that say how something was computed, and not what.
OF_THE_MACHINE = frozenset({"dtype", "keep", "max_pixels", "vocabulary_chunks", "weights"})
# What Hugging Face calls figures, by their titles.
METRICS = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "F-measure": "f1",
    "precision (macro)": "precision",
    "recall (macro)": "recall",
    "F-measure (macro)": "f1",
}
MOST_LABELS = 64  # with a row of their own, the most frequent


class Card(NamedTuple):
    """What a model card tells of.

    Attributes:
      title: the checkpoint's name.
      model_type: as in `config.json`.
      class_name: of transformers, that loads it.
      base: the name of what it was trained from; None for a model that was not trained here, or is its own base.
      config: settings of the run, as the manifest has them; empty for a model that was not trained here.
      images: how many different images it has learned from, or texts where it takes no images.
      licence: of the weights, where a manifest tells.
      adapter_of: the name of the base that an adapter is for; None for whole weights.
      remarks: sentences about the weights.
    """

    title: str
    spec: ModelSpec
    model_type: str
    class_name: str
    dtype: str
    base: str | None
    config: Mapping[str, object]
    images: int | None
    results: RunResults
    threshold: Stored | None
    licence: str | None = None
    adapter_of: str | None = None
    remarks: Sequence[str] = ()


def text(card: Card) -> str:
    """The whole file."""
    parts = [
        "---",
        *_front_matter(card),
        "---",
        "",
        f"# {_plain(card.title)}",
        "",
        *_introduction(card),
        *_figures(card),
        *_threshold(card),
        *_loading(card),
        *_settings(card),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _plain(value: str) -> str:
    """A text on one line that Markdown does not read as its own."""
    return "".join(f"\\{one}" if one in "\\`*_[]<>|#" else one for one in printable(value))


def _quoted(value: object) -> str:
    """A value as YAML, of which JSON is a part, and a text as Python."""
    return json.dumps(value, ensure_ascii=False)


def base_model(card: Card) -> str | None:
    """What Hugging Face calls the base, where it has it."""
    if card.base is None:
        return None
    return published_models.on_hugging_face(card.base)


def licence(card: Card) -> str:
    """The licence of the family's weights, if none is known: those that ship with palitune have its own."""
    if card.licence:
        return card.licence
    is_own = (card.base or card.title) in OWN or card.spec.tokenizer in OWN
    return OWN_LICENCE if is_own else GEMMA_LICENCE


def _front_matter(card: Card) -> list[str]:
    lines = []
    if base := base_model(card):
        kind = "finetune" if card.adapter_of is None else "adapter"
        lines += [f"base_model: {_quoted(base)}", f"base_model_relation: {kind}"]
    own = licence(card)
    lines.append(f"license: {_quoted(own) if card.licence else own}")
    if own == GEMMA_LICENCE:
        lines.append(f"license_link: {published_models.GEMMA_TERMS}")
    task = "text-generation" if card.spec.img is None else "image-text-to-text"
    library = "transformers" if card.adapter_of is None else "peft"
    lines += [f"library_name: {library}", f"pipeline_tag: {task}", "tags:", "- palitune", f"- {card.model_type}"]
    if evaluated := card.results.evaluated:
        lines += [
            "model-index:",
            f"- name: {_quoted(printable(card.title))}",
            "  results:",
            "  - task:",
            f"      type: {task}",
            "    dataset:",
            f"      name: {'validation' if evaluated.is_validation else 'training'} examples (not published)",
            "      type: private",
            "    metrics:",
        ]
        for name, theirs in METRICS.items():
            if (figure := evaluated.after.get(name)) is not None and figure.value is not None:
                named = [f"      name: {name}"] if "(" in name else []
                lines += [f"    - type: {theirs}", *named, f"      value: {figure.value:.6g}"]
    return lines


def _introduction(card: Card) -> list[str]:
    size = f"{card.spec.num_image_tokens} tokens an image" if card.spec.img else "no images"
    what = f"`{card.class_name}` ({size}, {card.spec.llm.depth} layers of width {card.spec.llm.width}), {card.dtype}"
    made = f"{what}, written by palitune {__version__}."
    if card.adapter_of is not None:
        made = f"A LoRA adapter for {_plain(card.adapter_of)}: {made}"
    made = " ".join([made, *(f"{_plain(one[0].upper() + one[1:])}." for one in card.remarks)])
    if not card.config:
        return [made, ""]
    learned = [f"Fine-tuned from {_plain(card.base)}" if card.base else "Fine-tuned"]
    if card.results.trained_on is not None:
        learned.append(f"on {card.results.trained_on:,} examples")
    if card.images is not None:
        learned.append(f"with {card.images:,} different {'texts' if card.spec.img is None else 'images'}")
    return [f"{' '.join(learned)}. {made}", ""]


def _figures(card: Card) -> list[str]:
    evaluated = card.results.evaluated
    if evaluated is None:
        return []
    which = "validation examples, which it has not learned from" if evaluated.is_validation else "training examples"
    if evaluated.is_validation and (card.images or 0) > (card.results.trained_on or 0):
        things = "texts" if card.spec.img is None else "images"
        which = f"validation examples; training before this run has used more {things} than it, perhaps some of these"
    if evaluated.is_out_of_fold:
        which = "examples, each answered by a model of the same settings that has learned from others alone"
    lines = ["## What it is worth", "", f"On {evaluated.examples:,} {which}; intervals are of 95 %.", ""]
    head = ["figure", "after", "95 % interval", *(["before"] if evaluated.before else [])]
    lines += [_row(head), _row(["---"] * len(head))]
    for name, figure in evaluated.after.items():
        cells = [_plain(name), _number(figure.value), _interval(figure)]
        if evaluated.before:
            before = evaluated.before.get(name)
            cells.append(_number(before.value) if before else "")
        lines.append(_row(cells))
    return [*lines, "", *_labels(evaluated.labels)]


def _labels(labels: Mapping[str, LabelFigures]) -> list[str]:
    """A row for each label, with the interval of its F-measure."""
    if not labels:
        return []
    head = ["label", "examples", "precision", "recall", "F-measure", "95 % interval"]
    lines = [_row(head), _row(["---"] * len(head))]
    shown = set(sorted(labels, key=lambda name: -labels[name].support)[:MOST_LABELS])
    for name, one in labels.items():
        if name in shown:
            figures = [_number(one.precision), _number(one.recall), _number(one.f_measure.value)]
            lines.append(_row([_plain(name), f"{one.support:,}", *figures, _interval(one.f_measure)]))
    if more := len(labels) - len(shown):
        lines += ["", f"And {more:,} labels with fewer examples."]
    return [*lines, ""]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _interval(figure: Figure) -> str:
    return "" if figure.low is None else f"{_number(figure.low)} to {_number(figure.high)}"


def _threshold(card: Card) -> list[str]:
    if card.threshold is None:
        return []
    stored = card.threshold
    point, labels = stored.point, stored.labels
    shown = " and ".join(f"`{_plain(label)}`" for label in labels)
    lines = [
        f"The answer is `{_plain(labels[0])}` from a probability of {point.threshold:.6g} on: that of the first of"
    ]
    ending = "by the likelihoods of their tokens behind the prompt."
    if stored.thresholds:
        lines = [f"Each label is `{_plain(labels[0])}` from a probability of its own on: that of the first of"]
    elif len(labels) > 2 and stored.positive:
        lines = [
            f"The answer is `{_plain(stored.positive)}` from a probability of {point.threshold:.6g} on, of those of"
        ]
    elif len(labels) > 2:
        lines = ["The answer is the likeliest of"]
    lines = ["## Threshold", "", *lines, f"{shown}, {ending}"]
    if point.temperature != 1:
        lines.append(f"Log-likelihoods are divided by {point.temperature:.6g} first.")
    if stored.thresholds:
        lines += ["", _row(["label", "threshold"]), _row(["---"] * 2)]
        lines += [_row([_plain(name), f"{value:.6g}"]) for name, value in stored.thresholds.items()]
    return [*lines, ""]


def _loading(card: Card) -> list[str]:
    prompt = _prompt(card) or ("Describe the image." if card.spec.img else "Your text")
    lines = ["## How to load it", "", "```python", *_program(card, prompt), "```", ""]
    if card.adapter_of is not None and base_model(card) is None:
        lines += [f"For {_plain(card.adapter_of)} put the folder of that model.", ""]
    if card.spec.img is not None:
        side = card.spec.img.image_size
        lines += [
            f"It was trained on images resized to {side} x {side} pixels with an antialiased bilinear filter.",
            "",
        ]
    return lines


def _prompt(card: Card) -> str:
    """What the model was trained to be asked; texts are not asked the built-in question about images."""
    prompt = str(card.config.get("prompt", ""))
    return "" if prompt == PROMPT and card.spec.img is None else prompt


def _program(card: Card, prompt: str) -> list[str]:
    """Five lines, and two more for an adapter; `folder` is where the reader has put the files."""
    asked, loader = _quoted(prompt), "AutoTokenizer" if card.spec.img is None else "AutoProcessor"
    lines = [
        f"from transformers import {loader}, {card.class_name}",
        f'processor, model = {loader}.from_pretrained("folder"), {card.class_name}.from_pretrained("folder")',
    ]
    if card.adapter_of is not None:
        base = _quoted(card.adapter_of)
        lines[1] = lines[1].replace('"folder"', base)
        lines[1:1] = ["from peft import PeftModel"]
        lines.append('model = PeftModel.from_pretrained(model, "folder")')
    written = 'print(processor.decode(model.generate(**inputs, max_new_tokens=8)[0, inputs["input_ids"].shape[1] :]))'
    if card.spec.img is None:
        chat = f'[{{"role": "user", "content": {asked}}}]'
        make = f'inputs = processor.apply_chat_template({chat}, add_generation_prompt=True, return_tensors="pt", '
        return [*lines, f"{make}return_dict=True)", written]
    lines.insert(0, "from PIL import Image")
    opened = 'Image.open("image.jpg").convert("RGB")'
    if card.model_type == PALIGEMMAS:
        make = f'inputs = processor(images={opened}, text={_quoted("<image>" + prompt)}, return_tensors="pt")'
        return [*lines, make, written]
    if card.model_type == SHIELDGEMMA2:
        policy = f'custom_policies={{"policy": {asked}}}, policies=["policy"]'
        make = f'inputs = processor(images=[{opened}], {policy}, return_tensors="pt")'
        return [*lines, make, "print(model(**inputs).probabilities)  # yes, no"]
    assert card.model_type == GEMMA3_IMAGES
    content = f'[{{"type": "image", "image": {opened}}}, {{"type": "text", "text": {asked}}}]'
    chat = f'[{{"role": "user", "content": {content}}}]'
    make = f"inputs = processor.apply_chat_template({chat}, add_generation_prompt=True, tokenize=True, "
    return [*lines, f'{make}return_dict=True, return_tensors="pt")', written]


def _settings(card: Card) -> list[str]:
    of = {one.name: one.details.methods for one in settings_of(TrainingConfig)}
    used = {
        name: value
        for name, value in card.config.items()
        if (name == "seed" or value not in (None, "", 0, False, [], ()))
        and (not of.get(name) or card.config.get("method") in of[name])
        and name not in OF_THE_MACHINE
        and (name != "prompt" or _prompt(card))
        and (card.config.get("second_pass") or not name.startswith("second_"))
    }
    if not used:
        return []
    lines = ["## Settings of the training", "", _row(["setting", "value"]), _row(["---"] * 2)]
    return [*lines, *(_row([_plain(name), _plain(_shown(value))]) for name, value in sorted(used.items())), ""]


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
