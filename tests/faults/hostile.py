"""Inputs of at most a megabyte that are made to cost much more: in memory, in time, or in depth."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MEGABYTE = 1 << 20


class Input(NamedTuple):
    """A hostile file.

    Attributes:
      name: the file's, with the ending that its content claims.
      content: at most a megabyte.
      commands: command lines of palitune that read it; `{}` is the file.
    """

    name: str
    content: bytes
    commands: tuple[str, ...]


LINES = (
    "lint {}",
    "stats {}",
    "thin {}",
    "aggregate {}",
    "convert {}",
    "split -d {} -v 1 -n part --overwrite",
    "filter {}",
)
TABLES = ("convert {}", "stats {}", "thin {}", "lint {}")
VALUES = tuple(f"convert --from {kind} {{}}" for kind in ("labelstudio", "coco", "vqa", "messages", "jsonl"))
TABLE = ("convert --from csv {}", "convert {}", "stats {}")


def _filled(head: bytes, part: bytes, tail: bytes = b"") -> bytes:
    return head + part * ((MEGABYTE - 1000 - len(head) - len(tail)) // len(part)) + tail


def lines() -> Iterator[Input]:
    """Records as lines of JSON or of tab-separated values."""
    record = b'{"image":"a.png","suffix":"yes"}\n'
    tails = record * 2
    deep = b'{"image":"a.png","suffix":"yes","x":'
    yield Input("deep.jsonl", _filled(deep, b"[", b"\n") + tails, LINES)
    yield Input("closed.jsonl", deep + b"[" * 400_000 + b"]" * 400_000 + b"}\n" + tails, LINES)
    objects = deep + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}\n" + tails
    yield Input("objects.jsonl", objects, LINES)
    keys = ",".join(f'"k{number}":{number}' for number in range(60_000)).encode()
    yield Input("keys.jsonl", b'{"image":"a.png","suffix":"yes",' + keys + b"}\n" + tails, LINES)
    twice = b'{"image":"a.png","suffix":"yes",' + b",".join([b'"k":0'] * 150_000) + b"}\n"
    yield Input("twice.jsonl", twice + tails, LINES)
    unlike = (f'{{"image":"a.png","suffix":"yes","k{number}":1}}\n' for number in range(24_000))
    yield Input("unlike.jsonl", "".join(unlike).encode()[:MEGABYTE].rpartition(b"\n")[0], (*LINES, *TABLES))
    yield Input("digits.jsonl", _filled(b'{"image":"a.png","suffix":"yes","x":', b"9", b"}\n") + tails, LINES)
    yield Input("text.jsonl", _filled(b'{"image":"a.png","suffix":"yes","prefix":"', b"a ", b'"}\n') + tails, LINES)
    yield Input("marks.jsonl", _filled(b"", b"\xef\xbb\xbf", b"\n") + tails, LINES)
    yield Input("short.tsv", _filled(b"", b"a\tyes\nb\tno\n"), LINES)
    yield Input("tabs.tsv", _filled(b"a\tyes\n", b"\t"), LINES)
    yield Input("blank.tsv", _filled(b"a\tyes\n", b"\n"), LINES)
    yield Input("zeros.tsv", bytes(MEGABYTE), LINES)
    rows = "".join(f"{number}\tl{number}\n" for number in range(70_000)).encode()
    yield Input("labels.tsv", rows[:MEGABYTE].rpartition(b"\n")[0], LINES)
    answers = "".join(f"{number}.png\tTrue\t0.5\tl{number}\tl{number}\n" for number in range(30_000)).encode()
    yield Input("answers.tsv", answers[:MEGABYTE].rpartition(b"\n")[0], (*LINES, "report --text {}"))


def tables() -> Iterator[Input]:
    """Tables with commas."""
    yield Input("commas.csv", _filled(b"image,label\n", b","), TABLE)
    yield Input("columns.csv", ",".join(f"c{number}" for number in range(140_000)).encode() + b"\n", TABLE)
    yield Input("rows.csv", _filled(b"image,label\n", b"a,b\n"), TABLE)
    yield Input("quote.csv", _filled(b'image,label\n"', b"a,b\n"), TABLE)
    yield Input("quotes.csv", _filled(b"image,label\n", b'""""""'), TABLE)
    yield Input("field.csv", _filled(b"image,label\na,", b"b", b"\n"), TABLE)
    wide = b",".join([b"image", b"label", *(b"%d" % number for number in range(1000))])
    yield Input("wide.csv", _filled(wide + b"\n", b"a,b" + b",0" * 1000 + b"\n"), TABLE)


def values() -> Iterator[Input]:
    """One JSON value in the whole file."""
    yield Input("arrays.json", _filled(b"[[]", b",[]", b"]"), VALUES)
    yield Input("dicts.json", _filled(b"[{}", b",{}", b"]"), VALUES)
    yield Input("deep.json", b"[" * (MEGABYTE // 2) + b"]" * (MEGABYTE // 2), VALUES)
    yield Input("open.json", _filled(b"", b'{"a":['), VALUES)
    yield Input("numbers.json", _filled(b"[0", b",1e5", b"]"), VALUES)
    yield Input("digits.json", _filled(b'[{"id":', b"9", b"}]"), VALUES)
    task = b'{"id":1,"data":{"image":"a.png"},"annotations":[{"result":[]}]}'
    yield Input("tasks.json", _filled(b"[" + task, b"," + task, b"]"), VALUES)
    choice = b'{"from_name":"a","type":"choices","value":{"choices":["x"]}}'
    results = _filled(b'[{"data":{"image":"a"},"annotations":[{"result":[' + choice, b"," + choice, b"]}]}]")
    yield Input("results.json", results, VALUES)
    picks = _filled(
        b'[{"data":{"image":"a"},"annotations":[{"result":[{"type":"choices","value":{"choices":["x"', b',"x"'
    )
    yield Input("choices.json", picks + b"]}}]}]}]", VALUES)
    captions = b",".join(b'{"image_id":1,"caption":"%d"}' % number for number in range(25_000))
    coco = b'{"images":[{"id":1,"file_name":"a.png"}],"annotations":[' + captions + b"]}"
    yield Input("captions.json", coco, VALUES)
    asked = b",".join(b'{"question_id":1,"image_id":1,"question":"a"}' for _ in range(10_000))
    answered = b",".join(b'{"question_id":1,"answers":[{"answer":"a"}]}' for _ in range(10_000))
    yield Input("vqa.json", b'{"questions":[' + asked + b'],"annotations":[' + answered + b"]}", VALUES)
    turn = {"role": "user", "content": "a"}
    chat = json.dumps({"messages": [turn] * 20_000}).encode()
    yield Input("chat.jsonl", chat + b"\n", VALUES)
    picture = b'{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,'
    yield Input("inside.jsonl", _filled(picture, b"A", b'"}}]},{"role":"assistant","content":"yes"}]}\n'), VALUES)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, *chunks: bytes) -> bytes:
    """A sound PNG of zeros, with other chunks before its pixels."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = (width * samples * depth + 7) // 8 + 1
    packer = zlib.compressobj(9)
    packed = io.BytesIO()
    left = row * height
    while left > 0:
        packed.write(packer.compress(bytes(min(left, MEGABYTE))))
        left -= MEGABYTE
    packed.write(packer.flush())
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    palette = _chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(chunks)
        + palette
        + _chunk(b"IDAT", packed.getvalue())
        + _chunk(b"IEND", b"")
    )


def gif(width: int, height: int, frames: int, frame: tuple[int, int] = (1, 1), disposal: int = 1) -> bytes:
    """An animation of one-pixel frames, or of frames of which only the size is large."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    one = b"\x21\xf9\x04" + bytes([disposal << 2]) + b"\x01\0\0\0\x2c" + struct.pack("<HHHHB", 0, 0, *frame, 0)
    return head + (one + b"\x02\x02\x44\x01\0") * frames + b";"


def bmp(width: int, height: int, bits: int, compression: int, content: bytes) -> bytes:
    palette = bytes(4 << bits) if bits <= 8 else b""
    start = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(content), 0, 0, start)
    facts = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(content), 0, 0, 0, 0)
    return head + facts + palette + content


def images() -> Iterator[tuple[str, bytes]]:
    """Pictures by name; what reads them is a line that names them."""
    for name, depth, colour in (("rgb", 8, 2), ("rgba", 8, 6), ("grey", 8, 0), ("grey16", 16, 0), ("palette", 8, 3)):
        yield f"{name}.png", png(8000, 8000, depth, colour)
    for name, depth, colour in (("deep", 16, 2), ("deep-alpha", 16, 6), ("grey-alpha", 8, 4), ("bits", 1, 0)):
        yield f"{name}.png", png(8000, 8000, depth, colour)
    yield (
        "see-through.png",
        png(8000, 8000, 8, 3).replace(
            _chunk(b"PLTE", bytes(768)), _chunk(b"PLTE", bytes(768)) + _chunk(b"tRNS", bytes(256))
        ),
    )
    yield "wide.png", png(64_000_000, 1, 8, 0)
    yield "high.png", png(1, 64_000_000, 1, 0)
    bomb = zlib.compress(bytes(200 << 20), 9)
    yield "profile.png", png(64, 64, 8, 2, _chunk(b"iCCP", b"a\0\0" + bomb))
    yield "text.png", png(64, 64, 8, 2, _chunk(b"zTXt", b"a\0\0" + bomb))
    yield "text-unicode.png", png(64, 64, 8, 2, _chunk(b"iTXt", b"a\0\1\0\0\0" + bomb))
    yield "texts.png", png(64, 64, 8, 2, _chunk(b"tEXt", b"a\0" + b"b" * 20) * 20_000)
    yield "exif.png", png(64, 64, 8, 2, _chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff" + bytes(900_000)))
    control = _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    yield (
        "frames.png",
        png(4000, 4000, 8, 2, control, _chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 4000, 4000, 0, 0, 1, 1, 0, 0))),
    )
    yield (
        "beyond.png",
        png(
            64,
            64,
            8,
            2,
            _chunk(b"acTL", struct.pack(">II", 2, 0)),
            _chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 30_000, 30_000, 0, 0, 1, 1, 0, 0)),
        ),
    )
    yield "canvas.gif", gif(65_535, 65_535, 1)
    yield "canvas-moving.gif", gif(4000, 4000, 30_000)
    yield "restored.gif", gif(4000, 4000, 2000, disposal=3)
    yield "cleared.gif", gif(4000, 4000, 2000, disposal=2)
    yield "frame.gif", gif(64, 64, 3, (65_535, 65_535))
    yield "rle.bmp", bmp(8000, 8000, 8, 1, b"\xff\0" * 400_000)
    yield "rgb.bmp", bmp(60_000, 60_000, 24, 0, bytes(1000))
    yield "bits.bmp", bmp(8000, 8000, 1, 0, bytes(8_000_000 // 10))
    yield "header.jpg", b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\1\x11\0\2\x11\0\3\x11\0" + bytes(1000)
    yield "segments.jpg", b"\xff\xd8" + (b"\xff\xe1\xff\xff" + bytes(65_533)) * 15
    yield "size.webp", b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff" * 6
    yield (
        "lossless.webp",
        b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8L" + struct.pack("<I", 12) + b"\x2f\xff\xff\xff\x1f" + bytes(7),
    )


def archives() -> Iterator[tuple[str, bytes]]:
    """Checkpoints by name."""

    def archive(*members: tuple[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", kind, compresslevel=9) as opened:
            for name, content in members:
                opened.writestr(name, content)
        return buffer.getvalue()

    def header(text: str, length: int | None = None) -> bytes:
        return b"\x93NUMPY\x02\0" + struct.pack("<I", len(text) if length is None else length) + text.encode()

    shape = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }\n"
    yield "zeros.npz", archive(("a.npy", header(shape % "(256000000,)") + bytes(400 << 20)))
    yield "manifest.npz", archive(("manifest.json", b'{"config":{},"x":"' + b" " * (400 << 20) + b'"}'))
    yield "state.npz", archive(("state.json", b'{"version":1,"x":"' + b" " * (400 << 20) + b'"}'))
    yield "header.npz", archive(("a.npy", header(shape % "(1,)" + " " * (200 << 20))))
    yield "length.npz", archive(("a.npy", header(shape % "(1,)", 2**32 - 1)), kind=zipfile.ZIP_STORED)
    yield "shape.npz", archive(("a.npy", header(shape % "(99999999999999,)")), kind=zipfile.ZIP_STORED)
    yield "expression.npz", archive(("a.npy", header("(" * 60_000)), kind=zipfile.ZIP_STORED)
    yield "members.npz", archive(*((f"{number}.npy", b"") for number in range(9000)), kind=zipfile.ZIP_STORED)
    yield "bzip2.npz", archive(("a.npy", header(shape % "(256000000,)") + bytes(200 << 20)), kind=zipfile.ZIP_BZIP2)
    keys = ",".join(f'"k{number}":{{}}' for number in range(70_000))
    yield "keys.npz", archive(("manifest.json", f'{{"config":{{{keys}}}}}'.encode()), kind=zipfile.ZIP_STORED)
    yield "deep.npz", archive(("manifest.json", b'{"config":' + b"[" * 900_000), kind=zipfile.ZIP_STORED)
