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


def learning() -> ml_collections.ConfigDict:
    """The configuration of learning, with its defaults."""
    config = ml_collections.ConfigDict()
    config.method = "attention"  # which parameters learn: train/optimizers.py
    config.examples = 512  # training examples shown in a pass; records come again as often as that takes
    config.batch_size = 2
    config.learning_rate = 0.03
    config.second_pass = False
    config.second_pass_scale = 0.1  # the second pass only settles what the first found
    config.prompt = PROMPT  # where a record's prefix is empty
    config.dtype = "auto"  # of the computation; bfloat16 where the device has it
    config.seed = 0
    config.lock()
    return config


def generator(seed: int, *names: object) -> "np.random.Generator":
    """NumPy's generator for one purpose: a seed and names give the same numbers again, other names independent ones."""
    import numpy as np

    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
