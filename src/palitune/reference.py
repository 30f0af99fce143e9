"""big_vision's own PaliGemma on the same parameters, where it is installed.

big_vision imports TensorFlow for its file access alone, of which nothing here makes use: where there is no TensorFlow
(600 MB), an empty module takes its place while big_vision is imported.
"""

import contextlib
import functools
import importlib
import importlib.machinery
import importlib.util
import logging
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from numpy.typing import NDArray

from palitune import trees
from palitune.errors import ConfigurationError
from palitune.infer import decoding
from palitune.models import multimodal, siglip
from palitune.models.arrays import AnyArray, Params, Weights
from palitune.models.multimodal import Text
from palitune.models.spec import GemmaSpec, ModelSpec
from palitune.storage import private_folders

INSTALL = "bin/install-big_vision.sh"
UNNAMED = "palitune"  # what big_vision is told for a language model whose size it has no name for
TOLERANCE = 1e-4  # of the largest magnitude, in float32
GFILE = ("tensorflow", "tensorflow.io", "tensorflow.io.gfile")


class GemmaModule(Protocol):
    """What is used of big_vision's `models.ppp.gemma`."""

    get_config: Callable[[str], ml_collections.ConfigDict]


def find(folder: Path) -> str | None:
    """Where big_vision is: importable as it is, or in `folder`, which is put on Python's path then; None if nowhere.

    Raises ConfigurationError if others can write to `folder`: it is code.
    """
    if _spec() is None and (folder / "big_vision").is_dir():
        if not private_folders.is_private(folder):
            hint = f"Make it yours alone (chmod go-w), or fetch it elsewhere and name that in PYTHONPATH: {INSTALL}"
            raise ConfigurationError("others can write to this folder, and it is code", where=str(folder), hint=hint)
        sys.path.append(str(folder))
        importlib.invalidate_caches()
    spec = _spec()
    return str(Path(spec.origin).parent) if spec is not None and spec.origin else None


def _spec() -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec("big_vision")
    except (ImportError, ValueError):
        return None


@contextlib.contextmanager
def _file_access() -> Iterator[None]:
    """`tensorflow.io.gfile` can be imported; nothing of it is there if TensorFlow is not."""
    if importlib.util.find_spec("tensorflow") is not None:
        yield
        return
    logging.getLogger("absl").setLevel(logging.ERROR)  # a note that TensorFlow is not there
    for name in ("flax.training.checkpoints", "orbax.checkpoint"):
        importlib.import_module(name)  # they look for TensorFlow too, and would take the empty module for it
    modules = {name: types.ModuleType(name) for name in GFILE}
    for name, module in modules.items():
        module.__spec__ = importlib.machinery.ModuleSpec(
            name, None
        )  # which other packages read to see what is installed
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


class Reference:
    """The reference implementation's model of the same sizes."""

    def __init__(self, sizes: ModelSpec, folder: Path) -> None:
        """Raises ConfigurationError if big_vision is not there, or does not go with what is installed."""
        if find(folder) is None:
            hint = f"{INSTALL} fetches it into cache/"
            raise ConfigurationError("big_vision, the reference implementation, is not installed", hint=hint)
        try:
            with _file_access():
                self.gemma = cast(GemmaModule, importlib.import_module("big_vision.models.ppp.gemma"))
                big_vision = importlib.import_module("big_vision.models.proj.paligemma.paligemma")
                importlib.import_module("big_vision.models.proj.paligemma.gemma_bv")
                importlib.import_module("big_vision.models.vit")
                self.predict = importlib.import_module("big_vision.trainers.proj.paligemma.predict_fns")
        except (ImportError, AttributeError) as error:
            what = f"big_vision cannot be imported ({error})"
            raise ConfigurationError(what, hint=f"{INSTALL} fetches the commit that goes with palitune") from None
        llm, img = sizes.llm, sizes.image_encoder
        name = sizes.big_vision or UNNAMED
        if sizes.big_vision is None:
            self._name(llm)
        # Logits are not capped, as in big_vision's transfers and its notebook; the key/value cache is in float32, as
        # ours, where its default rounds to bfloat16.
        text: dict[str, object] = {
            "variant": name,
            "vocab_size": llm.vocab_size,
            "final_logits_softcap": 0.0,
            "cache_dtype": "float32",
        }
        encoder: dict[str, object] = {"variant": None, "width": img.width, "depth": img.depth, "mlp_dim": img.mlp_dim}
        encoder |= {"num_heads": img.num_heads, "patch_size": (img.patch_size, img.patch_size)}
        encoder |= {"pool_type": "none", "scan": True}
        frozen = ml_collections.FrozenConfigDict
        self.model = big_vision.Model(llm=frozen(text), img=frozen(encoder), img_model="vit")

    def _name(self, llm: GemmaSpec) -> None:
        """Makes big_vision know a language model of these sizes."""
        sizes: dict[str, object] = {
            "variant": UNNAMED,
            "scan": True,
            "remat_policy": "nothing_saveable",
            "norm_eps": 1e-6,
        }
        sizes |= {"width": llm.width, "depth": llm.depth, "mlp_dim": llm.mlp_dim, "num_heads": llm.num_heads}
        sizes |= {"num_kv_heads": llm.num_kv_heads, "head_dim": llm.head_dim, "vocab_size": llm.vocab_size}
        if llm.post_norms:
            sizes |= {"post_norms": True, "attn_logits_softcap": llm.attn_logits_softcap}
            by_width = llm.query_pre_attn_scalar == llm.width // llm.num_heads
            sizes |= {"query_pre_attn_norm": "rsqrt_emb_per_head" if by_width else "rsqrt_head_dim"}
        known = self.gemma.get_config

        def get_config(variant: str) -> ml_collections.ConfigDict:
            return ml_collections.ConfigDict(sizes) if variant == UNNAMED else known(variant)

        self.gemma.get_config = get_config

    def image_tokens(self, params: Params, image: AnyArray) -> jax.Array:
        """[B, N, D] of images float32[B, H, W, 3]."""
        tokens, _ = self.model.apply({"params": params}, image, method=self.model.embed_image)
        return tokens

    def logits(self, params: Params, image: AnyArray, text: AnyArray, mask_ar: AnyArray) -> jax.Array:
        """float32[B, T, V] at text int32[B, T] without padding."""
        found, _ = self.model.apply({"params": params}, image, text, mask_ar)
        return found

    def greedy(self, params: Params, image: AnyArray, text: AnyArray, length: int, eos: int) -> jax.Array:
        """int32[B, A] by big_vision's own decoding, for prompts int32[B, T] without padding."""
        batch = {
            "image": image,
            "text": text,
            "mask_ar": jnp.zeros_like(text),
            "mask_input": jnp.ones(text.shape, bool),
        }
        batch["_mask"] = jnp.ones(len(text), bool)
        decode = self.predict.get_all(self.model)["decode"]
        devices = np.asarray(jax.devices()[:1])
        return decode({"params": params}, batch, devices=devices, max_decode_len=length, eos_token=eos)


class Difference(NamedTuple):
    """How far two arrays are apart."""

    largest: float
    magnitude: float  # of the reference's largest entry

    @property
    def agrees(self) -> bool:
        return self.largest <= TOLERANCE * self.magnitude

    @classmethod
    def between(cls, ours: AnyArray, theirs: AnyArray) -> "Difference":
        ours, theirs = np.asarray(ours, np.float32), np.asarray(theirs, np.float32)
        if ours.shape != theirs.shape:
            raise ConfigurationError(f"the reference's result has shape {theirs.shape}, palitune's {ours.shape}")
        return cls(float(np.abs(ours - theirs).max()), float(np.abs(theirs).max()))

    def worst(self, other: "Difference") -> "Difference":
        def rank(found: Difference) -> float:
            relative = found.largest / max(found.magnitude, 1e-30)
            return relative if relative == relative else float("inf")  # a non-finite value is the worst

        return max(self, other, key=rank)


class Comparison(NamedTuple):
    """One example in both.

    Attributes:
      image_tokens: None where there is no image.
    """

    image_tokens: Difference | None
    logits: Difference
    ours: NDArray[np.int32]  # int32[A], greedily decoded tokens
    theirs: NDArray[np.int32]


class Comparer:
    """Both implementations, compiled once for images and prompts of one size."""

    def __init__(self, sizes: ModelSpec, reference: Reference, eos: int) -> None:
        self.sizes, self.reference, self.eos = sizes, reference, eos
        self.our_tokens = jax.jit(lambda params, image: siglip.image_tokens(sizes.image_encoder, params["img"], image))
        self.their_tokens = jax.jit(reference.image_tokens)
        self.our_logits = jax.jit(
            lambda params, image, text, mask_ar: multimodal.forward(sizes, params, image, Text(text, mask_ar))
        )
        self.their_logits = jax.jit(reference.logits)
        self.our_answer = jax.jit(functools.partial(decoding.greedy, sizes, length=decoding.MAX_ANSWER, eos=eos))

    def __call__(self, params: Weights, image: NDArray[np.float32], prompt: list[int], suffix: list[int]) -> Comparison:
        """Compares both on one image.

        Args:
          params: flat, float32.
          image: float32[H, W, 3].
          prompt: tokens that see each other.
          suffix: tokens behind them, causal.
        """
        tree, pixels = trees.unflatten(params), image[None]
        text = np.asarray([prompt + suffix], np.int32)
        mask_ar = np.asarray([[0] * len(prompt) + [1] * len(suffix)], np.int32)
        asked = np.asarray([prompt], np.int32)
        # float32 products on a GPU would else be of 10-bit factors (TF32), and differ in the third digit.
        with jax.default_matmul_precision("highest"):
            tokens = self.our_tokens(tree, pixels)
            image_tokens = Difference.between(tokens, self.their_tokens(tree, pixels))
            logits = Difference.between(
                self.our_logits(tree, pixels, text, mask_ar), self.their_logits(tree, pixels, text, mask_ar)
            )
            ours, _ = self.our_answer(tree, tokens, Text(asked, np.zeros_like(asked)))
            theirs = self.reference.greedy(tree, pixels, jnp.asarray(asked), decoding.MAX_ANSWER, self.eos)
        return Comparison(image_tokens, logits, np.asarray(ours)[0], np.asarray(theirs)[0])
