"""The learning rate at each step, steps counted from 1."""

from collections.abc import Callable
from typing import Any

import optax

WARMUP = 0.1  # share of all steps


def warmup_steps(steps: int) -> int:
    """A tenth of `steps + 1`, rounded to the nearest whole step, at least one (big_vision's `utils.steps`)."""
    return max(1, round(WARMUP * (steps + 1)))


def cosine(steps: int, base: float) -> Callable[[Any], Any]:
    """Linear warm-up over a tenth of the steps to `base`, then half a cosine down to nothing.

    The whole is `steps + 1` long and the first step is number 1, as in big_vision's PaliGemma notebook.
    """
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0, peak_value=base, warmup_steps=warmup_steps(steps), decay_steps=steps + 1
    )
