"""What no model can be: sizes that do not go together, wherever a `ModelSpec` was read from."""

from palitune.models.parameter_shapes import SiglipSizes
from palitune.models.spec import GemmaSpec, ModelSpec

DEEPEST = 1000  # layers


def problem(spec: ModelSpec) -> str | None:
    """Why there can be no such model; None if there can be."""
    found = _of_language_model(spec.llm)
    if spec.img is None:
        return found
    return found or _of_image_encoder(spec.img) or _of_both(spec.img, spec.llm)


def _of_sizes(sizes: SiglipSizes | GemmaSpec) -> str | None:
    for name, size in vars(sizes).items():
        if type(size) is int and size < 1:
            return f"{name} is {size}"
    return f"it has {sizes.depth:,} layers" if sizes.depth > DEEPEST else None


def _of_language_model(llm: GemmaSpec) -> str | None:
    if found := _of_sizes(llm):
        return found
    if llm.num_heads % llm.num_kv_heads:
        return f"{llm.num_heads} query heads do not share {llm.num_kv_heads} key/value heads evenly"
    if llm.head_dim % 2:
        return f"heads are {llm.head_dim} wide, and rotary positions need an even number"
    if not llm.pattern or any(not 0 <= kind < len(llm.kinds) for kind in llm.pattern):
        return "its layers are of kinds that it does not have"
    if any(kind.window is not None and kind.window < 1 for kind in llm.kinds):
        return "a window of no tokens"
    return None


def _of_image_encoder(img: SiglipSizes) -> str | None:
    if found := _of_sizes(img):
        return found
    if img.width % img.num_heads:
        return f"an image encoder {img.width} wide cannot have {img.num_heads} heads"
    if img.image_size % img.patch_size:
        return f"images of {img.image_size} pixels cannot be cut into patches of {img.patch_size}"
    side = img.image_size // img.patch_size
    if side % img.pool:
        return f"{side} patches a side cannot be pooled by {img.pool}"
    return None


def _of_both(img: SiglipSizes, llm: GemmaSpec) -> str | None:
    if img.num_classes != llm.width:
        return f"an image's tokens are {img.num_classes} wide, the language model is {llm.width}"
    windows = [kind.window for kind in llm.kinds if kind.window is not None]
    if windows and min(windows) < img.num_tokens:
        return f"a window of {min(windows):,} tokens does not hold an image's {img.num_tokens:,}"
    return None
