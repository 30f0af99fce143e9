"""Image features: what the image encoder makes of an image, computed once and kept on disk.

There is one file for each image, `cache/features/<key>/<sha256 of the image's file>.f16`, with `-<frame>` in its name
for an animated one: float16[N, D] followed by the CRC-32 of these bytes. The key stands for everything else that the
features depend on: the image encoder's parameters, the preprocessing and the dtype of the computation. Files are read
by mapping them, so training and evaluation share the system's page cache.

Axes: N image tokens, D width of the language model.
"""

import functools
import hashlib
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from jax.typing import DTypeLike
from tqdm import tqdm

from palitune import trees
from palitune.checkpoint import trained_images
from palitune.data.images import decoder, loader
from palitune.data.images.decoder import Decoding
from palitune.data.images.loader import ImageArray, ImageRequest
from palitune.errors import BadDataError, MissingInputError, PalituneError, StorageError
from palitune.models import siglip
from palitune.models.arrays import Flat
from palitune.models.parameter_shapes import SiglipSizes
from palitune.parallel import Placement, program
from palitune.storage import atomic_files, files

BATCH_SIZE = 8
CRC_BYTES = 4
LONGEST_WAIT = 64  # images that wait for one whose features are missing, before an incomplete batch is computed
REMEMBERED = 100_000  # names of files


def key(config: SiglipSizes, digests: Mapping[str, str], dtype: DTypeLike) -> str:
    """A key of what image features depend on, except the image: `digests` are those of the encoder's parameters.

    Nobody can make another image encoder with the same key, whose features would then be taken for this one's.
    """
    content: list[object] = [decoder.PREPROCESSING, config.image_size, str(np.dtype(dtype)), sorted(digests.items())]
    if config.pool > 1:
        content.append(config.pool)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


class Features:
    """Image features float16[N, D] by image; stands where `images.ImageLoader` stands for pixels.

    Args:
      folder: of this key's files.
      encoder: gives the flat `img/` parameters; called when something has to be computed, and let go of afterwards.
    """

    def __init__(
        self,
        config: SiglipSizes,
        folder: Path,
        encoder: Callable[[], Flat],
        dtype: DTypeLike,
        quiet: bool,
        how: Decoding = decoder.DEFAULT,
        placement: Placement | None = None,
    ) -> None:
        self.config, self.folder, self.encoder, self.dtype, self.quiet = config, folder, encoder, dtype, quiet
        self.how, self.placement = how, placement
        self.shape = (config.num_tokens, config.num_classes)
        together = config.together(BATCH_SIZE)
        self.batch_size = together if placement is None else placement.rounded(together)
        self.absent: ImageArray = np.zeros(self.shape, np.float16)
        self.names: dict[tuple[Path, int | None], str] = {}
        self.whole: set[str] = set()
        self.held: dict[str, ImageArray] = {}  # what cannot be written
        self.noted = False
        self.computed = 0

    def __call__(self, path: Path, where: str | None = None, frame: int | None = None) -> ImageArray:
        """The features of an image, computed now if they are not there. Raises what `check` raises."""
        found = next(self.prefetch([ImageRequest(path, where or str(path), frame)]))
        if isinstance(found, PalituneError):
            raise found
        return found

    def prefetch(self, wanted: Iterable[ImageRequest]) -> Iterator[ImageArray | PalituneError]:
        """Every image's features in order, computed where they are missing or damaged; or what is wrong with it.

        Raises:
          StorageError: the folder cannot be written.
        """

        def known_or_pixels(one: ImageRequest) -> tuple[str, ImageArray, bool]:
            name = self._name(one)
            found = self._read(name)
            if found is not None:
                return name, found, True
            return name, decoder.load(one.path, self.config.image_size, one.where, self.how, one.frame), False

        encode: Callable[[list[ImageArray]], ImageArray] | None = None
        waiting: list[tuple[str, ImageArray, bool] | PalituneError] = []
        for found in loader.prefetch(known_or_pixels, wanted):
            waiting.append(found)
            missing = sum(not isinstance(one, PalituneError) and not one[2] for one in waiting)
            if missing == 0:
                yield found if isinstance(found, PalituneError) else found[1]
                waiting.clear()
            elif missing == self.batch_size or len(waiting) == LONGEST_WAIT:
                encode = encode or self._encoder()
                yield from self._computed(waiting, encode)
                waiting.clear()
        if waiting:
            yield from self._computed(waiting, encode or self._encoder())

    def check(self, wanted: Iterable[ImageRequest]) -> None:
        """Computes what is missing or damaged; raises one error that names every image that cannot be used.

        Raises:
          MissingInputError, BadDataError: as `images.decode`.
          StorageError: the folder cannot be written.
        """
        # By file, of which several records may show the same.
        different = list({(one.path, one.frame): one for one in wanted}.values())
        # Each of several processes begins elsewhere, so that on a disk they share it comes to what others have done.
        first = len(different) * jax.process_index() // jax.process_count()
        different = different[first:] + different[:first]
        silent = self.quiet or not sys.stderr.isatty()
        found = tqdm(self.prefetch(different), "encoding", len(different), unit="images", leave=False, disable=silent)
        loader.raise_all([one for one in found if isinstance(one, PalituneError)])

    def problems(self, wanted: Iterable[ImageRequest]) -> Iterator[PalituneError]:
        """What is wrong with images, without computing anything: what is known is right, the rest is decoded."""

        def examine(one: ImageRequest) -> None:
            if self._read(self._name(one)) is None:
                decoder.decode(one.path, one.where, self.how, one.frame)

        return (found for found in loader.prefetch(examine, wanted) if isinstance(found, PalituneError))

    def _encoder(self) -> Callable[[list[ImageArray]], ImageArray]:
        params = trees.unflatten(self.encoder())["img"]
        encode = program(functools.partial(siglip.image_tokens, self.config, dtype=self.dtype), self.placement)

        def encoded(pixels: list[ImageArray]) -> ImageArray:
            # A short last batch is filled up, so that one program serves all.
            filled = pixels + pixels[-1:] * (self.batch_size - len(pixels))
            return np.asarray(encode(params, np.stack(filled)).astype(np.float16))

        return encoded

    def _computed(
        self,
        waiting: list[tuple[str, ImageArray, bool] | PalituneError],
        encode: Callable[[list[ImageArray]], ImageArray],
    ) -> Iterator[ImageArray | PalituneError]:
        pixels = {one[0]: one[1] for one in waiting if not isinstance(one, PalituneError) and not one[2]}
        tokens = dict(zip(pixels, encode(list(pixels.values())), strict=False))
        for name, row in tokens.items():
            if not np.isfinite(row).all():
                shown = next((str(path) for (path, _), known in self.names.items() if known == name), name)
                hint = "Its image encoder is damaged, or too large for float16: --no-features does without"
                raise BadDataError(
                    "the image features that the model makes of it are not finite", where=shown, hint=hint
                )
            content = row.tobytes()
            checked = content + zlib.crc32(content).to_bytes(CRC_BYTES, "little")
            try:
                atomic_files.write(self._path(name), checked, shared=True)
            except StorageError as error:
                self._hold(name, row, error)
            self.computed += 1
        for one in waiting:
            yield one if isinstance(one, PalituneError) else tokens.get(one[0], one[1])

    def _hold(self, name: str, row: ImageArray, error: StorageError) -> None:
        """Keeps tokens in memory, as far as there is room, where the folder is only to be read. Raises other errors."""
        if not (isinstance(error.__cause__, OSError) and error.__cause__.errno in files.READ_ONLY):
            raise StorageError(error.what, where=error.where, hint="--no-features does without") from None
        if not self.noted:
            print(f"note: image tokens are not kept: {self.folder} can only be read", file=sys.stderr)
        self.noted = True
        if (len(self.held) + 1) * row.nbytes <= loader.LIMIT:
            self.held[name] = row

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.f16"

    def _name(self, wanted: ImageRequest) -> str:
        """The name of an image's features: its file's SHA-256, and the frame where there are several."""
        path, where, frame = wanted
        digest = self.names.get((path, frame))
        if digest is None:
            try:
                if not path.is_file():
                    raise FileNotFoundError
                digest = trained_images.digest(path)
            except OSError:
                decoder.decode(path, where, self.how)  # which tells what is wrong with it
                raise MissingInputError(f"image cannot be read: {path}", where=where) from None
            count = decoder.count_frames(path, where, self.how)
            if count > 1:
                shown = decoder.frame_index(count, self.how.frames) if frame is None else min(frame, count - 1)
                digest = f"{digest}-{shown}"
            if len(self.names) >= REMEMBERED:  # a million images must not fill the memory
                self.names.clear()
                self.whole.clear()
            self.names[path, frame] = digest
        return digest

    def _read(self, name: str) -> ImageArray | None:
        """The tokens if they are there and whole."""
        if name in self.held:
            return self.held[name]
        file = self._path(name)
        size = 2 * self.shape[0] * self.shape[1]
        try:
            if file.stat().st_size != size + CRC_BYTES:
                return None
            content = np.memmap(file, np.uint8, "r")
        except (OSError, ValueError):
            return None
        # Once a process: what was whole when it was read stays so in the page cache.
        if name not in self.whole:
            if zlib.crc32(content[:size].data) != int.from_bytes(content[size:].tobytes(), "little"):
                return None
            if not np.isfinite(content[:size].view(np.float16)).all():
                return None  # whoever wrote it: no answer comes of no number
            self.whole.add(name)
        return content[:size].view(np.float16).reshape(self.shape)
