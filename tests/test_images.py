"""Pictures: what JAX's resize gives, and every kind of file people have."""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from palitune.data.images import decoder, resize
from palitune.data.images.decoder import Decoding
from palitune.data.images.loader import ImageLoader, ImageRequest
from palitune.errors import BadDataError, MissingInputError

GREY_LEVEL = 2 / 255  # pixels run from -1 to 1


@pytest.mark.parametrize(
    "size", [(300, 200), (61, 97), (30, 40), (448, 448), (777, 1000), (224, 224), (1, 1), (1, 500)]
)
def test_resize_is_jax_antialiased_bilinear(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    ours = resize.to_pixels(Image.fromarray(pixels), 224)
    theirs = jax.image.resize(pixels.astype(np.float32), (224, 224, 3), "bilinear", antialias=True) / 127.5 - 1
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < GREY_LEVEL / 50
    assert ours.min() >= -1
    assert ours.max() <= 1


def saved(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


def test_alpha_is_composited_on_white(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (2, 1), (200, 0, 0, 0))
    picture.putpixel((1, 0), (100, 50, 0, 128))
    decoded = decoder.decode(saved(tmp_path / "a.png", picture))
    assert decoded.mode == "RGB"
    assert decoded.getpixel((0, 0)) == (255, 255, 255)
    assert decoded.getpixel((1, 0)) == pytest.approx((177, 152, 127), abs=1)


def test_transparent_palette(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1), 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    decoded = decoder.decode(saved(tmp_path / "a.png", picture, transparency=0))
    assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 255)]


@pytest.mark.parametrize(("mode", "value", "expected"), [("L", 77, 77), ("1", 1, 255), ("I;16", 0x8040, 0x80)])
def test_greyscale_is_widened(tmp_path: Path, mode: str, value: int, expected: int) -> None:
    decoded = decoder.decode(saved(tmp_path / "a.png", Image.new(mode, (3, 3), value)))
    assert decoded.getpixel((1, 1)) == (expected,) * 3


def test_cmyk(tmp_path: Path) -> None:
    decoded = decoder.decode(saved(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0))))
    assert decoded.getpixel((4, 4)) == pytest.approx((254, 0, 0), abs=3)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20), "red")
    picture.paste("blue", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees to see it upright
    decoded = decoder.decode(saved(tmp_path / "a.jpg", picture, exif=exif, quality=95))
    assert decoded.size == (20, 40)
    red, _, blue = decoded.getpixel((10, 5))
    assert blue > 200 > 50 > red


def test_the_middle_frame_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue", "white", "black")]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert decoder.decode(path).getpixel((4, 4)) == (0, 0, 255)


@pytest.mark.parametrize("extension", ["png", "jpg", "gif", "webp", "bmp"])
def test_formats_are_known_by_content(tmp_path: Path, extension: str) -> None:
    path = saved(tmp_path / f"a.{extension}", Image.new("RGB", (8, 8), "white"))
    renamed = path.rename(tmp_path / "picture.txt")
    assert decoder.decode(renamed).getpixel((4, 4)) == (255, 255, 255)


def a_jpeg(path: Path) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return saved(path, Image.fromarray(pixels)).read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "not an image"),
        (lambda data: b"hello", "not an image"),
        (lambda data: data[: len(data) // 2], "does not decode"),
        (lambda data: b"<svg/>", "not an image"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(damage(a_jpeg(path)))
    with pytest.raises(BadDataError, match=message) as caught:
        decoder.decode(path, "data.jsonl:3")
    assert str(path) in str(caught.value)
    assert str(caught.value).startswith("data.jsonl:3: ")


def test_random_damage_raises_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a"
    sources = [a_jpeg(tmp_path / f"a.{extension}") for extension in ("jpg", "png", "gif", "webp", "bmp")]
    for number in range(500):
        data = bytearray(sources[number % len(sources)])
        for position in rng.integers(len(data), size=rng.integers(1, 30)):
            data[position] = rng.integers(256)
        path.write_bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.3 else data)
        try:
            decoded = decoder.decode(path)
        except BadDataError:
            continue
        assert decoded.mode == "RGB"


def test_pixel_bombs_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("L", (200, 200)))
    assert decoder.decode(path, how=Decoding(max_pixels=40_000)).size == (200, 200)
    with pytest.raises(BadDataError, match="200 x 200 pixels, 39,999 are allowed"):
        decoder.decode(path, how=Decoding(max_pixels=39_999))
    frames = [Image.new("L", (200, 200), shade) for shade in (0, 255)]
    animated = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert decoder.decode(animated, how=Decoding(max_pixels=160_000)).size == (200, 200)
    with pytest.raises(BadDataError, match="39,999 are allowed"):
        decoder.decode(animated, how=Decoding(max_pixels=159_999))


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no such image"):
        decoder.decode(tmp_path / "a.png", "data.jsonl:1")
    with pytest.raises(MissingInputError, match="no such image"):
        decoder.decode(tmp_path / "a.png" / "b.png")
    with pytest.raises(BadDataError, match="not a file"):
        decoder.decode(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadDataError, match="not a file"):
        decoder.decode(tmp_path / "pipe")
    with pytest.raises(BadDataError, match="File name too long"):
        decoder.decode(tmp_path / ("a" * 300))


def test_pictures_are_kept_while_they_fit(tmp_path: Path) -> None:
    paths = [saved(tmp_path / f"{i}.png", Image.new("RGB", (8, 8), (i, i, i))) for i in range(3)]
    pictures = ImageLoader(4, limit=2 * 4 * 4 * 3 * 4)
    first = [pictures(path) for path in paths]
    assert [pictures(path) is kept for path, kept in zip(paths, first, strict=True)] == [True, True, False]
    np.testing.assert_array_equal(pictures(paths[2]), first[2])


def test_every_bad_picture_is_named_at_once(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.png", Image.new("RGB", (8, 8)))
    names = [good, tmp_path / "a.png", good, tmp_path / "b.png"]
    places = [ImageRequest(path, f"d:{number}") for number, path in enumerate(names, 1)]
    with pytest.raises(MissingInputError, match=r"2 images cannot be used: d:2: .*a\.png; d:4: .*b\.png"):
        ImageLoader(4).check(places)
    ImageLoader(4).check(places[:1])
