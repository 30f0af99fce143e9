"""The published models that palitune knows by name: where Kaggle has them, and what Hugging Face calls them."""

import difflib
import math
from collections.abc import Iterable
from typing import NamedTuple

from palitune.models import families, spec
from palitune.models.families import RESOLUTIONS
from palitune.models.spec import ModelSpec

OWNER = "google"  # of all of them on Hugging Face
GEMMA_TERMS = "https://ai.google.dev/gemma/terms"  # the licence of all of them
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
MOST_SIMILAR, LEAST_LIKENESS = 3, 0.6  # of names that are suggested; difflib's ratio
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
    return {f"{OWNER}/{name}": model for name, model in models.items()}


KAGGLE = _on_kaggle()
HUGGING_FACE = _on_hugging_face()


def similar(name: str, others: Iterable[str] = ()) -> list[str]:
    """Up to three known names, or ones of `others`, that are like a name, the likest first.

    Only letters and digits count, in either case, and the owner may have been left out. A name that differs in nothing
    else is returned alone; where longer names begin with all of it, these are.
    """
    wanted, known = _letters(name), _by_letters(others)
    if wanted in known:
        return [known[wanted]]
    likeness = {one: difflib.SequenceMatcher(None, one, wanted).ratio() for one in known}
    close = sorted((one for one in known if likeness[one] >= LEAST_LIKENESS), key=likeness.__getitem__, reverse=True)
    longer = [one for one in close if one.startswith(wanted)]
    return list(dict.fromkeys(known[one] for one in longer or close))[:MOST_SIMILAR]


def named(name: str) -> str | None:
    """What `palitune download` calls the published model that is meant, as `similar` compares; None for none."""
    return _by_letters().get(_letters(name))


def _by_letters(others: Iterable[str] = ()) -> dict[str, str]:
    """Names by their letters and digits, those of Hugging Face with and without their owner."""
    known = {_letters(one.partition("/")[2]): one for one in HUGGING_FACE}
    return known | {_letters(one): one for one in (*HUGGING_FACE, *KAGGLE, *others)}


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.partition("@")[0].casefold()))


def variant(name: str) -> str | None:
    """The name in `families.variants` of a variant, or of a published model with or without its owner; else None."""
    if name in families.variants():
        return name
    name = name.partition("@")[0]
    model = KAGGLE.get(name) or HUGGING_FACE.get(name) or HUGGING_FACE.get(f"{OWNER}/{name}")
    if model is None:
        return None
    return model.family if model.resolution is None else f"{model.family}-{model.resolution}"


def on_hugging_face(name: str) -> str | None:
    """What Hugging Face calls a model that is known here by this name; None where it is no published one."""
    if name in KAGGLE:
        return f"google/{KAGGLE[name].handle.split('/')[3]}"
    found = name.partition("@")[0]
    return found if found in HUGGING_FACE else None
