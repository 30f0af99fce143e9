"""One pass of learning: batches in a seeded order, a schedule, and an end when the loss goes astray."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from palitune import config as configuration
from palitune import trees
from palitune.data import batches
from palitune.data.pictures import Pictures
from palitune.data.records import Record
from palitune.data.tokens import Tokenizer
from palitune.errors import DivergedError
from palitune.models.variants import PaliGemmaConfig
from palitune.train import optimizers, schedule
from palitune.train.step import make_step

HOPELESS_LOSS = 100.0  # a healthy run starts far below; what rises above does not come back
ADVICE = "Run it again with another --seed, or halve the --learning-rate"
LINES = 8  # printed in a pass

Progress = Callable[[int, int, float, float], None]  # step, steps, learning rate, loss


def training_batches(
    records: Sequence[Record], tokenizer: Tokenizer, pictures: Pictures, config: Any, steps: int, name: str
) -> Iterator[batches.Batch]:
    """`steps` batches of records in an order that depends on the seed and on the pass's name."""
    texts = [tokenizer.example(record.prefix or config.prompt, record.suffix) for record in records]
    longest = max(len(text.ids) - text.suffix_start for text in texts)
    rng = configuration.generator(config.seed, "order", name)
    indices = batches.order(len(records), steps * config.batch_size, rng)
    for _ in range(steps):
        chosen = [next(indices) for _ in range(config.batch_size)]
        images = np.stack([pictures(records[i].image, records[i].where) for i in chosen])
        yield batches.training(images, [texts[i] for i in chosen], longest)


def learn(
    sizes: PaliGemmaConfig,
    params: Mapping[str, Any],
    feed: Iterator[batches.Batch],
    *,
    method: str,
    steps: int,
    learning_rate: float,
    dtype: Any,
    progress: Progress,
) -> dict[str, Any]:
    """Returns new flat parameters; those that do not learn are the same arrays as before.

    Raises:
      DivergedError: the loss was not finite, or above `HOPELESS_LOSS`.
    """
    chosen, frozen = trees.split(params, optimizers.TRAINABLE[method])
    # Copies, because the step gives its inputs' memory to its outputs and the caller's arrays must survive.
    trainable: Any = {path: jnp.array(array, jnp.float32, copy=True) for path, array in chosen.items()}
    rate = schedule.cosine(steps, learning_rate)
    optimizer = optimizers.sgd(rate)
    state = optimizer.init(trainable)
    update = make_step(sizes, optimizer, dtype)
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
    if not all(bool(jnp.isfinite(array).all()) for array in trainable.values()):
        raise DivergedError(f"learning diverged at its last step, {steps}", hint=ADVICE)
    return {**trainable, **frozen}


def is_line_due(step: int, steps: int) -> bool:
    """Whether a step's line is printed: eight times in a pass, as people's scripts expect."""
    return step % max(1, steps // LINES) == 0


def line(step: int, steps: int, learning_rate: float, loss: float) -> str:
    """`step: 32/256   lr: 0.02995   loss: 0.3417`, which people's scripts parse."""
    return f"step: {step}/{steps}   lr: {learning_rate:.5f}   loss: {loss:.4f}"
