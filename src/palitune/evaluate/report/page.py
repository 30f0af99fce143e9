"""A summary as one HTML file that needs nothing else: no network, no script."""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from palitune import __version__
from palitune.data.images import decoder
from palitune.errors import PalituneError, printable
from palitune.evaluate import metrics, per_class
from palitune.evaluate.confusion import is_right
from palitune.evaluate.language import Language
from palitune.evaluate.metrics import Figure
from palitune.evaluate.report import loss_drawing
from palitune.evaluate.report.summary import Item, Learned, Summary
from palitune.evaluate.report.text import between, value
from palitune.sentence import Sentence

if TYPE_CHECKING:
    import jinja2

THUMBNAIL, QUALITY = 240, 80  # pixels of the longer side, JPEG's quality
LARGEST = 4_000_000  # pixels that a thumbnail is made of
MOST_SHOWN = 600  # characters of a text
SHARES = ("accuracy", "precision", "recall")  # in percent
# What stands for a drawing, by its name, where it is not seen.
ALTERNATIVES = {
    "confusion": Sentence("confusion"),
    "roc": Sentence("roc"),
    "pr": Sentence("pr"),
    "reliability": Sentence("reliability"),
    "unsure": Sentence("unsure"),
    "together": Sentence("together"),
}
BASIC = (*SHARES, "f_measure", "balanced_accuracy", "matthews", "roc_auc")


def html(one: Summary, drawings: Mapping[str, bytes], say: Language) -> str:
    """The page.

    Args:
      drawings: PNG by name, of `curves.draw`.
      say: the language of the page.
    """
    records = [item.record for item in _shown(one) if item.record.images]
    thumbnails = {record.image.name: thumbnail(record.image.path, record.where) for record in records}
    return (
        environment(say)
        .get_template("page.html")
        .render(
            one=one,
            names={name: title for name, title in metrics.NAMES.items() if name in one.figures},
            shares=SHARES,
            basic=[name for name in BASIC if name in one.figures],
            drawings={name: address(content, "png") for name, content in drawings.items()},
            alternatives=ALTERNATIVES,
            losses=losses(one.losses, one.metrics, say) if one.losses else None,
            thumbnails=thumbnails,
            most_shown=MOST_SHOWN,
            has_images=any(item.record.images for item in one.items),
            likely="p_yes" if one.outcomes.is_binary else Sentence("probability"),
            is_right=is_right,
            classification=per_class.several(one.outcomes) or metrics.classification(one.outcomes),
            classes=report.cells() if (report := per_class.report(one.outcomes)) else [],
            top=per_class.top_lines(one.outcomes),
            configuration=json.dumps(one.configuration, indent=2, ensure_ascii=False) if one.configuration else None,
            changed=_changed(one),
            wrong=sum(not right for right in one.outcomes.right),
            version=__version__,
        )
    )


def environment(say: Language) -> "jinja2.Environment":
    """What makes pages of the templates here: everything that is put into one is escaped.

    Templates have their own texts in `{% trans %}`; a `Sentence` that is put into one is said in the language of the
    page, and any other text is data.
    """
    import jinja2
    import markupsafe

    def shown(value: object) -> object:
        return say.text(value) if isinstance(value, str) else value

    def gettext(english: str, /, **values: object) -> markupsafe.Markup:
        return markupsafe.Markup(say.template(english)) % say.translated(values)

    def ngettext(one: str, several: str, count: int, /, **values: object) -> markupsafe.Markup:
        return gettext(one if say.is_english and count == 1 else several, **values)

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("palitune", "evaluate/report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        finalize=shown,
    )
    made.newstyle_gettext = True  # type: ignore[attr-defined]  # calls have the values, which may be sentences
    made.filters |= {"value": value, "percent": _percent}
    made.globals |= {"say": say, "between": between, "interval": _interval, "gettext": gettext, "ngettext": ngettext}
    made.globals["printable"] = lambda text: printable(say.text(text))
    return made


def shortened(text: str, most: int, say: Language) -> str:
    """A text in the language of a page, printable, of which not more than so many characters are shown."""
    said = say.text(text)
    return printable(said if len(said) <= most else f"{said[: most - 1]}…")


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


def losses(path: Path, metrics: Path | None, say: Language) -> str | None:
    """The drawing of a run's losses, encoded again from its pixels; None for a link or for what is not an image.

    Args:
      metrics: the rows that it was drawn from, of which it is drawn again where the page is not in English.
    """
    if metrics is not None and not say.is_english and (drawn := loss_drawing.of_file(metrics, say)) is not None:
        return address(drawn, "png")
    if path.is_symlink() or not path.is_file():
        return None
    try:
        image = decoder.decode(path)
    except PalituneError:
        return None
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return address(buffer.getvalue(), "png")


def losses_of(learned: Learned | None, say: Language) -> str | None:
    """`losses` of how a model was made, where that is known."""
    return losses(learned.losses, learned.metrics, say) if learned is not None and learned.losses else None


def address(content: bytes, kind: str) -> str:
    """An image as a data address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _percent(figure: float | None) -> str:
    return "-" if figure is None else Sentence("%(share).1f %%", share=100 * figure)


def _interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return Sentence("%(low).0f to %(high).0f %%", low=100 * figure.low, high=100 * figure.high)
