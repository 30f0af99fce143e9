"""The settings of an adapter in PEFT's form, `adapter_config.json`, which is untrusted.

Settings that change what is computed, and that are not computed here, are refused by name; so is a setting that is not
known, unless it is off. Which linear layers a setting is for is said by expressions over their names, as PEFT
(`tuners/tuners_utils.py`, check_target_module_exists, and `utils/other.py`, get_pattern_key) has it.
"""

import math
from pathlib import Path
from typing import NamedTuple

from palitune import path_patterns
from palitune.checkpoint import json_files
from palitune.checkpoint.json_settings import Settings
from palitune.checkpoint.tensor_files import INDEX, WHOLE
from palitune.errors import BadDataError, ConfigurationError, listed
from palitune.path_patterns import Pattern

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
MOST_PATTERNS = 2_000  # of ranks, and of alphas; one for each linear layer of the largest model is 434
MOST_TARGETS = 10_000
MOST_LAYERS = 1_000
LONGEST_NAME = 1_000  # characters of the base's name, as in a manifest
LARGEST_RANK = 1 << 16
EVERY_LAYER = "all-linear"  # in place of an expression
# What settings mean that are not computed, where they are on.
NOT_COMPUTED = {
    "alora_invocation_tokens": "adapters that only some tokens use (aLoRA)",
    "arrow_config": "adapters chosen token by token (Arrow)",
    "fan_in_fan_out": "weights with inputs and outputs swapped",
    "kasa_config": "singular values beside the factors (KaSA)",
    "layer_replication": "layers that are used several times",
    "lora_bias": "biases beside the factors",
    "megatron_config": "Megatron's layers",
    "modules_to_save": "whole layers that were trained beside the adapters",
    "monteclora_config": "sampled adapters (MonteCLoRA)",
    "target_parameters": "adapters of parameters that are no linear layer's weight",
    "trainable_token_indices": "tokens that were trained in the embedding table",
    "use_bdlora": "factors in blocks (BD-LoRA)",
    "use_dora": "magnitudes beside the factors (DoRA)",
    "use_qalora": "inputs in groups (QA-LoRA)",
}
# These change nothing of what is computed with the factors that the file has.
WITHOUT_EFFECT = frozenset(
    {
        *("auto_mapping", "inference_mode", "lora_dropout", "peft_version", "revision", "task_type", "runtime_config"),
        *("corda_config", "eva_config", "loftq_config", "lora_ga_config", "velora_config"),
        *("ensure_weight_tying", "megatron_core", "qalora_group_size"),
    }
)
READ = frozenset(
    {
        *("base_model_name_or_path", "bias", "init_lora_weights", "peft_type", "r", "lora_alpha", "use_rslora"),
        *("rank_pattern", "alpha_pattern", "target_modules", "exclude_modules"),
        *("layers_to_transform", "layers_pattern"),
    }
)
# Others change the base's weights when they begin, so that the factors are not for the base as it is.
STARTS = (None, True, False, "gaussian", "eva", "orthogonal", "mica")
MERGE = "Merge it into its base with PEFT (merge_and_unload, save_pretrained), and name the model that comes of it"


class Targets(NamedTuple):
    """Which linear layers are meant, by their names: an expression over whole names, or the ends of names."""

    expression: Pattern | None
    ends: frozenset[str]

    def has(self, name: str) -> bool:
        """Whether a linear layer is among them."""
        if self.expression is not None:
            return self.expression.matches(name)
        parts = name.split(".")
        return any(".".join(parts[start:]) in self.ends for start in range(len(parts)))


class Patterns(NamedTuple):
    """Values of some linear layers, by expressions over the ends of their names, the first of which decides."""

    values: tuple[tuple[Pattern, float], ...]
    usual: float

    def __call__(self, name: str) -> float:
        """The value of a linear layer."""
        return next((value for pattern, value in self.values if pattern.matches(name)), self.usual)


class PeftConfig(NamedTuple):
    """The settings of one adapter.

    Attributes:
      base: what its base is called, or where it was; None if it does not say.
      targets, excluded: linear layers that have an adapter, and that have none all the same; None where they are
        named by an expression that cannot be followed in a time that is known.
      layers: the numbers of the layers that have adapters; None is all.
    """

    base: str | None
    rank: Patterns
    alpha: Patterns
    rslora: bool
    targets: Targets | None
    excluded: Targets | None
    layers: frozenset[int] | None

    def scale(self, name: str) -> float:
        """What the product of a linear layer's factors is multiplied by."""
        rank = self.rank(name)
        return self.alpha(name) / (math.sqrt(rank) if self.rslora else rank)

    def has(self, name: str, layer: int) -> bool | None:
        """Whether a linear layer has an adapter; None where that cannot be told."""
        if self.targets is None or self.excluded is None:
            return None
        if self.layers is not None and layer not in self.layers:
            return False
        return self.targets.has(name) and not self.excluded.has(name)


def is_adapter(path: Path) -> bool:
    """Whether a path is a folder with such an adapter, or its safetensors file; it may be damaged still.

    A folder with a whole model is one only if the adapter's weights are there too.
    """
    try:
        if path.is_dir():
            there = {name for name in (CONFIG, WEIGHTS, PICKLE, WHOLE, INDEX) if (path / name).is_file()}
            return WEIGHTS in there or (bool(there) and not there & {WHOLE, INDEX})
        return path.name in (WEIGHTS, PICKLE) and path.is_file()
    except (OSError, ValueError):  # no name that a file could have
        return False


def read(path: Path) -> PeftConfig:
    """The settings in a file.

    Raises:
      MissingInputError: there is no such file.
      BadDataError: it is something else, or a value is of the wrong kind.
      ConfigurationError: it has settings that are not computed.
    """
    hint = f"Put the adapter's {CONFIG} beside its weights: it says what they are for"
    settings = Settings(json_files.read_object(path, f"an {CONFIG} of PEFT", hint), str(path))
    _refuse_not_computed(settings)
    values = settings.values
    base = values.get("base_model_name_or_path") or None
    if base is not None and not (isinstance(base, str) and len(base) < LONGEST_NAME and "\0" not in base):
        raise settings.wrong("base_model_name_or_path", "a name")
    rank, alpha = float(settings.size("r", LARGEST_RANK)), settings.number("lora_alpha")
    return PeftConfig(
        base,
        Patterns(_patterns(settings, "rank_pattern"), rank),
        Patterns(_patterns(settings, "alpha_pattern"), alpha),
        settings.flag("use_rslora"),
        _targets(settings, "target_modules"),
        _targets(settings, "exclude_modules"),
        _layers(settings),
    )


def _refuse_not_computed(settings: Settings) -> None:
    """Raises ConfigurationError that names everything that is not computed."""
    if (kind := settings.text("peft_type")) != "LORA":
        what = f"it is of PEFT's kind {kind[:40]}, and what can be read is LORA"
        raise ConfigurationError(what, where=settings.where, hint=MERGE)
    on = {key: value for key, value in settings.values.items() if value not in (None, False, 0, "", [], {})}
    problems = [f"{key}, {NOT_COMPUTED[key]}" for key in on if key in NOT_COMPUTED]
    if settings.values.get("bias", "none") not in (None, "none"):
        problems.append("bias, biases that were trained beside the adapters")
    if (start := settings.values.get("init_lora_weights")) not in STARTS:
        problems.append(f"init_lora_weights {str(start)[:40]}, which begins by changing the base's weights")
    known = {*NOT_COMPUTED, *WITHOUT_EFFECT, *READ}
    problems += [f"{key[:40]}, which is not known" for key in on if key not in known]
    if problems:
        what = f"it has settings that are not computed: {listed(problems, '; ')}"
        raise ConfigurationError(what, where=settings.where, hint=MERGE)


def _targets(settings: Settings, key: str) -> Targets | None:
    """The linear layers that a setting names; None where its expression cannot be followed."""
    value = settings[key]
    if value is None or value == EVERY_LAYER:
        return Targets(path_patterns.compiled(".*") if value else None, frozenset())
    if not isinstance(value, str):
        return Targets(None, frozenset(settings.texts(key, MOST_TARGETS)))
    try:
        return Targets(Pattern(value), frozenset())
    except ValueError:
        return None


def _patterns(settings: Settings, key: str) -> tuple[tuple[Pattern, float], ...]:
    part = settings.part(key)
    if len(part.values) > MOST_PATTERNS:
        raise BadDataError(f"{key} has more than {MOST_PATTERNS:,} entries", where=settings.where)
    found = []
    for name in part.values:
        try:
            pattern = Pattern(rf"(.*\.)?({name})")
        except ValueError as error:
            what = f"{key} has an expression that cannot be followed: {name[:60]} ({str(error)[:100]})"
            raise ConfigurationError(what, where=settings.where, hint=MERGE) from None
        ranks = key == "rank_pattern"
        found.append((pattern, float(part.size(name, LARGEST_RANK) if ranks else part.number(name))))
    return tuple(found)


def _layers(settings: Settings) -> frozenset[int] | None:
    """The numbers of layers in `layers_to_transform`, which counts beside a list of targets only."""
    value = settings["layers_to_transform"]
    if value is None or value == [] or isinstance(settings["target_modules"], str):
        return None
    given: list[object] = value if isinstance(value, list) else [value]
    found = [one for one in given if isinstance(one, int) and not isinstance(one, bool)]
    if len(found) < len(given) or len(given) > MOST_LAYERS:
        raise settings.wrong("layers_to_transform", "numbers of layers")
    patterns = settings["layers_pattern"]
    named = (patterns,) if isinstance(patterns, str) and patterns else settings.texts("layers_pattern", 100)
    return frozenset(found) if not named or any(one.endswith("layers") for one in named) else frozenset()
