"""What drawings share: letters that there is a font for, one style whatever a person has set for matplotlib, PNG."""

import contextlib
import functools
import io
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

os.environ["MPLBACKEND"] = "agg"  # a display's name that matplotlib does not know ends its import

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure as Figure
from matplotlib.ft2font import FT2Font

from palitune.errors import ConfigurationError, printable
from palitune.evaluate.language import Language

# With the letters of Japanese drawings alone, for a system that has no font: `tests/japanese_font.py` makes it.
BUNDLED = Path(__file__).with_name("japanese.otf")
# Of Japanese, by the words in their files' names: Debian's, the container's, Windows', macOS'.
JAPANESE = (
    *("NotoSansCJK", "NotoSansJP", "SourceHanSans", "ipaexg", "ipag", "TakaoPGothic", "TakaoGothic", "VL-Gothic"),
    *("YuGoth", "meiryo", "msgothic", "Hiragino", "ヒラギノ", "BIZ-UD", "mplus", "DroidSansFallback", "wqy", "unifont"),
)
WEIGHTS = re.compile("bold|black|heavy|light|thin|medium", re.IGNORECASE)  # in names; what has none comes first
EMOJI = ("NotoEmoji", "Symbola", "OpenSansEmoji", "seguiemj", "seguisym", "unifont")  # with outlines, not bitmaps
# Of Debian, with outlines: of letters, and of emoji and what they are joined by. The one in colour has bitmaps.
FOR_LETTERS, FOR_EMOJI = "fonts-ipaexfont", "fonts-symbola"
OF_EMOJI = ("So", "Sk", "Mn", "Cf")  # Unicode's general categories
without_font: set[str] = set()  # characters that were spelled out since `reason` was last asked


@contextlib.contextmanager
def styled(say: Language, names: Iterable[str] = ()) -> Iterator[None]:
    """Within it, drawings have the same style everywhere; `$` in a label is a dollar.

    Args:
      say: the language of the drawings.
      names: what will be drawn of data; a system's fonts are searched only if they are needed.

    Raises:
      ConfigurationError: matplotlib cannot draw.
    """
    try:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            own = () if say.is_english else (_bundled(),)
            others = own if all(map(str.isascii, names)) else _fonts()[1:]
            families = [font_manager.FontProperties(fname=str(path)).get_name() for path in others]
            matplotlib.rcParams.update({"text.parse_math": False, "font.family": ["DejaVu Sans", *families]})
            yield
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError, LookupError) as error:
        what = f"matplotlib cannot draw: {printable(' '.join(str(error).split())[:200])}"
        raise ConfigurationError(what, hint="palitune report --text needs no drawings") from error


@functools.cache
def _fonts() -> tuple[Path, ...]:
    """matplotlib's own font, and of the system's one that has Japanese and one that has emoji; ours for what lacks."""
    own = Path(font_manager.findfont("DejaVu Sans"))
    there = {path.name: path for path in map(Path, font_manager.findSystemFonts())}
    others = (_first(there, JAPANESE, "あ日"), _first(there, EMOJI, "🍎🎉"))
    return own, *dict.fromkeys(path for path in others if path is not None), _bundled()


@functools.cache
def _bundled() -> Path:
    """Our own font, made known to matplotlib."""
    font_manager.fontManager.addfont(str(BUNDLED))
    return BUNDLED


def _first(there: Mapping[str, Path], words: Sequence[str], needed: str) -> Path | None:
    """The first font by the words in its file's name that has some characters, made known to matplotlib."""
    for word in words:
        for name, path in sorted(there.items(), key=lambda one: (WEIGHTS.search(one[0]) is not None, one[0])):
            if word.lower() in name.lower() and {ord(one) for one in needed} <= _characters(path):
                with contextlib.suppress(RuntimeError, OSError):
                    font_manager.fontManager.addfont(str(path))
                    return path
    return None


@functools.cache
def _characters(path: Path) -> frozenset[int]:
    try:
        return frozenset(FT2Font(str(path)).get_charmap())
    except (RuntimeError, OSError):
        return frozenset()


def text(name: str, most: int = 40) -> str:
    """A name to be drawn, at most so long: what no font here has is spelled out, and never an empty box."""
    name = name if len(name) <= most else f"{name[: most - 1]}…"
    shown = printable(name)
    if shown.isascii():
        return shown
    known = frozenset().union(*map(_characters, _fonts()))
    lost = {one for one in shown if ord(one) not in known}
    without_font.update(lost)
    return "".join(one.encode("unicode_escape").decode() if one in lost else one for one in shown)


def reason() -> str | None:
    """Why something was spelled out in drawings since this was last asked; None where nothing was."""
    if not without_font:
        return None
    some = " ".join(sorted(without_font)[:5])
    packages = sorted({FOR_EMOJI if unicodedata.category(one) in OF_EMOJI else FOR_LETTERS for one in without_font})
    without_font.clear()
    install = f"apt-get install {' '.join(packages)}"
    return f"no font here has {some}: drawings spell such characters out ({install})"


def png(figure: Figure, say: Language) -> bytes:
    """A drawing as a file's content. `say` is its language."""
    if without_font:
        lost = say("no font for some characters: spelled out")
        figure.text(0.99, 0.005, lost, ha="right", fontsize=6, color="#8a8a8a")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()
