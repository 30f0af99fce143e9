"""A run's configuration and its randomness.

One locked `ml_collections.ConfigDict` says everything that a run depends on beside its data and its base weights, and
is stored with what the run made.
"""

import hashlib
from typing import TYPE_CHECKING

import ml_collections

if TYPE_CHECKING:
    import numpy as np

PROMPT = "Is this image appropriate based on Federal Food, Drug, and Cosmetic Act?"


# What a method needs beside its name: full fine-tuning moves everything at once, adapters start from nothing.
RECIPES: dict[str, dict[str, object]] = {
    "attention": {},
    "full": {"learning_rate": 0.01},
    "lora": {"optimizer": "adamw", "learning_rate": 0.003},
}


def learning(method: str = "attention") -> ml_collections.ConfigDict:
    """The configuration of learning, with a method's defaults."""
    config = ml_collections.ConfigDict()
    config.method = method  # which parameters learn: train/optimizers.py
    config.examples = 512  # training examples shown in a pass; records come again as often as that takes
    config.batch_size = 2
    config.accumulate = 1  # batches to one update
    config.optimizer = "sgd"
    config.learning_rate = 0.03
    config.schedule = "cosine"
    config.warmup = 0.1  # share of the steps
    config.weight_decay = ()  # (regular expression over parameter paths, decay), the first that matches counts
    config.learning_rate_scale = ()  # likewise, (expression, factor)
    config.clip_tensor = 0.0  # largest norm of one tensor's gradient; 0 is none
    config.clip_global = 0.0  # largest norm of all gradients together; 0 is none
    config.ema = 0.0  # decay of the moving average of what learns, which is what is kept; 0 is none
    config.lora_rank = 16
    config.lora_alpha = 16.0
    config.lora_targets = r"llm/layers/(attn/.*/w|mlp/(gating_einsum|linear))"
    config.weights = "auto"  # dtype of what `full` trains; auto is that of the computation
    config.vocabulary_chunks = 1  # pieces in which the vocabulary goes by in the loss
    config.keep = -1  # megabytes of activations that are kept instead of computed twice; -1 is what fits
    config.second_pass = False
    config.second_pass_scale = 0.1  # the second pass only settles what the first found
    config.prompt = PROMPT  # where a record's prefix is empty
    config.dtype = "auto"  # of the computation; bfloat16 where the device has it
    config.seed = 0
    config.update(RECIPES[method])
    config.lock()
    return config


def generator(seed: int, *names: object) -> "np.random.Generator":
    """NumPy's generator for one purpose: a seed and names give the same numbers again, other names independent ones."""
    import numpy as np

    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
