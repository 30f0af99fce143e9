"""LoRA adapters as PEFT has them: `adapter_config.json` and `adapter_model.safetensors`.

Tensors are named as in transformers since 4.52, which PEFT and vLLM read. Ranks and alphas that are not the same
everywhere are in `rank_pattern` and `alpha_pattern`, by PEFT's rules; vLLM knows neither.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from palitune.checkpoint import tensor_writer
from palitune.checkpoint.peft_config import CONFIG, WEIGHTS
from palitune.checkpoint.peft_modules import ROOT, A, B, Module, module_name, modules
from palitune.checkpoint.store import Array
from palitune.checkpoint.tensor_writer import TensorSource
from palitune.errors import ConfigurationError, OutputExistsError, listed
from palitune.models import lora
from palitune.models.spec import SHIELDGEMMA, ModelSpec
from palitune.storage import atomic_files

Value = TypeVar("Value", int, float)


def write(folder: Path, spec: ModelSpec, adapters: Mapping[str, Array], base_name: str) -> list[Path]:
    """Writes adapters into a folder, in the dtype they have. If it fails, neither file is there.

    Args:
      adapters: by our paths: both factors and the alpha of every weight that has an adapter, and nothing else.
      base_name: what the base is called on Hugging Face, or where it is.

    Returns:
      The paths of what was written.

    Raises:
      ConfigurationError: something else than adapters of this model is among them, or they lack a part.
      OutputExistsError: the folder already has an adapter.
      StorageError: there is no room, or a file cannot be written.
    """
    chosen = _chosen(spec, adapters)
    config, weights = folder / CONFIG, folder / WEIGHTS
    if there := [path.name for path in (config, weights) if path.exists()]:
        hint = "Remove them, or name another folder"
        raise OutputExistsError(f"it already has {listed(there)}", where=str(folder), hint=hint)
    tensor_writer.write(weights, _tensors(spec, adapters, chosen))
    try:
        content = _config(spec, adapters, chosen, base_name)
        atomic_files.write(config, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    except BaseException:
        weights.unlink(missing_ok=True)
        raise
    return [config, weights]


def _chosen(spec: ModelSpec, adapters: Mapping[str, Array]) -> dict[str, Module]:
    """The linear layers with an adapter, by their plain names."""
    found = modules(spec)
    weights = {module.path for module in found.values()}
    left = [path for path in adapters if not lora.is_adapter(path)]
    left += [path for path in lora.adapted(adapters) if path not in weights]
    if left:
        raise ConfigurationError(
            f"PEFT's form has no place for {listed(left)}, only for adapters of the model's layers"
        )
    parts = [path + part for path in lora.adapted(adapters) for part in (lora.A, lora.B, lora.ALPHA)]
    if missing := [part for part in parts if part not in adapters]:
        raise ConfigurationError(f"adapters are not complete: {listed(missing)} is missing")
    if not parts:
        raise ConfigurationError("there is no adapter to write")
    return {name: module for name, module in found.items() if module.path + lora.A in adapters}


def _tensors(spec: ModelSpec, adapters: Mapping[str, Array], chosen: Mapping[str, Module]) -> dict[str, TensorSource]:
    found: dict[str, TensorSource] = {}
    for plain, module in chosen.items():
        name = ROOT + module_name(plain, spec)
        found[name + A] = TensorSource.of(module.their_a(adapters[module.path + lora.A]))
        found[name + B] = TensorSource.of(module.their_b(adapters[module.path + lora.B]))
    return found


def _config(
    spec: ModelSpec, adapters: Mapping[str, Array], chosen: Mapping[str, Module], base_name: str
) -> dict[str, object]:
    ranks = {name: int(adapters[module.path + lora.A].shape[-1]) for name, module in chosen.items()}
    alphas = {name: _number(adapters[module.path + lora.ALPHA][module.layer]) for name, module in chosen.items()}
    rank, alpha = (Counter(values.values()).most_common(1)[0][0] for values in (ranks, alphas))
    guards = spec.template == SHIELDGEMMA
    their_class = {
        "base_model_class": "ShieldGemma2ForImageClassification",
        "parent_library": "transformers.models.shieldgemma2.modeling_shieldgemma2",
    }
    return {
        "alpha_pattern": _pattern(alphas, alpha),
        "auto_mapping": their_class if guards else None,
        "base_model_name_or_path": base_name,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "layers_pattern": None,
        "layers_to_transform": None,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": _pattern(ranks, rank),
        "revision": None,
        "target_modules": _targets(spec, chosen),
        "task_type": None if guards else "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }


def _targets(spec: ModelSpec, chosen: Mapping[str, Module]) -> list[str] | str:
    """Names of linear layers; with images an expression, because the image encoder has layers of the same names."""
    names = sorted({_last(name) for name in chosen})
    return names if spec.img is None else rf".*language_model.*\.({'|'.join(names)})"


def _pattern(values: Mapping[str, Value], usual: Value) -> dict[str, Value]:
    """Values other than the usual one, by what PEFT finds them by: the end of a name, as a regular expression."""
    found: dict[str, Value] = {}
    for last in sorted({_last(name) for name in values}):
        own = {name: value for name, value in values.items() if _last(name) == last}
        if len(set(own.values())) == 1:
            own = {last: next(iter(own.values()))}
        found |= {re.escape(name): value for name, value in own.items() if value != usual}
    return found


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _number(value: np.generic) -> float:
    """An alpha as JSON has it, a whole number where it is one."""
    found = float(value)
    return int(found) if found.is_integer() else found
