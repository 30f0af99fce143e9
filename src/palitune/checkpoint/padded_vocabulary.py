"""The rows that other people's programs want behind those of a vocabulary, for the token that stands for an image.

Published PaliGemmas have 257,152 pieces in big_vision's files, and 64 rows more in those of transformers, where the
image's token is the first of them. Each row that is added here is the mean of the others, so that its logit is the mean
of theirs: it is never the highest, and the sum over the vocabulary grows by no more than the share of the added rows.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from palitune.checkpoint.store import Array, Storable
from palitune.models.spec import ModelSpec

TABLES = ("llm/embedder/input_embedding", "llm/embedder/output_embedding")
MULTIPLE = 64  # of which transformers makes the number of rows
ROWS = 8192  # that are added up at once


def rows_for(rows: int, token: int | None) -> int:
    """How many rows a table needs for a token: its own where there is one for it, else a multiple of `MULTIPLE`."""
    return rows if token is None or token < rows else -(-(token + 1) // MULTIPLE) * MULTIPLE


class PaddedTable:
    """A table [V, D] with rows behind it that are its mean; made when it is read."""

    def __init__(self, table: Storable, rows: int) -> None:
        self._table = table
        self.shape, self.dtype, self.ndim = (rows, *table.shape[1:]), table.dtype, table.ndim
        self.size = int(np.prod(self.shape))

    def __getitem__(self, rows: slice) -> Array:
        """Some rows, with those that are added among them."""
        own = self._table.shape[0]
        start, stop, _ = rows.indices(self.shape[0])
        made: Array = np.empty((max(0, stop - start), *self.shape[1:]), self.dtype)
        for at in range(start, min(stop, own), ROWS):
            end = min(at + ROWS, stop, own)
            made[at - start : end - start] = np.asarray(self._table[at:end])
        if stop > own:
            made[max(0, own - start) :] = self._mean()
        return made

    def _mean(self) -> Array:
        total = np.zeros(self.shape[1:], np.float64)
        for at in range(0, self._table.shape[0], ROWS):
            total += np.asarray(self._table[at : at + ROWS]).astype(np.float32).sum(axis=0, dtype=np.float64)
        mean: Array = (total / self._table.shape[0]).astype(self.dtype)
        return mean


class FirstRows:
    """The first rows of a table [V, D]; read when they are asked for."""

    def __init__(self, table: Storable, rows: int) -> None:
        self._table = table
        self.shape, self.dtype, self.ndim = (rows, *table.shape[1:]), table.dtype, table.ndim
        self.size = int(np.prod(self.shape))

    def __getitem__(self, rows: slice) -> object:
        """Some of the rows."""
        start, stop, step = rows.indices(self.shape[0])
        return self._table[start:stop:step]


def own_rows(table: Storable, token: int) -> int:
    """How many rows a table has without those that were added from a token's on, all of which are the same.

    The rows that published files have there are all different, and count as the table's own.
    """
    if not 0 < token < table.shape[0] - 1:
        return table.shape[0]
    added = np.asarray(table[token : table.shape[0]])
    return token if all(row.tobytes() == added[0].tobytes() for row in added) else table.shape[0]


def sized(spec: ModelSpec, arrays: Mapping[str, Storable], rows: int) -> tuple[ModelSpec, Mapping[str, Storable]]:
    """A model whose vocabulary has so many rows, and its parameters by path."""
    if rows == spec.llm.vocab_size:
        return spec, arrays
    kind = PaddedTable if rows > spec.llm.vocab_size else FirstRows
    changed: dict[str, Storable] = {path: kind(arrays[path], rows) for path in TABLES if path in arrays}
    wanted = dataclasses.replace(spec, llm=dataclasses.replace(spec.llm, vocab_size=rows))
    return wanted, {path: changed.get(path) or arrays[path] for path in arrays}


def without_added(
    spec: ModelSpec, arrays: Mapping[str, Storable], token: int | None
) -> tuple[ModelSpec, Mapping[str, Storable]]:
    """A model and its parameters without the rows that were added for a token, if there are such."""
    if token is None:
        return spec, arrays
    return sized(spec, arrays, own_rows(arrays[TABLES[0]], token))
