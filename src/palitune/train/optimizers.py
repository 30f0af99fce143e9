"""The rules by which trainable parameters are updated.

Every rule here updates one tensor at a time, and a stacked parameter is as many tensors as it has layers. So a rule
gives the same result whether it is applied to all gradients at the end (`step.py`) or to each layer's as the backward
pass comes by (`layerwise.py`), and its state has one form.
"""

import zlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Sharding

from palitune import host_memory
from palitune.config.run_config import TrainingConfig
from palitune.errors import ConfigurationError
from palitune.models.arrays import Flat, Index, Tree
from palitune.parallel import Placement
from palitune.trees import Rules

NAMES = ("sgd", "adamw", "adafactor")

# The backward pass meets parameters in these groups; those of a stack are met layer by layer.
LAYERS, BLOCKS = "llm/layers/", "img/Transformer/encoderblock/"
SEGMENTS = Rules(
    [
        (r"llm/layers/.*", LAYERS),
        (r"llm/embedder/.*", "table"),
        (r"llm/final_norm/.*", "final_norm"),
        (r"img/Transformer/encoderblock/.*", BLOCKS),
        (r"img/(Transformer/encoder_norm|pool_norm|head)/.*", "head"),
        (r"img/(embedding/.*|pos_embedding)", "stem"),
    ]
)
STACKS = (LAYERS, BLOCKS)


def group(flat: Flat) -> dict[str, dict[str, jax.Array]]:
    """The leaves of each segment, under their whole paths."""
    groups: dict[str, dict[str, jax.Array]] = {}
    for path, leaf in flat.items():
        groups.setdefault(SEGMENTS(path), {})[path] = leaf
    return groups


def sgd(schedule: optax.Schedule) -> optax.GradientTransformation:
    """Plain stochastic gradient descent; `schedule` takes steps counted from 1, optax counts from 0."""
    return optax.scale_by_learning_rate(lambda count: schedule(count + 1))


def make(config: TrainingConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The rule that a configuration names: `optimizer`, `clip_tensor`, `weight_decay` and `learning_rate_scale`.

    Raises:
      ConfigurationError: no such optimizer.
    """
    rules = {
        "sgd": [],
        "adamw": [optax.scale_by_adam()],
        # https://arxiv.org/abs/1804.04235: second moments by rows and columns, and steps in proportion to the weights.
        "adafactor": [optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0), optax.scale_by_param_block_rms()],
    }
    if config.optimizer not in rules:
        raise ConfigurationError(f"no optimizer {config.optimizer!r}", hint=f"There are: {', '.join(NAMES)}")
    parts = [clip_each(config.clip_tensor)] if config.clip_tensor else []
    parts += rules[config.optimizer]
    if config.weight_decay:
        decay: Rules[float] = Rules([*config.weight_decay, (".*", 0.0)])
        parts.append(_by_path(lambda path, update, weight: update + decay(path) * weight.astype(update.dtype)))
    if config.learning_rate_scale:
        scale: Rules[float] = Rules([*config.learning_rate_scale, (".*", 1.0)])
        parts.append(_by_path(lambda path, update, weight: update * scale(path)))
    return optax.chain(*parts, sgd(schedule))


def clip_each(limit: float) -> optax.GradientTransformation:
    """Scales every tensor's gradient down to a Euclidean norm of at most `limit`."""

    def clip(path: str, update: jax.Array, weight: jax.Array | None) -> jax.Array:
        norm = jnp.sqrt(jnp.sum(jnp.square(update.astype(jnp.float32))))
        return update * jnp.minimum(1.0, limit / jnp.maximum(norm, 1e-16)).astype(update.dtype)

    return _by_path(clip)


def _by_path(change: Callable[[str, jax.Array, Tree], jax.Array]) -> optax.GradientTransformation:
    """A rule without state, from (path, update, weight) to the new update."""
    return optax.stateless(
        lambda updates, weights: {
            path: change(path, update, None if weights is None else weights[path]) for path, update in updates.items()
        }
    )


def init(
    transform: optax.GradientTransformation,
    trainable: Flat,
    placement: Placement | None = None,
    offload: bool = False,
) -> dict[str, Tree]:
    """The rule's state by segment, with a leading axis of layers where the segment is a stack.

    It is float32 whatever the weights are: a running mean of squares stands still in 16 bit.

    Args:
      offload: moments are in the host's memory (`host_memory`); those of AdamW begin with zero.
    """

    def states(groups: Tree) -> Tree:
        exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), groups)
        return {
            segment: jax.vmap(transform.init)(leaves) if segment in STACKS else transform.init(leaves)
            for segment, leaves in exact.items()
        }

    groups = group(trainable)
    where = None if placement is None else placement.of_state(jax.eval_shape(states, groups), trainable)
    if not offload:
        # One program, so that nothing of float32 is made but the state.
        made: dict[str, Tree] = jax.jit(states, out_shardings=where)(groups)
        return made

    def stay(groups: Tree) -> Tree:
        return jax.tree.map(lambda leaf: None if host_memory.waits(leaf) else leaf, states(groups))

    def placed(shape: jax.ShapeDtypeStruct, leaf: jax.Array | None, place: Sharding | None) -> jax.Array:
        if leaf is not None:
            return jax.device_put(leaf, place)
        # Zeros that never were on the device.
        beside = host_memory.sharding(place)
        return jax.make_array_from_callback(
            shape.shape, beside, lambda _: np.zeros(beside.shard_shape(shape.shape), shape.dtype)
        )

    shapes = jax.eval_shape(states, groups)
    places = jax.tree.map(lambda _: None, shapes) if where is None else where
    whole: dict[str, Tree] = jax.tree.map(placed, shapes, jax.jit(stay)(groups), places)
    return whole


def _all_finite(gradients: Flat, finite: jax.Array | bool) -> jax.Array:
    """Whether it was true, and all gradients are numbers."""
    for gradient in gradients.values():
        finite &= jnp.isfinite(gradient).all()
    return jnp.asarray(finite)


def update(
    transform: optax.GradientTransformation,
    gradients: Flat,
    state: Tree,
    weights: Flat,
    rate: jax.Array | float,
    key: jax.Array,
    finite: jax.Array | bool = True,
) -> tuple[dict[str, jax.Array], Tree, jax.Array]:
    """New weights and state of one group of tensors: one layer of a stack, or a whole segment that is none.

    The rule's updates count `rate` times. The arithmetic is float32; weights of 16 bit are rounded stochastically with
    `key`. Where `finite` is false, or becomes false because a gradient has a number that is none, weights and state
    stay as they are; it is returned. State that waits in the host's memory comes from there and goes back.
    """
    waiting, state = state, host_memory.fetched(state)
    gradients = {path: gradient.astype(jnp.float32) for path, gradient in gradients.items()}
    exact = {path: weight.astype(jnp.float32) for path, weight in weights.items()}
    finite = _all_finite(gradients, finite)
    updates, new_state = transform.update(gradients, state, exact)
    moved = {path: _moved(path, weights[path], rate * updates[path], key) for path in weights}
    chosen = jax.tree.map(
        lambda new, old: jnp.where(finite, new, old),
        (moved, new_state),
        (dict(weights), state),
    )
    return chosen[0], host_memory.returned(chosen[1], waiting), finite


def update_in_pieces(
    transform: optax.GradientTransformation,
    gradients: Flat,
    state: Tree,
    weights: Flat,
    rate: jax.Array | float,
    key: jax.Array,
    finite: jax.Array,
) -> tuple[dict[str, jax.Array], Tree, jax.Array]:
    """`update` for a rule that treats every number by itself, tensor by tensor and some rows at a time.

    So a table of the vocabulary never has its whole state on the device.
    """
    finite = _all_finite(gradients, finite)
    new_weights, states = {}, []
    for path, weight in weights.items():
        own = _of_path(state, path)
        new_weights[path], changed = _rows_updated(transform, gradients[path], own, path, weight, rate, key, finite)
        states.append(changed)
    merged = jax.tree.map(_merged, *states, is_leaf=lambda node: isinstance(node, dict))
    return new_weights, merged, finite


def _of_path(state: Tree, path: str) -> Tree:
    """A rule's state without that of other tensors."""

    def own(node: Tree) -> Tree:
        return {path: node[path]} if isinstance(node, dict) else node

    return jax.tree.map(own, state, is_leaf=lambda node: isinstance(node, dict))


def _merged(*nodes: Tree) -> Tree:
    """The inverse of `_of_path`."""
    return {key: leaf for node in nodes for key, leaf in node.items()} if isinstance(nodes[0], dict) else nodes[0]


def _rows_updated(
    transform: optax.GradientTransformation,
    gradient: jax.Array,
    state: Tree,
    path: str,
    weight: jax.Array,
    rate: jax.Array | float,
    key: jax.Array,
    finite: jax.Array,
) -> tuple[jax.Array, Tree]:
    """One tensor's new weights and state."""
    rows = max(1, host_memory.PIECE * weight.shape[0] // weight.size)

    def some(leaf: jax.Array, start: Index, count: int) -> jax.Array:
        return jax.lax.dynamic_slice_in_dim(leaf, start, count) if host_memory.waits(leaf) else leaf

    def piece(start: Index, count: int, carry: tuple[jax.Array, Tree]) -> tuple[jax.Array, Tree]:
        weight, moved = carry
        # Counts are those from before the first piece, in every piece.
        now = jax.tree.map(lambda leaf, old: some(leaf, start, count) if host_memory.waits(leaf) else old, moved, state)
        parts = {path: some(gradient, start, count)}, now, {path: some(weight, start, count)}
        updated, new, _ = update(transform, *parts, rate, jax.random.fold_in(key, start), finite)

        def put(whole: jax.Array, part: jax.Array) -> jax.Array:
            if not host_memory.waits(whole):
                return part
            return jax.lax.dynamic_update_slice_in_dim(whole, part, start, 0)

        return put(weight, updated[path]), jax.tree.map(put, moved, new)

    if weight.ndim < 2 or rows >= weight.shape[0]:
        updated, new, _ = update(transform, {path: gradient}, state, {path: weight}, rate, key, finite)
        return updated[path], new
    whole, rest = divmod(weight.shape[0], rows)
    carry = jax.lax.fori_loop(0, whole, lambda n, carry: piece(n * rows, rows, carry), (weight, state))
    return piece(whole * rows, rest, carry) if rest else carry


def update_all(
    transform: optax.GradientTransformation,
    gradients: Flat,
    state: Tree,
    weights: Flat,
    rate: jax.Array | float,
    key: jax.Array,
    finite: jax.Array | bool = True,
) -> tuple[dict[str, jax.Array], dict[str, Tree], jax.Array]:
    """`update` of every segment, when all gradients are there: all of it or nothing."""
    groups, new_weights, new_state = group(gradients), {}, {}
    finite = _all_finite(gradients, finite)
    for segment, leaves in group(weights).items():
        arguments = (groups[segment], state[segment], leaves)
        if segment in STACKS:
            depth = next(iter(leaves.values())).shape[0]
            keys = jax.vmap(lambda layer: jax.random.fold_in(key, layer))(jnp.arange(depth))
            of_layers = jax.vmap(
                lambda gradients, state, leaves, key: update(transform, gradients, state, leaves, rate, key, finite)
            )
            changed, new_state[segment], _ = of_layers(*arguments, keys)
        else:
            changed, new_state[segment], _ = update(transform, *arguments, rate, key, finite)
        new_weights.update(changed)
    return new_weights, new_state, finite


def _moved(path: str, weight: jax.Array, change: jax.Array, key: jax.Array) -> jax.Array:
    exact = weight.astype(jnp.float32) + change
    if weight.dtype == jnp.float32:
        return exact
    return round_stochastically(exact, jax.random.fold_in(key, zlib.crc32(path.encode())))


def round_stochastically(x: jax.Array, key: jax.Array) -> jax.Array:
    """bfloat16 of float32: up or down at random, so that the expected value is `x`.

    Rounding to nearest would lose every update below half a unit in the last place, 1/512 of the weight.
    """
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    # bfloat16 is the upper half of float32: a carry out of the lower half rounds away from zero.
    noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    rounded = jax.lax.bitcast_convert_type((bits + noise) & jnp.uint32(0xFFFF0000), jnp.float32)
    return jnp.where(jnp.isfinite(x), rounded, x).astype(jnp.bfloat16)
