"""A folder of Hugging Face as transformers computes it: in float32, on the CPU, with its plainest attention.

torch and transformers are not part of palitune, and are imported here alone.

Axes: B batch, N image tokens, T text tokens, A answer tokens, D width, V vocabulary.
"""

import functools
import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from palitune import trees
from palitune.checkpoint.transformers_checkpoint import TransformersCheckpoint
from palitune.checkpoint.transformers_config import FAMILIES
from palitune.checkpoint.transformers_config_writing import model_type
from palitune.data.encode import Encoded
from palitune.data.templates import Template
from palitune.errors import BadDataError, ConfigurationError, listed
from palitune.infer import decoding
from palitune.models import multimodal
from palitune.models.arrays import AnyArray, Weights
from palitune.models.multimodal import Text
from palitune.models.spec import PALIGEMMA, SHIELDGEMMA, ModelSpec
from palitune.reference import Comparison, Difference

INSTALL = "pip install 'palitune[verify]'"
PACKAGES = ("torch", "transformers")
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


class Inputs(NamedTuple):
    """What transformers takes of one example.

    Attributes:
      ids: int32[1, N + T], with an image's token wherever it has one of its own.
      kinds: int32[1, N + T], its `token_type_ids`.
      text: bool[N + T], which of the tokens are text.
    """

    ids: Ints
    kinds: Ints
    text: NDArray[np.bool_]


class TransformersReference:
    """The model of a folder in transformers.

    Attributes:
      spec: what palitune reads the folder as.
    """

    def __init__(self, folder: Path) -> None:
        """Raises ConfigurationError without torch and transformers, BadDataError where they miss a tensor."""
        self.torch, transformers = map(_imported, PACKAGES)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        checkpoint = TransformersCheckpoint(folder)
        self.spec, self.image_token = checkpoint.spec, checkpoint.image_token
        name = FAMILIES[model_type(self.spec)].architectures[0]
        loaded, told = getattr(transformers, name).from_pretrained(
            folder, dtype=self.torch.float32, attn_implementation="eager", output_loading_info=True
        )
        kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
        if wrong := sorted(str(one) for kind in kinds for one in told[kind]):
            raise BadDataError(f"transformers does not find all tensors as it wants them: {listed(wrong)}")
        # ShieldGemma 2 is a Gemma 3 whose answer is two numbers.
        self.model: Any = (loaded.model if self.spec.template == SHIELDGEMMA else loaded).eval()

    def inputs(self, encoded: Encoded) -> Inputs:
        """What transformers takes of an example: image tokens stand among those of the text."""
        count, image_token = self.spec.num_image_tokens, self.image_token
        ids, kinds, text = encoded.tokens, np.zeros(len(encoded.tokens), np.int32), np.ones(len(encoded.tokens), bool)
        is_prefix = self.spec.template == PALIGEMMA  # whose tokens see each other, and all behind it is causal
        if is_prefix:
            kinds = (encoded.attention_blocks > encoded.attention_blocks[0]).astype(np.int32)
        for place in reversed(encoded.image_places):
            ids = np.insert(ids, place, np.full(count, image_token))
            kinds = np.insert(kinds, place, np.full(count, 0 if is_prefix else 1))
            text = np.insert(text, place, np.zeros(count, bool))
        return Inputs(ids[None].astype(np.int32), kinds[None].astype(np.int32), text)

    def image_tokens(self, pixels: Floats) -> Floats:
        """float32[B, N, D] of images float32[B, H, W, 3] in [-1, 1]."""
        with self.torch.inference_mode():
            found = self.model.get_image_features(self._pixels(pixels))
        found = getattr(found, "pooler_output", found)
        made: Floats = found.numpy()
        return made

    def logits(self, pixels: Floats | None, encoded: Encoded) -> Floats:
        """float32[T, V] at the text of one example with images float32[B, H, W, 3]."""
        inputs = self.inputs(encoded)
        with self.torch.inference_mode():
            found: Floats = self.model(**self._arguments(pixels, inputs)).logits[0].numpy()
        return found[inputs.text]

    def greedy(self, pixels: Floats | None, prompt: Encoded, length: int, end: int, pieces: int) -> Ints:
        """int32[A] by transformers' own decoding, of which no token is `pieces` or higher."""
        inputs = self.inputs(prompt)
        rows = self.spec.llm.vocab_size
        made = self.model.generate(
            **self._arguments(pixels, inputs),
            do_sample=False,
            max_new_tokens=length,
            eos_token_id=end,
            suppress_tokens=list(range(pieces, rows)) or None,
        )
        answer: Ints = made[0, inputs.ids.shape[1] :].numpy().astype(np.int32)
        return answer

    def _pixels(self, pixels: Floats) -> Any:
        return self.torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))

    def _arguments(self, pixels: Floats | None, inputs: Inputs) -> dict[str, Any]:
        ids = self.torch.from_numpy(inputs.ids).long()
        found = {"input_ids": ids, "attention_mask": self.torch.ones_like(ids)}
        if self.spec.img is not None:
            found["token_type_ids"] = self.torch.from_numpy(inputs.kinds).long()
        if pixels is not None and self.spec.img is not None:
            found["pixel_values"] = self._pixels(pixels)
        return found


class TransformersComparer:
    """palitune and transformers on the same example; ours is compiled for each length of a text."""

    def __init__(self, sizes: ModelSpec, reference: TransformersReference, template: Template) -> None:
        self.sizes, self.reference, self.end = sizes, reference, template.end
        self.pieces = min(template.vocabulary.size, sizes.llm.vocab_size)
        self.our_tokens = jax.jit(functools.partial(multimodal.image_tokens, sizes))
        self.our_logits = jax.jit(functools.partial(multimodal.forward, sizes))
        self.our_answer = jax.jit(
            functools.partial(decoding.greedy, sizes, length=decoding.MAX_ANSWER, eos=template.end, pieces=self.pieces)
        )

    def __call__(self, params: Weights, image: Floats | None, prompt: Encoded, answered: Encoded) -> Comparison:
        """Compares both on one example.

        Args:
          params: flat, float32.
          image: float32[H, W, 3], or None.
          prompt: what is asked.
          answered: the same with an answer behind it.
        """
        tree, pixels = trees.unflatten(params), None if image is None else image[None]
        with jax.default_matmul_precision("highest"):
            zimg: AnyArray = np.zeros((1, 0, self.sizes.llm.width), np.float32)
            image_tokens = None
            if pixels is not None:
                zimg = self.our_tokens(tree, pixels)
                image_tokens = Difference.between(zimg, self.reference.image_tokens(pixels))
            logits = self.our_logits(tree, zimg, _text(answered))[0, :, : self.pieces]
            theirs = self.reference.logits(pixels, answered)[:, : self.pieces]
            ours, _ = self.our_answer(tree, zimg, _text(prompt))
        written = self.reference.greedy(pixels, prompt, decoding.MAX_ANSWER, self.end, self.pieces)
        return Comparison(image_tokens, Difference.between(logits, theirs), np.asarray(ours)[0], written)


def _text(encoded: Encoded) -> Text:
    """One example as the model takes it."""
    blocks = encoded.attention_blocks
    causal = np.diff(blocks, prepend=blocks[:1]) > 0
    places = np.array([encoded.image_places], np.int32).reshape(1, -1)
    return Text(encoded.tokens[None], causal[None].astype(np.int32), None, places)


def require() -> None:
    """Raises ConfigurationError unless torch and transformers can be imported."""
    for name in PACKAGES:
        _imported(name)


def _imported(name: str) -> ModuleType:
    """A package of the extra `verify`. Raises ConfigurationError where it is not there, or does not work."""
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")  # everything is in the folder
    try:
        return importlib.import_module(name)
    except ImportError as error:
        what = f"{name}, which palitune is compared with, is not installed"
        if error.name != name:
            what = f"{name} cannot be imported ({' '.join(str(error).split())[:200]})"
        raise ConfigurationError(what, hint=f"Install it: {INSTALL}") from None
