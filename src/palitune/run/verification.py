"""palitune beside another implementation, on one checkpoint and some images."""

import contextlib
import functools
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from palitune import workspace
from palitune.checkpoint import manifest
from palitune.checkpoint.transformers_checkpoint import TransformersCheckpoint
from palitune.config.export import ExportSettings
from palitune.config.model import ModelSettings
from palitune.config.run_config import PROMPT
from palitune.data import templates
from palitune.data.demo import demo_data
from palitune.data.example import Example
from palitune.data.images import decoder
from palitune.data.images.loader import ImageArray
from palitune.data.templates import Template
from palitune.errors import ConfigurationError, MissingInputError, UsageError
from palitune.infer.loading import Model, load, require_single
from palitune.models import lora
from palitune.models.arrays import Weights
from palitune.models.spec import PALIGEMMA
from palitune.reference import TOLERANCE, Comparer, Comparison, Difference, Reference
from palitune.run import transformers_reference
from palitune.run.export import export
from palitune.run.transformers_reference import TransformersComparer, TransformersReference

T = TypeVar("T")
DRAWN = 4
BIG_VISION, TRANSFORMERS = "big_vision", "transformers"
# What a model without images is asked beside its own question.
QUESTIONS = ("How many days has a week?", "Write a word that rhymes with house.", "\u3053\u3093\u306b\u3061\u306f")


class Row(NamedTuple):
    """One example: how far both implementations are apart, and what each answers."""

    name: str  # of its image, or its question
    comparison: Comparison
    palitune: str
    reference: str


class Verification(NamedTuple):
    """All examples of one checkpoint.

    Attributes:
      against: the implementation that palitune is held to.
    """

    checkpoint: str
    rows: Sequence[Row]
    against: str = BIG_VISION

    @property
    def image_tokens(self) -> Difference | None:
        """The worst of all images; None for a model that takes none."""
        found = [row.comparison.image_tokens for row in self.rows if row.comparison.image_tokens is not None]
        return functools.reduce(Difference.worst, found) if found else None

    @property
    def logits(self) -> Difference:
        """The worst of all examples."""
        return functools.reduce(Difference.worst, (row.comparison.logits for row in self.rows))

    @property
    def differences(self) -> dict[str, Difference]:
        """What is compared, by name."""
        images = self.image_tokens
        return {**({} if images is None else {"image tokens": images}), "logits": self.logits}

    @property
    def same(self) -> int:
        """How many answers are the same."""
        return sum(row.palitune == row.reference for row in self.rows)

    @property
    def agrees(self) -> bool:
        """Whether tokens and logits are within the tolerance, and all answers are the same."""
        return all(one.agrees for one in self.differences.values()) and self.same == len(self.rows)

    def as_json(self) -> dict[str, object]:
        """What `palitune verify --json` prints."""
        content: dict[str, object] = {
            "checkpoint": self.checkpoint,
            "against": self.against,
            "agrees": self.agrees,
            "tolerance": TOLERANCE,
        }
        for name, found in self.differences.items():
            figures = {"largest_difference": found.largest, "largest_magnitude": found.magnitude}
            content[name.replace(" ", "_")] = figures
        kind = "question" if self.image_tokens is None else "image"
        content["answers"] = [
            {kind: row.name, "palitune": row.palitune, self.against: row.reference} for row in self.rows
        ]
        return content

    def lines(self) -> list[str]:
        """The same as a table."""
        lines = ["                largest difference  of at most  relative"]
        for name, found in self.differences.items():
            relative = found.largest / max(found.magnitude, 1e-30)
            lines.append(f"{name:14}  {found.largest:18.3g}  {found.magnitude:10.4g}  {relative:8.1g}")
        lines.append(f"answers         {self.same} of {len(self.rows)} the same")
        for name, _, ours, theirs in self.rows:
            lines.append(f"  {name}\t{ours!r}\t{theirs!r}" + ("" if ours == theirs else "\tdiffer"))
        if self.agrees:
            within = f"within {TOLERANCE:g} of the largest magnitude"
            whose = f"{self.against}'" if self.against.endswith("s") else f"{self.against}'s"
            lines.append(f"verdict: palitune's model is {whose} ({within})")
        return lines


def verify(
    settings: ModelSettings,
    images: Sequence[str],
    prompt: str | None = None,
    *,
    against: str | None = None,
    quiet: bool = False,
) -> Verification:
    """Compares both implementations on the same images; without any, on four drawn advertisements.

    A model that takes no images is asked a few questions instead.

    Args:
      prompt: the question that both are asked; None is the model's own.
      against: `BIG_VISION` or `TRANSFORMERS`; None is big_vision for a model of a family that it has.

    Raises:
      ConfigurationError: the other implementation is not installed, or knows no such model.
      MissingInputError: no such image.
      UsageError: images for a model that takes none.
    """
    source = workspace.checkpoint_to_read(settings.model)
    model = load(source, settings, quiet=quiet)
    require_single(model.checkpoint, "verify")
    asked = manifest.prompt(source, PROMPT) if prompt is None else prompt
    known = model.sizes.img is not None and model.sizes.template == PALIGEMMA  # to big_vision
    if against == TRANSFORMERS or (against is None and not known):
        return _beside_transformers(model, settings, images, [asked] if prompt else [asked, *QUESTIONS], quiet)
    if lora.adapted(model.checkpoint):
        hint = f"palitune merge -m {settings.model} -w whole makes one that it knows"
        raise ConfigurationError("big_vision knows no adapters", where=str(source), hint=hint)
    if not known:
        hint = "--against transformers compares with an implementation that has it"
        raise ConfigurationError("big_vision has no model of this family", where=str(source), hint=hint)
    reference = Reference(model.sizes, workspace.cache() / "big_vision")
    prefix = model.template.prompt(Example.of("", asked, "yes"), "").tokens.tolist()
    suffix = model.template.answer("yes")
    names, pixels = _pixels(images, model.sizes.image_encoder.image_size)
    params, compare = _params(model), Comparer(model.sizes, reference, model.template.end)
    bar = _bar(names, quiet)
    return Verification(
        str(settings.model),
        [
            _row(name, compare(params, image, prefix, suffix), model.template)
            for name, image in zip(bar, pixels, strict=True)
        ],
    )


def _beside_transformers(
    model: Model, settings: ModelSettings, images: Sequence[str], questions: list[str], quiet: bool
) -> Verification:
    """As transformers computes the exported folder, or the folder itself where the checkpoint is one."""
    transformers_reference.require()
    if model.sizes.img is None and images:
        raise UsageError(f"{settings.model} takes no images, so there is nothing to ask about {images[0]}")
    template = model.template
    rows: list[tuple[str, ImageArray | None, str]] = [(question, None, question) for question in questions]
    if model.sizes.img is not None:
        names, pixels = _pixels(images, model.sizes.img.image_size)
        rows = [(name, image, questions[0]) for name, image in zip(names, pixels, strict=True)]
    with _as_folder(model, settings, quiet) as folder:
        reference = TransformersReference(folder)
        compare, params, found = TransformersComparer(model.sizes, reference, template), _params(model), []
        for (name, image, question), _ in zip(rows, _bar(rows, quiet), strict=True):
            example = Example.of(None if image is None else name, question, "yes")
            prompt = template.prompt(example, "")
            answered = prompt.answered(template.answer("yes"))
            found.append(_row(name, compare(params, image, prompt, answered), template))
    return Verification(str(settings.model), found, TRANSFORMERS)


@contextlib.contextmanager
def _as_folder(model: Model, settings: ModelSettings, quiet: bool) -> Iterator[Path]:
    """The checkpoint as a folder that transformers loads."""
    if isinstance(model.checkpoint, TransformersCheckpoint) and model.path.is_dir():
        yield model.path
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "exported"
        chosen = ExportSettings(model=str(model.path), to=str(folder), dtype="float32", tokenizer=settings.tokenizer)
        export(chosen, quiet=quiet)
        yield folder


def _params(model: Model) -> Weights:
    """Every parameter as float32, which both then compute in."""
    return {path: np.asarray(model.checkpoint[path]).astype(np.float32) for path in model.checkpoint}


def _row(name: str, found: Comparison, template: Template) -> Row:
    ours, theirs = (templates.written(template, tokens.tolist()) for tokens in (found.ours, found.theirs))
    return Row(name, found, ours, theirs)


def _bar(rows: Sequence[T], quiet: bool) -> Iterable[T]:
    return tqdm(rows, "comparing", unit="examples", disable=quiet or not sys.stderr.isatty())


def _pixels(images: Sequence[str], size: int) -> tuple[list[str], list[ImageArray]]:
    """Names and pixels of images, or of drawn ones where none are named."""
    for name in images:
        if not Path(name).is_file():
            raise MissingInputError("no such image", where=name or "''")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        paths = [Path(name) for name in images] or [
            folder / example["image"] for example in demo_data.make(folder, DRAWN, seed=2)
        ]
        pixels = [decoder.load(path, size) for path in paths]
    return list(images) or [path.name for path in paths], pixels
