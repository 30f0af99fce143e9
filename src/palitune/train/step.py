"""One update: loss, gradients of the trainable parameters alone, optimizer."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from palitune import trees
from palitune.data.batches import Batch
from palitune.errors import ConfigurationError
from palitune.models.variants import PaliGemmaConfig
from palitune.train import layerwise, objective, optimizers, schedule

Flat = Mapping[str, Any]
State = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Options:
    """How a step goes about its work; what it computes does not depend on the last three.

    Raises:
      ConfigurationError: on options that exclude each other.
    """

    accumulate: int = 1  # batches whose mean gradient makes one update
    clip_global: float | None = None  # largest norm of all gradients together
    ema: float | None = None  # decay of the moving average of the trainable parameters
    seed: int = 0  # of stochastic rounding
    layerwise: bool = True  # update layer by layer in the backward pass, where that can be
    chunks: int = 1  # pieces in which the vocabulary goes by: objective.token_losses
    kept_layers: int = 0  # layers that keep activations: layerwise.make_update

    def whole_gradient(self) -> list[str]:
        """Options for which all gradients have to be there before the first update."""
        return [
            name for name, used in (("--accumulate", self.accumulate > 1), ("--clip-global", self.clip_global)) if used
        ]


def check(options: Options, method: str) -> None:
    """Raises ConfigurationError where a method cannot do what the options ask."""
    if method == "full" and (names := options.whole_gradient()):
        raise ConfigurationError(
            f"--method full cannot take {' and '.join(names)}: it updates each layer as soon as its gradient is known "
            "and never holds the gradients of the whole model, which would double the memory",
            hint="Use --clip-tensor, a larger --batch-size, or --method lora or attention",
        )


def configured(config: Any, steps: int, kept_layers: int) -> tuple[optax.GradientTransformation, Options]:
    """The rule and the options that a run's configuration (`config.learning`) asks for, for a learning rate of 1.

    Raises:
      ConfigurationError: on an unknown name, and on what the method cannot do.
    """
    options = Options(
        accumulate=config.accumulate,
        clip_global=config.clip_global or None,
        ema=config.ema or None,
        seed=config.seed,
        chunks=config.vocabulary_chunks,
        kept_layers=kept_layers,
    )
    check(options, config.method)
    return optimizers.make(config, schedule.make(config.schedule, steps, 1.0, config.warmup)), options


def resident_dtype(stored: Any, computation: Any) -> Any:
    """The dtype in which what does not learn stays on the device: as stored, but bfloat16 where that is computed in."""
    stored = jnp.dtype(stored).newbyteorder("=")
    return jnp.dtype(jnp.bfloat16) if stored == jnp.float16 and computation == jnp.bfloat16 else stored


def weights_dtype(config: Any, dtype: Any) -> Any:
    """The dtype of what learns: float32, but 16 bit for `full` where the computation is, unless `weights` says else."""
    if config.method != "full":
        return jnp.dtype(jnp.float32)
    return jnp.dtype(dtype if config.weights == "auto" else config.weights)


def init_state(
    transform: optax.GradientTransformation, trainable: Flat, options: Options, learning_rate: float = 1.0
) -> State:
    """A run's state beside its parameters: how many updates it has made, the rule's state, the moving average.

    The learning rate multiplies the rule's own schedule; it is here so that one program serves all rates.
    """
    state: State = {
        "count": jnp.zeros((), jnp.int32),
        "learning_rate": jnp.float32(learning_rate),
        "optimizer": optimizers.init(transform, trainable),
    }
    if options.ema is not None:
        # A copy: the step donates parameters and state, and one buffer cannot be given away twice.
        state["ema"] = {path: jnp.array(leaf, jnp.float32, copy=True) for path, leaf in trainable.items()}
    return state


class Step:
    """`step(trainable, state, frozen, batch) -> (trainable, state, loss)`, compiled once for each shape of batch.

    Parameters are flat dicts by path. The trainable ones and the state (`init_state`) are donated: the caller's are
    gone after the call. With `accumulate` every array of the batch has that many batches on a new first axis. The loss
    is that before the update.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.jitted = jax.jit(function, donate_argnums=(0, 1))
        self.programs: dict[tuple[Any, ...], Any] = {}

    def compile(self, *arguments: Any) -> Any:
        """The program (`jax.stages.Compiled`) for arguments like these; their shapes and dtypes are enough."""
        shapes = tuple((leaf.shape, str(leaf.dtype)) for leaf in arguments[-1])
        if shapes not in self.programs:
            self.programs[shapes] = self.jitted.lower(*arguments).compile()
        return self.programs[shapes]

    def __call__(
        self, trainable: Flat, state: State, frozen: Flat, batch: Batch
    ) -> tuple[dict[str, Any], State, jax.Array]:
        result: tuple[dict[str, Any], State, jax.Array] = self.compile(trainable, state, frozen, batch)(
            trainable, state, frozen, batch
        )
        return result


def make_step(
    config: PaliGemmaConfig,
    transform: optax.GradientTransformation,
    dtype: Any = jnp.float32,
    options: Options = Options(),
) -> Step:
    """The step for a rule that looks at one tensor at a time (`optimizers`)."""
    whole = options.whole_gradient() or not options.layerwise
    update = (
        _whole_update(config, transform, dtype, options)
        if whole
        else layerwise.make_update(config, transform, dtype, chunks=options.chunks, kept_layers=options.kept_layers)
    )

    def step(trainable: Flat, state: State, frozen: Flat, batch: Batch) -> tuple[dict[str, Any], State, jax.Array]:
        key = jax.random.fold_in(jax.random.key(options.seed), state["count"])
        trainable, rule_state, loss = update(trainable, state["optimizer"], frozen, batch, state["learning_rate"], key)
        new_state = {**state, "count": state["count"] + 1, "optimizer": rule_state}
        if options.ema is not None:
            new_state["ema"] = {
                path: options.ema * average + (1 - options.ema) * trainable[path].astype(jnp.float32)
                for path, average in state["ema"].items()
            }
        return trainable, new_state, loss

    return Step(step)


def _whole_update(
    config: PaliGemmaConfig, transform: optax.GradientTransformation, dtype: Any, options: Options
) -> Callable[..., tuple[dict[str, Any], Any, jax.Array]]:
    """As `layerwise.make_update`, with all gradients at once."""

    def update(trainable: Flat, state: Any, frozen: Flat, batch: Batch, rate: jax.Array, key: jax.Array) -> Any:
        def loss_of(trainable: Flat, batch: Batch) -> jax.Array:
            return objective.loss(config, trees.unflatten({**trainable, **frozen}), batch, dtype, options.chunks)

        gradient_of = jax.value_and_grad(loss_of)
        if options.accumulate > 1:

            def add(total: Any, batch: Batch) -> Any:
                return jax.tree.map(jnp.add, total, gradient_of(trainable, batch)), None

            zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), (jnp.zeros(()), dict(trainable)))
            total, _ = jax.lax.scan(add, zeros, batch)
            loss, gradients = jax.tree.map(lambda leaf: leaf / options.accumulate, total)
        else:
            loss, gradients = gradient_of(trainable, batch)
        if options.clip_global:
            gradients, _ = optax.clip_by_global_norm(options.clip_global).update(gradients, optax.EmptyState())
        trainable, state = optimizers.update_all(transform, gradients, state, trainable, rate, key)
        return trainable, state, loss

    return update
