"""safetensors files: as the `safetensors` library has them, bit for bit, and one line for every file that is broken."""

import errno
import gc
import json
import mmap
import os
import random
import re
import stat
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy as library
from conftest import GOLDEN

from palitune.checkpoint import tensor_file, tensor_writer, verified_files
from palitune.checkpoint.tensor_files import INDEX, WHOLE, TensorFiles
from palitune.checkpoint.tensor_writer import TensorSource
from palitune.errors import BadDataError, MissingInputError, OutputExistsError, PalituneError, StorageError

PUBLISHED = GOLDEN / "hf" / "paligemma2_published_names"
ADAPTER = GOLDEN / "hf" / "gemma3_text_lora" / "adapter_model.safetensors"
RANDOM = np.random.default_rng(0)
BF16 = np.dtype(ml_dtypes.bfloat16)
# Every bit pattern of 16 bits, not-a-number's too; scalars; nothing; names that are not ASCII.
ARRAYS: dict[str, Any] = {
    "model.embed.weight": RANDOM.standard_normal((7, 5)).astype(np.float32),
    "model.every.weight": np.arange(1 << 16, dtype=np.uint16).view(BF16).reshape(64, -1),
    "model.half.weight": np.arange(1 << 16, dtype=np.uint16).view(np.float16),
    "model.double": RANDOM.standard_normal((2, 1, 3)),
    "scale": np.array(3.5, np.float32),
    "nothing": np.zeros((0, 4), BF16),
    'n"\\\n\x1f/é日本': RANDOM.standard_normal(3).astype(BF16),
}
PAIR = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1.5, -2], BF16)}


def sources(arrays: dict[str, Any]) -> dict[str, TensorSource]:
    return {name: TensorSource.of(array) for name, array in arrays.items()}


def same(found: Any, array: Any) -> bool:
    return bool(found.shape == array.shape and found.dtype == array.dtype and found.tobytes() == array.tobytes())


def put(path: Path, header: object, content: bytes = b"") -> Path:
    """A file with this header, which is JSON or bytes, and this content."""
    raw = header if isinstance(header, bytes) else json.dumps(header, ensure_ascii=False).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + content)
    return path


def entry(start: int, end: int, dtype: str = "F32", shape: object = None) -> dict[str, object]:
    return {"dtype": dtype, "shape": [(end - start) // 4] if shape is None else shape, "data_offsets": [start, end]}


def error_of(path: Path, kind: type[PalituneError] = BadDataError) -> str:
    with pytest.raises(kind) as caught:
        TensorFiles(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A memory of digests, on disk; nothing is known in this process."""
    monkeypatch.setattr(verified_files, "folder", tmp_path / "memory")
    monkeypatch.setattr(verified_files, "_known", {})
    monkeypatch.setattr(verified_files, "_changed", set())
    return tmp_path / "memory"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A folder with two shards, `a` in the first and `b` in the second."""
    folder = tmp_path / "shards"
    tensor_writer.save(folder, sources(PAIR), shard_bytes=24)
    return folder


class TestReading:
    def test_what_the_library_writes(self, tmp_path: Path) -> None:
        library.save_file(ARRAYS, tmp_path / "a.safetensors", {"format": "pt"})
        tensors = TensorFiles(tmp_path / "a.safetensors")
        assert tensors.names == list(tensors) == sorted(ARRAYS)
        assert len(tensors) == len(ARRAYS)
        for name, array in ARRAYS.items():
            assert name in tensors
            assert tensors.shape(name) == array.shape
            assert tensor_file.DTYPES[tensors.dtype(name)] == array.dtype
            assert same(tensors[name], array), name
        assert "other" not in tensors
        with pytest.raises(KeyError):
            tensors["other"]

    def test_published_shards(self) -> None:
        tensors = TensorFiles(PUBLISHED)
        index = json.loads((PUBLISHED / INDEX).read_text())
        assert set(tensors) == set(index["weight_map"])
        assert [path.name for path in tensors.files] == [INDEX, *sorted(set(index["weight_map"].values()))]
        known = {name: array for path in tensors.files[1:] for name, array in library.load_file(path).items()}
        assert all(array.dtype == BF16 for array in known.values())
        assert all(same(tensors[name], array) for name, array in known.items())
        assert sum(array.nbytes for array in tensors.values()) == index["metadata"]["total_size"]
        assert same(TensorFiles(PUBLISHED / INDEX)["multi_modal_projector.linear.bias"], tensors.get(PROJECTOR))

    def test_an_adapter(self) -> None:
        tensors, known = TensorFiles(ADAPTER), library.load_file(ADAPTER)
        assert set(tensors) == set(known)
        assert all(same(tensors[name], array) for name, array in known.items())

    def test_a_header_of_any_length(self, tmp_path: Path) -> None:
        """Files of other writers have tensors at odd places."""
        values = np.arange(5, dtype=np.float32)
        for spaces in range(8):
            header = json.dumps({"a": entry(0, 20)}).encode() + b" " * spaces
            found = TensorFiles(put(tmp_path / "a.safetensors", header, values.tobytes()))["a"]
            assert found.flags.aligned == (len(header) % 4 == 0)
            assert same(found, values)
            assert found.sum() == 10

    def test_other_dtypes_are_listed(self, tmp_path: Path) -> None:
        library.save_file({"a": np.arange(4, dtype=np.int32), "b": ARRAYS["scale"]}, tmp_path / "a.safetensors")
        header = {"q": entry(0, 4, "F8_E4M3", [2, 2]), "x": entry(4, 6, "F4", [4]), "f": entry(6, 9, "F6_E2M3", [4])}
        put(tmp_path / "b.safetensors", header, bytes(9))
        tensors = TensorFiles(tmp_path / "a.safetensors")
        assert (tensors.dtype("a"), tensors.shape("a")) == ("I32", (4,))
        assert tensors["b"] == 3.5
        with pytest.raises(BadDataError, match=r"a\.safetensors: tensor a is I32, and what can be read is F64, F32"):
            tensors["a"]
        packed = TensorFiles(tmp_path / "b.safetensors")
        assert [(packed.dtype(name), packed.shape(name)) for name in "qxf"] == [
            ("F8_E4M3", (2, 2)),
            ("F4", (4,)),
            ("F6_E2M3", (4,)),
        ]
        with pytest.raises(BadDataError, match="tensor q is F8_E4M3"):
            packed["q"]

    def test_tensors_are_mapped_while_they_are_used(self, tmp_path: Path) -> None:
        big = {name: np.ones((1 << 20,), np.float32) for name in "ab"}
        library.save_file(big, tmp_path / WHOLE)
        tracemalloc.start()
        tensors = TensorFiles(tmp_path)
        arrays = [tensors["a"], tensors["b"][5:]]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()
        assert not arrays[0].flags.writeable
        assert mappings() == 1
        del arrays[0]
        assert mappings() == 1
        assert arrays[0].sum() == (1 << 20) - 5
        arrays.clear()
        assert mappings() == 0

    def test_more_tensors_than_a_process_has_files(self, tmp_path: Path) -> None:
        library.save_file({f"t{number}": np.array(number, np.float32) for number in range(3000)}, tmp_path / WHOLE)
        tensors = TensorFiles(tmp_path)
        assert {float(array) for array in tensors.values()} == set(range(3000))
        assert len([*tensors.values()]) == 3000

    def test_it_stays_the_file_that_it_was(self, shards: Path) -> None:
        tensors = TensorFiles(shards)
        before = tensors.digests(lambda name: True)
        for path in tensors.files:
            library.save_file({"a": np.zeros(1, np.float32)}, path.with_name("new"))
            path.with_name("new").replace(path)
        assert all(same(tensors[name], array) for name, array in PAIR.items())
        assert tensors.digests(lambda name: True) == before
        for path in tensors.files:
            path.unlink()
        assert all(same(tensors[name], array) for name, array in PAIR.items())

    def test_a_file_that_is_cut_off_later(self, tmp_path: Path) -> None:
        library.save_file(PAIR, tmp_path / WHOLE)
        tensors = TensorFiles(tmp_path)
        os.truncate(tmp_path / WHOLE, 100)
        with pytest.raises(BadDataError, match=r"model\.safetensors: it has been cut off since it was opened"):
            tensors["a"]
        with pytest.raises(BadDataError, match="it has been cut off"):
            tensors.verify()

    def test_links_lead_to_files(self, shards: Path, tmp_path: Path) -> None:
        """The cache of downloads has links in a model's folder."""
        cache = tmp_path / "cache"
        cache.mkdir()
        for path in shards.iterdir():
            (cache / path.name).symlink_to(path)
        assert same(TensorFiles(cache)["b"], PAIR["b"])


PROJECTOR = "multi_modal_projector.linear.bias"


def mappings() -> int:
    """How many open mappings of files there are."""
    gc.collect()
    return sum(isinstance(one, mmap.mmap) for one in gc.get_objects())


class TestDigests:
    def test_they_are_remembered(self, shards: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = TensorFiles(shards).fingerprints()
        assert first.keys() == PAIR.keys()
        assert len(list(memory.iterdir())) == 2
        monkeypatch.setattr(verified_files, "_known", {})
        with monkeypatch.context() as patch:
            patch.setattr(tensor_file.TensorFile, "_pieces", lambda self, info: pytest.fail("it was read again"))
            tensors = TensorFiles(shards)
            tensors.verify()
            assert tensors.digests(lambda name: name == "b") == {"b": first["b"]}
        library.save_file({"b": PAIR["b"] + 1}, tensors.files[2])
        other = TensorFiles(shards).fingerprints()
        assert other["a"] == first["a"]
        assert other["b"] != first["b"]

    def test_they_tell_apart_dtype_shape_and_content(self, tmp_path: Path) -> None:
        values = np.zeros((2, 3), np.float32)
        others = [
            values,
            values.reshape(3, 2),
            values.reshape(6),
            values.view(np.float16),
            values.view(BF16),
            values + 1,
        ]
        found = set()
        for number, array in enumerate([*others, values]):
            library.save_file({"a": array}, tmp_path / f"{number}.safetensors")
            found.add(TensorFiles(tmp_path / f"{number}.safetensors").digests(lambda name: True)["a"])
        assert len(found) == len(others)

    def test_a_tensors_name_is_not_a_fact_of_the_file(self, tmp_path: Path, memory: Path) -> None:
        """`sha256` is what the file as a whole is remembered by."""
        library.save_file({"sha256": PAIR["a"]}, tmp_path / WHOLE)
        TensorFiles(tmp_path).verify()
        assert list(verified_files.recall((tmp_path / WHOLE).stat())) == ["tensor sha256"]


class TestWriting:
    def test_the_bytes_are_the_librarys(self, tmp_path: Path) -> None:
        for number, arrays in enumerate((ARRAYS, PAIR, {"x": ARRAYS["scale"]}, {})):
            path = tmp_path / f"{number}.safetensors"
            tensor_writer.write(path, sources(arrays))
            assert path.read_bytes() == library.save(arrays, {"format": "pt"})
            assert library.load_file(path).keys() == arrays.keys()
        tensor_writer.write(path, sources(PAIR), {})
        assert path.read_bytes() == library.save(PAIR)

    def test_published_shards_are_written_as_they_were(self, tmp_path: Path) -> None:
        for name in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"):
            tensor_writer.write(tmp_path / name, sources({**TensorFiles(PUBLISHED / name)}))
            assert (tmp_path / name).read_bytes() == (PUBLISHED / name).read_bytes()

    def test_one_file(self, tmp_path: Path) -> None:
        assert tensor_writer.save(tmp_path / "new", sources(ARRAYS)) == [tmp_path / "new" / WHOLE]
        assert [path.name for path in (tmp_path / "new").iterdir()] == [WHOLE]
        tensors = TensorFiles(tmp_path / "new")
        assert all(same(tensors[name], array) for name, array in ARRAYS.items())

    def test_shards_and_their_index(self, tmp_path: Path) -> None:
        written = tensor_writer.save(tmp_path, sources(PAIR), shard_bytes=24)
        names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", INDEX]
        assert [path.name for path in written] == names
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
        assert (tmp_path / INDEX).read_text() == (
            '{\n  "metadata": {\n    "total_parameters": 8,\n    "total_size": 28\n  },\n  "weight_map": {\n'
            f'    "a": "{names[0]}",\n    "b": "{names[1]}"\n  }}\n}}\n'
        )
        assert all(same(TensorFiles(tmp_path)[name], array) for name, array in PAIR.items())
        assert library.load_file(tmp_path / names[1]).keys() == {"b"}
        with pytest.raises(OutputExistsError, match="it already has model-00001-of-00002"):
            tensor_writer.save(tmp_path, sources(PAIR))

    @pytest.mark.parametrize(
        ("sizes", "shards"),
        [
            ([6, 6, 2, 6, 2, 2], ["a", "bc", "def"]),
            ([2, 12, 2], ["b", "ac"]),
            ([12, 12], ["a", "b"]),
            ([10, 10], ["a", "b"]),
            ([5, 5, 1], ["ab", "c"]),
            ([3, 3], ["ab"]),
            ([12], ["a"]),
        ],
    )
    def test_shards_are_as_large_as_others_make_them(self, sizes: list[int], shards: list[str], tmp_path: Path) -> None:
        arrays = {name: np.zeros(size, np.float32) for name, size in zip("abcdef", sizes, strict=False)}
        written = tensor_writer.save(tmp_path, sources(arrays), shard_bytes=40)
        files = [path for path in written if path.suffix == ".safetensors"]
        assert ["".join(TensorFiles(path)) for path in files] == shards

    def test_one_tensor_is_in_memory_at_a_time(self, tmp_path: Path) -> None:
        size = 1 << 21

        def read() -> Any:
            return np.ones((size // 4,), np.float32)

        tensors = {f"t{number}": TensorSource((size // 4,), np.dtype(np.float32), read) for number in range(8)}
        tracemalloc.start()
        tensor_writer.save(tmp_path, tensors, shard_bytes=3 * size)
        assert tracemalloc.get_traced_memory()[1] < 2.2 * size
        tracemalloc.stop()
        assert sum(array.sum() for array in TensorFiles(tmp_path).values()) == 2 * size

    def test_a_transposed_tensor_is_written_in_order(self, tmp_path: Path) -> None:
        array = ARRAYS["model.embed.weight"]
        tensor_writer.save(tmp_path, sources({"a": array.T, "b": array[:, ::2], "c": array.astype(">f4")}))
        tensors = TensorFiles(tmp_path)
        assert same(tensors["a"], np.ascontiguousarray(array.T))
        assert same(tensors["b"], np.ascontiguousarray(array[:, ::2]))
        assert same(tensors["c"], array)

    def test_the_same_tensors_give_the_same_bytes(self, tmp_path: Path) -> None:
        for folder in ("one", "other"):
            tensor_writer.save(tmp_path / folder, sources(ARRAYS), metadata={"b": "1", "a": "2"}, shard_bytes=200_000)
        for path in (tmp_path / "one").iterdir():
            assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()

    def test_if_it_fails_nothing_is_there(self, tmp_path: Path) -> None:
        def fail() -> Any:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        broken = sources(PAIR) | {"c": TensorSource((3,), np.dtype(np.float32), fail)}
        with pytest.raises(StorageError, match="cannot write: Input/output error"):
            tensor_writer.save(tmp_path, broken, shard_bytes=24)
        assert list(tmp_path.iterdir()) == []
        for shape, dtype in (((7,), np.float32), ((2, 3), np.float16)):
            other = TensorSource(shape, np.dtype(dtype), lambda: PAIR["a"])
            with pytest.raises(ValueError, match=r"a is float32\(2, 3\), not"):
                tensor_writer.save(tmp_path, {"a": other})
        for wrong in ({"a": TensorSource.of(np.zeros(2, np.int32))}, {"__metadata__": TensorSource.of(PAIR["a"])}):
            with pytest.raises(ValueError, match=r"is not written|can have the name"):
                tensor_writer.save(tmp_path, wrong)
        assert list(tmp_path.iterdir()) == []

    def test_room_is_looked_for_first(self, tmp_path: Path) -> None:
        vast = TensorSource((1 << 50,), np.dtype(np.float32), lambda: pytest.fail("it was read"))
        with pytest.raises(StorageError, match="the model takes 4,503,599,627,370,"):
            tensor_writer.save(tmp_path, {"a": vast})
        (tmp_path / "file").touch()
        with pytest.raises(StorageError, match="cannot write"):
            tensor_writer.save(tmp_path / "file", sources(PAIR))


ONE = {"a": entry(0, 4)}
REFUSED: dict[str, tuple[object, bytes, str]] = {
    "nothing": (b"", b"", "its header is longer|header"),
    "no JSON": (b"not JSON", b"", "invalid JSON"),
    "a list": (b"[]", b"", "invalid JSON|invalid start"),
    "deep": (b'{"a":' * 50_000, b"", "recursion limit"),
    "deep, where nobody asks": (b'{"a":{"x":' + b"[" * 50_000, b"", "recursion limit|invalid JSON"),
    "no UTF-8": (b'{"\xff":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"1234", "UTF-8|invalid"),
    "half a character": (b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"1234", "invalid JSON"),
    "overlapping": ({**ONE, "b": entry(2, 6)}, bytes(8), "invalid offset for tensor `b`"),
    "the same place": ({**ONE, "b": entry(0, 4)}, bytes(4), "invalid offset for tensor"),
    "a hole": ({**ONE, "b": entry(8, 12)}, bytes(12), "invalid offset for tensor `b`"),
    "out of range": ({"a": entry(4, 8)}, bytes(4), "invalid offset for tensor `a`"),
    "cut off": (ONE, bytes(3), "file not fully covered"),
    "something after it": (ONE, bytes(5), "file not fully covered"),
    "backwards": ({"a": {**entry(0, 4), "data_offsets": [4, 0]}}, bytes(4), "invalid"),
    "a negative place": ({"a": {**entry(0, 4), "data_offsets": [-4, 0]}}, bytes(4), "invalid JSON"),
    "three places": ({"a": {**entry(0, 4), "data_offsets": [0, 4, 4]}}, bytes(4), "invalid JSON"),
    "another size": ({"a": entry(0, 4, "F32", [2])}, bytes(4), "invalid|shape"),
    "a negative shape": ({"a": entry(0, 4, "F32", [-1])}, bytes(4), "invalid JSON"),
    "a broken shape": ({"a": entry(0, 4, "F32", [1.0])}, bytes(4), "invalid JSON"),
    "a shape of words": ({"a": entry(0, 4, "F32", ["1"])}, bytes(4), "invalid JSON"),
    "a shape that is true": ({"a": entry(0, 4, "F32", [True])}, bytes(4), "invalid JSON"),
    "an infinite shape": ({"a": entry(0, 4, "F32", [float("inf")])}, bytes(4), "invalid JSON"),
    "a shape not a number": ({"a": entry(0, 4, "F32", [float("nan")])}, bytes(4), "invalid JSON"),
    "a vast shape": ({"a": entry(0, 4, "F32", [1 << 63, 2])}, bytes(4), "overflow"),
    "a shape of 100 digits": ({"a": entry(0, 4, "F32", [10**100])}, bytes(4), "invalid JSON"),
    "vast, but empty": ({"a": entry(0, 0, "F32", [0, 1 << 62, 1 << 62])}, b"", "tensor a has an impossible shape"),
    "many axes": ({"a": entry(0, 4, "F32", [1] * 33)}, bytes(4), "tensor a has an impossible shape"),
    "an unknown dtype": ({"a": entry(0, 4, "F99", [1])}, bytes(4), "unknown variant `F99`"),
    "half a byte": ({"a": entry(0, 2, "F4", [3])}, bytes(2), "byte boundary|invalid"),
    "no dtype": ({"a": {"shape": [1], "data_offsets": [0, 4]}}, bytes(4), "missing field `dtype`"),
    "a long name": ({"n" * 501: entry(0, 4)}, bytes(4), "more than 500 characters"),
    "a name twice": (
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4),
        "a is in it twice",
    ),
    "metadata twice": (
        b'{"__metadata__":{"a":"1","a":"2"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4),
        "a is in it twice",
    ),
    "a number in the metadata": ({"__metadata__": {"a": 1}, **ONE}, bytes(4), "invalid JSON"),
    "a number of 5,000 digits": (
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":' + b"9" * 5000 + b"}}",
        bytes(4),
        "invalid JSON|digits",
    ),
}


class TestBrokenFiles:
    @pytest.mark.parametrize("kind", REFUSED)
    def test_one_line(self, kind: str, tmp_path: Path) -> None:
        header, content, reason = REFUSED[kind]
        text = error_of(put(tmp_path / "a.safetensors", header, content))
        assert text.startswith(f"{tmp_path / 'a.safetensors'}: not a readable safetensors file: ")
        assert re.search(reason, text), text

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "its header is longer than the file"),
            (b"1234567", "its header is longer than the file"),
            ((1 << 63).to_bytes(8, "little") + b"{}", "its header is longer than the file"),
            ((3).to_bytes(8, "little") + b"{}", "its header is longer than the file"),
            (b"version https://git-lfs/spec/v1\noid sha256:00\n", "git lfs pull fetches"),
            (b"PK\3\4" + bytes(100), "it is a pickle, which runs any code"),
            (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + bytes(100), "it is a pickle, which runs any code"),
            (b"<!doctype html><html>not found</html>", "its header is longer than the file"),
        ],
    )
    def test_other_files(self, content: bytes, reason: str, tmp_path: Path) -> None:
        (tmp_path / "a.safetensors").write_bytes(content)
        assert reason in error_of(tmp_path / "a.safetensors")

    @pytest.mark.parametrize("count", [20_001, 83_000, 250_000, 1_000_000])
    def test_many_tensors(self, count: int, tmp_path: Path) -> None:
        text = ",".join(f'"{n:x}":{{"dtype":"U8","shape":[1],"data_offsets":[{n},{n + 1}]}}' for n in range(count))
        path = put(tmp_path / "a.safetensors", f"{{{text}}}".encode(), bytes(count))
        tracemalloc.start()
        begin = time.process_time()
        reason = error_of(path)
        assert time.process_time() - begin < 5
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
        tracemalloc.stop()
        assert "20,000" in reason or "16,777,216 bytes" in reason

    def test_as_many_as_are_read(self, tmp_path: Path) -> None:
        header = {f"model.layers.{n}.weight": entry(n, n + 1, "U8", [1]) for n in range(20_000)}
        assert len(TensorFiles(put(tmp_path / "a.safetensors", header, bytes(20_000)))) == 20_000

    @pytest.mark.parametrize("filling", [b"[],", b"1.25,"])
    def test_a_header_full_of_other_things(self, filling: bytes, tmp_path: Path) -> None:
        start = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":['
        for values, is_read in ((400_000, True), (1_100_000, False)):
            path = put(tmp_path / "a.safetensors", start + filling * values + b"1]}}", bytes(4))
            tracemalloc.start()
            if is_read:
                assert TensorFiles(path)["a"] == 0
            else:
                assert "more than 20,000 tensors, or other things" in error_of(path)
            assert tracemalloc.get_traced_memory()[1] < 64 << 20
            tracemalloc.stop()

    def test_what_is_not_a_file(self, tmp_path: Path) -> None:
        assert "no such checkpoint" in error_of(tmp_path / "missing.safetensors", MissingInputError)
        os.mkfifo(tmp_path / "pipe.safetensors")
        assert "not a regular file" in error_of(tmp_path / "pipe.safetensors")
        assert "not a regular file" in error_of(Path("/dev/zero"))
        (tmp_path / "loop.safetensors").symlink_to("loop.safetensors")
        error_of(tmp_path / "loop.safetensors", MissingInputError)
        (tmp_path / "link.safetensors").symlink_to("missing")
        error_of(tmp_path / "link.safetensors", MissingInputError)
        error_of(tmp_path / "a\0b.safetensors", MissingInputError)
        error_of(tmp_path / ("n" * 300), MissingInputError)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_what_may_not_be_read(self, tmp_path: Path) -> None:
        library.save_file(PAIR, tmp_path / WHOLE)
        (tmp_path / WHOLE).chmod(0)
        assert "chmod u+r" in error_of(tmp_path, MissingInputError)


class TestFolders:
    @pytest.mark.parametrize(
        "names",
        [
            ["pytorch_model.bin", "config.json"],
            ["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"],
            ["model.pt"],
            ["model.ckpt"],
            ["weights.PTH"],
        ],
    )
    def test_pickles_are_refused(self, names: list[str], tmp_path: Path) -> None:
        for name in names:
            (tmp_path / name).write_bytes(b"PK\3\4")
        text = error_of(tmp_path)
        assert names[0] in text
        assert "runs any code in it when it is loaded" in text
        assert "safe_serialization=True" in text
        assert "runs any code" in error_of(tmp_path / names[0])

    def test_weights_beside_pickles_are_read(self, tmp_path: Path) -> None:
        (tmp_path / "pytorch_model.bin").touch()
        library.save_file(PAIR, tmp_path / WHOLE)
        assert set(TensorFiles(tmp_path)) == set(PAIR)

    def test_folders_without_a_model(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").touch()
        assert "this folder has no model.safetensors" in error_of(tmp_path, MissingInputError)
        library.save_file(PAIR, tmp_path / "adapter_model.safetensors")
        assert "Name the file you mean: adapter_model.safetensors" in error_of(tmp_path, MissingInputError)

    def test_two_models_in_a_folder(self, shards: Path) -> None:
        library.save_file(PAIR, shards / WHOLE)
        assert "it has model.safetensors, and model.safetensors.index.json of other files" in error_of(shards)
        assert set(TensorFiles(shards / WHOLE)) == set(TensorFiles(shards / INDEX)) == set(PAIR)
        (shards / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(PAIR, WHOLE)}))
        assert set(TensorFiles(shards)) == set(PAIR)

    def test_a_shard_is_missing(self, shards: Path) -> None:
        second = shards / "model-00002-of-00002.safetensors"
        second.unlink()
        text = error_of(shards, MissingInputError)
        assert "1 of 2 shards are not there: model-00002-of-00002.safetensors" in text
        second.symlink_to("../gone")
        error_of(shards, MissingInputError)
        second.unlink()
        second.mkdir()
        assert str(second) in error_of(shards)
        second.rmdir()
        os.mkfifo(second)
        assert str(second) in error_of(shards)
        second.unlink()
        second.write_bytes((shards / "model-00001-of-00002.safetensors").read_bytes())
        assert "tensor a is in model-00001-of-00002.safetensors too" in error_of(shards)
        second.write_bytes(b"\0" * 20)
        assert str(second) in error_of(shards)

    def test_shards_of_another_model(self, shards: Path) -> None:
        index = json.loads((shards / INDEX).read_text())
        first, second = sorted(set(index["weight_map"].values()))
        for weight_map, reason in (
            ({"a": first, "b": second, "c": second}, f"{second} does not have what the index says is in it: c"),
            ({"a": first, "b": first}, "does not have what the index says is in it: b"),
            ({"a": second, "b": first}, "does not have what the index says is in it: a, b"),
            ({"b": second}, ""),
        ):
            (shards / INDEX).write_text(json.dumps({"weight_map": weight_map}))
            if reason:
                assert reason in error_of(shards)
            else:
                assert set(TensorFiles(shards)) == {"b"}
        library.save_file({"b": PAIR["b"], "d": PAIR["a"]}, shards / second)
        assert f"{second} has what the index does not name: d" in error_of(shards)

    @pytest.mark.parametrize(
        "name",
        [
            "../model-00001-of-00002.safetensors",
            "/etc/passwd",
            "/tmp/a.safetensors",
            "a/b.safetensors",
            "a\\b.safetensors",
            "..",
            "",
            ".",
            "a\0.safetensors",
            "a\n.safetensors",
            "\ud800.safetensors",
            "pytorch_model.bin",
            "n" * 300 + ".safetensors",
            7,
            None,
            ["a.safetensors"],
        ],
    )
    def test_shards_are_plain_files(self, name: object, shards: Path) -> None:
        (shards / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
        text = error_of(shards)
        assert text.startswith(f"{shards / INDEX}: not an index of shards: tensor a is said to be in")

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "not an index of shards"),
            (b"[]", "it has no weight_map"),
            (b"{}", "it has no weight_map"),
            (b'{"weight_map": []}', "it has no weight_map"),
            (b'{"weight_map": {}, "weight_map": {}}', "weight_map is in it twice"),
            (b'{"weight_map": {"a": "a.safetensors", "a": "b.safetensors"}}', "a is in it twice"),
            (b"\xff\xfe{}", "not an index of shards"),
            (b"[" * 100_000, "not an index of shards"),
            (b'{"weight_map": ' + b"9" * 5000 + b"}", "not an index of shards"),
            (b" " * ((16 << 20) + 1), "more than 16,777,216 bytes"),
            (b'{"weight_map": {' + b'"a":"b",' * 600_000 + b"}}", "more than 20,000 tensors"),
            (json.dumps({"weight_map": {str(n): "a.safetensors" for n in range(20_001)}}).encode(), "20,000 tensors"),
            (json.dumps({"weight_map": {str(n): f"{n}.safetensors" for n in range(201)}}).encode(), "200 shards"),
            (json.dumps({"weight_map": {"n" * 501: "a.safetensors"}}).encode(), "500 characters"),
        ],
        ids=range(14),
    )
    def test_indices(self, content: bytes, reason: str, tmp_path: Path) -> None:
        (tmp_path / INDEX).write_bytes(content)
        assert reason in error_of(tmp_path)

    def test_shards_with_many_tensors(self, tmp_path: Path) -> None:
        header = {f"t{n}": entry(n, n + 1, "U8", [1]) for n in range(15_000)}
        for name in "ab":
            put(tmp_path / f"{name}.safetensors", header, bytes(15_000))
        (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
        assert "the shards have more than 20,000 tensors" in error_of(tmp_path)


MUTATIONS = 2_000  # of one file; and a quarter as many of an index
SMALL = {
    "model.a.weight": RANDOM.standard_normal((12, 10)).astype(np.float32),
    "model.b.weight": RANDOM.standard_normal(100).astype(BF16),
    "c": RANDOM.standard_normal((2, 3, 4)).astype(np.float16),
    "d": np.zeros((0, 2), np.float32),
}


def mutated(content: bytes, dice: random.Random) -> bytes:
    """The content with one to four things changed: bits, bytes, digits, pieces, the header's length, the end."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        header = 8 + min(len(changed), int.from_bytes(content[:8], "little"))
        digits = [at for at in range(8, min(header, len(changed))) if changed[at : at + 1].isdigit()]
        place = dice.randrange(max(1, len(changed)))
        match dice.randrange(9):
            case 0:
                changed[place : place + 1] = bytes([dice.randrange(256)])
            case 1 if place < len(changed):
                changed[place] ^= 1 << dice.randrange(8)
            case 2:
                del changed[place:]
            case 3:
                changed[:8] = dice.choice([dice.randrange(len(content)), dice.getrandbits(64)]).to_bytes(8, "little")
            case 4 if digits:
                changed[dice.choice(digits)] = ord(dice.choice("0123456789-.e"))
            case 5 if digits:
                at = dice.choice(digits)
                number = dice.choice([-1, 0, 1, 3, 1 << 31, 1 << 62, 1 << 64, "1e9", "NaN", "null", "[]", "F16", "0x1"])
                changed[at : at + 1] = str(number).encode()
            case 6:
                length = dice.randrange(1, 40)
                del changed[place : place + length]
            case 7:
                other = dice.randrange(max(1, len(changed)))
                changed[place:place] = changed[other : other + dice.randrange(1, 60)]
            case _:
                old, new = dice.choice(
                    [
                        (b"F32", b"F16"),
                        (b"BF16", b"F16"),
                        (b"F16", b"I16"),
                        (b"F32", b"F8_E4M3"),
                        (b".b.", b".a."),
                        (b"[", b"{"),
                    ]
                )
                changed = changed.replace(old, new, 1)
    return bytes(changed)


def content_of(tensors: TensorFiles, most: int) -> Iterator[tuple[str, Any]]:
    """All tensors that can be read, each of its declared shape and no larger than the files."""
    for name in tensors:
        if tensors.dtype(name) not in tensor_file.DTYPES:
            with pytest.raises(BadDataError, match="and what can be read is F64"):
                tensors[name]
            continue
        array = tensors[name]
        assert array.shape == tensors.shape(name)
        assert array.dtype == tensor_file.DTYPES[tensors.dtype(name)]
        assert array.nbytes <= most
        yield name, array.copy()


def campaign(path: Path, target: Path, count: int, check: Callable[[TensorFiles], None]) -> int:
    """How many of so many mutations of a file could be read; each of the others is one line."""
    content, dice, errors = path.read_bytes(), random.Random(1), []
    TensorFiles(target)
    tracemalloc.start()
    for _ in range(count):
        path.write_bytes(mutated(content, dice))
        try:
            check(TensorFiles(target))
        except PalituneError as error:
            errors.append(error)
    assert tracemalloc.get_traced_memory()[1] < tensor_file.MOST_HEADER + (4 << 20)
    tracemalloc.stop()
    for error in errors:
        assert error.exit_code in (65, 66)
        assert str(error).startswith(str(target))
        assert "\n" not in str(error)
        assert len(str(error)) < 4000
    return count - len(errors)


class TestMutations:
    def test_of_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        tensor_writer.write(path, sources(SMALL))

        def check(tensors: TensorFiles) -> None:
            found = dict(content_of(tensors, path.stat().st_size))
            known = {name: dtype for name in tensors if (dtype := tensors.dtype(name)) in tensor_file.DTYPES}
            assert found.keys() == known.keys()
            with library.safe_open(path, "np") as other:
                assert all(same(array, other.get_tensor(name)) for name, array in found.items())

        read = campaign(path, path, MUTATIONS, check)
        assert MUTATIONS // 20 < read < MUTATIONS // 2

    def test_of_an_index(self, shards: Path) -> None:
        def check(tensors: TensorFiles) -> None:
            assert all(same(array, PAIR[name]) for name, array in content_of(tensors, 100))

        read = campaign(shards / INDEX, shards, MUTATIONS // 4, check)
        assert 0 < read < MUTATIONS // 8


def test_files_follow_the_umask(tmp_path: Path) -> None:
    tensor_writer.save(tmp_path, sources(PAIR))
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / WHOLE).stat().st_mode) == 0o666 & ~umask
