"""Image files as containers: what of them is the picture, what has no say in it, and what is refused undecoded."""

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from palitune.data.images import decoder, decoding_limits, oriented_image, resize
from palitune.data.images.container import media_type
from palitune.data.images.decoder import Decoding
from palitune.data.images.oriented_image import OrientedImage
from palitune.errors import BadDataError

RNG = np.random.default_rng(0)


def noise(width: int = 96, height: int = 64, mode: str = "RGB") -> Image.Image:
    small = Image.fromarray(RNG.integers(0, 256, (8, 8, 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_chunks(png: bytes, *added: bytes) -> bytes:
    """After the header."""
    return png[:33] + b"".join(added) + png[33:]


def pixels(path: Path, content: bytes, how: Decoding = decoder.DEFAULT) -> np.ndarray:
    path.write_bytes(content)
    return np.asarray(decoder.decode(path, how=how))


@pytest.mark.parametrize("frames", ["first", "middle", "last", "1"])
def test_the_first_image_of_a_jpeg_is_the_photo(tmp_path: Path, frames: str) -> None:
    photo, other = noise(), noise(48, 32)
    alone = pixels(tmp_path / "a.jpg", saved(photo, "JPEG", quality=95))
    several = saved(photo, "MPO", save_all=True, append_images=[other, other], quality=95)
    assert Image.open(io.BytesIO(several)).n_frames == 3
    trailing = saved(photo, "JPEG", quality=95) + saved(other, "JPEG") + b"MotionPhoto"
    for content in (several, trailing):
        np.testing.assert_array_equal(pixels(tmp_path / "b.jpg", content, Decoding(frames)), alone)
        assert decoder.count_frames(tmp_path / "b.jpg") == 1
        assert decoder.examine(tmp_path / "b.jpg")[0].format == "JPEG"
    # Limits of animations are none of its own: 6,144 pixels here.
    pixels(tmp_path / "b.jpg", several, Decoding(frames, max_pixels=6_144))


BAD_EXIF = (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\0\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x09", b"Exif\0\0Exif\0\0II*")


@pytest.mark.parametrize("exif", BAD_EXIF)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_is_a_remark(tmp_path: Path, kind: str, exif: bytes) -> None:
    photo = noise()
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    expected = pixels(tmp_path / "a", saved(photo, kind, **options))
    np.testing.assert_array_equal(pixels(tmp_path / "b", saved(photo, kind, exif=exif, **options)), expected)
    assert decoder.examine(tmp_path / "b")[0].remarks == (decoder.DAMAGED_ORIENTATION,)
    assert tmp_path / "b" in decoder.unreadable
    assert decoder.examine(tmp_path / "a")[0].remarks == ()


def metadata_of_png() -> list[bytes]:
    bomb = zlib.compress(bytes(64 << 20), 9)
    return [
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(3 << 20))),
        chunk(b"iCCP", b"profile\0\7" + b"no such compression"),
        chunk(b"zTXt", b"Comment\0\0" + bomb) * 3,
        chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb),
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n   99\nzz no digits"),
        chunk(b"iTXt", b"\xff\xfe\0"),
        chunk(b"gAMA", b"\0"),
        chunk(b"cHRM", b"\0"),
        chunk(b"pHYs", b"\0"),
        chunk(b"sRGB", b""),
        chunk(b"tRNS", b"\0"),
        chunk(b"acTL", b"\0\0"),
        chunk(b"acTL", struct.pack(">II", 1 << 31, 0)),
        chunk(b"fcTL", bytes(26)),
        chunk(b"acTL", struct.pack(">II", 2, 0))
        + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 99, 99, 9, 9, 1, 1, 0, 0)),
        chunk(b"tEXt", b"a\0b")[:-1] + b"?",  # a wrong checksum
    ]


@pytest.mark.parametrize("added", metadata_of_png())
def test_metadata_of_png_has_no_say(tmp_path: Path, added: bytes) -> None:
    whole = saved(noise(), "PNG")
    expected = pixels(tmp_path / "a", whole)
    np.testing.assert_array_equal(pixels(tmp_path / "b", with_chunks(whole, added)), expected)
    end = whole.index(b"IEND") - 4
    np.testing.assert_array_equal(pixels(tmp_path / "b", whole[:end] + added + whole[end:]), expected)
    np.testing.assert_array_equal(pixels(tmp_path / "b", whole[:end] + added[:-3]), expected)


@pytest.mark.parametrize(
    "segment",
    [
        jpeg_segment(0xE0, b"JFIF\0"),
        jpeg_segment(0xE0, b"\0\0"),
        jpeg_segment(0xED, b"Photoshop 3.0\0008BIM\4\4\0\0\xff\xff\xff\xff"),
        jpeg_segment(0xE2, b"ICC_PROFILE\0\x09\x63ab"),
        jpeg_segment(0xE2, b"MPF\0II*\0"),
        jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<"),
        jpeg_segment(0xEE, b"Adobe"),
        jpeg_segment(0xFE, b"ab\xff\xd9"),
        b"\xff\xff\xff",
        b"\0\0junk",
    ],
)
def test_segments_of_jpeg_have_no_say(tmp_path: Path, segment: bytes) -> None:
    whole = saved(noise(), "JPEG")
    expected = pixels(tmp_path / "a", whole)
    at = 4 + int.from_bytes(whole[4:6])  # behind JFIF's
    np.testing.assert_array_equal(pixels(tmp_path / "b", whole[:at] + segment + whole[at:]), expected)


def test_colours_of_jpeg_are_kept(tmp_path: Path) -> None:
    """Adobe's segment says how four colours, or three that are no YCbCr, are stored."""
    for content in (saved(noise(mode="CMYK"), "JPEG"), saved(noise(), "JPEG", keep_rgb=True)):
        expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        np.testing.assert_array_equal(pixels(tmp_path / "a", content), expected)


def test_metadata_at_the_end_of_webp_may_be_cut(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = saved(noise(), "WEBP", lossless=True, exif=exif.tobytes(), xmp=b"<x>" * 99)
    turned = pixels(tmp_path / "a", whole)
    assert turned.shape == (96, 64, 3)
    np.testing.assert_array_equal(pixels(tmp_path / "b", whole[:-200]), turned)


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_pillows(tmp_path: Path, kind: str, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    content = saved(noise(), kind, exif=exif.tobytes())
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(pixels(tmp_path / "a", content), np.asarray(expected))


def test_orientation_of_other_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    lines = b"\nexif\n%8d\n" % len(exif.tobytes()) + exif.tobytes().hex().encode()
    xmp = b'<rdf tiff:Orientation="3">'
    whole = saved(noise(), "PNG")
    expected = pixels(tmp_path / "a", whole)[::-1, ::-1]
    for added in (
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(lines)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        chunk(b"eXIf", exif.tobytes()[6:]),
    ):
        np.testing.assert_array_equal(pixels(tmp_path / "b", with_chunks(whole, added)), expected)
    np.testing.assert_array_equal(pixels(tmp_path / "b", saved(noise(), "JPEG", xmp=xmp)).shape, (64, 96, 3))
    assert decoder.examine(tmp_path / "b")[0].rotated


MODES = ("RGB", "L", "1", "P", "RGBA", "LA", "I;16", "CMYK", "PA")


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("mode", MODES)
def test_strips_are_the_picture(monkeypatch: pytest.MonkeyPatch, mode: str, value: int) -> None:
    picture = Image.fromarray(RNG.integers(0, 65536, (61, 47), np.uint16)) if mode == "I;16" else noise(47, 61, mode)
    oriented = OrientedImage(picture, value)
    expected, digest, resized = oriented.whole(), oriented.digest(), resize.to_pixels(oriented, 16)
    monkeypatch.setattr(oriented_image, "WHOLE", 100)
    monkeypatch.setattr(oriented_image, "STRIP", 300)
    monkeypatch.setattr("palitune.data.images.resize.WHOLE", 100)
    monkeypatch.setattr("palitune.data.images.resize.STRIP", 300)
    assert len(oriented.strips()) > 5
    np.testing.assert_array_equal(np.asarray(oriented.whole()), np.asarray(expected))
    assert oriented.digest() == digest
    np.testing.assert_array_equal(resize.to_pixels(oriented, 16), resized)
    np.testing.assert_array_equal(np.asarray(oriented.reduced(600)), np.asarray(expected.reduce(3)))
    monkeypatch.setattr("palitune.data.images.resize.FLAT", 16 * 3 * 16 * 4)
    np.testing.assert_allclose(resize.to_pixels(oriented, 16), resized, rtol=0, atol=1e-6)


def animation(kind: str, count: int, size: int = 32) -> bytes:
    frames = [noise(size, size) for _ in range(count)]
    return saved(
        frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_frames_are_pillows(tmp_path: Path, kind: str) -> None:
    content = animation(kind, 5)
    (tmp_path / "a").write_bytes(content)
    assert decoder.count_frames(tmp_path / "a") == 5
    for number in range(5):
        picture = Image.open(io.BytesIO(content))
        picture.seek(number)
        found = decoder.decode(tmp_path / "a", frame=number)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(picture.convert("RGB")))


def gif(width: int, height: int, *frames: tuple[int, int, int, int]) -> bytes:
    """Frames are left, top, width and height, and one pixel is written of each."""
    drawn = (b"," + struct.pack("<HHHHB", *frame, 0) + b"\x02\x02\x44\x01\0" for frame in frames)
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + b"".join(drawn) + b";"


def progressive(side: int, scans: int) -> bytes:
    """A grey JPEG whose scans say nothing."""

    head = (
        b"\xff\xd8"
        + jpeg_segment(0xDB, b"\0" + b"\1" * 64)
        + jpeg_segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    )
    head += jpeg_segment(0xC4, b"\x00\1" + bytes(15) + b"\0") + jpeg_segment(0xC4, b"\x10\1" + bytes(15) + b"\xe0")
    return head + (jpeg_segment(0xDA, b"\1\1\0\1\x3f\0") + b"\x7f") * scans + b"\xff\xd9"


def bmp(width: int, height: int, compression: int = 0, bits: int = 24) -> bytes:
    return b"BM" + bytes(8) + struct.pack("<IIiiHHIIIIII", 54, 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)


def png(width: int, height: int, colour: int = 0, depth: int = 8) -> bytes:
    rows = zlib.compress(bytes(1 << 16), 9)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def webp(width: int, height: int, frames: int = 0) -> bytes:
    def part(name: bytes, body: bytes) -> bytes:
        return name + struct.pack("<I", len(body)) + body

    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    image = saved(Image.new("RGB", (1, 1)), "WEBP", lossless=True)[12:]
    frame = part(b"ANMF", bytes(6) + bytes(6) + b"\x64\0\0\0" + image)
    flags = b"\x02\0\0\0" if frames else bytes(4)
    body = part(b"VP8X", flags + canvas) + (part(b"ANIM", bytes(6)) + frame * frames if frames else image)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


REFUSED = (
    (lambda: gif(8, 8, (0, 0, 8, 8), (0, 0, 65_000, 65_000)), "frame 1 of 2 has 65000 x 65000 pixels, 16,000,000"),
    (lambda: gif(8, 8, (60_000, 60_000, 5_000, 5_000)), "65000 x 65000 pixels, 64,000,000 are allowed"),
    (lambda: gif(0, 0, (0, 0, 0, 0)), "0 x 0 pixels"),
    (lambda: gif(4000, 4000, *[(0, 0, 1, 1)] * 300), "4000 x 4000 pixels in 151 frames; 1,000,000,000 in all"),
    (lambda: gif(8, 8, *[(0, 0, 1, 1)] * 20_002), "10,000 frames before it"),
    (lambda: progressive(7992, 100), "7992 x 7992 pixels in 100 scans"),
    (lambda: progressive(8, 1001), "1,001 scans, 1,000 are allowed"),
    (lambda: png(64_000_000, 1), "sides up to 65,535 are allowed, one 1,000 times the other"),
    (lambda: png(1, 2_000), "2000 pixels; sides"),
    (lambda: png(8_001, 8_000), "64,000,000 are allowed"),
    (lambda: png(0, 8), "0 x 8 pixels"),
    (lambda: bmp(4001, 4000, 1, 8), "16,000,000 are allowed"),
    (lambda: bmp(-1, 8), "pixels"),
    (lambda: bmp(8001, -8000), "8001 x 8000 pixels"),
    (lambda: webp(5000, 5000), "would take"),
    (lambda: webp(16_384, 16_384, 3), "16,000,000 are allowed"),
)


@pytest.mark.parametrize(("made", "message"), REFUSED)
def test_what_asks_for_too_much_is_refused(tmp_path: Path, made: Callable[[], bytes], message: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(made())
    with pytest.raises(BadDataError, match=message) as caught:
        decoder.decode(path, "data.jsonl:3")
    assert str(caught.value).startswith("data.jsonl:3: ")
    assert str(path) in str(caught.value)


def test_what_comes_before_a_limit_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(gif(8, 8, (0, 0, 1, 1), (0, 0, 65_000, 65_000)))
    assert decoder.decode(path, frame=0).size == (8, 8)
    path.write_bytes(gif(8, 8, *[(0, 0, 1, 1)] * 12_000))
    assert decoder.decode(path).size == (8, 8)
    assert decoder.count_frames(path) == 12_000


ERRORS = (zlib.error, struct.error, EOFError, NotImplementedError, AssertionError, MemoryError, SyntaxError, KeyError)


@pytest.mark.parametrize("error", [*ERRORS, IndexError, OverflowError, ZeroDivisionError, RecursionError])
def test_whatever_a_decoder_raises_is_an_error_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(noise(), "PNG"))

    def load(self: object) -> None:
        raise error("inside\nof it")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(BadDataError, match=r"does not decode \(.*inside") as caught:
        decoder.load(path, 8, "d:1")
    assert "\n" not in str(caught.value)


def brand(name: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + name + b"\0\0\0\0mif1" + name + bytes(99)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (brand(b"heic"), r"not an image but a HEIC image.*: .*Convert it to JPEG"),
        (brand(b"avif"), "not an image but an AVIF image: .*Convert it to JPEG"),
        (b"II*\0" + bytes(99), "a TIFF image: .*Convert it to JPEG"),
        (b"\xff\x0a" + bytes(99), "a JPEG XL image: .*Convert it to JPEG"),
        (b"\0\0\1\0\1\0" + bytes(99), "a Windows icon: .*Convert it to JPEG"),
        (b"qoif" + bytes(99), "a QOI image: .*Convert it to JPEG"),
        (b"P6\n8 8\n255\n" + bytes(99), "a Netpbm image: .*Convert it to JPEG"),
        (b"<?xml version='1.0'?><svg xmlns='a'/>", "an SVG drawing: .*Convert it to JPEG"),
        (b"%PDF-1.7\n", "a PDF document: .*taken out of it"),
        (b"<!DOCTYPE html><html>", "an HTML page: .*download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n", "a Git LFS pointer.*: .*git lfs pull"),
        (b"PK\3\4" + bytes(26) + b"xl/workbook.xml", "an Excel workbook.*: .*Name the image itself"),
        (b"\x1f\x8b\x08" + bytes(9), "packed with gzip: .*gunzip"),
        (b"", "an empty file: .*Copy or download it again"),
        (bytes(5000), "a file of zeros: .*copy or download it again"),
        (b"[InternetShortcut]\nURL=a", "a text: .*Name the image itself"),
        (b"\x01\x02\x03\xfe", "not an image: .*Formats are JPEG"),
    ],
)
def test_what_is_no_image_is_named_for_what_it_is(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(BadDataError, match=message) as caught:
        decoder.decode(tmp_path / "a.jpg")
    with pytest.raises(BadDataError) as other:
        decoder.count_frames(tmp_path / "a.jpg")
    assert str(other.value) == str(caught.value)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name, what in (("pipe", "a pipe"), ("device", "a device"), ("", "a folder")):
        with pytest.raises(BadDataError, match=f"not a file: .*This is {what}"):
            decoder.count_frames(tmp_path / name)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
def test_media_types(kind: str) -> None:
    assert media_type(saved(noise(), kind)[:16]) == f"image/{kind.lower()}"
    assert media_type(b"II*\0") is None


def test_damaged_metadata_is_counted_once(tmp_path: Path, run: Callable[..., object]) -> None:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(saved(noise(), "PNG", exif=BAD_EXIF[0] if number < 2 else b""))
    (tmp_path / "a.tsv").write_text("".join(f"{number}.png\t{'yes' if number % 2 else 'no'}\n" for number in range(4)))
    done = run("palitune", "split", "-d", "a.tsv", "-v", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("2 images have damaged metadata that says which side is up: shown as stored") == 1
    done = run("palitune", "lint", "a.tsv", cwd=tmp_path)
    assert "damaged metadata" not in done.stderr
    assert "note: metadata (2)" in done.stdout


OVERHEAD = 40_000_000  # bytes beside what is counted before decoding: strips, and what is between both directions
READS = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from faults.damage import forget_peak, load, memory
from palitune.data.images import decoder
from palitune.data.images.loader import ImageRequest
for name in sys.argv[1:]:
    load(ImageRequest(Path({warm!r}), "warm:1"))
    forget_peak()
    before, _ = memory()
    _, told = load(ImageRequest(Path(name), "d:1"))
    container = decoder._scanned(Path(name), None)
    print(memory()[1] - before, container.memory(container.frames // 2), Path(name).name, told)
"""


def test_decoding_takes_the_memory_that_is_counted_before(tmp_path: Path) -> None:
    """The limit is on what is counted, so what is taken must not be more: the picture once, and strips of it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = {"exif": exif.tobytes(), "compress_level": 1, "quality": 20}
    several: dict[str, object] = {"save_all": True, "disposal": 2, "lossless": True, "method": 0}
    frames = [Image.new("RGBA", (1_800, 1_500), (shade, 0, 9, 200)) for shade in range(3)]
    paths = []
    for name, picture, options in (
        ("RGBA.png", Image.new("RGBA", (3_000, 3_000)), turned),
        ("I16.png", Image.fromarray(np.zeros((3_000, 3_000), np.uint16)), turned),
        ("tall.jpg", Image.new("RGB", (1_000, 12_000)), turned),
        ("cmyk.jpg", Image.new("CMYK", (3_000, 3_000)), turned),
        ("progressive.jpg", Image.new("RGB", (3_000, 3_000)), turned | {"progressive": True}),
        ("still.webp", Image.new("RGB", (2_000, 2_000)), {"method": 0}),
        ("moving.gif", frames[0], several | {"append_images": frames[1:]}),
        ("moving.png", frames[0], several | {"append_images": frames[1:], "blend": 1, "compress_level": 1}),
        ("moving.webp", frames[0], several | {"append_images": frames[1:]}),
    ):
        paths.append(tmp_path / name)
        picture.save(paths[-1], **options)
    noise().save(tmp_path / "warm.png")
    code = READS.format(tests=str(Path(__file__).parent), warm=str(tmp_path / "warm.png"))
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=300, check=True)
    for line in done.stdout.splitlines():
        taken, counted, _, told = line.split(" ", 3)
        assert told == "None", line
        assert int(taken) < int(counted) + OVERHEAD, line
    assert len(done.stdout.splitlines()) == len(paths)
    assert decoding_limits.MEMORY < 300_000_000
