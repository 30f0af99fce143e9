"""Files that are given for others by mistake, named for what they are by their first bytes."""

import re
from typing import NamedTuple

HEAD = 4096  # bytes that are enough to tell

UNPACK = "Unpack it first"
TO_JPEG = "Convert it to JPEG or PNG first"
AS_CSV = "Save it as CSV (UTF-8), and palitune convert reads that"
TO_CSV = "Write it as CSV or JSONL first, and palitune convert reads that"
AGAIN = "What was saved is a page and not the file: download it again, signed in if it asks for that"


class Foreign(NamedTuple):
    """What a file is, as in "this is WHAT", and what to do about it."""

    what: str
    hint: str


LFS = Foreign("a Git LFS pointer and not the file itself", "Fetch it: git lfs pull")
ANNEX = Foreign("a git-annex pointer and not the file itself", "Fetch it: git annex get")
HTML = Foreign("an HTML page", AGAIN)
XML = Foreign(
    "XML", "Write it as CSV or JSONL first, and palitune convert reads that; an error of a server: see inside"
)
UTF16 = Foreign("UTF-16 text", "Save the file as UTF-8")
UTF32 = Foreign("UTF-32 text", "Save the file as UTF-8")

# First bytes that no text has, in this order.
BINARY: tuple[tuple[bytes, Foreign], ...] = (
    (b"\xff\xfe\0\0", UTF32),
    (b"\0\0\xfe\xff", UTF32),
    (b"\xff\xfe", UTF16),
    (b"\xfe\xff", UTF16),
    (b"\x1f\x8b", Foreign("packed with gzip", f"{UNPACK}: gunzip -k FILE")),
    (b"BZh91AY&SY", Foreign("packed with bzip2", f"{UNPACK}: bunzip2 -k FILE")),
    (b"\xfd7zXZ\0", Foreign("packed with xz", f"{UNPACK}: unxz -k FILE")),
    (b"\x28\xb5\x2f\xfd", Foreign("packed with zstd", f"{UNPACK}: unzstd FILE")),
    (b"\x04\x22\x4d\x18", Foreign("packed with lz4", f"{UNPACK}: unlz4 FILE")),
    (b"7z\xbc\xaf\x27\x1c", Foreign("a 7z archive", UNPACK)),
    (b"Rar!\x1a\x07", Foreign("a RAR archive", UNPACK)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Foreign("an old Office file (.xls, .doc)", AS_CSV)),
    (b"%PDF-", Foreign("a PDF document", "Its text or images have to be taken out of it first")),
    (b"{\\rtf", Foreign("an RTF document", "Save it as plain text in UTF-8")),
    (b"SQLite format 3\0", Foreign("an SQLite database", TO_CSV)),
    (b"\x89HDF\r\n\x1a\n", Foreign("an HDF5 file", TO_CSV)),
    (b"\x93NUMPY", Foreign("a NumPy array", TO_CSV)),
    (b"ARROW1\0\0", Foreign("an Arrow table", TO_CSV)),
    (b"\xff\xd8\xff", Foreign("a JPEG image", "Images are named by records, a line each")),
    (b"\x89PNG\r\n\x1a\n", Foreign("a PNG image", "Images are named by records, a line each")),
    (b"II*\0", Foreign("a TIFF image", TO_JPEG)),
    (b"MM\0*", Foreign("a TIFF image", TO_JPEG)),
    (b"II+\0", Foreign("a BigTIFF image", TO_JPEG)),
    (b"MM\0+", Foreign("a BigTIFF image", TO_JPEG)),
    (b"\xff\x0a", Foreign("a JPEG XL image", TO_JPEG)),
    (b"\0\0\0\x0cJXL ", Foreign("a JPEG XL image", TO_JPEG)),
    (b"\0\0\0\x0cjP  ", Foreign("a JPEG 2000 image", TO_JPEG)),
    (b"\xff\x4f\xff\x51", Foreign("a JPEG 2000 image", TO_JPEG)),
    (b"8BPS\0\x01", Foreign("a Photoshop image", TO_JPEG)),
    (b"8BPS\0\x02", Foreign("a Photoshop image", TO_JPEG)),
    (b"\0\0\x01\0", Foreign("a Windows icon", TO_JPEG)),
    (b"\x1aE\xdf\xa3", Foreign("a Matroska or WebM video", "Take images out of it first")),
    (b"\0\x05\x16\x07", Foreign("macOS's notes on a file (._NAME)", "The file itself has the same name without ._")),
    (b"\0\x05\x16\0", Foreign("macOS's notes on a file (._NAME)", "The file itself has the same name without ._")),
    (b"\0\0\0\x01Bud1", Foreign("macOS's notes on a folder (.DS_Store)", "Leave it out")),
    (b"\x7fELF", Foreign("a program", "Name a file of data")),
)
# First bytes that a text could have too: they count where what follows is none.
SPELLED: tuple[tuple[bytes, Foreign], ...] = (
    (b"GIF8", Foreign("a GIF image", "Images are named by records, a line each")),
    (b"BM", Foreign("a BMP image", "Images are named by records, a line each")),
    (b"PAR1", Foreign("a Parquet table", TO_CSV)),
    (b"FEA1", Foreign("a Feather table", TO_CSV)),
    (b"Obj\x01", Foreign("an Avro file", TO_CSV)),
    (b"GGUF", Foreign("a model's weights (GGUF)", "Name a file of data")),
    (b"\x80\x02", Foreign("a Python pickle", TO_CSV)),
    (b"\x80\x03", Foreign("a Python pickle", TO_CSV)),
    (b"\x80\x04", Foreign("a Python pickle", TO_CSV)),
    (b"\x80\x05", Foreign("a Python pickle", TO_CSV)),
    (b"MZ", Foreign("a program", "Name a file of data")),
)
# Inside of a zip archive: what its first names say.
ZIPPED: tuple[tuple[bytes, Foreign], ...] = (
    (b"opendocument.spreadsheet", Foreign("a LibreOffice table (.ods)", AS_CSV)),
    (b"opendocument", Foreign("a LibreOffice document", "Save it as plain text in UTF-8")),
    (b"xl/", Foreign("an Excel workbook (.xlsx)", AS_CSV)),
    (b"word/", Foreign("a Word document (.docx)", "Save it as plain text in UTF-8")),
    (b"ppt/", Foreign("a PowerPoint file (.pptx)", "Save it as plain text in UTF-8")),
    (b"Index/", Foreign("a Numbers table", AS_CSV)),
    (b"[Content_Types].xml", Foreign("an Office file (.xlsx, .docx)", AS_CSV)),
    (b".npy", Foreign("a model's weights or arrays (.npz)", "Name a file of data")),
)
# ISO base media files by their brand.
BRANDS: tuple[tuple[tuple[bytes, ...], Foreign], ...] = (
    ((b"avif", b"avis"), Foreign("an AVIF image", TO_JPEG)),
    (
        (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"),
        Foreign("a HEIC image, as iPhones take them", TO_JPEG),
    ),
    ((b"crx ",), Foreign("a raw photo (CR3)", TO_JPEG)),
)
VIDEO = Foreign("a video", "Take images out of it first")
MARKUP = re.compile(
    rb"(?:\xef\xbb\xbf)?\s{0,999}(?:<!--.{0,2000}?-->\s{0,99})?<(!doctype html|html|head|body)\b", re.I | re.S
)
SVG = re.compile(rb"<svg[\s>]", re.I)


def recognised(head: bytes) -> Foreign | None:
    """What a file is that has these first bytes (`HEAD` are enough); None for text that may be records."""
    for magic, named in BINARY:
        if head.startswith(magic):
            return named
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return next((named for part, named in ZIPPED if part in head), Foreign("a zip archive", UNPACK))
    if head[4:8] == b"ftyp":
        return next((named for brands, named in BRANDS if any(brand in head[8:64] for brand in brands)), VIDEO)
    if head.startswith(b"RIFF") and head[8:12] in (b"WEBP", b"AVI "):
        what = Foreign("a WebP image", "Images are named by records, a line each")
        return what if head[8:12] == b"WEBP" else VIDEO
    if head[257:262] == b"ustar":
        return Foreign("a tar archive", UNPACK)
    if _has_controls(head):
        spelled = next((named for magic, named in SPELLED if head.startswith(magic)), None)
        return spelled or _of_unmarked(head)
    return _of_text(head)


def named_for_what_it_is(head: bytes) -> str | None:
    """As in "this is …"; None for text that may be records."""
    found = recognised(head)
    return None if found is None else found.what


def _of_text(head: bytes) -> Foreign | None:
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return LFS
    if re.match(rb"(/annex/objects/|(\.\./)*\.git/annex/objects/)", head):
        return ANNEX
    if MARKUP.match(head):
        return HTML
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"<?xml", b"<svg", b"<annotation", b"<Error")):
        return Foreign("an SVG drawing", TO_JPEG) if SVG.search(head) else XML
    return None


def _of_unmarked(head: bytes) -> Foreign | None:
    """A model's weights; or UTF-16 without a byte-order mark: every other byte of plain text is zero."""
    some = head[:256]
    if head[8:10] in (b'{"', b"{}") and head[7:8] == b"\0":
        return Foreign("a model's weights (safetensors)", "Name a file of data")
    if len(some) >= 8 and len(some) % 2 == 0:
        for zero in (0, 1):
            if not any(some[zero::2]) and all(some[1 - zero :: 2]):
                return UTF16
    return None


def _has_controls(head: bytes) -> bool:
    """Whether there are bytes that no text has."""
    return any(byte < 9 or 13 < byte < 27 for byte in head[:512])
