"""How a step goes about its work, and what it tells."""

import dataclasses
from typing import NamedTuple

import jax

from palitune.errors import ConfigurationError
from palitune.method import Method


class Outcome(NamedTuple):
    """What a step saw; the loss and the accuracy are those before its update."""

    loss: jax.Array  # float32[]
    accuracy: jax.Array  # float32[]: share of the answers' tokens that were the likeliest ones
    finite: jax.Array  # bool[]: the loss and every gradient were numbers; where they were not nothing was updated


@dataclasses.dataclass(frozen=True)
class Options:
    """What a step computes, and how: the result does not depend on the last five, but for the noise of rounding.

    Raises:
      ConfigurationError: on options that exclude each other.
    """

    accumulate: int = 1  # batches whose mean gradient makes one update
    clip_global: float | None = None  # largest norm of all gradients together
    ema: float | None = None  # decay of the moving average of the trainable parameters
    label_smoothing: float = 0.0  # objective.token_losses
    lora_dropout: float = 0.0  # share of an adapter's inputs that are left out
    offload: bool = False  # the optimizer's moments are in the host's memory: optimizers.init
    elementwise: bool = False  # the rule treats every number by itself: optimizers.update_in_pieces
    layerwise: bool = True  # update layer by layer in the backward pass, where that can be
    chunks: int = 1  # pieces in which the vocabulary goes by: objective.token_losses
    kept_layers: int = 0  # layers that keep activations: layerwise.make_update

    def whole_gradient(self) -> list[str]:
        """Options for which all gradients have to be there before the first update."""
        return [
            name for name, used in (("--accumulate", self.accumulate > 1), ("--clip-global", self.clip_global)) if used
        ]


def check(options: Options, method: Method) -> None:
    """Raises ConfigurationError where a method cannot do what the options ask."""
    if not method.holds_whole_gradient and (names := options.whole_gradient()):
        raise ConfigurationError(
            f"--method {method.name} cannot take {' and '.join(names)}: it updates each layer as soon as its gradient "
            "is known and never holds the gradients of the whole model, which would double the memory",
            hint=f"Use --clip-tensor, a larger --batch-size, or --method {' or '.join(method.smaller)}",
        )
