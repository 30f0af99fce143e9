"""Checkpoints: bit-exact, lazy, whole or not at all."""

import errno
import json
import os
import zipfile
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from palitune.checkpoint import manifest, npz
from palitune.errors import BadDataError, MissingInputError, StorageError
from palitune.storage import atomic_files

ARRAYS = {
    "img/half": np.linspace(-9, 9, 30, dtype=np.float16).reshape(2, 3, 5),
    "llm/brain": jnp.linspace(-9, 9, 12, dtype=jnp.bfloat16).reshape(3, 4),
    "llm/single": np.float32([np.pi, np.nan, np.inf, -0.0]),
    "llm/scalar": np.float32(3.5),
    "llm/empty": np.zeros((0, 4), np.float32),
    "llm/turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
}


def same(a: object, b: object) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_round_trip_is_bit_exact(tmp_path: Path) -> None:
    npz.save(tmp_path / "a.npz", ARRAYS)
    checkpoint = npz.Checkpoint(tmp_path / "a.npz")
    assert list(checkpoint) == sorted(ARRAYS)
    for path, array in ARRAYS.items():
        assert same(checkpoint[path], array), path


def test_numpy_reads_what_we_write_and_we_read_what_numpy_writes(tmp_path: Path) -> None:
    plain = {path: np.asarray(array) for path, array in ARRAYS.items() if "brain" not in path}
    npz.save(tmp_path / "ours.npz", plain)
    with np.load(tmp_path / "ours.npz") as file:
        assert all(same(file[path], array) for path, array in plain.items())
    for saver in (np.savez, np.savez_compressed):
        saver(tmp_path / "theirs.npz", **{f"params/{path}": array for path, array in plain.items()})
        checkpoint = npz.Checkpoint(tmp_path / "theirs.npz")
        assert all(same(checkpoint[path], array) for path, array in plain.items())


def test_stored_arrays_are_mapped(tmp_path: Path) -> None:
    npz.save(tmp_path / "a.npz", ARRAYS)
    assert isinstance(npz.Checkpoint(tmp_path / "a.npz")["img/half"], np.memmap)


def test_the_same_arrays_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        npz.save(tmp_path / name, ARRAYS)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_unusable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(MissingInputError, match=r"a\.npz: no such checkpoint"):
        npz.Checkpoint(path)
    path.write_bytes(b"not a zip archive")
    with pytest.raises(BadDataError, match=r"a\.npz: not an \.npz checkpoint"):
        npz.Checkpoint(path)
    npz.save(path, ARRAYS)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadDataError, match="cut off"):
        npz.Checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("broken.npy", b"\x93NUMPY\x01\x00")
        archive.writestr("alien.npy", b"\x93NUMPY\x09\x00")
        archive.writestr("torn.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': ('<f4\n")
    for name in ("broken", "alien", "torn"):
        with pytest.raises(BadDataError, match=f"array {name} cannot be read"):
            npz.Checkpoint(path)[name]
    np.savez(path, objects=np.array([{}], dtype=object))
    with pytest.raises(BadDataError, match="Python objects"):
        npz.Checkpoint(path)["objects"]


@pytest.mark.parametrize("call", ["fsync", "replace", "write"])
def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "a.npz"
    npz.save(path, ARRAYS)
    before = path.read_bytes()

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    elif call == "replace":
        monkeypatch.setattr(Path, "replace", full)
    else:
        monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(StorageError, match=r"a\.npz: cannot write: No space left on device"):
        npz.save(path, {"other": np.zeros(3)})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.npz"]


def test_files_follow_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        atomic_files.write(tmp_path / "a", b"x")
    finally:
        os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_manifest(tmp_path: Path) -> None:
    checkpoint = tmp_path / "trained-0.5.npz"
    assert manifest.read(checkpoint) == {}
    base = {"name": "tiny", "file": "tiny.npz", "hash": "0"}
    dtypes = {"a": np.dtype(np.float32), "b": ml_dtypes.bfloat16}
    content = manifest.text(base=base, dtypes=dtypes, config={"prompt": "ok?"}, data="dataset/set1")
    manifest.write(checkpoint, content)
    assert manifest.path_of(checkpoint).name == "trained-0.5.json"
    found = manifest.read(checkpoint)
    assert (found["config"], found["base"]) == ({"prompt": "ok?"}, base)
    assert found["dtypes"] == {"a": "float32", "b": "bfloat16"}
    for content in ("[]", "{", json.dumps({"config": 3}), json.dumps({"config": {"prompt": 1}})):
        manifest.path_of(checkpoint).write_text(content)
        with pytest.raises(BadDataError, match=r"trained-0\.5\.json: not a manifest"):
            manifest.read(checkpoint)
    with zipfile.ZipFile(checkpoint, "w") as archive:
        archive.writestr(manifest.MEMBER, "[]")
    with pytest.raises(BadDataError, match=r"trained-0\.5\.npz: the manifest inside is damaged"):
        manifest.read(checkpoint)
