"""A model and where its images come from, opened as settings say."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax

from palitune import parallel, workspace
from palitune.checkpoint import manifest
from palitune.config.model import ALL_FRAMES, ImageSettings, ModelSettings
from palitune.data.images import decoder
from palitune.data.images.decoder import Decoding
from palitune.data.images.loader import LIMIT, ImageLoader
from palitune.data.images.of_examples import NoImages
from palitune.infer.features import Features
from palitune.infer.features import key as features_key
from palitune.infer.loading import IMAGE_ENCODER, Model, load

ImagesOfModel = ImageLoader | Features | NoImages


class Opened(NamedTuple):
    """A model ready to run, with the source of its images."""

    model: Model
    images: ImagesOfModel

    def params(self) -> Mapping[str, jax.Array]:
        """The parameters on the device, flat; without the image encoder's where image features are used."""
        needs_encoder = isinstance(self.images, ImageLoader)
        return self.model.params(lambda path: needs_encoder or not path.startswith(IMAGE_ENCODER))


def open_model(
    path: Path, model: ModelSettings, images: ImageSettings, *, quiet: bool = False, limit: int = LIMIT
) -> Opened:
    """Opens the checkpoint at `path`. Raises as `infer.loading.load`.

    Args:
      limit: bytes of pixels that are kept in memory.
    """
    opened = load(path, model, quiet=quiet)
    return Opened(opened, image_source(opened, images, features=model.features, quiet=quiet, limit=limit))


def decoding(source: Path, images: ImageSettings) -> Decoding:
    """How image files are read: with this frame of animated ones, or else the one the checkpoint was made with."""
    usual = manifest.frames(source, decoder.DEFAULT.frames)
    chosen = usual if images.frames in (None, ALL_FRAMES) else images.frames
    return Decoding(chosen, images.max_pixels or decoder.DEFAULT.max_pixels)


def image_source(
    model: Model, images: ImageSettings, *, features: bool = True, quiet: bool = False, limit: int = LIMIT
) -> ImagesOfModel:
    """Where the model's images come from: image features, from `cache/features/` if they are there, or pixels.

    Args:
      features: use image features; without them every image is decoded and goes through the image encoder.
      limit: bytes of pixels that are kept in memory.
    """
    encoder, how = model.sizes.img, decoding(model.path, images)
    if encoder is None:
        return NoImages(model.sizes.llm.width)
    if not features:
        return ImageLoader(encoder.image_size, limit, how)
    digests = model.checkpoint.digests(lambda path: path.startswith(IMAGE_ENCODER))
    folder = workspace.cache() / "features" / features_key(encoder, digests, model.dtype)
    # Each of several processes computes what its own disk lacks, so none waits for another's devices.
    model = model._replace(placement=parallel.of_process(model.placement))
    return Features(encoder, folder, model.image_encoder, model.dtype, quiet, how, model.placement)
