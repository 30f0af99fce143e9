"""The learning rate at each step, steps counted from 1."""

import optax

from palitune.errors import ConfigurationError

WARMUP = 0.1  # share of all steps
NAMES = ("cosine", "linear", "constant")


def warmup_steps(steps: int, warmup: float = WARMUP) -> int:
    """A share of `steps + 1`, rounded to the nearest whole step, at least one (big_vision's `utils.steps`).

    A share of 0 is not a warm-up.
    """
    return max(1, round(warmup * (steps + 1))) if warmup else 0


def make(name: str, steps: int, base: float, warmup: float = WARMUP) -> optax.Schedule:
    """Linear warm-up over a share of the steps to `base`, then one of `NAMES`.

    "cosine" is half a cosine down to nothing, "linear" a straight line there, "constant" stays. The whole is
    `steps + 1` long and the first step is number 1, as in big_vision's PaliGemma notebook.
    """
    rising = warmup_steps(steps, warmup)
    falling = max(1, steps + 1 - rising)
    after = {
        "cosine": optax.cosine_decay_schedule(base, falling),
        "linear": optax.linear_schedule(base, 0.0, falling),
        "constant": optax.constant_schedule(base),
    }
    if name not in after:
        raise ConfigurationError(f"no schedule {name!r}", hint=f"There are: {', '.join(NAMES)}")
    if not rising:
        return after[name]
    return optax.join_schedules([optax.linear_schedule(0.0, base, rising), after[name]], [rising])
