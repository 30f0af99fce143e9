"""Reference vectors of transformers: folders as it saves them, and what it computes with them.

Its inputs have image tokens among those of the text, and padding on the left; ours have images apart, and padding on
the right.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors.numpy

from palitune import trees
from palitune.checkpoint.transformers_checkpoint import TransformersCheckpoint
from palitune.models.multimodal import Text
from palitune.models.spec import ModelSpec

FOLDER = Path(__file__).parent / "golden" / "hf"
WHOLE = ("gemma1_text", "gemma2_text", "gemma3_text", "gemma3_vision", "paligemma1", "paligemma2")
PIECES = 512  # tokens that a tokenizer would have; PaliGemma's files have 64 rows more


class Inputs(NamedTuple):
    """Inputs of one forward pass, and where each token of the text stood in transformers' rows."""

    image: np.ndarray  # float32[B, H, W, 3], or float32[B, 0, D]
    text: Text
    columns: list[list[int]]


class HfGolden(NamedTuple):
    """One folder: the model, its flat parameters, and the expected values by key."""

    name: str
    spec: ModelSpec
    params: dict[str, np.ndarray]
    config: dict[str, Any]
    values: dict[str, np.ndarray]

    @property
    def tree(self) -> Any:
        return trees.unflatten(self.params)

    def inputs(self, prefix: str) -> Inputs:
        """Those under `in/` or `generate/`."""
        ids = self.values[f"{prefix}/input_ids"]
        real = self.values.get(f"{prefix}/attention_mask", np.ones_like(ids))
        kinds = self.values.get(f"{prefix}/token_type_ids", np.zeros_like(ids))
        image_token = self.config.get("image_token_index", -1)
        causal = self.config["model_type"] != "paligemma"
        columns = [
            [c for c in np.flatnonzero(row) if one[c] != image_token] for row, one in zip(real, ids, strict=True)
        ]
        width = max(map(len, columns))

        def rows(values: np.ndarray) -> np.ndarray:
            padded = np.zeros((len(ids), width), np.int32)
            for row, (one, chosen) in enumerate(zip(values, columns, strict=True)):
                padded[row, : len(chosen)] = one[chosen]
            return padded

        first = [min(np.flatnonzero(one == image_token), default=0) for one in ids]
        places = [[sum(c < start for c in chosen)] for chosen, start in zip(columns, first, strict=True)]
        if self.spec.img is None:
            image = np.zeros((len(ids), 0, self.spec.llm.width), np.float32)
            places = np.zeros((len(ids), 0), np.int32)
        else:
            image = self.values[f"{prefix}/pixel_values"].transpose(0, 2, 3, 1)
        text = Text(rows(ids), rows(np.ones_like(ids) if causal else kinds), rows(real), np.array(places, np.int32))
        return Inputs(image, text, [list(map(int, chosen)) for chosen in columns])


def load(name: str, values: str | None = None) -> HfGolden:
    """A folder by its name; `values` is the folder whose expected values it has, if not its own."""
    checkpoint = TransformersCheckpoint(FOLDER / name)
    params = {path: np.asarray(checkpoint[path]) for path in checkpoint}
    with np.load(FOLDER / (values or name) / "expected.npz") as file:
        expected = {key: file[key] for key in file.files}
    config = json.loads((FOLDER / name / "config.json").read_text())
    return HfGolden(name, checkpoint.spec, params, config, expected)


def shieldgemma2(folder: Path) -> HfGolden:
    """A ShieldGemma 2 written to a folder: gemma3_vision in the class that answers with two of its logits.

    Source of the names: `modeling_shieldgemma2.py` of transformers, where the whole Gemma 3 is called `model`.
    """
    golden = load("gemma3_vision")
    config = {
        **golden.config,
        "architectures": ["ShieldGemma2ForImageClassification"],
        "model_type": "shieldgemma2",
        "no_token_index": 37,
        "yes_token_index": 73,
    }
    tensors = safetensors.numpy.load_file(FOLDER / "gemma3_vision" / "model.safetensors")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.numpy.save_file(
        {f"model.{name}": array for name, array in tensors.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    checkpoint = TransformersCheckpoint(folder)
    params = {path: np.asarray(checkpoint[path]) for path in checkpoint}
    return golden._replace(name="shieldgemma2", spec=checkpoint.spec, params=params, config=config)


def aligned(golden: HfGolden, inputs: Inputs, ours: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Our logits and transformers', of the tokens of the text: float32[tokens, V] each."""
    theirs = golden.values["logits"]
    pairs = [
        (np.asarray(ours)[row, place], theirs[row, column])
        for row, chosen in enumerate(inputs.columns)
        for place, column in enumerate(chosen)
    ]
    return np.stack([one for one, _ in pairs]), np.stack([one for _, one in pairs])
