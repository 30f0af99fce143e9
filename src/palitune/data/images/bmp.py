"""The header of a BMP file (BITMAPCOREHEADER, BITMAPINFOHEADER and later ones)."""

from palitune.data.images.container import Container, Damaged, little

RUNS = (1, 2)  # run-length compressions, of 8 and of 4 bits a pixel
OLD, USUAL = 12, 40  # lengths of headers in bytes


def scan(data: bytes) -> Container:
    """Returns what the header of a BMP file says. Raises Damaged if it is damaged."""
    length = little(data, 14, 4)
    if length == OLD:
        width, height, bits, compression = little(data, 18, 2), little(data, 20, 2), little(data, 24, 2), 0
    elif length >= USUAL:
        width, height = little(data, 18, 4), little(data, 22, 4)
        bits, compression = little(data, 28, 2), little(data, 30, 4)
        if height >> 24 == 0xFF:  # negative: the rows are stored from top to bottom
            height = (1 << 32) - height
    else:
        raise Damaged(f"a header of {length} bytes")
    slow = compression in RUNS
    return Container(
        format="BMP",
        sizes=[(width, height)],
        content=lambda _: data,
        bytes_per_pixel=3 if slow else 1 if bits <= 8 else 4,
        slow=slow,
    )
