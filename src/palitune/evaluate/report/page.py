"""A summary as one HTML file that needs nothing else: no network, no script."""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from palitune import __version__
from palitune.data.images import decoder
from palitune.errors import PalituneError
from palitune.evaluate import metrics, per_class
from palitune.evaluate.confusion import is_right
from palitune.evaluate.metrics import Figure
from palitune.evaluate.report.summary import Item, Summary
from palitune.evaluate.report.text import between, value

if TYPE_CHECKING:
    import jinja2

THUMBNAIL, QUALITY = 240, 80  # pixels of the longer side, JPEG's quality
LARGEST = 4_000_000  # pixels that a thumbnail is made of
MOST_SHOWN = 600  # characters of a text
SHARES = ("accuracy", "precision", "recall")  # in percent
BASIC = (*SHARES, "f_measure", "balanced_accuracy", "matthews", "roc_auc")


def html(one: Summary, drawings: Mapping[str, bytes]) -> str:
    """The page.

    Args:
      drawings: PNG by name, of `curves.draw`.
    """
    records = [item.record for item in _shown(one) if item.record.images]
    thumbnails = {record.image.name: thumbnail(record.image.path, record.where) for record in records}
    return (
        environment()
        .get_template("page.html")
        .render(
            one=one,
            names={name: title for name, title in metrics.NAMES.items() if name in one.figures},
            shares=SHARES,
            basic=[name for name in BASIC if name in one.figures],
            drawings={name: address(content, "png") for name, content in drawings.items()},
            losses=losses(one.losses) if one.losses else None,
            thumbnails=thumbnails,
            most_shown=MOST_SHOWN,
            things="images" if any(item.record.images for item in one.items) else "texts",
            likely="p_yes" if one.outcomes.is_binary else "probability",
            is_right=is_right,
            classification=per_class.several(one.outcomes) or metrics.classification(one.outcomes),
            configuration=json.dumps(one.configuration, indent=2, ensure_ascii=False) if one.configuration else None,
            changed=_changed(one),
            wrong=sum(not right for right in one.outcomes.right),
            version=__version__,
        )
    )


def environment() -> "jinja2.Environment":
    """What makes pages of the templates here: everything that is put into one is escaped."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("palitune", "evaluate/report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    made.filters |= {"value": value, "percent": _percent}
    made.globals |= {"between": between, "interval": _interval}
    return made


def _shown(one: Summary) -> list[Item]:
    return [*one.wrong, *one.uncertain, *(item for item, _ in _changed(one))]


def _changed(one: Summary) -> list[tuple[Item, bool]]:
    """Records whose answer changed, with whether it is right now: mistakes first, as many as there are wrong ones."""
    if one.comparison is None:
        return []
    flips = sorted(one.comparison.flips, key=lambda flip: flip.is_better)
    return [(one.items[flip.record], flip.is_better) for flip in flips[: max(24, len(one.wrong))]]


def thumbnail(path: Path, where: str | None = None, longer_side: int = THUMBNAIL) -> str | None:
    """A small image as a data address; None if the image cannot be read. `where` names it in messages."""
    try:
        image = decoder.decode(path, where, most=LARGEST)
    except PalituneError:
        return None
    image.thumbnail((longer_side, longer_side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return address(buffer.getvalue(), "jpeg")


def losses(path: Path) -> str | None:
    """The drawing of a run's losses, encoded again from its pixels; None for a link or for what is not an image."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        image = decoder.decode(path)
    except PalituneError:
        return None
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return address(buffer.getvalue(), "png")


def address(content: bytes, kind: str) -> str:
    """An image as a data address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _percent(figure: float | None) -> str:
    return "-" if figure is None else f"{100 * figure:.1f} %"


def _interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"{100 * figure.low:.0f} to {100 * figure.high:.0f} %"
