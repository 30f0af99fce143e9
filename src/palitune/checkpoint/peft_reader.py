"""An adapter in PEFT's form as a checkpoint: our stacked adapters, put together when they are asked for.

What is stacked in one of our arrays may have other ranks and other scales in theirs, or no adapter in some layers. A
smaller rank is filled up with zeros; an adapter that is not there is zero; and where scales differ within a layer's
stack, all but the largest go into the second factor.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from palitune.checkpoint import peft_config, tensor_names
from palitune.checkpoint.peft_config import CONFIG, MERGE, PICKLE, WEIGHTS, PeftConfig
from palitune.checkpoint.peft_modules import ROOT, A, B, Module, modules
from palitune.checkpoint.store import Array, ArrayInfo, DType, Stored
from palitune.checkpoint.tensor_file import DTYPES, TensorFile, pickled
from palitune.errors import BadDataError, ConfigurationError, MissingInputError, listed
from palitune.models import lora, spec
from palitune.models.spec import ModelSpec

MOST_FILLED = 1 << 30  # values of the stacked arrays that are zero because others have a larger rank, or exist


class Pair(NamedTuple):
    """The adapter of a linear layer: two tensors, and what their product is multiplied by.

    Attributes:
      name: what both tensors' names begin with.
    """

    name: str
    module: Module
    rank: int
    scale: float


class PeftAdapter(Stored):
    """Read-only adapters by our paths, made of the tensors of an adapter in PEFT's form.

    Attributes:
      config: its settings.

    Raises:
      MissingInputError: there is no such folder, or something of it is not there.
      BadDataError: a file is damaged, or it is not an adapter of this model.
      ConfigurationError: it has settings or tensors that are not computed here.
    """

    def __init__(self, path: Path, model: ModelSpec) -> None:
        """Args:
        path: the folder, or the safetensors file in it.
        model: that it is for.
        """
        self.path, self.spec = path, None
        folder = path if path.is_dir() else path.parent
        self._folder = folder
        self.config = peft_config.read(folder / CONFIG)
        if (folder / PICKLE).is_file() and not (folder / WEIGHTS).is_file():
            raise pickled(folder, PICKLE)
        if not (folder / WEIGHTS).is_file():
            raise MissingInputError(f"there is no {WEIGHTS}", where=str(folder), hint="Copy it beside its settings")
        self._file = TensorFile(folder / WEIGHTS)
        self._pairs: dict[str, list[Pair]] = {}
        for pair in _Contents(self._file, self.config, modules(model)).pairs():
            self._pairs.setdefault(pair.module.path, []).append(pair)
        weights = spec.expected(model)
        self._leaves: dict[str, ArrayInfo] = {}
        for weight in sorted(self._pairs):
            rank = max(pair.rank for pair in self._pairs[weight])
            for name, shape in lora.shapes(weight, tuple(weights[weight].shape), rank).items():
                self._leaves[name] = ArrayInfo(shape, self._dtype(weight, name))
        self._check_size()

    def __getitem__(self, path: str) -> Array:
        info = self._leaves[path]
        weight = lora.adapted([path])[0]
        pairs, scales = self._pairs[weight], self._scales(weight)
        if path.endswith(lora.ALPHA):
            made = np.array(self._alphas(weight, info.shape[0]), np.float32)
        else:
            made = np.zeros(info.shape, info.dtype)
            for pair in pairs:
                if path.endswith(lora.A):
                    pair.module.put_a(self._file.array(pair.name + A), made)
                else:
                    share = pair.scale / scales[pair.module.layer]
                    tensor = self._file.array(pair.name + B)
                    pair.module.put_b(tensor if share == 1 else tensor.astype(np.float32) * np.float32(share), made)
        made.flags.writeable = False
        return made

    @property
    def files(self) -> list[Path]:
        """The settings and the tensors."""
        return [self._folder / CONFIG, self._file.path]

    def leaves(self) -> Mapping[str, ArrayInfo]:
        """Shape and dtype of every array, of which nothing is read."""
        return self._leaves

    def fingerprints(self, silent: bool = True) -> dict[str, str]:
        """As `digests`: there are no checksums in the file."""
        return self.digests(lambda path: True)

    def digests(self, wanted: Callable[[str], bool]) -> dict[str, str]:
        """SHA-256 of the arrays' dtypes, shapes and contents."""
        found = {}
        for path in filter(wanted, self):
            info, array = self._leaves[path], self[path]
            digest = hashlib.sha256(f"{info.dtype} {list(info.shape)}\n".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
            found[path] = digest.hexdigest()
        return found

    def verify(self, silent: bool = True) -> None:
        """Nothing: a safetensors file has no checksum that its content could be held to."""

    def _scales(self, weight: str) -> dict[int, float]:
        """The largest scale in each layer that has an adapter of this weight."""
        found: dict[int, float] = {}
        for pair in self._pairs[weight]:
            found[pair.module.layer] = max(pair.scale, found.get(pair.module.layer, 0.0))
        return found

    def _alphas(self, weight: str, depth: int) -> list[float]:
        """Alphas that give each layer its scale, at the rank of the stacked array."""
        rank, scales = max(pair.rank for pair in self._pairs[weight]), self._scales(weight)
        return [scales[layer] * rank if layer in scales else self.config.alpha.usual for layer in range(depth)]

    def _dtype(self, weight: str, name: str) -> DType:
        if name.endswith(lora.ALPHA):
            return np.dtype(np.float32)
        pairs, scales = self._pairs[weight], self._scales(weight)
        if name.endswith(lora.B) and any(pair.scale != scales[pair.module.layer] for pair in pairs):
            return np.dtype(np.float32)
        end = A if name.endswith(lora.A) else B
        dtypes = {self._file.tensors[pair.name + end].dtype: pair.name + end for pair in pairs}
        if len(dtypes) > 1:
            (one, first), (other, second) = list(dtypes.items())[:2]
            what = f"{first} is {one} and {second} is {other}, and they make one parameter"
            raise BadDataError(what, where=str(self._file.path), hint="Take files of one dtype")
        return DTYPES[next(iter(dtypes))]

    def _check_size(self) -> None:
        """Raises ConfigurationError where stacking would take much more memory than the file."""
        there = sum(int(np.prod(info.shape, dtype=np.int64)) for info in self._file.tensors.values())
        if (filled := sum(leaf.size for leaf in self._leaves.values()) - there) > MOST_FILLED:
            what = f"its ranks are too different to be stacked: {filled:,} values would be zeros"
            raise ConfigurationError(what, where=str(self._file.path), hint=MERGE)


class _Contents:
    """The tensors of a file beside what the settings and the model say that there should be."""

    def __init__(self, file: TensorFile, config: PeftConfig, known: Mapping[str, Module]) -> None:
        self.file, self.config, self.known = file, config, known
        self.where = str(file.path)

    def pairs(self) -> list[Pair]:
        """All adapters, checked. Raises BadDataError and ConfigurationError, which name what is wrong."""
        named = self._named()
        problems: list[str] = []
        found = []
        for plain, name in named.items():
            module = self.known[plain]
            shapes = [self.file.tensors[name + end].shape if name + end in self.file.tensors else () for end in (A, B)]
            own = name.removeprefix(ROOT)
            rank = int(self.config.rank(own))
            expected = [(rank, module.inputs), (module.outputs, rank)]
            problems += [
                f"{name}{end} has shape {shape}, and by {CONFIG} and the base {right}"
                if shape
                else f"{name}{end} is missing"
                for end, shape, right in zip((A, B), shapes, expected, strict=True)
                if shape != right
            ]
            problems += [
                f"{name}{end} is {self.file.tensors[name + end].dtype}, and what can be read is {', '.join(DTYPES)}"
                for end, shape in zip((A, B), shapes, strict=True)
                if shape and self.file.tensors[name + end].dtype not in DTYPES
            ]
            found.append(Pair(name, module, rank, self.config.scale(own)))
        self._raise(problems or self._disagreements(named))
        return found

    def _named(self) -> dict[str, str]:
        """The linear layers that have an adapter, by their plain names."""
        found: dict[str, str] = {}
        others: dict[str, list[str]] = {}
        for tensor in self.file.tensors:
            name = tensor.removesuffix(A).removesuffix(B)
            plain = tensor_names.plain_name(name.removeprefix(ROOT))
            if not tensor.startswith(ROOT) or name == tensor or plain not in self.known:
                others.setdefault(_kind(tensor, plain), []).append(tensor)
            elif found.setdefault(plain, name) != name:
                what = f"{name} and {found[plain]} are the same layer, by the names of two versions"
                raise BadDataError(what, where=self.where)
        if others:
            what = "; ".join(f"{kind} ({listed(names)})" for kind, names in others.items())
            raise ConfigurationError(f"it has what cannot be read: {what}", where=self.where, hint=MERGE)
        if not found:
            raise BadDataError("it has no adapter", where=self.where)
        return found

    def _disagreements(self, named: Mapping[str, str]) -> list[str]:
        """Where the settings name other linear layers than there are adapters of."""
        first, plain = next((name, plain) for plain, name in named.items())
        prefix = first.removeprefix(ROOT).removesuffix(plain)
        problems = []
        for plain, module in self.known.items():
            name = named.get(plain, ROOT + prefix + plain)
            if (wanted := self.config.has(name.removeprefix(ROOT), module.layer)) is None:
                break
            if wanted and plain not in named:
                problems.append(f"{name} has no adapter, and by {CONFIG} it has one")
            if not wanted and plain in named:
                problems.append(f"{name} has an adapter, and by {CONFIG} it has none")
        return problems

    def _raise(self, problems: list[str]) -> None:
        if problems:
            what = f"it is not the adapter that {CONFIG} describes, for this base: {listed(problems, '; ')}"
            raise BadDataError(what, where=self.where)


def _kind(tensor: str, plain: str) -> str:
    """What a tensor is that is no adapter of a layer of the language model."""
    if ".lora_magnitude_vector" in tensor:
        return "magnitudes of DoRA"
    if plain.startswith((tensor_names.IMAGE_ENCODER, tensor_names.PROJECTOR)):
        return "adapters on the image encoder"
    if plain.startswith(("embed_tokens.", "lm_head.")):
        return "adapters on the embedding table or the output layer"
    if tensor.endswith((A, B)):
        return "adapters of what this model does not have"
    return "tensors that are of no adapter"
