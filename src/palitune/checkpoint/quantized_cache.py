"""Quantized parameters on disk, so that a model is quantized once: `cache/quantized/`.

There is one `.npz` for each parameter, with the arrays that stand in its place. Its name is a hash of the parameter's
content (SHA-256) and of how it is quantized, so that models which share a parameter share the file. The name is in the
file too; where it is another, or an array does not have its checksum, the arrays are made again.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from palitune.checkpoint import npz
from palitune.checkpoint.delta import Overlay
from palitune.checkpoint.store import Array, Stored
from palitune.config.quantization import Quantization
from palitune.console import note
from palitune.errors import BadDataError, MissingInputError, StorageError
from palitune.models import quantization

FORMAT = 2  # another one where the same parameter comes out otherwise
LONG = 1 << 28  # values from which on a progress bar is shown


def name_of(path: str, digest: str, how: Quantization) -> str:
    """The name of a parameter's file, by the SHA-256 of what is in it."""
    content = [FORMAT, path, digest, quantization.kind_of(how, path)]
    return f"{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]}.npz"


def is_quantized(path: str, checkpoint: Stored, how: Quantization) -> bool:
    """Whether a parameter is kept in fewer bits where nothing of the checkpoint is about to learn: what has is not."""
    own = isinstance(checkpoint, Overlay) and path in checkpoint.changed
    return quantization.covers(how, path) and not own


class QuantizedCache:
    """The arrays in place of some parameters of a checkpoint, each quantized when it is asked for, or read.

    A parameter is read in slices and quantized a few megabytes at a time: on the host there is never more of it than
    its quantized arrays.
    """

    def __init__(self, folder: Path, checkpoint: Stored, how: Quantization) -> None:
        self.folder, self.checkpoint, self.how = folder, checkpoint, how
        self.keeps = True  # whether what is made is written

    def paths(self) -> list[str]:
        """The parameters of the checkpoint that are quantized."""
        return [path for path in self.checkpoint if is_quantized(path, self.checkpoint, self.how)]

    def __call__(self, paths: Iterable[str], silent: bool = True) -> Iterator[tuple[str, dict[str, Array]]]:
        """Each parameter's path, and the arrays in its place by theirs.

        Args:
          silent: show no progress bar where a large model is quantized.

        Raises:
          BadDataError: a parameter is damaged, or has values that are not finite.
        """
        wanted = list(paths)
        digests = self.checkpoint.digests(set(wanted).__contains__)
        leaves = self.checkpoint.leaves()
        total = sum(leaves[path].size for path in wanted)
        silent = silent or total < LONG
        text = f"reading {self.how.name}, made once"
        with tqdm(desc=text, total=total, unit_scale=True, leave=False, disable=silent) as bar:
            for path in wanted:
                yield path, self._arrays(path, digests[path])
                bar.update(leaves[path].size)

    def _arrays(self, path: str, digest: str) -> dict[str, Array]:
        file = self.folder / name_of(path, digest, self.how)
        if (found := self._read(file, path)) is not None:
            return found
        try:
            made: dict[str, Array] = dict(quantization.quantize(self.how, path, self.checkpoint.sliced(path)))
        except ValueError as error:
            raise BadDataError(
                f"parameter {path} cannot be quantized: {error}", where=str(self.checkpoint.path)
            ) from None
        if self.keeps:
            try:
                npz.save(file, made, comment=file.name.encode())
            except StorageError as error:
                self.keeps = False
                note(f"note: quantized weights are not kept, and made again by the next command: {error.what}")
        return made

    def _read(self, file: Path, path: str) -> dict[str, Array] | None:
        """What is kept; None where nothing is, or something else."""
        expected = quantization.described(self.how, path, self.checkpoint.leaves()[path].shape)
        try:
            kept = npz.Checkpoint(file)
            leaves, own = kept.leaves(), kept.archive.comment == file.name.encode()
            if own and {name: (leaf.shape, leaf.dtype) for name, leaf in leaves.items()} == expected:
                return {name: kept[name] for name in expected}
        except MissingInputError:
            return None
        except BadDataError:
            pass
        if self.keeps:
            note(f"note: {file.name} in {self.folder} is damaged, and made again")
        return None
