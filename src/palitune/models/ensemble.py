"""Several models that share a base: what each of them has of its own is stacked, and all compute in one pass.

A parameter of which every member has its own stands under the path `members/` and its own path, stacked on a new first
axis; whatever the members share is there once. A program maps over that axis, so that what does not depend on it, such
as the image tokens, is computed once for all.

The ensemble's probability of an answer is the mean of its members' (https://arxiv.org/abs/1612.01474).

Axes: E members, B batch, N image tokens, D width, V vocabulary, L what the probabilities are of.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32, Int

from palitune import trees
from palitune.models import gemma, multimodal
from palitune.models.arrays import AnyArray, Leaf, Params, Tree, Weights
from palitune.models.cache import Cache
from palitune.models.multimodal import Text
from palitune.models.parameter_shapes import Shaped
from palitune.models.spec import ModelSpec

MEMBERS = "members/"


def is_own(path: str) -> bool:
    """Whether a parameter is one of which every member has its own."""
    return path.startswith(MEMBERS)


def own_of(path: str) -> str:
    """The path of what the members have of their own in place of the parameter at a path."""
    return MEMBERS + path


def size(leaves: Mapping[str, Shaped]) -> int:
    """How many members there are; 1 of a single model.

    Raises:
      ValueError: arrays are stacked of different numbers of members.
    """
    counts = {leaf.shape[0] if leaf.shape else 0 for path, leaf in leaves.items() if is_own(path)}
    if len(counts) > 1 or 0 in counts:
        raise ValueError("its members' arrays are not of the same number of members")
    return counts.pop() if counts else 1


def of_one(leaves: Mapping[str, Leaf]) -> dict[str, Leaf]:
    """Shape and dtype of the parameters of one member by their own paths, of the leaves of all; of a model its own.

    Raises:
      ValueError: as `size`.
    """
    size(leaves)
    own: dict[str, Leaf] = {
        path.removeprefix(MEMBERS): jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)
        for path, leaf in leaves.items()
        if is_own(path)
    }
    found = {path: leaf for path, leaf in leaves.items() if not is_own(path)} | own
    return {path: found[path] for path in sorted(found)}


def stacked(members: Sequence[Weights]) -> dict[str, AnyArray]:
    """What the members have of their own, each a mapping of the same paths, as an ensemble has it.

    Raises:
      ValueError: they have other paths or shapes than the first.
    """
    first = members[0]
    for other in members[1:]:
        if set(other) != set(first) or any(other[path].shape != first[path].shape for path in first):
            raise ValueError("the members do not have the same parameters")
    return {own_of(path): np.stack([np.asarray(one[path]) for one in members]) for path in first}


def _parted(params: Params) -> tuple[dict[str, AnyArray], dict[str, AnyArray]]:
    """What the members share, flat, and by its own path what is stacked."""
    flat = trees.flatten(params)
    own = {path.removeprefix(MEMBERS): leaf for path, leaf in flat.items() if is_own(path)}
    return {path: leaf for path, leaf in flat.items() if not is_own(path)}, own


def each(params: Params, function: Callable[..., Tree], *mapped: Tree) -> tuple[Tree, bool]:
    """What a function of nested parameters makes of every member, and whether there are several.

    Args:
      params: nested, of a model or of an ensemble.
      function: takes the parameters of a model, and whatever else is `mapped`.
      mapped: trees with a first axis of members, where there are several.

    Returns:
      Arrays with a new first axis E; where there is one model only, they are as the function returned them.
    """
    if MEMBERS.rstrip("/") not in params:
        return function(params, *mapped), False
    shared, own = _parted(params)

    def of_one(own: Weights, *mapped: Tree) -> Tree:
        return function(trees.unflatten({**shared, **own}), *mapped)

    return jax.vmap(of_one)(own, *mapped), True


def mean_log_probabilities(scores: Float[Array, "E *B L"]) -> Float32[Array, "*B L"]:
    """The logarithm of the mean of the probabilities that the members' scores, up to a constant of each, stand for."""
    logp = jax.nn.log_softmax(scores.astype(jnp.float32), axis=-1)
    return jax.nn.logsumexp(logp, axis=0) - jnp.log(scores.shape[0])


def averaged(params: Params, scores: Callable[[Params], Float[Array, "*B L"]]) -> Float[Array, "*B L"]:
    """Scores of answers by all members together, up to a constant; of a single model its own.

    Args:
      params: nested.
      scores: of the nested parameters of a model; their softmax over the last axis is what is averaged.
    """
    found, are_several = each(params, scores)
    averages: jax.Array = mean_log_probabilities(found) if are_several else found
    return averages


class Begun(NamedTuple):
    """What is known behind a prompt."""

    logits: Float32[Array, "B V"]  # of the next token, by all members together
    cache: Cache  # of each member, where there are several
    lengths: Int[Array, " B"]


def prefill(
    config: ModelSpec,
    params: Params,
    image: Float[AnyArray, "B H W 3"] | Float[AnyArray, "B N D"],
    prompt: Text,
    cache_size: int,
    dtype: DTypeLike,
) -> Begun:
    """As `multimodal.prefill`, of a model's nested parameters or of an ensemble."""

    def begin(params: Tree) -> tuple[jax.Array, Cache, jax.Array]:
        zimg = multimodal.image_tokens(config, params, image, dtype)
        return multimodal.prefill(config, params, zimg, prompt, cache_size=cache_size)

    (logits, cache, lengths), are_several = each(params, begin)
    if not are_several:
        return Begun(logits, cache, lengths)
    return Begun(mean_log_probabilities(logits), cache, lengths[0])


def extend(
    config: ModelSpec, params: Params, cache: Cache, token: Int[Array, " B"], position: Int[Array, " B"]
) -> tuple[Float32[Array, "B V"], Cache]:
    """As `multimodal.extend`, of a model's nested parameters or of an ensemble."""
    (logits, cache), are_several = each(
        params, lambda params, cache: multimodal.extend(config, params, cache, token, position), cache
    )
    return (mean_log_probabilities(logits) if are_several else logits), cache


def of_tokens(
    config: ModelSpec,
    params: Params,
    hidden: Float[Array, "E M D"],
    function: Callable[..., Tree],
    *beside: Int[Array, " M"],
    together: int,
) -> Tree:
    """What a function makes of the log-probabilities float32[V] of each of some next tokens, by all members together.

    Args:
      params: nested, of an ensemble.
      hidden: hidden states of each member in front of the tokens.
      function: takes the log-probabilities, and what else is there of a token.
      beside: what else is there of each token.
      together: tokens whose logits are there at a time.
    """

    def of_one(given: tuple[jax.Array, ...]) -> Tree:
        states, *more = given
        found, _ = each(params, lambda own, state: gemma.logits(config.llm, own["llm"], state), states)
        return function(mean_log_probabilities(found), *more)

    return jax.lax.map(of_one, (hidden.swapaxes(0, 1), *beside), batch_size=together)
