"""Archives of strangers: each that is not what it says is refused, in little memory."""

import dataclasses
import io
import json
import os
import resource
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from palitune.checkpoint import manifest, npz, operating_point, run_state, verified_files
from palitune.checkpoint.archive import Archive
from palitune.errors import BadDataError, MissingInputError
from palitune.run.folder import RunFolder, read_config
from palitune.run.trainer import Progress, Trainer

ARRAY = np.arange(12, dtype=np.float32).reshape(3, 4)
BILLION = 1_000_000_000


def npy(array: Any = ARRAY, **changed: Any) -> bytes:
    """A .npy file whose header says something else."""
    header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header | changed)
    return stream.getvalue() + array.tobytes()


def packed(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def zeros(path: Path, name: str, head: bytes = b"") -> None:
    """200 MB of blanks that are packed into 200 kB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as member:
        member.write(head)
        for _ in range(200):
            member.write(bytes([32]) * (1 << 20))


def patched(path: Path, members: dict[str, bytes], change: Callable[[bytearray], None]) -> None:
    packed(path, members, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def central(content: bytearray, number: int = 0) -> int:
    """Where an entry of the directory begins."""
    at = -1
    for _ in range(number + 1):
        at = content.index(b"PK\1\2", at + 1)
    return at


def set_encrypted(content: bytearray) -> None:
    content[central(content) + 8] |= 1


def set_method(method: int) -> Callable[[bytearray], None]:
    return lambda content: struct.pack_into("<H", content, central(content) + 10, method)


def overlap(content: bytearray) -> None:
    struct.pack_into("<I", content, central(content, 1) + 42, 0)


def longer(content: bytearray) -> None:
    struct.pack_into("<2I", content, central(content) + 20, 5_000_000, 5_000_000)


def crc(content: bytearray) -> None:
    content[central(content) + 16] ^= 1


def many(path: Path) -> None:
    packed(path, {f"{number}.npy": b"" for number in range(21_000)}, zipfile.ZIP_STORED)


def wide(path: Path) -> None:
    patched(path, {"a.npy": npy()}, lambda content: struct.pack_into("<I", content, len(content) - 10, 2**31))


def twice(path: Path) -> None:
    packed(path, {"a.npy": npy(), "b.npy": npy()}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"b.npy", b"a.npy"))


def torn(path: Path) -> None:
    """A packed member whose bytes are no deflated ones."""
    packed(path, {"a.npy": npy(np.arange(4000.0))})
    content = bytearray(path.read_bytes())
    content[60:100] = bytes(range(200, 240))
    path.write_bytes(content)


TWO = {"a.npy": npy(), "b.npy": npy()}
LONG = struct.pack("<4s2BI", b"\x93NUM", 0, 0, 0)
BAD: dict[str, Callable[[Path], None]] = {
    "manifest that unpacks": lambda path: zeros(path, "manifest.json", b'{"config": {}, "x": "'),
    "array that unpacks": lambda path: zeros(path, "a.npy", npy()),
    "header that unpacks": lambda path: zeros(path, "a.npy", b"\x93NUMPY\2\0\xff\xff\xff\x7f"),
    "encrypted": lambda path: patched(path, TWO, set_encrypted),
    "lzma": lambda path: packed(path, TWO, zipfile.ZIP_LZMA),
    "bzip2": lambda path: packed(path, TWO, zipfile.ZIP_BZIP2),
    "unknown method": lambda path: patched(path, TWO, set_method(99)),
    "stored called packed": lambda path: patched(path, TWO, set_method(8)),
    "overlapping": lambda path: patched(path, TWO, overlap),
    "longer than the file": lambda path: patched(path, TWO, longer),
    "wrong checksum": lambda path: patched(path, TWO, crc),
    "twice": twice,
    "params twice": lambda path: packed(path, {"a.npy": npy(), "params/a.npy": npy()}),
    "many": many,
    "wide directory": wide,
    "torn": torn,
    "long name": lambda path: packed(path, {"a" * 600 + ".npy": npy()}),
    "objects": lambda path: np.savez(path, a=np.array([{}], dtype=object)),
    "table": lambda path: np.savez(path, a=np.zeros(2, "i4,f4")),
    "negative": lambda path: packed(path, {"a.npy": npy(shape=(-3, 4))}),
    "huge": lambda path: packed(path, {"a.npy": npy(shape=(BILLION, BILLION))}),
    "huge zero": lambda path: packed(path, {"a.npy": npy(shape=(BILLION, 0, BILLION, BILLION))[:-48]}),
    "short": lambda path: packed(path, {"a.npy": npy(shape=(3, 5))}),
    "long": lambda path: packed(path, {"a.npy": npy(shape=(3, 3))}),
    "wide items": lambda path: packed(path, {"a.npy": npy(descr="|S2000000000", shape=(1,))}),
    "deep": lambda path: packed(path, {"a.npy": b"\x93NUMPY\1\0\x00\x20" + b"(" * 8192}),
    "empty member": lambda path: packed(path, {"a.npy": b""}),
    "empty file": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("x" * 1000),
}


def read_all(path: Path) -> None:
    checkpoint = npz.Checkpoint(path)
    manifest.read(path)
    for name in checkpoint:
        checkpoint[name]


@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_what_it_says_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    BAD[kind](path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadDataError) as caught:
        read_all(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 400
    with pytest.raises(BadDataError):
        run_state.load(path)
    # The archive itself is sound where only what an array says of itself, or how much there is, cannot be.
    sound = ("objects", "table", "negative", "huge", "huge zero", "short", "long", "wide items", "deep")
    packed_away = ("manifest that unpacks", "array that unpacks")
    if kind not in (*sound, *packed_away, "empty member", "params twice"):
        assert npz.problem(path) is not None
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # kilobytes
    assert grown < 100_000, f"{grown:,} kB"


def test_packed_and_empty_arrays_are_read(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "a.npz", a=ARRAY, empty=np.zeros((0, 4)), scalar=np.float32(7), wide=np.zeros(90_000)
    )
    found = npz.Checkpoint(tmp_path / "a.npz")
    found.verify()
    assert np.array_equal(found["a"], ARRAY)
    assert (found["empty"].shape, found["scalar"], found["wide"].sum()) == ((0, 4), 7, 0)
    assert npz.problem(tmp_path / "a.npz") is None


def test_a_checkpoint_stays_the_file_that_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    npz.save(path, {"a": ARRAY, "b": ARRAY + 1})
    found = npz.Checkpoint(path)
    npz.save(path, {"other": np.zeros(1000)})
    assert np.array_equal(found["b"], ARRAY + 1)


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A memory of what has been verified, on disk; nothing is known in this process."""
    monkeypatch.setattr(verified_files, "folder", tmp_path / "verified")
    monkeypatch.setattr(verified_files, "_known", {})
    monkeypatch.setattr(verified_files, "_changed", set())
    return tmp_path / "verified"


def flip(path: Path, content: bytes, where: int) -> None:
    """Changes one bit in the place."""
    with path.open("r+b") as file:
        file.seek(where)
        file.write(bytes([content[where] ^ 1]))


def test_an_array_is_held_to_its_checksum_once(tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    npz.save(path, {"a": ARRAY, "b": ARRAY + 1})
    content = path.read_bytes()
    flip(path, content, content.index((ARRAY + 1).tobytes()) + 5)
    damaged = npz.Checkpoint(path)
    assert np.array_equal(damaged["a"], ARRAY)
    for _ in range(2):
        with pytest.raises(BadDataError, match=r"a\.npz: array b is damaged \(its checksum is wrong\)"):
            damaged["b"]
    with pytest.raises(BadDataError, match="array b is damaged"):
        damaged.verify()
    path.write_bytes(content)
    npz.Checkpoint(path).verify()
    assert len(list(memory.iterdir())) == 2
    # Another process that finds it as it was reads nothing again; one that finds it changed does.
    monkeypatch.setattr(verified_files, "_known", {})
    with monkeypatch.context() as patch:
        patch.setattr(Archive, "pieces", lambda self, name: pytest.fail("it was read again"))
        assert np.array_equal(npz.Checkpoint(path)["b"], ARRAY + 1)
    stat = path.stat()
    flip(path, content, content.index((ARRAY + 1).tobytes()) + 5)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(BadDataError, match="array b is damaged"):
        npz.Checkpoint(path)["b"]


def test_digests_tell_apart_what_checksums_do_not(tmp_path: Path, memory: Path) -> None:
    """Two arrays of one CRC-32: four bytes can be chosen to give any."""
    one = bytearray(np.arange(64, dtype=np.float32).tobytes())
    other = bytearray(one)
    other[0] ^= 255
    wanted = zlib.crc32(one)
    rows = []  # by elimination over the last four bytes' bits
    for bit in range(32):
        changed = bytearray(other)
        changed[-4 + bit // 8] ^= 1 << bit % 8
        rows.append((zlib.crc32(changed) ^ zlib.crc32(other), 1 << bit))
    left, mask = zlib.crc32(other) ^ wanted, 0
    for bit in range(32):
        pivot = next((row for row in rows if row[0] >> bit & 1), None)
        assert pivot is not None
        rows = [
            (value ^ pivot[0], bits ^ pivot[1]) if value >> bit & 1 else (value, bits)
            for value, bits in rows
            if (value, bits) != pivot
        ]
        if left >> bit & 1:
            left, mask = left ^ pivot[0], mask ^ pivot[1]
    for bit in range(32):
        if mask >> bit & 1:
            other[-4 + bit // 8] ^= 1 << bit % 8
    assert zlib.crc32(other) == wanted
    for name, content in (("one", one), ("other", other)):
        npz.save(tmp_path / f"{name}.npz", {"img/a": np.frombuffer(bytes(content), np.float32)})
    opened = [npz.Checkpoint(tmp_path / f"{name}.npz") for name in ("one", "other")]
    assert opened[0].fingerprints() == opened[1].fingerprints()
    digests = [checkpoint.digests(lambda path: path.startswith("img/")) for checkpoint in opened]
    assert digests[0] != digests[1]
    verified_files.flush()
    assert npz.Checkpoint(tmp_path / "one.npz").digests(lambda path: True) == digests[0]


def test_a_whole_checkpoint_has_its_manifest_inside(tmp_path: Path) -> None:
    """What is beside it may be another's, after a kill between two renames."""
    path = tmp_path / "whole.npz"
    content = manifest.text(base=None, dtypes={"a": ARRAY.dtype}, config={"prompt": "はい?"}, data="d")
    npz.save(path, {"a": ARRAY}, comment=manifest.comment(content))
    manifest.write(path, content.replace("はい", "other"))
    assert manifest.prompt(path, "") == "はい?"
    assert npz.problem(path) is None
    with np.load(path) as plain:  # nor is it in anybody's way
        assert plain.files == ["a"]


def test_the_longest_prompt_fits_inside(tmp_path: Path) -> None:
    content = manifest.text(base=None, dtypes={}, config={"prompt": "長" * manifest.LONGEST_PROMPT}, data="d")
    npz.save(tmp_path / "a.npz", {"a": ARRAY}, comment=manifest.comment(content))
    assert manifest.prompt(tmp_path / "a.npz", "") == "長" * manifest.LONGEST_PROMPT


def test_what_does_not_fit_inside_is_beside(tmp_path: Path) -> None:
    path, learned = tmp_path / "whole.npz", {"images": 20_000, "marks": "A" * 160_000}
    content = manifest.text(base=None, dtypes={}, config={"prompt": "a?"}, data="d", learned=learned)
    npz.save(path, {"a": ARRAY}, comment=manifest.comment(content))
    assert manifest.prompt(path, "") == "a?"
    manifest.write(path, content)
    assert manifest.read(path)["learned"] == learned
    manifest.write(path, content.replace("a?", "b?"))
    assert manifest.prompt(path, "") == "a?"
    assert "learned" not in manifest.read(path)


FULL = {"version": 1, "dtypes": {}, "groups": [], "facts": {}}
STATES = [{key: value for key, value in FULL.items() if key != gone} for gone in FULL]
STATES += [
    FULL | {"dtypes": []},
    FULL | {"groups": 1},
    FULL | {"dtypes": {"a/b": "float32"}},
    FULL | {"groups": [["a"]]},
]
STATES += [FULL | {"facts": []}, FULL | {"version": []}, FULL | {"dtypes": {"a": 1}}, FULL | {"groups": None}]


@pytest.mark.parametrize("state", [*STATES, [], None, 7, "x", FULL | {"version": {}}], ids=json.dumps)
def test_a_state_of_another_shape_is_bad_data(state: Any, tmp_path: Path) -> None:
    packed(tmp_path / "state.npz", {"state.json": json.dumps(state).encode()}, zipfile.ZIP_STORED)
    with pytest.raises(BadDataError, match=r"damaged|another version"):
        run_state.load(tmp_path / "state.npz")


@pytest.mark.parametrize("read", [operating_point.read, manifest.read])
def test_what_is_beside_a_checkpoint_is_read_as_far_as_it_can_be_long(read: Any, tmp_path: Path) -> None:
    npz.save(tmp_path / "a.npz", {"a": ARRAY})
    beside = operating_point.path_of if read is operating_point.read else manifest.path_of
    with beside(tmp_path / "a.npz").open("wb") as file:
        file.truncate(5_000_000_000)
    with pytest.raises(BadDataError, match="more than"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"[]", b"7", b'{"options": {}}', b'{"data": 1}', b"\xff", b"[" * 100_000, b""])
def test_a_configuration_of_another_shape_is_bad_data(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(BadDataError):
        read_config(tmp_path / "config.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_not_called_damaged_by_its_reader(tmp_path: Path) -> None:
    npz.save(tmp_path / "a.npz", {"a": ARRAY})
    (tmp_path / "a.npz").chmod(0)
    with pytest.raises(MissingInputError, match="cannot be read: Permission denied"):
        npz.Checkpoint(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.pop("progress"),
        lambda facts: facts.update(progress=7),
        lambda facts: facts["progress"].update(number="x"),
        lambda facts: facts["progress"].update(winner=5),
        lambda facts: facts["progress"].update(other=1),
        lambda facts: facts["progress"].update(results=[{"seed": 0}]),
        lambda facts: facts["progress"].update(passed={"step": 1}),
        lambda facts: facts.update(blocks=None),
        lambda facts: facts.update(total="many"),
    ],
)
def test_facts_of_another_shape_are_bad_data(change: Callable[[dict[str, Any]], Any], tmp_path: Path) -> None:
    facts = {"progress": dataclasses.asdict(Progress()), "blocks": [], "total": 3, "metrics": 0}
    for wrong in (False, True):
        if wrong:
            change(facts)
        log = SimpleNamespace(folder=RunFolder(tmp_path / "a.npz"), blocks=[], total=0)
        queue = SimpleNamespace(is_alone=True)
        trainer = Trainer(queue, {}, log, None, None, None)  # type: ignore[arg-type]
        saved = run_state.Saved({"start": {}, "kept": {}}, facts)
        if wrong:
            with pytest.raises(BadDataError, match=r"state\.npz: the saved state of this run is invalid"):
                trainer.resume(saved, log.folder)
        else:
            trainer.resume(saved, log.folder)
            assert log.total == 3
