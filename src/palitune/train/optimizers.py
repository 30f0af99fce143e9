"""Which parameters learn, and by which rule."""

from collections.abc import Callable
from typing import Any

import optax

from palitune.trees import Rules

# What each method trains. Attention alone is a twentieth of the model and enough to turn what it knows to a new use.
TRAINABLE = {
    "attention": Rules([(r"llm/layers/attn/.*", True), (r"llm/.*", False), (r"img/.*", False)]),
    "full": Rules([(r"(llm|img)/.*", True)]),
}


def sgd(schedule: Callable[[Any], Any]) -> optax.GradientTransformation:
    """Plain stochastic gradient descent; `schedule` takes steps counted from 1, optax counts from 0."""
    return optax.sgd(lambda count: schedule(count + 1))
