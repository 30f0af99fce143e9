"""A model of Hugging Face as a checkpoint: `config.json`, and safetensors under the names of `transformers`.

Parameters that are stacked are put together when they are asked for, tensor by tensor out of the mapped files, in the
dtype of the file.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from palitune.checkpoint import json_files, tensor_names, transformers_config
from palitune.checkpoint.store import Array, ArrayInfo, DType, Storable, Stored
from palitune.checkpoint.tensor_file import DTYPES
from palitune.checkpoint.tensor_files import INDEX, INDEX_SUFFIX, SUFFIX, WHOLE, TensorFiles
from palitune.checkpoint.tensor_names import EMBEDDING, OUTPUT, Tensor
from palitune.errors import BadDataError, ConfigurationError, listed
from palitune.models import spec
from palitune.models.spec import ModelSpec

CONFIG = "config.json"
# What the names of quantised weights end in, and what has made them.
QUANTISED = {
    ".absmax": "bitsandbytes",
    ".SCB": "bitsandbytes",
    ".qweight": "GPTQ or AWQ",
    ".g_idx": "GPTQ",
    ".weight_packed": "compressed-tensors",
    ".weight_scale": "FP8",
    ".weight_scale_inv": "FP8",
    ".scales": "MLX",
}
UNQUANTISED = "Take the unquantised files of the model, which its model card names"


def is_model(path: Path) -> bool:
    """Whether a path is a folder with such a model, or its safetensors file; it may be damaged still."""
    try:
        if path.is_dir():
            return any((path / name).is_file() for name in (CONFIG, WHOLE, INDEX))
        return path.name.endswith((SUFFIX, INDEX_SUFFIX)) and path.is_file()
    except (OSError, ValueError):  # no name that a file could have
        return False


class StackedTensors:
    """A parameter, [L, ...], whose layers are read from their tensors when a slice of them is asked for."""

    def __init__(self, info: ArrayInfo, tensors: list[tuple[Tensor, str]], read: Callable[[str], Array]) -> None:
        self.shape, self.dtype, self.ndim, self.size = info.shape, info.dtype, info.ndim, info.size
        self._tensors, self._read = tensors, read

    def __getitem__(self, rows: slice) -> Array:
        """Some layers, put together."""
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError("layers are read in order")
        made = np.empty((max(0, stop - start), *self.shape[1:]), self.dtype)
        for tensor, name in self._tensors:
            layer, *more = tensor.place
            if start <= layer < stop:
                tensor.copy(self._read(name), made[(layer - start, *more)])
        made.flags.writeable = False  # as what is mapped
        return made


class TransformersCheckpoint(Stored):
    """Read-only arrays by parameter path, made of a model's tensors.

    Attributes:
      config: the whole `config.json`.

    Raises:
      MissingInputError: there is no such folder or file, or something of it is not there.
      BadDataError: a file is damaged, or tensors are missing, superfluous or of other shapes than `config.json` says.
      ConfigurationError: the model is of an architecture, or has a setting, that is not computed; or it is quantised.
    """

    spec: ModelSpec

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = TensorFiles(path)
        place = (path if path.is_dir() else path.parent) / CONFIG
        hint = f"Put the model's {CONFIG} beside its weights: it says what the tensors are"
        self.config = json_files.read_object(place, f"a {CONFIG} of a model", hint)
        self.spec = transformers_config.read(self.config, str(place))
        self._config_file = place
        names = self._plain_names()
        tensors = tensor_names.tensors(self.spec)
        self._check(tensors, names)
        self._tensors: dict[str, list[tuple[Tensor, str]]] = {}
        for plain, tensor in tensors.items():
            self._tensors.setdefault(tensor.path, []).append((tensor, names[plain]))
        shapes = spec.expected(self.spec)
        self._leaves = {path: ArrayInfo(shapes[path].shape, self._dtype(path)) for path in sorted(self._tensors)}

    def __getitem__(self, path: str) -> Array:
        tensors = self._tensors[path]
        if not tensors[0][0].place:  # one tensor is all of it, and stays mapped
            return tensors[0][0].read(self._files[tensors[0][1]])
        return StackedTensors(self._leaves[path], tensors, self._files.__getitem__)[:]

    @property
    def image_token(self) -> int | None:
        """The id of the token that stands for an image in other people's programs, which is not read as text."""
        found = self.config.get("image_token_index", self.config.get("image_token_id"))
        return found if type(found) is int else None

    @property
    def files(self) -> list[Path]:
        """The files that it is read from: `config.json`, the index and the tensors'."""
        return [self._config_file, *self._files.files]

    def leaves(self) -> Mapping[str, ArrayInfo]:
        """Shape and dtype of every parameter, of which nothing is read."""
        return self._leaves

    def sliced(self, path: str) -> Storable:
        """A parameter whose layers are read when a slice of them is asked for."""
        tensors = self._tensors[path]
        if not tensors[0][0].place:
            return self[path]
        return StackedTensors(self._leaves[path], tensors, self._files.__getitem__)

    def fingerprints(self, silent: bool = True) -> dict[str, str]:
        """SHA-256 of every parameter: the same whatever its tensors' names are, and in how many files they are."""
        return self._digests(list(self), silent)

    def digests(self, wanted: Callable[[str], bool]) -> dict[str, str]:
        """SHA-256 of parameters, over those of their tensors."""
        return self._digests(list(filter(wanted, self)), True)

    def _digests(self, paths: list[str], silent: bool) -> dict[str, str]:
        names = {name for path in paths for _, name in self._tensors[path]}
        known = self._files.digests(names.__contains__, silent)

        def digest(path: str) -> str:
            parts = [(tensor.place, known[name]) for tensor, name in self._tensors[path]]
            return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

        return {path: digest(path) for path in paths}

    def verify(self, silent: bool = True) -> None:
        """Reads all tensors through, once, so that what they are recognised by is known."""
        self._files.verify(silent)

    def _plain_names(self) -> dict[str, str]:
        """The tensors' own names by their plain ones, without those that no model needs."""
        found: dict[str, str] = {}
        for name in self._files:
            plain = tensor_names.plain_name(name)
            if plain in found:
                what = f"{name} and {found[plain]} are the same parameter, by the names of two versions"
                raise BadDataError(what, where=str(self.path))
            if not tensor_names.is_superfluous(plain):
                found[plain] = name
        return found

    def _check(self, tensors: Mapping[str, Tensor], names: dict[str, str]) -> None:
        """Raises unless the tensors are those of the model that `config.json` describes."""
        for name in names.values():
            made_by = next((method for end, method in QUANTISED.items() if name.endswith(end)), None)
            if made_by or self._files.dtype(name) not in DTYPES:
                what = f"its weights are quantised ({made_by or self._files.dtype(name)}: {name}), and cannot be read"
                raise ConfigurationError(what, where=str(self.path), hint=UNQUANTISED)
        if self.spec.llm.tied and OUTPUT in names:
            self._check_tied(names.pop(OUTPUT), names.get(EMBEDDING))
        published = (tensor_names.published_name(plain, self.spec) for plain in tensors if plain not in names)
        problems = [f"{name} is missing" for name in published]
        problems += [f"{name} is of no model of this kind" for plain, name in names.items() if plain not in tensors]
        for plain, name in names.items():
            if plain in tensors and self._files.shape(name) != tensors[plain].theirs:
                shapes = f"{self._files.shape(name)}, and by {CONFIG} {tensors[plain].theirs}"
                problems.append(f"{name} has shape {shapes}")
        if problems:
            what = f"the tensors are not those of the model in {CONFIG}: {listed(problems, '; ')}"
            raise BadDataError(what, where=str(self.path))

    def _check_tied(self, output: str, embedding: str | None) -> None:
        """Raises BadDataError unless the output layer is what the embedding table is, bit for bit."""
        digests = self._files.digests(lambda name: name in (output, embedding))
        if embedding is not None and digests[output] != digests[embedding]:
            what = f"{output} differs from {embedding}, and by {CONFIG} they are one (tie_word_embeddings)"
            raise BadDataError(what, where=str(self.path))

    def _dtype(self, path: str) -> DType:
        dtypes = {self._files.dtype(name): name for _, name in self._tensors[path]}
        if len(dtypes) > 1:
            (one, first), (other, second) = list(dtypes.items())[:2]
            what = f"{first} is {one} and {second} is {other}, and they make one parameter"
            raise BadDataError(what, where=str(self.path), hint="Take files of one dtype")
        return DTYPES[next(iter(dtypes))]
