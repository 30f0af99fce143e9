"""One update: loss, gradients of the trainable parameters alone, optimizer."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike

from palitune import host_memory, trees
from palitune.config.run_config import TrainingConfig
from palitune.data.batches import Batch
from palitune.method import METHODS
from palitune.models import gathering
from palitune.models.arrays import DType, Flat, Index, Leaf, Tree
from palitune.models.spec import ModelSpec
from palitune.parallel import Placement
from palitune.train import layerwise, objective, optimizers, schedule
from palitune.train.step_options import Options, Outcome, check

Updated = layerwise.Updated
Update = layerwise.Update
State = dict[str, Tree]
DEFAULTS = Options()


def configured(config: TrainingConfig, steps: int, kept_layers: int) -> tuple[optax.GradientTransformation, Options]:
    """The rule and the options that a run's configuration asks for, for a learning rate of 1.

    Raises:
      ConfigurationError: on an unknown name, and on what the method cannot do.
    """
    options = Options(
        accumulate=config.accumulate,
        clip_global=config.clip_global or None,
        ema=config.ema or None,
        label_smoothing=config.label_smoothing,
        lora_dropout=config.lora_dropout,
        chunks=config.vocabulary_chunks,
        kept_layers=kept_layers,
        offload=config.offload == "optimizer",
        elementwise=config.optimizer == "adamw" and not config.clip_tensor,
    )
    check(options, METHODS[config.method])
    return optimizers.make(config, schedule.make(config.schedule, steps, 1.0, config.warmup)), options


def weights_dtype(config: TrainingConfig, dtype: DTypeLike) -> DType:
    """The dtype of trainable parameters: float32, or that of the computation or of `weights`, as the method has it."""
    if METHODS[config.method].keeps_float32:
        return jnp.dtype(jnp.float32)
    return jnp.dtype(dtype if config.weights == "auto" else config.weights)


def init_state(
    transform: optax.GradientTransformation,
    trainable: Flat,
    options: Options,
    learning_rate: float = 1.0,
    seed: int = 0,
    placement: Placement | None = None,
) -> State:
    """A run's state beside its parameters: how many updates it has made, the rule's state, the moving average.

    The learning rate multiplies the rule's own schedule, the seed is that of rounding and dropout; they are here so
    that one program serves all of them.
    """
    put = jax.device_put if placement is None else placement.everywhere_put
    state: State = {
        "count": put(np.int32(0)),
        "seed": put(np.uint32(seed)),
        "learning_rate": put(np.float32(learning_rate)),
        "optimizer": optimizers.init(transform, trainable, placement, options.offload),
    }
    if options.ema is not None:
        # A copy: the step donates parameters and state, and one buffer cannot be given away twice.
        state["ema"] = {path: jnp.array(leaf, jnp.float32, copy=True) for path, leaf in trainable.items()}
    return state


def state_shapes(transform: optax.GradientTransformation, trainable: Mapping[str, Leaf], options: Options) -> Tree:
    """What `init_state` makes for parameters of which shapes and dtypes are known."""
    options = dataclasses.replace(options, offload=False)  # where it is, is another matter
    return jax.eval_shape(lambda leaves: init_state(transform, leaves, options), trainable)


class Step:
    """`step(trainable, state, frozen, batch) -> (trainable, state, outcome)`, compiled once for each shape of batch.

    Parameters are flat dicts by path. The trainable ones and the state (`init_state`) are donated: the caller's are
    gone after the call. With `accumulate` every array of the batch has that many batches on a new first axis.
    """

    def __init__(self, function: Callable[..., Tree], placement: Placement | None = None, batch_axis: int = 0) -> None:
        """Args:
        batch_axis: the axis of examples in a batch's arrays.
        """
        self.function, self.placement, self.batch_axis = function, placement, batch_axis
        self.programs: dict[tuple[tuple[tuple[int, ...], str], ...], jax.stages.Compiled] = {}

    def together(self) -> "Step":
        """The step of several runs at once: all arguments but the frozen parameters have them on a new first axis.

        The frozen parameters are read once for all of them. On one device.
        """
        return Step(jax.vmap(self.function, in_axes=(0, 0, None, 0)), batch_axis=self.batch_axis + 1)

    def compile(self, *arguments: Tree) -> jax.stages.Compiled:
        """The program (`jax.stages.Compiled`) for arguments like these; their shapes and dtypes are enough."""
        shapes = tuple((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(arguments[-1]))
        if shapes not in self.programs:
            self.programs[shapes] = self.lower(*arguments).compile()
        return self.programs[shapes]

    def lower(self, *arguments: Tree) -> jax.stages.Lowered:
        """What `compile` gives to XLA."""
        return self._jitted(*arguments).lower(*arguments)

    def _jitted(self, *arguments: Tree) -> jax.stages.Wrapped:
        where = self.placement
        waiting = any(map(host_memory.holds, jax.tree.leaves(arguments[1])))
        if where is None:
            places = (None, host_memory.out_shardings(arguments[1]), None) if waiting else None
            return jax.jit(self.function, donate_argnums=(0, 1), out_shardings=places)

        def traced(*arguments: Tree) -> Tree:
            with gathering.over(where):
                return self.function(*arguments)

        kept = jax.tree.map(lambda leaf: leaf.sharding, arguments[:2])
        return jax.jit(traced, donate_argnums=(0, 1), out_shardings=(*kept, where.everywhere))

    def __call__(
        self, trainable: Flat, state: State, frozen: Flat, batch: Batch
    ) -> tuple[dict[str, jax.Array], State, Outcome]:
        if self.placement is not None:
            batch = self.placement.put(batch, self.batch_axis)
        result: tuple[dict[str, jax.Array], State, Outcome] = self.compile(trainable, state, frozen, batch)(
            trainable, state, frozen, batch
        )
        return result


def make_step(
    config: ModelSpec,
    transform: optax.GradientTransformation,
    dtype: DTypeLike = jnp.float32,
    options: Options = DEFAULTS,
    placement: Placement | None = None,
) -> Step:
    """The step for a rule that updates one tensor at a time (`optimizers`).

    Args:
      placement: the devices that parameters and batches are spread over; None is one device.
    """
    if placement is not None:
        options = dataclasses.replace(options, chunks=placement.chunks(options.chunks))
    whole = options.whole_gradient() or not options.layerwise
    update = (
        _whole_update(config, transform, dtype, options, placement)
        if whole
        else layerwise.make_update(config, transform, dtype, options, placement)
    )

    def step(trainable: Flat, state: State, frozen: Flat, batch: Batch) -> tuple[dict[str, jax.Array], State, Outcome]:
        key = jax.random.fold_in(jax.random.key(state["seed"]), state["count"])
        rate = state["learning_rate"]
        updated, rule_state, outcome = update(trainable, state["optimizer"], frozen, batch, rate, key)
        new_state = {**state, "count": state["count"] + 1, "optimizer": rule_state}
        if options.ema is not None:
            new_state["ema"] = {
                path: options.ema * average + (1 - options.ema) * updated[path].astype(jnp.float32)
                for path, average in state["ema"].items()
            }
        return updated, new_state, outcome

    return Step(step, placement, batch_axis=1 if options.accumulate > 1 else 0)


def _whole_update(
    config: ModelSpec,
    transform: optax.GradientTransformation,
    dtype: DTypeLike,
    options: Options,
    placement: Placement | None = None,
) -> Update:
    """As `layerwise.make_update`, with all gradients at once."""

    def update(trainable: Flat, state: Tree, frozen: Flat, batch: Batch, rate: jax.Array, key: jax.Array) -> Updated:
        def loss_of(trainable: Flat, batch: Batch, key: jax.Array) -> tuple[jax.Array, objective.Loss]:
            params = trees.unflatten({**trainable, **frozen})
            loss = objective.loss(
                config,
                params,
                batch,
                dtype,
                options.chunks,
                options.label_smoothing,
                (options.lora_dropout, key) if options.lora_dropout else None,
            )
            return loss.value, loss

        def gradient_of(trainable: Flat, batch: Batch, key: jax.Array) -> tuple[Flat, objective.Loss]:
            gradients, loss = jax.grad(loss_of, has_aux=True)(trainable, batch, key)
            return gradients if placement is None else placement.gradients(gradients), loss

        if options.accumulate > 1:

            def add(total: Tree, numbered: tuple[Index, Batch]) -> tuple[Tree, None]:
                number, batch = numbered
                return jax.tree.map(
                    jnp.add, total, gradient_of(trainable, batch, jax.random.fold_in(key, number))
                ), None

            nothing = (dict(trainable), objective.Loss(jnp.zeros(()), jnp.zeros(())))
            zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), nothing)
            total, _ = jax.lax.scan(add, zeros, (jnp.arange(options.accumulate), batch))
            gradients, loss = jax.tree.map(lambda leaf: leaf / options.accumulate, total)
        else:
            gradients, loss = gradient_of(trainable, batch, key)
        if options.clip_global:
            gradients, _ = optax.clip_by_global_norm(options.clip_global).update(gradients, optax.EmptyState())
        finite = jnp.isfinite(loss.value)
        trainable, state, finite = optimizers.update_all(transform, gradients, state, trainable, rate, key, finite)
        return trainable, state, Outcome(loss.value, loss.accuracy, finite)

    return update
