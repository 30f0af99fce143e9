"""A checkpoint made ready to run: sizes read off it, parameters checked, its tokenizer found."""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from palitune import trees
from palitune.checkpoint import hub, npz
from palitune.cli import workspace
from palitune.data.tokens import Tokenizer
from palitune.errors import BadDataError, ConfigurationError, MissingInputError
from palitune.models import variants
from palitune.models.variants import PaliGemmaConfig

WEIGHT_DTYPES = ("float16", "bfloat16", "float32", "float64")


class Model(NamedTuple):
    """`params` is flat, by parameter path."""

    path: Path
    sizes: PaliGemmaConfig
    params: dict[str, Any]
    tokenizer: Tokenizer
    dtype: Any


def set_up_jax() -> None:
    """Compiled programs are kept under `cache/`, so that the next start is quicker."""
    jax.config.update("jax_compilation_cache_dir", str(workspace.cache() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def load(path: Path, args: argparse.Namespace) -> Model:
    """The checkpoint at `path`, run as the options of `arguments.add_model` say.

    Raises:
      MissingInputError: no such checkpoint, or no tokenizer.
      BadDataError: the checkpoint's parameters do not fit a PaliGemma; every path is named.
      ConfigurationError: the tokenizer is another model's.
    """
    checkpoint = npz.Checkpoint(path)
    sizes = variants.read(checkpoint, str(path))
    expected = variants.expected(sizes)
    if problems := trees.differences(expected, checkpoint):
        raise BadDataError("parameters do not fit: " + "; ".join(problems), where=str(path))
    for name in expected:
        if checkpoint[name].dtype.name not in WEIGHT_DTYPES:
            what = f"parameter {name} is {checkpoint[name].dtype}, not one of {', '.join(WEIGHT_DTYPES)}"
            raise BadDataError(what, where=str(path))
    tokenizer = _tokenizer(args.tokenizer, sizes.llm.vocab_size, path)
    set_up_jax()
    dtype = args.dtype
    if dtype == "auto":
        dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    params = {}
    for name in expected:
        array = checkpoint[name]
        params[name] = jnp.asarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    return Model(path, sizes, params, tokenizer, jnp.dtype(dtype))


def announce(model: Model) -> None:
    """Says on stderr what is about to run; called when everything that can be wrong has been looked at."""
    count = sum(int(array.size) for array in model.params.values())
    print(
        f"model: {model.path} ({count:,} parameters) on {jax.devices()[0].device_kind}, {model.dtype}", file=sys.stderr
    )


def _tokenizer(option: str | None, vocab_size: int, checkpoint: Path) -> Tokenizer:
    path = Path(option) if option else hub.tokenizer_path(vocab_size, workspace.cache())
    if path is None:
        what = f"palitune knows no tokenizer for a vocabulary of {vocab_size}"
        raise ConfigurationError(what, where=str(checkpoint), hint="Name its tokenizer with --tokenizer")
    if not path.is_file():
        hint = "Run ./01-download_models.py, or name it with --tokenizer"
        raise MissingInputError("the model's tokenizer is not there", where=str(path), hint=hint)
    tokenizer = Tokenizer(path)
    if tokenizer.vocab_size > vocab_size:
        raise ConfigurationError(
            f"a tokenizer with {tokenizer.vocab_size} pieces for a model with a vocabulary of {vocab_size}",
            where=str(path),
            hint="Name the right one with --tokenizer",
        )
    return tokenizer
