"""The saved state of a run, from which it can be resumed: one archive with all arrays and, as JSON, all other values.

It is one file, which appears whole or not at all: after a kill or a power cut it is the last one or the one before.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from palitune import host_memory
from palitune.checkpoint import npz
from palitune.checkpoint.archive import Archive
from palitune.checkpoint.store import Array, Storable
from palitune.errors import BadDataError
from palitune.models.arrays import AnyArray, Tree
from palitune.storage import files

MEMBER = "state.json"
HINT = "Start the run again with --overwrite"
VERSION = 2  # goes up when what is inside changes its meaning


class Content(TypedDict):
    """The JSON object in the archive."""

    version: int
    dtypes: dict[str, str]
    groups: list[str]
    facts: dict[str, Any]


class Saved(NamedTuple):
    """What was saved: groups of arrays, each under its own names, and a JSON object."""

    arrays: dict[str, dict[str, Array]]
    facts: dict[str, Any]


def save(path: Path, arrays: Mapping[str, Mapping[str, Storable]], facts: Mapping[str, object]) -> None:
    """Writes groups of arrays and a JSON object.

    Raises:
      StorageError: see `atomic_files.replacing`; the file that was there is untouched.
    """
    flat = {f"{group}/{name}": leaf for group, leaves in arrays.items() for name, leaf in leaves.items()}
    dtypes = {name: str(np.dtype(leaf.dtype)) for name, leaf in flat.items()}
    content = {"version": VERSION, "dtypes": dtypes, "groups": list(arrays), "facts": facts}
    npz.save(path, flat, texts={MEMBER: json.dumps(content)})


def load(path: Path) -> Saved:
    """Reads what `save` wrote; arrays are mapped from the file, and every checksum is verified.

    Raises:
      BadDataError: it is damaged, or of another version of palitune.
    """
    try:
        found = Archive(path).text(MEMBER)
        if found is None or npz.damaged(path):
            raise ValueError
        content = json.loads(found)
        version = content["version"]
        if version == VERSION:
            return _saved(path, content)
    except PermissionError as error:
        raise files.unreadable(error, path, "saved state") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError, BadDataError):
        raise BadDataError("the saved state of this run is damaged", where=str(path), hint=HINT) from None
    raise BadDataError("the state was saved by another version of palitune", where=str(path), hint=HINT)


def _saved(path: Path, content: Content) -> Saved:
    """Raises ValueError, KeyError, TypeError or BadDataError for what `save` does not write."""
    facts, names, dtypes = content["facts"], content["groups"], content["dtypes"]
    opened = npz.Checkpoint(path)
    if not (isinstance(facts, dict) and isinstance(names, list) and set(dtypes) == set(opened)):
        raise ValueError
    groups: dict[str, dict[str, Array]] = {group: {} for group in names}
    for name, dtype in dtypes.items():
        group, _, rest = name.partition("/")
        array = opened[name]
        groups[group][rest] = array if array.dtype == dtype else array.view(np.dtype(dtype))
    return Saved(groups, facts)


@contextlib.contextmanager
def understood(path: Path) -> Iterator[None]:
    """What a saved state lacks, or has of another kind than was saved, is bad data; the checksums tell nothing of it.

    Raises:
      BadDataError: so, with where the state is.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        what = f"the saved state of this run is invalid ({type(error).__name__}: {error})"
        raise BadDataError(what, where=str(path), hint=HINT) from None


def leaves_of(tree: Tree) -> dict[str, AnyArray]:
    """The leaves of any tree of arrays by their place in it."""
    return {jax.tree_util.keystr(place): leaf for place, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def tree_of(template: Tree, leaves: Mapping[str, AnyArray]) -> Tree:
    """The inverse of `leaves_of`, on the device, or spread over several as `template` is, for a tree like that.

    Raises:
      BadDataError: the leaves are not those of such a tree.
    """
    expected = leaves_of(template)
    if set(expected) != set(leaves) or any(tuple(leaves[k].shape) != tuple(expected[k].shape) for k in expected):
        raise BadDataError("the saved state does not fit this run", hint="Start it again with --overwrite")

    def made(place: tuple[Any, ...], like: jax.Array) -> jax.Array:
        leaf = leaves[jax.tree_util.keystr(place)]
        # A copy: the step gives its inputs' memory away, and this memory is a file.
        if len(like.sharding.device_set) == 1 and not host_memory.holds(like):
            return jnp.array(leaf)
        return jax.make_array_from_callback(leaf.shape, like.sharding, lambda index: np.array(leaf[index]))

    return jax.tree_util.tree_map_with_path(made, template)
