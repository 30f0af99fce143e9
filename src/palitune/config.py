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
MAX_PIXELS = 64_000_000  # of a picture: what a telephone takes, and no more memory than decoding may have


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
    config.lora_dropout = 0.0  # share of the adapters' inputs that are left out
    config.label_smoothing = 0.0  # share of each target that goes evenly to the whole vocabulary
    config.weights = "auto"  # dtype of what `full` trains; auto is that of the computation
    config.vocabulary_chunks = 1  # pieces in which the vocabulary goes by in the loss
    config.keep = -1  # megabytes of activations that are kept instead of computed twice; -1 is what fits
    config.balance = "none"  # weights: each label counts the same in the loss; sample: each is shown as often
    config.augment = ()  # how training pictures are changed: flip, crop, color
    config.second_pass = False
    config.second_learning_rate = 0.0  # 0 is a tenth of the first: the second pass settles what that one found
    config.evaluate_every = (
        0  # steps between evaluations; 0 is up to eight in a pass, as the validation set's size allows
    )
    config.patience = 0  # evaluations without a better one after which a pass ends; 0 is never
    config.second_patience = -1  # likewise of the second pass; -1 is as the first
    config.select = "loss"  # which evaluation is the best
    config.attempts = 3  # at a pass, when learning diverges
    config.frames = "middle"  # of an animated picture: first, middle, last or a number from 0
    config.max_pixels = MAX_PIXELS  # of a picture; larger ones are refused
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
