"""The published models that palitune knows by name: where Kaggle has them, and what Hugging Face calls them."""

import difflib
import math
from collections.abc import Iterable
from typing import NamedTuple

from palitune.models import families, spec
from palitune.models.families import RESOLUTIONS
from palitune.models.spec import ModelSpec

GEMMA_TERMS = "https://ai.google.dev/gemma/terms"  # the licence of all of them
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
PALIGEMMA_KINDS = {
    f"{kind}-{resolution}": resolution
    for kind, resolutions in (("pt", RESOLUTIONS), ("mix", RESOLUTIONS[:2]))
    for resolution in resolutions
}


class Published(NamedTuple):
    """Where Kaggle has a model: `owner/model/framework/variation/version`, and the file in it."""

    handle: str
    file: str
    family: str  # as in `families.FAMILIES`
    resolution: int  # pixels

    @property
    def page(self) -> str:
        """The address of the model's page, where its licence is accepted."""
        return f"https://www.kaggle.com/models/{'/'.join(self.handle.split('/')[:2])}"

    @property
    def sizes(self) -> ModelSpec:
        """The model's sizes."""
        return families.published(self.family, self.resolution)


class HuggingFaceModel(NamedTuple):
    """What is known of a model that Hugging Face calls `google/NAME`; all of them ask to accept a licence."""

    family: str  # as in `families.FAMILIES`
    resolution: int | None = None  # pixels, where it differs within the family
    dtype: str = "bfloat16"  # of the weights on the branch `main`
    licence: str = GEMMA_TERMS

    @property
    def sizes(self) -> ModelSpec:
        """The model's sizes."""
        return families.published(self.family, self.resolution)

    @property
    def size(self) -> int:
        """The approximate size of the weights in bytes."""
        return BYTES[self.dtype] * sum(math.prod(part.shape) for part in spec.expected(self.sizes).values())


def _on_kaggle() -> dict[str, Published]:
    # Handles and file names: big_vision's configs/proj/paligemma/README.md and Kaggle's model pages.
    models = {}
    for kind, resolution in PALIGEMMA_KINDS.items():
        variation = f"paligemma-3b-{kind}"
        handle, file = f"google/paligemma/jax/{variation}/1", f"{variation}.f16.npz"
        models[kind] = Published(handle, file, "paligemma-3b", resolution)
    for size in ("3b", "10b", "28b"):
        for kind, resolution in PALIGEMMA_KINDS.items():
            variation = f"paligemma2-{size}-{kind}"
            handle, file = f"google/paligemma-2/jax/{variation}/1", f"{variation}.b16.npz"
            models[f"{size}-{kind}"] = Published(handle, file, f"paligemma2-{size}", resolution)
    return models


def _on_hugging_face() -> dict[str, HuggingFaceModel]:
    # PaliGemma 1, and Gemma 2 before its instruction tuning, are float32 on `main`; PaliGemma 1 also has the branches
    # float16 and bfloat16.
    models = {
        f"paligemma-3b-{kind}": HuggingFaceModel("paligemma-3b", resolution, "float32")
        for kind, resolution in PALIGEMMA_KINDS.items()
    }
    models |= {
        f"paligemma2-{size}-{kind}": HuggingFaceModel(f"paligemma2-{size}", resolution)
        for size in ("3b", "10b", "28b")
        for kind, resolution in PALIGEMMA_KINDS.items()
    }
    for size in ("2b", "7b"):
        models |= {f"gemma-{size}{kind}": HuggingFaceModel(f"gemma-{size}") for kind in ("", "-it")}
    for size in ("2b", "9b", "27b"):
        models[f"gemma-2-{size}"] = HuggingFaceModel(f"gemma2-{size}", dtype="float32")
        models[f"gemma-2-{size}-it"] = HuggingFaceModel(f"gemma2-{size}")
    models |= {f"gemma-3-270m{kind}": HuggingFaceModel("gemma3-270m") for kind in ("", "-it")}
    for size in ("1b", "4b", "12b", "27b"):
        models |= {f"gemma-3-{size}-{kind}": HuggingFaceModel(f"gemma3-{size}") for kind in ("pt", "it")}
    models["shieldgemma-2-4b-it"] = HuggingFaceModel("shieldgemma2-4b")
    return {f"google/{name}": model for name, model in models.items()}


KAGGLE = _on_kaggle()
HUGGING_FACE = _on_hugging_face()


def similar(name: str, others: Iterable[str] = ()) -> list[str]:
    """Up to three known names, or ones of `others`, that are like a name; the owner may have been left out."""
    known = {one: one for one in (*others, *KAGGLE, *HUGGING_FACE)}
    known |= {one.partition("/")[2]: one for one in HUGGING_FACE}
    found = difflib.get_close_matches(name.partition("@")[0], known, 3)
    return list(dict.fromkeys(known[one] for one in found))


def on_hugging_face(name: str) -> str | None:
    """What Hugging Face calls a model that is known here by this name; None where it is no published one."""
    if name in KAGGLE:
        return f"google/{KAGGLE[name].handle.split('/')[3]}"
    found = name.partition("@")[0]
    return found if found in HUGGING_FACE else None
