"""Where weights and activations are while a model computes: on one device, unless somebody says otherwise.

Parameters may be spread over several devices. A model knows neither how many there are nor who has what: where it comes
to a layer's weights, or to a table, it asks here, and gets them back as they are where nobody has said anything.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from palitune.models.arrays import Params, Tree


@runtime_checkable
class Spread(Protocol):
    """Parameters spread over devices."""

    def layer(self, stack: str, weights: Params) -> Params:
        """The weights of one layer, nested, whole on every device; `stack` is the path of the layers, with its `/`."""

    def examples(self, x: Tree) -> Tree:
        """Arrays [B, ...], each device with some of the examples."""

    def beside_table(self, x: Tree) -> Tree:
        """Arrays [B, ...] about to meet a table [V, D], of which each device has some rows."""


_spread: contextvars.ContextVar[Spread | None] = contextvars.ContextVar("spread", default=None)


@contextlib.contextmanager
def over(spread: Spread | None) -> Iterator[None]:
    """What is traced inside is a program for parameters that are spread so."""
    before = _spread.set(spread)
    try:
        yield
    finally:
        _spread.reset(before)


def layer(stack: str, weights: Params) -> Params:
    """See `Spread.layer`."""
    spread = _spread.get()
    return weights if spread is None else spread.layer(stack, weights)


def examples(x: Tree) -> Tree:
    """See `Spread.examples`."""
    spread = _spread.get()
    return x if spread is None else spread.examples(x)


def beside_table(x: Tree) -> Tree:
    """See `Spread.beside_table`."""
    spread = _spread.get()
    return x if spread is None else spread.beside_table(x)
