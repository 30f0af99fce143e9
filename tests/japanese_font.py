"""The font of Japanese drawings, made of a large one: the letters of our own texts, for a system that has no font.

python tests/japanese_font.py /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc

The source is Noto Sans CJK JP Regular (Debian: fonts-noto-cjk), whose licence, the SIL Open Font License, is beside the
font. The letters are those of the catalogue and of the Japanese pages of the documentation, so that a new text seldom
needs another one, all kana, and the signs that go with them.
"""

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTCollection, TTFont

from palitune.evaluate.language import CATALOGUE, read
from palitune.evaluate.report.canvas import BUNDLED

REPOSITORY = Path(__file__).parent.parent
# Signs of Chinese and Japanese, hiragana and katakana, full-width forms.
RANGES = ((0x3000, 0x3020), (0x3041, 0x3097), (0x3099, 0x3100), (0xFF01, 0xFF60))
FAMILY = "palitune Japanese"  # no name of its source's, which a system may have as well
SOURCE = "Noto Sans CJK JP"  # in a collection of fonts for several languages
FAMILY_NAMES = (1, 3, 4, 6, 16)  # of the name table: those that programs tell fonts apart by
KEPT_NAMES = (0, 7, 13, 14)  # copyright, trademark, licence and its address


def letters_of(text: str) -> set[str]:
    """Letters that matplotlib's own font lacks, or that stand among them."""
    return {one for one in text if not one.isascii() and one.isprintable()}


def needed() -> set[str]:
    """The letters of the catalogue."""
    return letters_of("".join(read(CATALOGUE).values()))


def wanted() -> set[str]:
    """All letters that the font has, where its source has them."""
    pages = [*REPOSITORY.glob("*.ja.md"), *REPOSITORY.glob("docs/*.ja.md")]
    found = needed().union(*(letters_of(page.read_text("utf-8")) for page in pages))
    return found | {chr(code) for first, end in RANGES for code in range(first, end)}


def main(source: str) -> None:
    """Writes the font."""
    faces = TTCollection(source).fonts if source.endswith(".ttc") else [TTFont(source)]
    font = next((face for face in faces if face["name"].getDebugName(1) == SOURCE), faces[0])
    options = subset.Options(layout_features=[], name_IDs=[*FAMILY_NAMES, 2, *KEPT_NAMES], hinting=False)
    options.drop_tables += ["vhea", "vmtx", "VORG", "BASE"]  # of vertical lines
    maker = subset.Subsetter(options)
    maker.populate(unicodes=map(ord, wanted()))
    maker.subset(font)
    for number in FAMILY_NAMES:
        font["name"].setName(FAMILY.replace(" ", "") if number == 6 else FAMILY, number, 3, 1, 0x409)
    if "CFF " in font:
        font["CFF "].cff.fontNames = [FAMILY.replace(" ", "")]
    font.recalcTimestamp = False
    font.save(BUNDLED)
    print(f"{BUNDLED}: {len(font.getBestCmap())} letters, {BUNDLED.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
