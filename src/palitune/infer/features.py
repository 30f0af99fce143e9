"""Image tokens computed once and kept on disk, for as long as the image tower stays as it is.

One file a picture, `cache/features/<key>/<sha256 of the picture's file>.f16`: float16[N, D] followed by the CRC-32 of
these bytes. The key stands for everything else that the tokens depend on: the tower's parameters, the preprocessing and
the dtype of the computation. Files are read by mapping them, so learning and judging share the system's page cache.

Axes: N image tokens, D width of the language model.
"""

import functools
import hashlib
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from palitune import files, trees
from palitune.data import images, pictures
from palitune.errors import MissingInputError, PalituneError, StorageError
from palitune.models import siglip
from palitune.models.variants import SiglipConfig

BATCH_SIZE = 8
CRC_BYTES = 4
Array = np.ndarray[Any, Any]


def key(config: SiglipConfig, fingerprints: Mapping[str, str], dtype: Any) -> str:
    """What image tokens depend on beside the picture: `fingerprints` tells each of the tower's parameters apart."""
    content = [images.PREPROCESSING, config.image_size, str(np.dtype(dtype)), sorted(fingerprints.items())]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


class Features:
    """Image tokens float16[N, D] by picture; stands where `pictures.Pictures` stands for pixels.

    Args:
      folder: of this key's files.
      tower: gives the flat `img/` parameters; called when something has to be computed, and let go of afterwards.
    """

    def __init__(
        self, config: SiglipConfig, folder: Path, tower: Callable[[], Mapping[str, Any]], dtype: Any, quiet: bool
    ) -> None:
        self.config, self.folder, self.tower, self.dtype, self.quiet = config, folder, tower, dtype, quiet
        self.shape = (config.num_patches, config.num_classes)
        self.digests: dict[Path, str] = {}
        self.whole: set[str] = set()
        self.computed = 0

    def __call__(self, path: Path, where: str | None = None) -> Array:
        """The tokens of a picture, computed now if they are not there. Raises what `check` raises."""
        found = self._read(path, where)
        if found is None:
            self.check([(path, where or str(path))])
            found = self._read(path, where)
        if found is None:
            raise MissingInputError("its image tokens went missing as they were written", where=str(path))
        return found

    def check(self, pictures_with_lines: Iterable[tuple[Path, str]]) -> None:
        """Computes what is missing or damaged; raises one error that names every picture that cannot be used.

        Raises:
          MissingInputError, BadDataError: as `images.decode`.
          StorageError: the folder cannot be written.
        """
        problems: list[PalituneError] = []
        missing: dict[str, tuple[Path, str]] = {}
        for path, where in dict(pictures_with_lines).items():
            try:
                if self._read(path, where) is None:
                    missing[self._digest(path, where)] = (path, where)
            except PalituneError as error:
                problems.append(error)
        if missing:
            problems += self._compute(missing)
        pictures.raise_all(problems)

    def _compute(self, missing: Mapping[str, tuple[Path, str]]) -> list[PalituneError]:
        tower = trees.unflatten(self.tower())["img"]
        encode = jax.jit(functools.partial(siglip.image_tokens, self.config, dtype=self.dtype))
        problems: list[PalituneError] = []
        waiting: list[tuple[str, Array]] = []

        def flush() -> None:
            # A short last batch is filled up, so that one program serves all.
            pixels = [picture for _, picture in waiting] + [waiting[-1][1]] * (BATCH_SIZE - len(waiting))
            tokens = np.asarray(encode(tower, np.stack(pixels)).astype(np.float16))
            for (digest, _), row in zip(waiting, tokens, strict=False):
                content = row.tobytes()
                try:
                    files.write(self._path(digest), content + zlib.crc32(content).to_bytes(CRC_BYTES, "little"))
                except StorageError as error:
                    raise StorageError(error.what, where=error.where, hint="--no-features does without") from None
                self.computed += 1
            waiting.clear()

        silent = self.quiet or not sys.stderr.isatty()
        for digest, (path, where) in tqdm(missing.items(), "looking", unit="pictures", leave=False, disable=silent):
            try:
                waiting.append((digest, images.load(path, self.config.image_size, where)))
            except PalituneError as error:
                problems.append(error)
            if len(waiting) == BATCH_SIZE:
                flush()
        if waiting:
            flush()
        return problems

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.f16"

    def _digest(self, path: Path, where: str | None) -> str:
        if path not in self.digests:
            try:
                if not path.is_file():
                    raise FileNotFoundError
                with path.open("rb") as file:
                    self.digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError:
                images.decode(path, where)  # which tells what is wrong with it
                raise MissingInputError(f"image cannot be read: {path}", where=where) from None
        return self.digests[path]

    def _read(self, path: Path, where: str | None) -> Array | None:
        """The tokens if they are there and whole."""
        digest = self._digest(path, where)
        file = self._path(digest)
        size = 2 * self.shape[0] * self.shape[1]
        try:
            if file.stat().st_size != size + CRC_BYTES:
                return None
            content = np.memmap(file, np.uint8, "r")
        except (OSError, ValueError):
            return None
        # Once a process: what was whole when it was read stays so in the page cache.
        if digest not in self.whole:
            if zlib.crc32(content[:size].data) != int.from_bytes(content[size:].tobytes(), "little"):
                return None
            self.whole.add(digest)
        return content[:size].view(np.float16).reshape(self.shape)
