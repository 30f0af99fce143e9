"""Image tokens on disk: the same numbers, and never stale or damaged ones."""

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compiled
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from palitune import trees
from palitune.data.images import decoder
from palitune.data.images.loader import ImageRequest
from palitune.errors import BadDataError, MissingInputError, StorageError
from palitune.infer import features
from palitune.infer.features import Features
from palitune.models import siglip
from palitune.models.parameter_shapes import SiglipSizes

CONFIG = SiglipSizes(width=16, depth=2, mlp_dim=32, num_heads=2, patch_size=4, image_size=16, num_classes=12)


@functools.cache
def params() -> dict[str, Any]:
    return {f"img/{path}": leaf for path, leaf in trees.flatten(siglip.init(CONFIG, jax.random.key(0))).items()}


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = []
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 255, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        paths.append(tmp_path / f"{number}.png")
    return paths


class Tower:
    """Counts how often the image tower is wanted."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, Any]:
        self.calls += 1
        return params()


def opened(folder: Path, tower: Callable[[], dict[str, Any]]) -> Features:
    return Features(CONFIG, folder / "features", tower, jnp.float32, quiet=True)


def test_the_same_numbers(pictures: list[Path], tmp_path: Path) -> None:
    tower = Tower()
    kept = opened(tmp_path, tower)
    kept.check(ImageRequest(path, "data:1") for path in pictures)
    assert (tower.calls, kept.computed) == (1, 10)
    pixels = np.stack([decoder.load(path, CONFIG.image_size) for path in pictures])
    direct = compiled.encode_images(CONFIG, trees.unflatten(params())["img"], pixels)
    np.testing.assert_allclose(np.stack([kept(path) for path in pictures]), direct, atol=1e-3)
    assert kept(pictures[0]).dtype == np.float16
    again = opened(tmp_path, tower)
    again.check(ImageRequest(path, "data:1") for path in pictures)
    assert (tower.calls, again.computed) == (1, 0)
    np.testing.assert_array_equal(again(pictures[3]), kept(pictures[3]))


def test_a_picture_counts_by_its_content(pictures: list[Path], tmp_path: Path) -> None:
    kept = opened(tmp_path, Tower())
    before = np.array(kept(pictures[0]))
    copy = tmp_path / "copy.png"
    copy.write_bytes(pictures[0].read_bytes())
    assert np.array_equal(kept(copy), before)
    assert kept.computed == 1
    pictures[0].write_bytes(pictures[1].read_bytes())
    assert not np.array_equal(opened(tmp_path, Tower())(pictures[0]), before)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "longer"])
def test_damaged_entries_are_computed_again(pictures: list[Path], tmp_path: Path, damage: str) -> None:
    before = np.array(opened(tmp_path, Tower())(pictures[0]))
    (file,) = (tmp_path / "features").iterdir()
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[7] ^= 1
    file.write_bytes({"cut": content[:-9], "flip": content, "empty": b"", "longer": content + b"x"}[damage])
    kept = opened(tmp_path, Tower())
    assert np.array_equal(kept(pictures[0]), before)
    assert kept.computed == 1


def test_the_key_stands_for_everything_else() -> None:
    marks = {"img/head/bias": "1", "img/head/kernel": "2"}
    key = features.key(CONFIG, marks, jnp.float32)
    assert key == features.key(CONFIG, dict(reversed(marks.items())), np.float32)
    others = {
        features.key(CONFIG, {**marks, "img/head/bias": "3"}, jnp.float32),
        features.key(CONFIG, marks, jnp.bfloat16),
        features.key(SiglipSizes(16, 2, 32, 2, 4, 32, 12), marks, jnp.float32),
    }
    assert len(others | {key}) == 4


def test_every_bad_picture_is_named_and_the_good_ones_are_kept(pictures: list[Path], tmp_path: Path) -> None:
    pictures[2].write_text("no picture")
    missing = tmp_path / "missing.png"
    kept = opened(tmp_path, Tower())
    lines = [ImageRequest(path, f"data:{number}") for number, path in enumerate([*pictures, missing], 1)]
    with pytest.raises((BadDataError, MissingInputError), match=r"2 images cannot be used: .*not an image.*missing"):
        kept.check(lines)
    assert kept.computed == 9


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_folder_that_can_only_be_read_does_not_end_the_work(
    code: int, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tower, real = Tower(), os.open

    def refuse(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_CREAT and "features" in str(path):
            raise OSError(code, os.strerror(code))
        return real(path, flags, *rest, **more)

    opened(tmp_path, tower).check([ImageRequest(pictures[0], "data:1")])
    monkeypatch.setattr(os, "open", refuse)
    shared = opened(tmp_path, tower)
    wanted = [ImageRequest(path, "data:1") for path in pictures]
    first = [np.array(found) for found in shared.prefetch(wanted)]
    second = [np.array(found) for found in shared.prefetch(wanted)]
    assert (tower.calls, shared.computed) == (2, 9)  # what was there is used, and the rest is computed once
    np.testing.assert_array_equal(first, second)
    assert capsys.readouterr().err.count("can only be read") == 1
    monkeypatch.undo()
    monkeypatch.setattr(os, "open", lambda *a, **k: refuse_full(real, *a, **k))
    with pytest.raises(StorageError, match=r"No space left on device.*--no-features does without"):
        opened(tmp_path, tower).check(wanted)


def refuse_full(real: Callable[..., int], path: Any, flags: int, *rest: Any, **more: Any) -> int:
    if flags & os.O_CREAT and "features" in str(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return real(path, flags, *rest, **more)
