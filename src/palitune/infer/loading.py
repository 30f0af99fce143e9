"""A checkpoint made ready to run: sizes read off it, parameters checked, its tokenizer found."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from palitune import host_memory, jax_environment, parallel, trees, workspace
from palitune.checkpoint import manifest, opening, operating_point
from palitune.checkpoint.delta import Overlay
from palitune.checkpoint.parameter_dtypes import ON_HOST, is_finite, resident_dtype
from palitune.checkpoint.quantized_cache import QuantizedCache, is_quantized
from palitune.checkpoint.store import Stored
from palitune.config.model import ModelSettings
from palitune.config.quantization import EXACT, Quantization
from palitune.config.run_config import TrainingConfig
from palitune.console import is_watched, note, status
from palitune.data import model_vocabulary, templates
from palitune.data.templates import Template
from palitune.errors import BadDataError, ConfigurationError, UsageError
from palitune.hub import checksum
from palitune.method import METHODS
from palitune.models import ensemble, families, lora, quantization, spec
from palitune.models.arrays import AnyArray, DType
from palitune.models.spec import ModelSpec
from palitune.parallel import Placement

WEIGHT_DTYPES = ("float16", "bfloat16", "float32", "float64")
IMAGE_ENCODER = "img/"


def _nothing(path: str) -> bool:
    return False


class Model(NamedTuple):
    """A checkpoint on disk and what it takes to run it; nothing of it is on the device yet.

    Attributes:
      dtype: of the computation.
      quantization: how frozen parameters are kept on the device.
      trainable: whether a parameter is about to learn, by its path.
    """

    path: Path
    sizes: ModelSpec
    checkpoint: Stored
    template: Template
    dtype: DType
    quantization: Quantization = EXACT
    trainable: Callable[[str], bool] = _nothing
    placement: Placement | None = None  # of several devices

    @property
    def members(self) -> int:
        """How many models it is: 1, or those of an ensemble."""
        return ensemble.size(self.checkpoint.leaves())

    @property
    def mark(self) -> str:
        """What tells its parameters, as they are computed with, from all others."""
        return operating_point.mark(self.checkpoint, self.quantization)

    def is_quantized(self, path: str) -> bool:
        """Whether a parameter is kept in fewer bits: what has learned, or is about to, is not."""
        return is_quantized(path, self.checkpoint, self.quantization) and not self.trainable(path)

    def names(self, path: str) -> tuple[str, ...]:
        """The paths on the device of a parameter: its own, or of what stands in its place."""
        return quantization.names(self.quantization, path) if self.is_quantized(path) else (path,)

    def put(self, path: str, array: AnyArray) -> jax.Array:
        """An array on the device, or on several as the parameter at a path is."""
        return jax.device_put(array) if self.placement is None else self.placement.place(path, array)

    def place(self, path: str) -> jax.Array:
        """One parameter on the device. What is computed with in bfloat16 is also kept in it."""
        array = self.checkpoint[path]
        # Converted here, array by array: on the device the largest alone would take the memory of half a model.
        converted = array.astype(resident_dtype(array.dtype, self.dtype), copy=False)
        placed = self.put(path, converted)  # `jnp.asarray` would compile a program for every shape
        if not is_finite(converted if converted.size <= ON_HOST else placed):
            raise BadDataError(f"parameter {path} has values that are not finite", where=str(self.path))
        return placed

    def params(self, wanted: Callable[[str], bool] = lambda path: True) -> dict[str, jax.Array]:
        """Flat parameters on the device, array by array."""
        # What every member of an ensemble has of its own stands in place of the base's.
        there = (path for path in self.checkpoint if ensemble.own_of(path) not in self.checkpoint)
        chosen = [path for path in there if wanted(path.removeprefix(ensemble.MEMBERS))]
        made = {path: self.place(path) for path in chosen if not self.is_quantized(path)}
        if quantized := [path for path in chosen if self.is_quantized(path)]:
            cache = QuantizedCache(workspace.cache() / "quantized", self.checkpoint, self.quantization)
            for _, arrays in cache(quantized, silent=not is_watched()):
                made |= {name: self.put(name, array) for name, array in arrays.items()}
        return made

    def image_encoder(self) -> dict[str, jax.Array]:
        """Flat parameters of the image encoder."""
        return self.params(lambda path: path.startswith(IMAGE_ENCODER))


def set_up_jax() -> None:
    """Compiled programs are kept under `cache/`, so that the next start is quicker, or where nobody else can write.

    What the user has exported counts more.

    Raises:
      ConfigurationError: there is no device of the kind that was asked for.
    """
    jax_environment.check()
    try:
        jax.devices()
    except (RuntimeError, AssertionError, ValueError) as error:
        asked = os.environ.get("JAX_PLATFORMS")
        what = f"JAX has no {asked} here" if asked else f"JAX finds no device ({' '.join(str(error).split())[:300]})"
        where = f"JAX_PLATFORMS={asked}" if asked else None
        raise ConfigurationError(what, where=where, hint="palitune doctor tells what there is") from None
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and (folder := workspace.compiled()):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def set_allocator(choice: str) -> None:
    """How JAX takes a GPU's memory (docs/memory.md). Before JAX starts, and never over what the user has exported."""
    settings = {
        "default": {},
        "grow": {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_CLIENT_MEM_FRACTION": "0.95"},
        "platform": {"XLA_PYTHON_CLIENT_ALLOCATOR": "platform"},
        "async": {"XLA_PYTHON_CLIENT_ALLOCATOR": "cuda_async"},
    }[choice]
    for name, value in settings.items():
        # JAX refuses the fraction under its new and its old name at once.
        if name == "XLA_CLIENT_MEM_FRACTION" and "XLA_PYTHON_CLIENT_MEM_FRACTION" in os.environ:
            continue
        os.environ.setdefault(name, value)
    host_memory.raise_limit()


def load(path: Path, settings: ModelSettings | None = None, *, quiet: bool = False) -> Model:
    """Opens the checkpoint at `path` and checks its parameters; none of them is put on the device yet.

    Args:
      settings: the tokenizer, the dtype of the computation and the allocator; `model` has no effect here.
      quiet: write nothing to stderr.

    Raises:
      MissingInputError: no such checkpoint, no base of a delta, or no tokenizer.
      BadDataError: the checkpoint's parameters do not fit the model, every path of which is named; or it was
        downloaded, and is no longer what it was then.
      ConfigurationError: the tokenizer is another model's.
    """
    settings = settings or ModelSettings()
    set_allocator(settings.allocator)
    workspace.remember_verified()
    status(f"opening {path}", quiet)
    silent = quiet or not sys.stderr.isatty()
    checkpoint = opening.load(path, workspace.checkpoint_to_read, silent)
    note_base(checkpoint, quiet)
    for file in files_of(checkpoint):
        checksum.verify(file, silent)
    checkpoint.verify(silent)
    sizes = spec_of(checkpoint, path)
    check(checkpoint, sizes, path)
    rows, weights = sizes.llm.vocab_size, checkpoint.whole.path
    vocabulary = model_vocabulary.of_model(weights, rows, settings.tokenizer, quiet=quiet)
    template = templates.make(sizes.template, vocabulary, takes_images=sizes.img is not None)
    template.longest = manifest.longest(path, template.longest)
    if not quiet:
        jax_environment.tell()
    set_up_jax()
    dtype = settings.dtype
    if dtype == "auto":
        dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    how, placement = quantization_of(path, settings), parallel.chosen(settings.devices, settings.mesh, jnp.dtype(dtype))
    return Model(path, sizes, checkpoint, template, jnp.dtype(dtype), how, placement=placement)


def quantization_of(path: Path, settings: ModelSettings) -> Quantization:
    """How a checkpoint's frozen parameters are kept: as settings say, or as they were when it was trained."""
    own, asked = manifest.quantization(path), "quantize_embeddings" in settings.given
    if settings.quantize is not None:
        return Quantization(settings.quantize, settings.quantize_embeddings)
    return Quantization(own.kind, settings.quantize_embeddings if asked else own.embeddings)


def note_base(checkpoint: Stored, quiet: bool) -> None:
    """Says on stderr which base an adapter has been put on, where only its name and its shapes tell."""
    if isinstance(checkpoint, Overlay) and checkpoint.base_name is not None and not quiet:
        checked = "the adapter names it and its shapes fit, and nothing else tells whether it was made for that one"
        note(f"note: the base of {checkpoint.path} is {checkpoint.base.path}: {checked}")


def spec_of(checkpoint: Stored, path: Path) -> ModelSpec:
    """Which model a checkpoint is: what its files say, or else what its arrays' shapes tell.

    Raises:
      ConfigurationError: neither does.
    """
    return checkpoint.spec or families.read(checkpoint.leaves(), str(path))


def check(checkpoint: Stored, sizes: ModelSpec, path: Path) -> None:
    """Raises BadDataError, naming every path, unless the parameters are the model's and its adapters'."""
    try:
        expected, leaves = spec.expected(sizes), ensemble.of_one(checkpoint.leaves())
    except ValueError as error:
        raise BadDataError(f"parameters do not fit: {error}", where=str(path)) from None
    adapters = [name for name in leaves if lora.is_adapter(name)]
    for name in lora.adapted(adapters):
        if name not in expected or not lora.can_adapt(name):
            continue  # which makes its adapter something that is not a parameter of this model
        found = leaves[name + lora.A].shape if name + lora.A in leaves else ()
        rank = max(1, found[-1]) if found else 1
        shapes = lora.shapes(name, tuple(expected[name].shape), rank)
        expected |= {part: trees.Shape(size) for part, size in shapes.items()}
    if problems := trees.differences(expected, leaves):
        raise BadDataError("parameters do not fit: " + "; ".join(problems), where=str(path))
    for name in expected:
        if leaves[name].dtype.name not in WEIGHT_DTYPES:
            what = f"parameter {name} is {leaves[name].dtype}, not one of {', '.join(WEIGHT_DTYPES)}"
            raise BadDataError(what, where=str(path))


def require_single(checkpoint: Stored, what: str, instead: str | None = None) -> None:
    """Raises UsageError if a checkpoint is an ensemble; `what` takes one model, and `instead` is what to type."""
    if (count := ensemble.size(checkpoint.leaves())) > 1:
        hint = "palitune learn --combine distil makes one model of several, and --combine best keeps one of them"
        said = f"{what} takes one model, and {checkpoint.path} is an ensemble of {count}"
        raise UsageError(said, hint=instead or hint)


def files_of(checkpoint: Stored) -> list[Path]:
    """The files that a checkpoint is read from, behind links."""
    return [file.resolve() for file in checkpoint.files]


def announce(model: Model) -> None:
    """Says on stderr what is about to run; called when everything that can be wrong has been checked."""
    leaves = model.checkpoint.leaves()
    count = sum(leaf.size for path, leaf in leaves.items() if ensemble.own_of(path) not in leaves)
    how = f"{model.dtype}, {model.quantization.name}" if model.quantization.is_any else str(model.dtype)
    kind, where = jax.devices()[0].device_kind, model.placement
    on = kind if where is None else f"{where.count} x {kind} (data={where.data}, fsdp={where.fsdp})"
    of = f", an ensemble of {model.members}" if model.members > 1 else ""
    print(f"model: {model.path}{of} ({count:,} parameters) on {on}, {how}", file=sys.stderr)


def learning_params(model: Model, config: TrainingConfig) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """The trainable parameters before training, and the frozen parameters that new adapters add.

    New adapters are random, by the seed.
    """
    method = METHODS[config.method]
    learns = method.trainable
    chosen = model.params(learns)
    if not method.adds_adapters or lora.adapted(model.checkpoint):
        return chosen, {}
    key = jax.random.key(config.seed)
    made = lora.init(model.checkpoint.leaves(), config.lora_targets, config.lora_rank, config.lora_alpha, key)
    if model.placement is not None:
        made = {path: model.put(path, leaf) for path, leaf in made.items()}
    return (
        chosen | {path: leaf for path, leaf in made.items() if learns(path)},
        {path: leaf for path, leaf in made.items() if not learns(path)},
    )
