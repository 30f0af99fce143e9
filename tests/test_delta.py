"""Small checkpoints: opened with their base, never with another, and as exact as whole ones."""

import json
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from palitune.checkpoint import delta, manifest, npz, opening
from palitune.errors import BadDataError, MissingInputError

BASE = {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "b": np.ones(3, ml_dtypes.bfloat16)}


def nowhere(name: str) -> Path:
    raise MissingInputError(f"no checkpoint {name}")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A base and a delta on it."""
    base, changed = tmp_path / "base.npz", tmp_path / "changed.npz"
    npz.save(base, BASE)
    save(changed, {"a": BASE["a"] + 1}, base)
    return base, changed


def save(path: Path, arrays: dict[str, np.ndarray], base: Path) -> None:
    npz.save(path, arrays)
    described = delta.describe(opening.load(base, nowhere), base.stem)
    dtypes = {name: array.dtype for name, array in arrays.items()}
    manifest.write(path, manifest.text(base=described, dtypes=dtypes, config={}, data=""))


def test_a_delta_stands_in_front_of_its_base(pair: tuple[Path, Path]) -> None:
    opened = opening.load(pair[1], nowhere)
    assert list(opened) == ["a", "b"]
    np.testing.assert_array_equal(opened["a"], BASE["a"] + 1)
    assert opened["b"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(opened["b"], BASE["b"])
    assert delta.inherited(opened) == ["a"]


def test_the_base_is_found_by_name_where_it_has_moved(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, changed = pair
    (tmp_path / "elsewhere").mkdir()
    moved = base.rename(tmp_path / "elsewhere" / "base.npz")
    with pytest.raises(MissingInputError, match="its base base is not there: no checkpoint base"):
        opening.load(changed, nowhere)
    assert len(opening.load(changed, lambda name: moved)) == 2


def test_another_base_of_the_same_name_is_refused(pair: tuple[Path, Path]) -> None:
    base, changed = pair
    npz.save(base, {**BASE, "b": np.zeros(3, ml_dtypes.bfloat16)})
    with pytest.raises(BadDataError, match=r"changed\.npz: .* is not the base base this was made from"):
        opening.load(changed, lambda name: base)


def test_a_delta_of_a_delta_has_the_first_base(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, changed = pair
    again = tmp_path / "again.npz"
    save(again, {"a": BASE["a"] + 1, "b": BASE["b"] * 2}, changed)
    changed.unlink()
    opened = opening.load(again, nowhere)
    assert manifest.read(again)["base"]["file"] == str(base.resolve())
    np.testing.assert_array_equal(opened["b"], BASE["b"] * 2)


def test_stored_dtypes() -> None:
    assert delta.stored_dtype(BASE, "a", np.float32) == np.float16
    assert delta.stored_dtype(BASE, "b", np.float32) == ml_dtypes.bfloat16
    assert delta.stored_dtype(BASE, "a", ml_dtypes.bfloat16) == ml_dtypes.bfloat16
    assert delta.stored_dtype(BASE, "new", np.float32) == np.float16


def test_bfloat16_survives_through_the_manifest(pair: tuple[Path, Path]) -> None:
    base, changed = pair
    values = np.array([1.5, -3e38, 1e-40, np.nan], ml_dtypes.bfloat16)
    save(changed, {"b": values}, base)
    assert json.loads(manifest.path_of(changed).read_text())["dtypes"] == {"b": "bfloat16"}
    np.testing.assert_array_equal(npz.Checkpoint(changed)["b"].view(np.uint16), values.view(np.uint16))
    content = json.loads(manifest.path_of(changed).read_text())
    content["dtypes"]["b"] = "float8"
    manifest.path_of(changed).write_text(json.dumps(content))
    with pytest.raises(BadDataError, match="raw bytes that the manifest calls float8"):
        npz.Checkpoint(changed)["b"]


MEMORY = """
import sys, threading, time
from pathlib import Path
import jax, numpy as np
from palitune.checkpoint import npz

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("RssAnon"))

def peak(work):
    before, done, seen = anonymous(), threading.Event(), [0]
    def watch():
        while not done.is_set():
            seen[0] = max(seen[0], anonymous())
            time.sleep(0.001)
    thread = threading.Thread(target=watch)
    thread.start()
    result = work()
    done.set()
    thread.join()
    return seen[0] - before, result

folder, largest = Path(sys.argv[1]), 96 << 20
jax.numpy.zeros(3).block_until_ready()
arrays = {str(i): jax.numpy.full((24, (largest >> i) // 48), i, jax.numpy.float16) for i in range(3)}
total = sum(array.nbytes for array in arrays.values())
saving, _ = peak(lambda: npz.save(folder / "a.npz", arrays))
opened = npz.Checkpoint(folder / "a.npz")
def load():
    return [jax.numpy.array(opened[name], copy=True) for name in opened]
loading, loaded = peak(load)
assert all(array.size for array in loaded)
print(saving / largest, (loading - total) / largest)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
def test_no_second_copy_of_the_largest_array_is_made(tmp_path: Path) -> None:
    """Beside what is on the device: at most 1.25 times the largest array, on load and on save."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    saving, loading = map(float, done.stdout.split())
    assert saving < 1.25
    assert loading < 1.25
