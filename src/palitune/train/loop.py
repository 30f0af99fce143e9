"""One pass of learning: batches in a seeded order, a schedule, and an end when the loss goes astray."""

import math
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palitune import config as configuration
from palitune import trees
from palitune.data import batches
from palitune.data.records import Record
from palitune.data.tokens import Text, Tokenizer
from palitune.errors import DivergedError
from palitune.train import optimizers, schedule
from palitune.train.step import Options, Step, init_state

HOPELESS_LOSS = 100.0  # a healthy run starts far below; what rises above does not come back
ADVICE = "Run it again with another --seed, or halve the --learning-rate"
LINES = 8  # printed in a pass

Progress = Callable[[int, int, float, float], None]  # step, steps, learning rate, loss
Pictures = Callable[[Path, str | None], np.ndarray[Any, Any]]  # what a batch takes for a picture's file


def steps_of(config: Any) -> int:
    """Updates in a pass."""
    return int(config.examples // (config.batch_size * config.accumulate))


def examples_of(records: Sequence[Record], tokenizer: Tokenizer, prompt: str) -> list[Text]:
    """Prompts and answers as tokens."""
    return [tokenizer.example(record.prefix or prompt, record.suffix) for record in records]


def training_batches(
    records: Sequence[Record], texts: Sequence[Text], pictures: Pictures, config: Any, name: str
) -> Iterator[batches.Batch]:
    """A pass's batches, in an order that depends on the seed and on the pass's name."""
    steps, size = steps_of(config), config.batch_size * config.accumulate
    _, longest = batches.longest(texts)
    rng = configuration.generator(config.seed, "order", name)
    indices = batches.order(len(records), steps * size, rng)
    for _ in range(steps):
        chosen = [next(indices) for _ in range(size)]
        images = np.stack([pictures(records[i].image, records[i].where) for i in chosen])
        batch = batches.training(images, [texts[i] for i in chosen], longest)
        yield batches.split(batch, config.accumulate) if config.accumulate > 1 else batch


def learn(
    params: MutableMapping[str, Any],
    feed: Iterator[batches.Batch],
    update: Step,
    transform: Any,
    options: Options,
    *,
    config: Any,
    learning_rate: float,
    weights_dtype: Any,
    progress: Progress,
) -> dict[str, Any]:
    """Returns new flat parameters; those that do not learn are the same arrays as before.

    Args:
      params: flat; taken over and emptied, because what learns cannot be in memory twice.
      update: the step that `step.make_step` made of `transform` and `options`.
      weights_dtype: of what learns.

    Raises:
      DivergedError: the loss was not finite, or above `HOPELESS_LOSS`.
    """
    steps = steps_of(config)
    rate = schedule.make(config.schedule, steps, learning_rate, config.warmup)
    chosen, frozen = trees.split(params, optimizers.TRAINABLE[config.method])
    params.clear()
    # The step gives its inputs' memory to its outputs. On a CPU that memory may be the checkpoint's file.
    place: Any = jnp.array if jax.default_backend() == "cpu" else jnp.asarray
    trainable: Any = {}
    for path in list(chosen):
        trainable[path] = place(chosen.pop(path), weights_dtype)
    state = init_state(transform, trainable, options, learning_rate)
    for number, batch in zip(range(1, steps + 1), feed, strict=True):
        trainable, state, loss = update(trainable, state, frozen, batch)
        value = float(loss)
        if not math.isfinite(value) or value > HOPELESS_LOSS:
            raise DivergedError(
                f"learning diverged at step {number} of {steps} (loss {value:.4g})",
                hint=ADVICE,
            )
        progress(number, steps, float(rate(number)), value)
    # The loss is that before an update, so nothing has looked at what the last one made.
    if not all(is_finite(array) for array in trainable.values()):
        raise DivergedError(f"learning diverged at its last step, {steps}", hint=ADVICE)
    return {**state.get("ema", trainable), **frozen}


@jax.jit
def _all_finite(array: jax.Array) -> jax.Array:
    return jnp.isfinite(array).all()


def is_finite(array: jax.Array) -> bool:
    """Whether every number is; compiled, because on its own `isfinite` makes an array half as large."""
    return bool(_all_finite(array))


def is_line_due(step: int, steps: int) -> bool:
    """Whether a step's line is printed: eight times in a pass, as people's scripts expect."""
    return step % max(1, steps // LINES) == 0


def line(step: int, steps: int, learning_rate: float, loss: float) -> str:
    """`step: 32/256   lr: 0.02995   loss: 0.3417`, which people's scripts parse."""
    return f"step: {step}/{steps}   lr: {learning_rate:.5f}   loss: {loss:.4f}"
