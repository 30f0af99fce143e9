"""What differs between models: a `ModelSpec` says all of it, and the layers read it.

Another family is another value in `models.families`, and in the layers only what no family computes yet.
"""

import dataclasses
from typing import NamedTuple

from palitune import trees
from palitune.models import parameter_shapes
from palitune.models.parameter_shapes import Axes, GemmaSizes, SiglipSizes

PALIGEMMA, GEMMA, SHIELDGEMMA = "paligemma", "gemma", "shieldgemma"  # templates (`data.templates`)


class LayerKind(NamedTuple):
    """What layers of one kind have in common beside their sizes."""

    rope_base: float = 10_000.0  # of the rotary positions: google-deepmind/gemma, positional_embeddings.py
    window: int | None = None  # how many tokens back a query sees, itself included; None is all of them
    rope_factor: float = 1.0  # what rotary positions are divided by: linear scaling


@dataclasses.dataclass(frozen=True)
class GemmaSpec(GemmaSizes):
    """One language model: its sizes, and what its layers compute that shapes do not tell.

    Attributes:
      kinds: the kinds of layers.
      pattern: which of the kinds layers are of, a pattern that repeats: layer i is of `kinds[pattern[i % len]]`.
      query_pre_attn_scalar: queries are multiplied by this to the power of -0.5; None is `head_dim`.
      tied: the embedding table is also the output layer.
    """

    attn_logits_softcap: float | None = None
    post_norms: bool = False  # a norm behind attention and MLP too
    query_pre_attn_scalar: float | None = None
    kinds: tuple[LayerKind, ...] = (LayerKind(),)
    pattern: tuple[int, ...] = (0,)
    final_logits_softcap: float | None = None
    qk_norms: bool = False  # queries and keys are normed, head by head
    tied: bool = True

    @property
    def query_scale(self) -> float:
        """What queries are multiplied by before they meet the keys."""
        return (self.query_pre_attn_scalar or self.head_dim) ** -0.5

    @property
    def kind_of_layers(self) -> tuple[int, ...]:
        """The number of the kind of each layer."""
        return tuple(self.pattern[layer % len(self.pattern)] for layer in range(self.depth))

    @property
    def axes(self) -> Axes:
        """Axes of every parameter, by its path behind `llm/`."""
        fused = self.num_kv_heads == self.num_heads
        return parameter_shapes.gemma_axes(
            post_norms=self.post_norms, fused=fused, qk_norms=self.qk_norms, tied=self.tied
        )


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """One model: its image encoder, if it has one, and its language model, and what goes with them."""

    img: SiglipSizes | None
    llm: GemmaSpec
    stored_dtype: str = "float32"  # in which its weights are published
    tokenizer: str | None = None  # name of its tokenizer in `hub.catalogue`
    big_vision: str | None = None  # name of the language model in the reference implementation
    template: str = PALIGEMMA  # which turns an example into tokens

    @property
    def num_image_tokens(self) -> int:
        """Tokens that an image becomes: N; 0 without an image encoder."""
        return self.img.num_tokens if self.img else 0

    @property
    def image_encoder(self) -> SiglipSizes:
        """The image encoder of a model that has one. Raises ValueError for a model that has none."""
        if self.img is None:
            raise ValueError("this model has no image encoder")
        return self.img


def expected(spec: ModelSpec) -> dict[str, trees.Shape]:
    """Path and shape of every parameter of a model.

    They are those of `multimodal.init`, to which a test holds them; tracing that takes a second in every command.
    """
    found: dict[str, tuple[int, ...]] = {}
    if spec.img is not None:
        axes = parameter_shapes.siglip_axes(pooled=spec.img.pool > 1)
        found |= {f"img/{path}": shape for path, shape in parameter_shapes.shapes(axes, spec.img).items()}
    found |= {f"llm/{path}": shape for path, shape in parameter_shapes.shapes(spec.llm.axes, spec.llm).items()}
    return {path: trees.Shape(found[path]) for path in sorted(found)}
