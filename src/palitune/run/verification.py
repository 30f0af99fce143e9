"""palitune beside the reference implementation, on one checkpoint and some images."""

import functools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from palitune import workspace
from palitune.checkpoint import manifest
from palitune.config.model import ModelSettings
from palitune.config.run_config import PROMPT
from palitune.data import templates
from palitune.data.demo import demo_data
from palitune.data.example import Example
from palitune.data.images import decoder
from palitune.data.images.loader import ImageArray
from palitune.errors import ConfigurationError, MissingInputError
from palitune.infer.loading import load
from palitune.models import lora
from palitune.reference import TOLERANCE, Comparer, Comparison, Difference, Reference

DRAWN = 4


class Row(NamedTuple):
    """One image: how far both implementations are apart, and what each answers."""

    image: str
    comparison: Comparison
    palitune: str
    big_vision: str


class Verification(NamedTuple):
    """All images of one checkpoint."""

    checkpoint: str
    rows: Sequence[Row]

    @property
    def image_tokens(self) -> Difference:
        """The worst of all images."""
        return functools.reduce(Difference.worst, (row.comparison.image_tokens for row in self.rows))

    @property
    def logits(self) -> Difference:
        """The worst of all images."""
        return functools.reduce(Difference.worst, (row.comparison.logits for row in self.rows))

    @property
    def same(self) -> int:
        """How many answers are the same."""
        return sum(row.palitune == row.big_vision for row in self.rows)

    @property
    def agrees(self) -> bool:
        """Whether tokens and logits are within the tolerance, and all answers are the same."""
        return self.image_tokens.agrees and self.logits.agrees and self.same == len(self.rows)

    def as_json(self) -> dict[str, object]:
        """What `palitune verify --json` prints."""
        content: dict[str, object] = {
            "checkpoint": self.checkpoint,
            "agrees": self.agrees,
            "tolerance": TOLERANCE,
        }
        for name, found in (("image_tokens", self.image_tokens), ("logits", self.logits)):
            content[name] = {"largest_difference": found.largest, "largest_magnitude": found.magnitude}
        content["answers"] = [
            {"image": row.image, "palitune": row.palitune, "big_vision": row.big_vision} for row in self.rows
        ]
        return content

    def lines(self) -> list[str]:
        """The same as a table."""
        lines = ["                largest difference  of at most  relative"]
        for name, found in (("image tokens", self.image_tokens), ("logits", self.logits)):
            relative = found.largest / max(found.magnitude, 1e-30)
            lines.append(f"{name:14}  {found.largest:18.3g}  {found.magnitude:10.4g}  {relative:8.1g}")
        lines.append(f"answers         {self.same} of {len(self.rows)} the same")
        for name, _, ours, theirs in self.rows:
            lines.append(f"  {name}\t{ours!r}\t{theirs!r}" + ("" if ours == theirs else "\tdiffer"))
        if self.agrees:
            lines.append(f"verdict: palitune's model is big_vision's (within {TOLERANCE:g} of the largest magnitude)")
        return lines


def verify(settings: ModelSettings, images: Sequence[str], prompt: str | None = None, *, quiet: bool) -> Verification:
    """Compares both implementations on the same images; without any, on four drawn advertisements.

    Args:
      prompt: the question that both are asked; None is the model's own.

    Raises:
      ConfigurationError: big_vision is not installed, or knows no such model.
      MissingInputError: no such image.
    """
    source = workspace.checkpoint_to_read(settings.model)
    model = load(source, settings, quiet=quiet)
    if lora.adapted(model.checkpoint):
        hint = f"palitune merge -m {settings.model} -w whole makes one that it knows"
        raise ConfigurationError("big_vision knows no adapters", where=str(source), hint=hint)
    reference = Reference(model.sizes, workspace.cache() / "big_vision")
    question = Example.of("", manifest.prompt(source, PROMPT) if prompt is None else prompt, "yes")
    asked, suffix = model.template.prompt(question, "").tokens.tolist(), model.template.answer("yes")
    names, pixels = _pixels(images, model.sizes.image_encoder.image_size)
    # Every parameter as float32, which both then compute in.
    params = {path: np.asarray(model.checkpoint[path]).astype(np.float32) for path in model.checkpoint}
    compare = Comparer(model.sizes, reference, model.template.end)
    rows = []
    silent = quiet or not sys.stderr.isatty()
    for name, image in zip(tqdm(names, "comparing", unit="images", disable=silent), pixels, strict=True):
        found = compare(params, image, asked, suffix)
        ours, theirs = (templates.written(model.template, tokens.tolist()) for tokens in (found.ours, found.theirs))
        rows.append(Row(name, found, ours, theirs))
    return Verification(str(settings.model), rows)


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
