"""Which tensors of a Hugging Face model make which of our parameters, in every naming scheme that is met.

Published files, transformers before 4.52, from there to 5, and since 5 put different prefixes before the same names,
and the last leaves out a level of the image encoder. Prefixes are taken away first (`plain_name`); then one table holds
for all.

A tensor's axes are written by name, as a parameter's are in `models.parameter_shapes`, with those in parentheses merged
into one; a `torch` weight has its output first. What is stacked in a parameter is a tensor for each layer, and for each
of queries, keys and values, or gate and values.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from palitune.checkpoint.store import Array
from palitune.models import parameter_shapes
from palitune.models.parameter_shapes import Axes, GemmaSizes, SiglipSizes
from palitune.models.spec import SHIELDGEMMA, GemmaSpec, ModelSpec

BLOCK = 256  # values a side that are transposed together
LAYER = "{layer}"  # in a name: the layer's number
EMBEDDING, OUTPUT = "embed_tokens.weight", "lm_head.weight"
IMAGE_ENCODER, PROJECTOR = "vision_tower.", "multi_modal_projector."
# Beside the parameters, files may have what is computed from settings, or never used: the reasons, by name.
SUPERFLUOUS = {
    r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq|rotary_emb\.inv_freq": "follows from the rotary base",
    r"vision_tower\.embeddings\.position_ids|embeddings\.position_ids": "numbers from zero on",
    r"vision_tower\.head\..*": "SigLIP's own pooling, which no language model gets",
}
_SUPERFLUOUS = re.compile("|".join(SUPERFLUOUS))
_LANGUAGE_MODEL = re.compile(r"(?:model\.){0,2}(?:language_model\.)?(?:model\.)?")
_IMAGE_ENCODER = re.compile(r"(?:model\.){0,2}vision_tower\.(?:vision_model\.)?")
_PROJECTOR = re.compile(r"(?:model\.){0,2}multi_modal_projector\.")


class Part(NamedTuple):
    """A tensor that a parameter is made of.

    Attributes:
      name: the tensor's plain name, with `LAYER` for the layer's number.
      axes: the tensor's axes, with merged ones in parentheses.
    """

    name: str
    axes: str


_HEADS, _KV_HEADS = "(num_heads head_dim) width", "(num_kv_heads head_dim) width"
_BLOCK, _ATTENTION = "layers.{layer}.", "layers.{layer}.self_attn."
_LANGUAGE_MODEL_PARTS: dict[str, tuple[Part, ...]] = {
    "embedder/input_embedding": (Part(EMBEDDING, "vocab_size width"),),
    "embedder/output_embedding": (Part(OUTPUT, "vocab_size width"),),
    "final_norm/scale": (Part("norm.weight", "width"),),
    "layers/attn/q_einsum/w": (Part(f"{_ATTENTION}q_proj.weight", _HEADS),),
    "layers/attn/kv_einsum/w": tuple(Part(f"{_ATTENTION}{one}_proj.weight", _KV_HEADS) for one in "kv"),
    "layers/attn/qkv_einsum/w": tuple(Part(f"{_ATTENTION}{one}_proj.weight", _HEADS) for one in "qkv"),
    "layers/attn/attn_vec_einsum/w": (Part(f"{_ATTENTION}o_proj.weight", "width (num_heads head_dim)"),),
    "layers/attn/query_norm/scale": (Part(f"{_ATTENTION}q_norm.weight", "head_dim"),),
    "layers/attn/key_norm/scale": (Part(f"{_ATTENTION}k_norm.weight", "head_dim"),),
    "layers/mlp/gating_einsum": tuple(
        Part(f"{_BLOCK}mlp.{one}_proj.weight", "mlp_dim width") for one in ("gate", "up")
    ),
    "layers/mlp/linear": (Part(f"{_BLOCK}mlp.down_proj.weight", "width mlp_dim"),),
    "layers/pre_attention_norm/scale": (Part(f"{_BLOCK}input_layernorm.weight", "width"),),
}
# The same name is the norm before the MLP in Gemma 1, and that behind the attention since.
_GEMMA1_NORMS = {"layers/pre_ffw_norm/scale": "post_attention_layernorm"}
_GEMMA2_NORMS = {
    "layers/post_attention_norm/scale": "post_attention_layernorm",
    "layers/pre_ffw_norm/scale": "pre_feedforward_layernorm",
    "layers/post_ffw_norm/scale": "post_feedforward_layernorm",
}
_ENCODER, _THEIR_ENCODER = "Transformer/encoderblock", f"{IMAGE_ENCODER}encoder.layers.{LAYER}."
_OURS = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}
_IMAGE_ENCODER_PARTS: dict[str, tuple[Part, ...]] = {
    "embedding/kernel": (Part(f"{IMAGE_ENCODER}embeddings.patch_embedding.weight", "width 3 patch_size patch_size"),),
    "embedding/bias": (Part(f"{IMAGE_ENCODER}embeddings.patch_embedding.bias", "width"),),
    "pos_embedding": (Part(f"{IMAGE_ENCODER}embeddings.position_embedding.weight", "num_patches width"),),
    **{
        f"{_ENCODER}/MultiHeadDotProductAttention_0/{ours}/kernel": (
            Part(f"{_THEIR_ENCODER}self_attn.{theirs}.weight", _HEADS),
        )
        for ours, theirs in _OURS.items()
    },
    **{
        f"{_ENCODER}/MultiHeadDotProductAttention_0/{ours}/bias": (
            Part(f"{_THEIR_ENCODER}self_attn.{theirs}.bias", "(num_heads head_dim)"),
        )
        for ours, theirs in _OURS.items()
    },
    f"{_ENCODER}/MultiHeadDotProductAttention_0/out/kernel": (
        Part(f"{_THEIR_ENCODER}self_attn.out_proj.weight", "width (num_heads head_dim)"),
    ),
    f"{_ENCODER}/MultiHeadDotProductAttention_0/out/bias": (Part(f"{_THEIR_ENCODER}self_attn.out_proj.bias", "width"),),
    f"{_ENCODER}/MlpBlock_0/Dense_0/kernel": (Part(f"{_THEIR_ENCODER}mlp.fc1.weight", "mlp_dim width"),),
    f"{_ENCODER}/MlpBlock_0/Dense_0/bias": (Part(f"{_THEIR_ENCODER}mlp.fc1.bias", "mlp_dim"),),
    f"{_ENCODER}/MlpBlock_0/Dense_1/kernel": (Part(f"{_THEIR_ENCODER}mlp.fc2.weight", "width mlp_dim"),),
    f"{_ENCODER}/MlpBlock_0/Dense_1/bias": (Part(f"{_THEIR_ENCODER}mlp.fc2.bias", "width"),),
    **{
        f"{_ENCODER}/LayerNorm_{number}/{ours}": (Part(f"{_THEIR_ENCODER}layer_norm{number + 1}.{theirs}", "width"),)
        for number in (0, 1)
        for ours, theirs in (("scale", "weight"), ("bias", "bias"))
    },
    "Transformer/encoder_norm/scale": (Part(f"{IMAGE_ENCODER}post_layernorm.weight", "width"),),
    "Transformer/encoder_norm/bias": (Part(f"{IMAGE_ENCODER}post_layernorm.bias", "width"),),
}
_LINEAR_PROJECTOR = {
    "head/kernel": (Part(f"{PROJECTOR}linear.weight", "num_classes width"),),
    "head/bias": (Part(f"{PROJECTOR}linear.bias", "num_classes"),),
}
_POOLING_PROJECTOR = {
    "head/kernel": (Part(f"{PROJECTOR}mm_input_projection_weight", "width num_classes"),),
    "pool_norm/scale": (Part(f"{PROJECTOR}mm_soft_emb_norm.weight", "width"),),
}


class Tensor(NamedTuple):
    """One tensor in its place in a parameter.

    Attributes:
      path: of the parameter.
      place: the indices of the parameter's leading axes at which it is: layer, and number in a stack; or none.
      ours: sizes of its axes in the parameter, those behind `place`.
      theirs: its own shape.
      split: its own sizes with merged axes apart.
      order: which of the axes apart are the parameter's, in the parameter's order.
    """

    path: str
    place: tuple[int, ...]
    ours: tuple[int, ...]
    theirs: tuple[int, ...]
    split: tuple[int, ...]
    order: tuple[int, ...]

    def read(self, tensor: Array) -> Array:
        """A view of a tensor with the parameter's axes."""
        return tensor.reshape(self.split).transpose(self.order)

    def copy(self, tensor: Array, target: Array) -> None:
        """Copies a tensor to its place in `target`, which has the parameter's axes behind `place`."""
        _copy(self.read(tensor), self.order.index(len(self.order) - 1), target)

    def write(self, values: Array) -> Array:
        """The tensor, a view or a copy, of its values with the parameter's axes, those behind `place`."""
        back = tuple(self.order.index(axis) for axis in range(len(self.order)))
        if back == tuple(range(len(back))):
            return values.reshape(self.theirs)
        made = np.empty(self.split, values.dtype)
        _copy(values.transpose(back), back.index(len(back) - 1), made)
        return made.reshape(self.theirs)


def _copy(source: Array, contiguous: int, target: Array) -> None:
    """Copies block by block, which takes a third of the time of all at once where axes are transposed.

    Args:
      contiguous: the axis of `source` along which its values are side by side in memory.
    """
    last = source.ndim - 1
    for start in range(0, source.shape[contiguous], BLOCK):
        for other in range(0, source.shape[last], BLOCK) if contiguous != last else (0,):
            block = [slice(None)] * source.ndim
            block[last] = slice(other, other + BLOCK)
            block[contiguous] = slice(start, start + BLOCK)
            target[tuple(block)] = source[tuple(block)]


def plain_name(name: str) -> str:
    """A tensor's name without the prefixes in which the naming schemes differ."""
    if found := _IMAGE_ENCODER.match(name):
        return IMAGE_ENCODER + name[found.end() :]
    if found := _PROJECTOR.match(name):
        return PROJECTOR + name[found.end() :]
    found = _LANGUAGE_MODEL.match(name)
    return name[found.end() :] if found else name


def is_superfluous(name: str) -> bool:
    """Whether a tensor of this plain name is one that no model needs."""
    return _SUPERFLUOUS.fullmatch(name) is not None


def tensors(spec: ModelSpec) -> dict[str, Tensor]:
    """Every tensor of a model, by its plain name; a parameter's in the order in which they are stacked."""
    found: dict[str, Tensor] = {}
    if spec.img is not None:
        projector = _POOLING_PROJECTOR if spec.img.pool > 1 else _LINEAR_PROJECTOR
        axes = parameter_shapes.siglip_axes(pooled=spec.img.pool > 1)
        found |= dict(_placed("img/", axes, {**_IMAGE_ENCODER_PARTS, **projector}, spec.img))
    return found | dict(_placed("llm/", spec.llm.axes, parts_of(spec.llm), spec.llm))


def parts_of(llm: GemmaSpec) -> dict[str, tuple[Part, ...]]:
    """The tensors of each parameter of a language model, by the path behind `llm/`."""
    norms = _GEMMA2_NORMS if llm.post_norms else _GEMMA1_NORMS
    return {
        **_LANGUAGE_MODEL_PARTS,
        **{path: (Part(f"{_BLOCK}{name}.weight", "width"),) for path, name in norms.items()},
    }


def _placed(
    prefix: str, axes: Axes, parts: Mapping[str, tuple[Part, ...]], sizes: SiglipSizes | GemmaSizes
) -> Iterator[tuple[str, Tensor]]:
    for path, named in axes.items():
        ours = named.split()
        stacked = ours[0] == "depth"
        inner = ours[stacked:]
        count = int(inner[0]) if inner[0].isdigit() else None
        inner = inner[count is not None :]
        for layer in range(sizes.depth if stacked else 1):
            for number, part in enumerate(parts[path]):
                place = ((layer,) if stacked else ()) + ((number,) if count is not None else ())
                yield part.name.format(layer=layer), _tensor(prefix + path, place, inner, part.axes, sizes)


def _tensor(path: str, place: tuple[int, ...], ours: list[str], axes: str, sizes: SiglipSizes | GemmaSizes) -> Tensor:
    theirs = [(merged or single).split() for merged, single in re.findall(r"\(([^)]*)\)|(\S+)", axes)]
    apart = [name for group in theirs for name in group]
    left = list(enumerate(apart))
    order = []
    for name in ours:
        index = next(index for index, other in left if other == name)
        left.remove((index, name))
        order.append(index)

    def size(name: str) -> int:
        return int(name) if name.isdigit() else int(getattr(sizes, name))

    return Tensor(
        path,
        place,
        tuple(map(size, ours)),
        tuple(int(np.prod([size(name) for name in group])) for group in theirs),
        tuple(map(size, apart)),
        tuple(order),
    )


def published_name(name: str, spec: ModelSpec) -> str:
    """A tensor's name in published files, which every version of transformers reads, of its plain name."""
    if spec.img is None:
        return name if name == OUTPUT else f"model.{name}"
    if name.startswith(IMAGE_ENCODER):
        found = f"{IMAGE_ENCODER}vision_model.{name.removeprefix(IMAGE_ENCODER)}"
    elif name.startswith(PROJECTOR):
        found = name
    else:
        found = f"language_model.{name}" if name == OUTPUT else f"language_model.model.{name}"
    return f"model.{found}" if spec.template == SHIELDGEMMA else found
