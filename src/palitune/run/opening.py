"""A model and where its images come from, opened as settings say."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax

from palitune.config.model import ImageSettings, ModelSettings
from palitune.data.images.loader import ImageLoader
from palitune.infer.features import Features
from palitune.infer.loading import Model, image_source, load, shown_params


class Opened(NamedTuple):
    """A model ready to run, with the source of its images."""

    model: Model
    images: ImageLoader | Features

    def params(self) -> Mapping[str, jax.Array]:
        """The parameters on the device, without the image encoder's where image features are used."""
        return shown_params(self.model, self.images)


def open_model(path: Path, model: ModelSettings, images: ImageSettings, quiet: bool) -> Opened:
    """Opens the checkpoint at `path`. Raises as `infer.loading.load`."""
    opened = load(path, tokenizer=model.tokenizer, dtype=model.dtype, allocator=model.allocator, quiet=quiet)
    source = image_source(
        opened, features=model.features, frames=images.frames, max_pixels=images.max_pixels, quiet=quiet
    )
    return Opened(opened, source)
