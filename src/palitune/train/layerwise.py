"""A train step that never holds the gradients of the whole model.

The backward pass walks the layers in reverse over the donated, stacked weights: it computes one layer again from its
kept input, takes that layer's gradient, updates the layer in place and drops the gradient. So learning costs the memory
of the weights, the optimizer's state, one input for each layer and one layer's gradient.
After "Full Parameter Fine-tuning for Large Language Models with Limited Resources" (https://arxiv.org/abs/2306.09782).

Axes: B batch, N image tokens, T text tokens, M = N + T, K loss tokens, D width, L layers.
"""

import copy
import zlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.experimental.layout import Layout, with_layout_constraint
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from palitune import host_memory, trees
from palitune.data.batches import Batch
from palitune.models import feed_forward, gathering, gemma, multimodal, positions, siglip
from palitune.models.arrays import Flat, Index, Tree
from palitune.models.spec import GemmaSpec, ModelSpec
from palitune.models.table import Table
from palitune.parallel import Placement
from palitune.train import objective, optimizers
from palitune.train.optimizers import BLOCKS, LAYERS
from palitune.train.step_options import Options, Outcome

Block = Callable[
    [Tree, jax.Array, Tree, Index], jax.Array
]  # a layer's parameters, input, activations that are known, number
# Weights, state, gradient and finiteness behind some layers → those before them.
Back = Callable[[Tree, Tree, Tree, Tree], Tree]
Run = tuple[tuple[int, int], Tree]  # the layers first <= layer < last, and what they keep
# Trainable parameters, the rule's state by segment, and what the step saw.
Updated = tuple[dict[str, jax.Array], dict[str, Tree], Outcome]
Update = Callable[..., Updated]
TABLE, OUTPUT = "llm/embedder/input_embedding", "llm/embedder/output_embedding"


def _at(stack: Tree, layer: Index) -> Tree:
    """One layer of every stacked array of a tree."""
    return jax.tree.map(lambda array: jax.lax.dynamic_index_in_dim(array, layer, keepdims=False), stack)


def _put(stack: Tree, layer: Index, values: Tree, shardings: Tree = None) -> Tree:
    """The stacked arrays with one layer replaced, in place; `shardings` are those of the stack, if it has some.

    XLA would turn whole stacks into the layout that one layer's products like best, and back again afterwards.
    """

    def ordered(array: jax.Array) -> jax.Array:
        return with_layout_constraint(array, Layout(tuple(range(array.ndim))))

    def put(array: jax.Array, value: jax.Array, where: NamedSharding | None = None) -> jax.Array:
        if host_memory.traced_there(array):
            return jax.lax.dynamic_update_index_in_dim(array, value, layer, 0)
        new = jax.lax.dynamic_update_index_in_dim(array, value.astype(array.dtype), layer, 0)
        if where is None:
            return ordered(new)
        # Each device orders what it has: XLA would gather the whole stack to order it.
        return jax.shard_map(ordered, mesh=where.mesh, in_specs=where.spec, out_specs=where.spec)(new)

    return jax.tree.map(put, stack, values, *([] if shardings is None else [shardings]))


def _whole(stack: str, weights: Flat) -> dict[str, Tree]:
    """Nested parameters of one layer, as its block takes them."""
    own = trees.unflatten({path.removeprefix(stack): leaf for path, leaf in weights.items()})
    return dict(gathering.layer(stack, own))


class Walk:
    """The parameters of one step: read on the way forward, updated segment by segment on the way back."""

    def __init__(
        self,
        transform: optax.GradientTransformation,
        trainable: Flat,
        state: Flat,
        frozen: Flat,
        rate: jax.Array,
        key: jax.Array,
        placement: Placement | None = None,
        in_pieces: bool = False,
    ) -> None:
        """Args:
        in_pieces: large tensors are updated some rows at a time.
        """
        self.update_by = optimizers.update_in_pieces if in_pieces and placement is None else optimizers.update
        self.transform, self.rate, self.key, self.placement = transform, rate, key, placement
        self.own, self.fixed = optimizers.group(trainable), optimizers.group(frozen)
        self.state = dict(state)
        self.finite = jnp.array(True)  # whether the loss and all gradients so far are numbers

    def learns(self, *segments: str) -> bool:
        return any(segment in self.own for segment in segments)

    def tree(self, *segments: str) -> dict[str, Tree]:
        """Nested parameters of some segments, as the models take them."""
        return trees.unflatten(
            {path: leaf for s in segments for path, leaf in {**self.own.get(s, {}), **self.fixed.get(s, {})}.items()}
        )

    def layer(self, stack: str, number: Index) -> dict[str, Tree]:
        """Nested parameters of one layer of a stack."""
        weights = _at({**self.own.get(stack, {}), **self.fixed.get(stack, {})}, number)
        return _whole(stack, weights)

    def update(self, segment: str, gradients: Flat) -> None:
        """Updates a segment that is not a stack."""
        if self.placement is not None:
            gradients = self.placement.gradients(gradients)
        self.own[segment], self.state[segment], self.finite = self.update_by(
            self.transform, gradients, self.state[segment], self.own[segment], self.rate, self.key, self.finite
        )

    def back(
        self, segment: str, function: Callable[[Tree, jax.Array], Tree], x: jax.Array, gradient: Tree
    ) -> tuple[Tree, Tree]:
        """Through `function(parameters, x)` of a segment that is not a stack: its value, and the gradient of `x`."""
        fixed = self.fixed.get(segment, {})
        own = self.own.get(segment, {})
        value, pull = jax.vjp(lambda own, x: function(trees.unflatten({**own, **fixed}), x), own, x)
        gradients, gradient = pull(gradient)
        if own:
            self.update(segment, gradients)
        return value, gradient

    def through(self, stack: str, layer: Index, block: Block, x: jax.Array, known: Tree) -> tuple[jax.Array, Back]:
        """`block(parameters, x, known, layer)` of one layer, and the way back through it.

        The way back takes the stack's weights and state, the gradient of the layer's output and whether all was finite
        so far. It returns the weights and the state with this layer updated, the gradient of `x`, and whether all is.
        """
        still = _at(self.fixed.get(stack, {}), layer)

        def function(weights: Tree, x: jax.Array) -> Tree:
            return block(_whole(stack, {**weights, **still}), x, known, layer)

        y, pull = jax.vjp(function, _at(self.own.get(stack, {}), layer), x)

        def back(own: Tree, state: Tree, gradient: Tree, finite: Tree) -> Tree:
            gradients, gradient = pull(gradient)
            if self.placement is not None:
                gradients = self.placement.layer_gradients(gradients)
            key = jax.random.fold_in(self.key, layer)
            before = _at(own, layer)
            weights, new, finite = optimizers.update(
                self.transform, gradients, _at(state, layer), before, self.rate, key, finite
            )
            where = [None if self.placement is None else self.placement.of_state(tree, own) for tree in (own, state)]
            return _put(own, layer, weights, where[0]), _put(state, layer, new, where[1]), gradient, finite

        return y, back

    def finish(self, stack: str, back: Back, gradient: Tree) -> Tree:
        """Takes a gradient back through one layer (`through`) or several; returns the gradient of their input."""
        arguments = (self.own.get(stack, {}), self.state.get(stack, ()), gradient, self.finite)
        own, state, gradient, self.finite = back(*arguments)
        if self.learns(stack):
            self.own[stack], self.state[stack] = own, state
        return gradient

    def back_through_layers(
        self, stack: str, layers: tuple[int, int], block: Block, kept: Tree, gradient: Tree
    ) -> Tree:
        """Through the layers first <= layer < last, the last first; each is computed once more.

        Args:
          kept: a layer's input and the activations that need not be computed again, stacked for these layers.
        """
        first, last = layers

        def back_through_one(index: Index, carry: Tree) -> Tree:
            own, *rest = carry
            layer = last - 1 - index
            walk = copy.copy(self)
            walk.own = {stack: own} if own else {}
            _, back = walk.through(stack, layer, block, *_at(kept, layer - first))
            return back(own, *rest)

        def back(*carry: Tree) -> Tree:
            return jax.lax.fori_loop(0, last - first, back_through_one, carry)

        return self.finish(stack, back, gradient)


def make_update(
    config: ModelSpec,
    transform: optax.GradientTransformation,
    dtype: DTypeLike,
    options: Options,
    placement: Placement | None = None,
) -> Update:
    """`update(trainable, rule_state, frozen, batch, rate, key) -> (trainable, rule_state, outcome)`, to be compiled.

    Args:
      transform: a rule that updates one tensor at a time.
    """

    def update(trainable: Flat, state: Flat, frozen: Flat, batch: Batch, rate: jax.Array, key: jax.Array) -> Tree:
        walk = Walk(transform, trainable, state, frozen, rate, key, placement, options.offload and options.elementwise)
        zimg, back_through_encoder = _image_encoder(config, walk, batch.image, dtype)
        loss, d_zimg = _language_model(config, walk, zimg, batch, options)
        if back_through_encoder is not None:
            back_through_encoder(d_zimg)
        updated = {path: leaf for leaves in walk.own.values() for path, leaf in leaves.items()}
        return {path: updated[path] for path in trainable}, walk.state, Outcome(loss.value, loss.accuracy, walk.finite)

    return update


def _image_encoder(
    config: ModelSpec, walk: Walk, image: jax.Array, dtype: DTypeLike
) -> tuple[jax.Array, Callable[[jax.Array], None] | None]:
    """Image tokens [B, N, D] and, where the image encoder is trainable, the function for their backward pass."""
    if image.ndim == 3 or not walk.learns("head", BLOCKS, "stem"):
        params = walk.tree("head", BLOCKS, "stem")
        return multimodal.image_tokens(config, params, image, dtype), None
    module = siglip.Block(config.image_encoder, dtype)

    def block(params: Tree, x: jax.Array, known: Tree, layer: Index) -> Tree:
        return module.apply({"params": params}, x)

    def stem(params: Tree, image: Tree) -> Tree:
        return siglip.stem(config.image_encoder, params["img"], image, dtype)

    def head(params: Tree, x: jax.Array) -> Tree:
        return siglip.head(config.image_encoder, params["img"], x)

    x = stem(walk.tree("stem"), image)
    depth = config.image_encoder.depth
    x, inputs = jax.lax.scan(
        lambda x, layer: (block(walk.layer(BLOCKS, layer), x, None, layer), x), x, jnp.arange(depth)
    )

    def back(gradient: jax.Array) -> None:
        _, gradient = walk.back("head", head, x, gradient)
        gradient = walk.back_through_layers(BLOCKS, (0, depth), block, (inputs, {}), gradient)
        walk.back("stem", stem, image, gradient)

    return head(walk.tree("head"), x), back


class Layers:
    """The language model's layers as functions of one layer's parameters, in the forms that the walk needs."""

    def __init__(
        self, config: GemmaSpec, sequence: multimodal.Sequence, rows: jax.Array, dropout: float, key: jax.Array
    ) -> None:
        """Args:
        rows: int[B, K], the loss tokens' places in the sequence.
        dropout: share of the adapters' inputs that are left out, by the random `key`.
        """
        self.kinds = positions.contexts(config, sequence.positions, sequence.mask)
        self.module, self.config = gemma.Block(config, dropout), config
        self.last, self.rows, self.dropout = config.depth - 1, rows, dropout
        self.key = jax.random.fold_in(key, zlib.crc32(b"dropout"))

    def block(self, params: Tree, x: jax.Array, known: Tree, layer: Index) -> Tree:
        """A layer's output [B, M, D], with activations that are known not computed again."""
        context, rngs = positions.context_of(self.config, self.kinds, layer), self._rngs(layer)
        return self.module.apply({"params": params, feed_forward.KEPT: known}, x, context, rngs=rngs)[0]

    def keeping(self, params: Tree, x: jax.Array, layer: Index) -> tuple[Tree, Tree]:
        """A layer's output [B, M, D], and the activations that need not be computed again."""
        context, rngs = positions.context_of(self.config, self.kinds, layer), self._rngs(layer)
        (y, _), known = self.module.apply({"params": params}, x, context, mutable=[feed_forward.KEPT], rngs=rngs)
        return y, known[feed_forward.KEPT]

    def last_block(self, params: Tree, x: jax.Array, known: Tree, layer: Index) -> Tree:
        """The last layer's output at the loss tokens, [B, K, D]: all others matter to them as keys and values only."""
        context, rngs = positions.context_of(self.config, self.kinds, layer), self._rngs(layer)
        return self.module.apply({"params": params}, x, context, None, self.rows, rngs=rngs)[0]

    def forward(self, walk: Walk, x: jax.Array, kept_layers: int) -> tuple[jax.Array, list[Run]]:
        """Through all layers but the last, of which the last `kept_layers` keep activations.

        Returns:
          [B, M, D], and what each run of layers keeps for `Walk.back_through_layers`.
        """

        def recomputing(x: jax.Array, layer: Index) -> Tree:
            return self.block(walk.layer(LAYERS, layer), x, {}, layer), (x, {})

        def keeping(x: jax.Array, layer: Index) -> Tree:
            y, known = self.keeping(walk.layer(LAYERS, layer), x, layer)
            return y, (x, known)

        first_kept = max(0, self.last - kept_layers)
        runs = []
        for layers, body in (((0, first_kept), recomputing), ((first_kept, self.last), keeping)):
            if layers[0] < layers[1]:
                x, kept = jax.lax.scan(body, x, jnp.arange(*layers))
                runs.append((layers, kept))
        return x, runs

    def _rngs(self, layer: Index) -> Tree:
        # The same numbers on the way forward and when the layer is computed again.
        return {"dropout": jax.random.fold_in(self.key, layer)} if self.dropout else None


def _language_model(
    config: ModelSpec, walk: Walk, zimg: jax.Array, batch: Batch, options: Options
) -> tuple[objective.Loss, jax.Array]:
    """The loss, with the language model updated, and the gradient of the image tokens [B, N, D]."""
    images = zimg.shape[1]
    sequence = multimodal.sequence(config, walk.tree("table"), zimg, objective.text_of(batch))
    layers = Layers(config.llm, sequence, images + batch.positions, options.lora_dropout, walk.key)
    x, runs = layers.forward(walk, sequence.x, options.kept_layers)
    hidden, back_through_last = walk.through(LAYERS, layers.last, layers.last_block, x, {})

    def loss_of(normed: jax.Array, table: Table) -> objective.Loss:
        softcap = config.llm.final_logits_softcap
        return objective.mean_loss(normed, table, batch, options.chunks, options.label_smoothing, softcap)

    def tail(params: Tree, hidden: jax.Array) -> objective.Loss:
        return loss_of(gemma.final_norm(params["llm"], hidden), jax.lax.stop_gradient(table))

    table = jax.tree.map(jnp.asarray, gemma.output_table(walk.tree("table")["llm"]))
    normed = gemma.final_norm(walk.tree("final_norm")["llm"], hidden)
    loss, gradient = walk.back("final_norm", tail, hidden, objective.Loss(jnp.ones(()), jnp.zeros(())))
    walk.finite &= jnp.isfinite(loss.value)
    if walk.learns(LAYERS, "table", "head", BLOCKS, "stem"):
        gradient = walk.finish(LAYERS, back_through_last, gradient)
        for numbers, kept in reversed(runs):
            gradient = walk.back_through_layers(LAYERS, numbers, layers.block, kept, gradient)
    else:
        gradient = jnp.zeros_like(x)
    if walk.learns("table"):
        # Last of all, so that the table's gradient, the largest of a single tensor, does not wait in memory.
        normed, gradient = jax.lax.optimization_barrier((normed, gradient))
        d_table = jax.grad(lambda table: loss_of(normed, table).value)(table)
        embedding = walk.tree("table")["llm"]["embedder"]["input_embedding"]
        _, pull = jax.vjp(lambda table: gemma.embed(config.llm, _tree(table), batch.text, zimg.dtype), embedding)
        d_embedding = pull(gradient[:, images:])[0]
        tied = {TABLE: d_table + d_embedding}
        walk.update("table", tied if config.llm.tied else {TABLE: d_embedding, OUTPUT: d_table})
    return loss, gradient[:, :images]


def _tree(table: jax.Array) -> dict[str, Tree]:
    return {"embedder": {"input_embedding": table}}
