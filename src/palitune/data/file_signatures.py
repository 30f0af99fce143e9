"""What kind of file this is, by its first bytes, where somebody gave it by mistake for data or for an image."""

import re
from typing import NamedTuple

HEAD = 4096  # bytes that are enough to tell

UNPACK = "Unpack it first"
TO_JPEG = "Convert it to JPEG or PNG first"
AS_CSV = "Save it as CSV (UTF-8), and palitune convert reads that"
TO_CSV = "Write it as CSV or JSONL first, and palitune convert reads that"
AGAIN = "What was saved is a page and not the file: download it again, signed in if it asks for that"


class FileKind(NamedTuple):
    """A kind of file, as in "this is WHAT", and what to do with such a file."""

    what: str
    hint: str


LFS = FileKind("a Git LFS pointer and not the file itself", "Fetch it: git lfs pull")
ANNEX = FileKind("a git-annex pointer and not the file itself", "Fetch it: git annex get")
HTML = FileKind("an HTML page", AGAIN)
XML = FileKind(
    "XML", "Write it as CSV or JSONL first, and palitune convert reads that; an error of a server: see inside"
)
UTF16 = FileKind("UTF-16 text", "Save the file as UTF-8")
PARQUET = FileKind("a Parquet table", "Write it into a file, because it is not read from its beginning to its end")
UTF32 = FileKind("UTF-32 text", "Save the file as UTF-8")

# First bytes that no text has, in this order.
BINARY: tuple[tuple[bytes, FileKind], ...] = (
    (b"\xff\xfe\0\0", UTF32),
    (b"\0\0\xfe\xff", UTF32),
    (b"\xff\xfe", UTF16),
    (b"\xfe\xff", UTF16),
    (b"\x1f\x8b", FileKind("packed with gzip", f"{UNPACK}: gunzip -k FILE")),
    (b"BZh91AY&SY", FileKind("packed with bzip2", f"{UNPACK}: bunzip2 -k FILE")),
    (b"\xfd7zXZ\0", FileKind("packed with xz", f"{UNPACK}: unxz -k FILE")),
    (b"\x28\xb5\x2f\xfd", FileKind("packed with zstd", f"{UNPACK}: unzstd FILE")),
    (b"\x04\x22\x4d\x18", FileKind("packed with lz4", f"{UNPACK}: unlz4 FILE")),
    (b"7z\xbc\xaf\x27\x1c", FileKind("a 7z archive", UNPACK)),
    (b"Rar!\x1a\x07", FileKind("a RAR archive", UNPACK)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileKind("an old Office file (.xls, .doc)", AS_CSV)),
    (b"%PDF-", FileKind("a PDF document", "Its text or images have to be taken out of it first")),
    (b"{\\rtf", FileKind("an RTF document", "Save it as plain text in UTF-8")),
    (b"SQLite format 3\0", FileKind("an SQLite database", TO_CSV)),
    (b"\x89HDF\r\n\x1a\n", FileKind("an HDF5 file", TO_CSV)),
    (b"\x93NUMPY", FileKind("a NumPy array", TO_CSV)),
    (b"ARROW1\0\0", FileKind("an Arrow table", TO_CSV)),
    (b"\xff\xd8\xff", FileKind("a JPEG image", "Images are named by records, a line each")),
    (b"\x89PNG\r\n\x1a\n", FileKind("a PNG image", "Images are named by records, a line each")),
    (b"II*\0", FileKind("a TIFF image", TO_JPEG)),
    (b"MM\0*", FileKind("a TIFF image", TO_JPEG)),
    (b"II+\0", FileKind("a BigTIFF image", TO_JPEG)),
    (b"MM\0+", FileKind("a BigTIFF image", TO_JPEG)),
    (b"\xff\x0a", FileKind("a JPEG XL image", TO_JPEG)),
    (b"\0\0\0\x0cJXL ", FileKind("a JPEG XL image", TO_JPEG)),
    (b"\0\0\0\x0cjP  ", FileKind("a JPEG 2000 image", TO_JPEG)),
    (b"\xff\x4f\xff\x51", FileKind("a JPEG 2000 image", TO_JPEG)),
    (b"8BPS\0\x01", FileKind("a Photoshop image", TO_JPEG)),
    (b"8BPS\0\x02", FileKind("a Photoshop image", TO_JPEG)),
    (b"\0\0\x01\0", FileKind("a Windows icon", TO_JPEG)),
    (b"\x1aE\xdf\xa3", FileKind("a Matroska or WebM video", "Take images out of it first")),
    (b"\0\x05\x16\x07", FileKind("macOS's notes on a file (._NAME)", "The file itself has the same name without ._")),
    (b"\0\x05\x16\0", FileKind("macOS's notes on a file (._NAME)", "The file itself has the same name without ._")),
    (b"\0\0\0\x01Bud1", FileKind("macOS's notes on a folder (.DS_Store)", "Leave it out")),
    (b"\x7fELF", FileKind("a program", "Name a file of data")),
)
# First bytes that a text could have too: they count only if the file is not text.
SPELLED: tuple[tuple[bytes, FileKind], ...] = (
    (b"GIF8", FileKind("a GIF image", "Images are named by records, a line each")),
    (b"BM", FileKind("a BMP image", "Images are named by records, a line each")),
    (b"PAR1", PARQUET),
    (b"FEA1", FileKind("a Feather table", TO_CSV)),
    (b"Obj\x01", FileKind("an Avro file", TO_CSV)),
    (b"GGUF", FileKind("a model's weights (GGUF)", "Name a file of data")),
    (b"\x80\x02", FileKind("a Python pickle", TO_CSV)),
    (b"\x80\x03", FileKind("a Python pickle", TO_CSV)),
    (b"\x80\x04", FileKind("a Python pickle", TO_CSV)),
    (b"\x80\x05", FileKind("a Python pickle", TO_CSV)),
    (b"MZ", FileKind("a program", "Name a file of data")),
)
# Parts of the first names in a zip archive, which say what the archive is.
ZIPPED: tuple[tuple[bytes, FileKind], ...] = (
    (b"opendocument.spreadsheet", FileKind("a LibreOffice table (.ods)", AS_CSV)),
    (b"opendocument", FileKind("a LibreOffice document", "Save it as plain text in UTF-8")),
    (b"xl/", FileKind("an Excel workbook (.xlsx)", AS_CSV)),
    (b"word/", FileKind("a Word document (.docx)", "Save it as plain text in UTF-8")),
    (b"ppt/", FileKind("a PowerPoint file (.pptx)", "Save it as plain text in UTF-8")),
    (b"Index/", FileKind("a Numbers table", AS_CSV)),
    (b"[Content_Types].xml", FileKind("an Office file (.xlsx, .docx)", AS_CSV)),
    (b".npy", FileKind("a model's weights or arrays (.npz)", "Name a file of data")),
)
# ISO base media files by their brand.
BRANDS: tuple[tuple[tuple[bytes, ...], FileKind], ...] = (
    ((b"avif", b"avis"), FileKind("an AVIF image", TO_JPEG)),
    (
        (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"),
        FileKind("a HEIC image, as iPhones take them", TO_JPEG),
    ),
    ((b"crx ",), FileKind("a raw photo (CR3)", TO_JPEG)),
)
# First bytes of other images, which are looked for where an image is expected.
OTHERS = (
    (b"\0\0\2\0", "a Windows cursor"),
    (b"icns", "an icon of macOS"),
    (b"FUJIFILMCCD-RAW", "a raw photo (RAF)"),
    (b"IIU\0", "a raw photo (RW2)"),
    (b"IIRO", "a raw photo (ORF)"),
    (b"FOVb", "a raw photo (X3F)"),
    (b"qoif", "a QOI image"),
    (b"gimp xcf", "a GIMP image"),
    (b"DDS ", "a DDS texture"),
    (b"%!PS", "a PostScript drawing"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript drawing"),
    (b"\xd7\xcd\xc6\x9a", "a Windows drawing (WMF)"),
    *((f"P{kind}{blank}".encode(), "a Netpbm image") for kind in range(1, 8) for blank in "\n\r\t "),
)
VIDEO = FileKind("a video", "Take images out of it first")
MARKUP = re.compile(
    rb"(?:\xef\xbb\xbf)?\s{0,999}(?:<!--.{0,2000}?-->\s{0,99})?<(!doctype html|html|head|body)\b", re.I | re.S
)
SVG = re.compile(rb"<svg[\s>]", re.I)


def recognised(head: bytes) -> FileKind | None:
    """Returns the kind of a file with these first bytes (`HEAD` are enough); None for text that may be examples."""
    for magic, named in BINARY:
        if head.startswith(magic):
            return named
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return next((named for part, named in ZIPPED if part in head), FileKind("a zip archive", UNPACK))
    if head[4:8] == b"ftyp":
        return next((named for brands, named in BRANDS if any(brand in head[8:64] for brand in brands)), VIDEO)
    if head.startswith(b"RIFF") and head[8:12] in (b"WEBP", b"AVI "):
        what = FileKind("a WebP image", "Images are named by records, a line each")
        return what if head[8:12] == b"WEBP" else VIDEO
    if head[257:262] == b"ustar":
        return FileKind("a tar archive", UNPACK)
    if _has_controls(head):
        spelled = next((named for magic, named in SPELLED if head.startswith(magic)), None)
        return spelled or _of_unmarked(head)
    return _of_text(head)


def recognised_instead_of_image(head: bytes) -> FileKind | None:
    """Returns the kind of a file that is not an image that palitune reads; None if it is not known."""
    if (found := recognised(head)) is not None:
        return found
    if not head:
        return FileKind("an empty file", "Copy or download it again")
    if not any(head):
        return FileKind("a file of zeros", "Its download or copy was cut: copy or download it again")
    for magic, what in OTHERS:
        if head.startswith(magic):
            return FileKind(what, TO_JPEG)
    if b"\0" not in head and all(byte >= 32 or byte in b"\t\n\r\f\x1b" for byte in head):
        return FileKind("a text", "Name the image itself")
    return None


def _of_text(head: bytes) -> FileKind | None:
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return LFS
    if re.match(rb"(/annex/objects/|(\.\./)*\.git/annex/objects/)", head):
        return ANNEX
    if MARKUP.match(head):
        return HTML
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"<?xml", b"<svg", b"<annotation", b"<Error")):
        return FileKind("an SVG drawing", TO_JPEG) if SVG.search(head) else XML
    return None


def _of_unmarked(head: bytes) -> FileKind | None:
    """Recognises the weights of a model, and UTF-16 without a byte-order mark, in which every other byte is zero."""
    some = head[:256]
    if head[8:10] in (b'{"', b"{}") and head[7:8] == b"\0":
        return FileKind("a model's weights (safetensors)", "Name a file of data")
    if len(some) >= 8 and len(some) % 2 == 0:
        for zero in (0, 1):
            if not any(some[zero::2]) and all(some[1 - zero :: 2]):
                return UTF16
    return None


def _has_controls(head: bytes) -> bool:
    """Returns whether there are control characters that no text has."""
    return any(byte < 9 or 13 < byte < 27 for byte in head[:512])
