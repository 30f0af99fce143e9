"""A mesh of devices, and where on it each parameter, the optimizer's state and each batch are.

The mesh has two axes. Over `fsdp` every large parameter is split, frozen or not, and with it its gradient, the
optimizer's state and the moving average; over `data` there are copies. A batch is split over both. The weights of a
layer are gathered when its turn comes and dropped behind it, and its gradients are summed into the part that each
device keeps (ZeRO, stage 3: https://arxiv.org/abs/1910.02054; the compiler makes the communication:
https://arxiv.org/abs/2105.04663). The tables of the vocabulary are never gathered: each device has some words, and the
hidden states at the loss tokens, which are few, go to all of them (https://arxiv.org/abs/1909.08053).

Axes: B batch, L layers, V vocabulary, D width.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.typing import DTypeLike

from palitune import method, path_patterns
from palitune.errors import ConfigurationError
from palitune.models import gathering
from palitune.models.arrays import AnyArray, Flat, Params, Tree
from palitune.trees import HasShape, Rules, flatten, unflatten

DATA, FSDP = "data", "fsdp"
MOST_STACKED = 4  # matrices in a weight that are gathered one by one
QUANTIZED = path_patterns.compiled(method.QUANTIZED)
EVERYWHERE, LAYERS, TABLE = "everywhere", "layers", "table"
# Norms, biases and scales are small; so is what stands before and behind the blocks of the image encoder.
# What members of an ensemble have of their own is whole on every device: nothing gathers it layer by layer.
RULES = Rules(
    [
        (r"members/.*", EVERYWHERE),
        (r".*/(scale|bias)", EVERYWHERE),
        (r".*_lora_alpha", EVERYWHERE),
        (r"llm/layers/.*", LAYERS),
        (r"img/Transformer/encoderblock/.*", LAYERS),
        (r"llm/embedder/.*", TABLE),
        (r"img/(embedding/.*|pos_embedding|head/.*)", EVERYWHERE),
    ]
)


class Placement:
    """A mesh `(data, fsdp)` and what is where on it; as `models.gathering.Spread`, what a model asks on the way.

    Attributes:
      count: devices of the mesh, of which each has as many examples of a batch.
    """

    def __init__(self, devices: Sequence[jax.Device], data: int = 1, dtype: DTypeLike | None = None) -> None:
        """Args:
        data: how many copies of the parameters there are.
        dtype: of the computation, in which weights are gathered; their own by default.

        Raises:
          ConfigurationError: the devices cannot be divided so.
        """
        if data < 1 or len(devices) % data:
            raise ConfigurationError(f"{len(devices)} devices cannot hold {data} copies of a model")
        kinds = (AxisType.Auto, AxisType.Auto)
        self.mesh = Mesh(np.array(devices).reshape(data, -1), (DATA, FSDP), axis_types=kinds)
        self.count, self.data, self.fsdp = len(devices), data, len(devices) // data
        self.dtype = dtype

    # Where things are -------------------------------------------------------------------------------------------------

    def spec(self, path: str, shape: tuple[int, ...]) -> PartitionSpec:
        """How the parameter at a path is split: its first axis that can be divided, never that of the layers.

        What is gathered along another axis than the first is copied once more, transposed, and so are its gradients.
        Where two or three matrices are stacked, each is gathered by itself (`layer`); where there are more before the
        axis, it is the largest one.

        Raises:
          ConfigurationError: no rule covers the path.
        """
        kind = RULES(path)
        first = {EVERYWHERE: len(shape), LAYERS: 1, TABLE: 0}[kind]
        last = 1 if kind == TABLE else len(shape)  # the logits of a table split by width would be sums of large arrays
        divisible = [axis for axis in range(first, last) if shape[axis] % self.fsdp == 0]
        if not divisible or self.fsdp == 1:
            return PartitionSpec()
        axis = divisible[0]
        if math.prod(shape[first:axis]) > MOST_STACKED:
            axis = max(divisible, key=lambda axis: shape[axis])
        return PartitionSpec(*[None] * axis, FSDP)

    def sharding(self, path: str, shape: tuple[int, ...]) -> NamedSharding:
        """Where the parameter at a path is."""
        return self.named(self.spec(path, shape))

    def named(self, spec: PartitionSpec) -> NamedSharding:
        """A sharding on this mesh."""
        return NamedSharding(self.mesh, spec)

    @functools.cached_property
    def everywhere(self) -> NamedSharding:
        """The sharding of what every device has."""
        return self.named(PartitionSpec())

    def of_batch(self, batch: Tree, axis: int = 0) -> Tree:
        """The shardings of a batch's arrays, which are split along an axis if that can be divided."""
        split = self.named(PartitionSpec(*[None] * axis, (DATA, FSDP)))
        return jax.tree.map(lambda leaf: split if leaf.shape[axis] % self.count == 0 else self.everywhere, batch)

    def of_parameters(self, flat: Mapping[str, HasShape]) -> dict[str, NamedSharding]:
        """The shardings of parameters by path."""
        return {path: self.sharding(path, tuple(leaf.shape)) for path, leaf in flat.items()}

    def of_state(self, state: Tree, trainable: dict[str, Any] | Flat) -> Tree:
        """The shardings of an optimizer's state: where a leaf has a parameter's name and shape, its parameter's."""

        def of(place: tuple[Any, ...], leaf: Any) -> NamedSharding:
            names = [key.key for key in place if isinstance(key, jax.tree_util.DictKey) and key.key in trainable]
            if names and tuple(trainable[names[-1]].shape) == tuple(leaf.shape):
                return self.sharding(names[-1], tuple(leaf.shape))
            return self.everywhere

        return jax.tree_util.tree_map_with_path(of, state)

    def place(self, path: str, array: AnyArray) -> jax.Array:
        """A parameter on the devices; each is given its part only."""
        sharding = self.sharding(path, tuple(array.shape))
        if isinstance(array, jax.Array) and not array.is_fully_addressable:
            return jax.device_put(array, sharding)
        host = np.asarray(array)
        # Copies: a part may be the memory of a file, and a step gives its inputs' memory away.
        return jax.make_array_from_callback(host.shape, sharding, lambda index: np.array(host[index]))

    def everywhere_put(self, value: AnyArray | np.generic) -> jax.Array:
        """A value on every device."""
        return _parts(value, self.everywhere)

    def rounded(self, examples: int) -> int:
        """A number of examples that can be split, at least as many."""
        return -(-examples // self.count) * self.count

    def chunks(self, pieces: int) -> int:
        """In how many pieces the vocabulary has to go by, if it were so many on one device."""
        return -(-pieces // self.fsdp)

    def put(self, batch: Tree, axis: int = 0) -> Tree:
        """A batch on the devices; of one that other processes have too, this one makes its own devices' parts."""
        shardings = self.of_batch(batch, axis)
        return jax.device_put(batch, shardings) if jax.process_count() == 1 else jax.tree.map(_parts, batch, shardings)

    # What a program asks while it is traced ---------------------------------------------------------------------------

    def layer(self, stack: str, weights: Params) -> dict[str, Any]:
        """See `gathering.Spread`. The gradient of what is gathered is summed into the part that a device has."""
        found = {}
        for path, leaf in flatten(weights).items():
            spec = self._of_layer(stack + path, leaf.shape)
            if spec == PartitionSpec():
                found[path] = leaf
            elif QUANTIZED.matches(path):  # sent as it is kept, and nothing of it learns
                sent = jax.lax.with_sharding_constraint(leaf, self.named(spec))
                found[path] = jax.lax.with_sharding_constraint(sent, self.everywhere)
            else:
                found[path] = self._gathered(leaf, spec)
        return unflatten(found)

    def _gathered(self, weight: jax.Array, spec: PartitionSpec) -> jax.Array:
        """A weight of one layer, whole on every device: matrices that are stacked in it one by one."""
        dtype = weight.dtype if self.dtype is None else self.dtype
        before = weight.shape[: len(spec) - 1]
        if not 1 < math.prod(before) <= MOST_STACKED:
            return _gathered(weight, self.everywhere, self.named(spec), dtype)
        matrices = weight.reshape(-1, *weight.shape[len(before) :])
        part = self.named(PartitionSpec(*spec[len(before) :]))
        each = [_gathered(matrices[n], self.everywhere, part, dtype) for n in range(len(matrices))]
        return jnp.stack(each).reshape(weight.shape)

    def _of_layer(self, path: str, shape: tuple[int, ...]) -> PartitionSpec:
        """How one layer of a stack is split."""
        return PartitionSpec(*self.spec(path, (1, *shape))[1:])

    def layer_gradients(self, gradients: Flat) -> dict[str, jax.Array]:
        """Gradients of one layer by whole paths, each where its parameter is."""
        return self._held(gradients, self._of_layer)

    def gradients(self, gradients: Flat) -> dict[str, jax.Array]:
        """Gradients by path, each where its parameter is."""
        return self._held(gradients, self.spec)

    def _held(self, flat: Flat, spec: Callable[[str, tuple[int, ...]], PartitionSpec]) -> dict[str, jax.Array]:
        return {
            path: jax.lax.with_sharding_constraint(leaf, self.named(spec(path, leaf.shape)))
            for path, leaf in flat.items()
        }

    def examples(self, x: Tree) -> Tree:
        """See `gathering.Spread`."""
        return jax.lax.with_sharding_constraint(x, self.of_batch(x))

    def beside_table(self, x: Tree) -> Tree:
        """See `gathering.Spread`."""
        copies = self.named(PartitionSpec(DATA))
        found = jax.tree.map(lambda leaf: copies if leaf.shape[0] % self.data == 0 else self.everywhere, x)
        return jax.lax.with_sharding_constraint(x, found)


def _parts(value: AnyArray | np.generic, sharding: NamedSharding) -> jax.Array:
    """An array that every process has, of which each puts the parts of its own devices there."""
    host = np.asarray(value)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _gathered(weight: jax.Array, whole: NamedSharding, part: NamedSharding, dtype: DTypeLike) -> jax.Array:
    """A weight whole on every device, in the dtype in which it is sent."""
    # The first constraint says where it comes from: without it the whole stack might be gathered before the loop.
    sent = jax.lax.with_sharding_constraint(weight.astype(dtype), part)
    return jax.lax.with_sharding_constraint(sent, whole)


def _gathered_forward(
    weight: jax.Array, whole: NamedSharding, part: NamedSharding, dtype: DTypeLike
) -> tuple[jax.Array, jax.Array]:
    return _gathered(weight, whole, part, dtype), jnp.zeros((), weight.dtype)


def _gathered_backward(
    whole: NamedSharding, part: NamedSharding, dtype: DTypeLike, like: jax.Array, gradient: jax.Array
) -> tuple[jax.Array]:
    return (jax.lax.with_sharding_constraint(gradient, part).astype(like.dtype),)


_gathered.defvjp(_gathered_forward, _gathered_backward)


def chosen(devices: int | None, mesh: Sequence[tuple[str, int]], dtype: DTypeLike | None = None) -> Placement | None:
    """The placement that settings ask for, on this machine's devices; None where that is one device.

    Args:
      devices: how many; all where neither it nor `mesh` says.
      mesh: sizes of `data` and `fsdp`. One that is missing is what the other leaves.

    Raises:
      ConfigurationError: there are not so many, or they cannot be arranged so.
    """
    found, sizes = jax.devices(), dict(mesh)
    count = devices or (math.prod(sizes.values()) if len(sizes) == 2 else len(found))
    asked = f"--mesh {','.join(f'{name}={size}' for name, size in mesh)}" if mesh else f"--devices {devices}"
    if count > len(found):
        there = "there is 1 device" if len(found) == 1 else f"there are {len(found)} devices"
        hint = "Ask for fewer of them" if len(found) > 1 else "Leave it out"
        if (kind := found[0].platform.upper()) == "CPU":
            hint += f", or try it on a CPU that is several: JAX_NUM_CPU_DEVICES={count}"
        raise ConfigurationError(f"{asked}: {there} here ({kind})", hint=hint)
    data = sizes.get(DATA, count // sizes[FSDP] if FSDP in sizes else 1)
    if data * sizes.get(FSDP, count // data if data else 0) != count:
        raise ConfigurationError(f"{asked} does not make {count} devices", hint="data times fsdp is their number")
    return Placement(found[:count], data, dtype) if count > 1 else None


def of_process(placement: Placement | None) -> Placement | None:
    """A placement on those devices only that are of this process; None where that is one device."""
    if placement is None or jax.process_count() == 1:
        return placement
    own = jax.local_devices()
    return Placement(own, dtype=placement.dtype) if len(own) > 1 else None


def program(function: Callable[..., Tree], placement: Placement | None) -> Callable[..., Tree]:
    """`function(params, batch, ...)`, compiled. On a mesh what is behind the parameters is split; results are whole."""
    jitted = whole_program(function, placement)
    return jitted if placement is None else lambda params, *batch: jitted(params, *placement.put(batch))


def whole_program(function: Callable[..., Tree], placement: Placement | None, **options: Any) -> Callable[..., Tree]:
    """`function(params, ...)`, compiled as `jax.jit` does. On a mesh every device has all but the parameters."""
    if placement is None:
        return jax.jit(function, **options)

    def traced(*arguments: Tree) -> Tree:
        with gathering.over(placement):
            return function(*arguments)

    return jax.jit(traced, out_shardings=placement.everywhere, **options)
