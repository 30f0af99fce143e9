"""Texts for people that can be said in other languages: English templates with values in them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from palitune.errors import NAMED

# A template that formats whatever its values are, without widths that would make a text as long as they say.
LONGEST = 1_000  # characters of a template that is read
TEMPLATE = re.compile(r"(?:[^%]|%%|%\(\w+\)\+?(?:\.\d)?[sdfg])*")


class Sentence(str):
    """A text in English that knows what it is made of, so that `evaluate.language.Language` can say it in another.

    It is a text as any other: it is printed, compared and written as JSON. Data are no sentences, and are never
    translated; what a larger text is made of loses its template, so a sentence is a value of another, not a part.

    Attributes:
      template: the text with places for values, such as `%(count)d`; a percent sign is written twice.
      values: by name; those that are sentences are said in the same language.
    """

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, /, **values: object) -> "Sentence":
        made = super().__new__(cls, template % values)
        made.template, made.values = template, values
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, object]]:
        return (self.template,), dict(self.values)  # of copies and pickles

    def as_json(self) -> dict[str, object]:
        """What it is made of, which `recalled` reads. Values are texts, numbers and sentences."""
        values = {name: one.as_json() if isinstance(one, Sentence) else one for name, one in self.values.items()}
        return {"template": self.template, "values": values}


def joined(items: Sequence[str]) -> str:
    """Items as a sentence: "a, b, c"; empty where there are none."""
    if len(items) < 2:
        return items[0] if items else ""
    half = len(items) // 2  # so that thousands are not nested thousands deep
    return Sentence("%(some)s, %(other)s", some=joined(items[:half]), other=joined(items[half:]))


def listed(items: Sequence[str]) -> str:
    """Items as `errors.listed` has them, as a sentence: "a, b, c, d, e, and 7 more"."""
    found = joined(items[:NAMED])
    if len(items) <= NAMED:
        return found
    return Sentence("%(some)s, and %(count)s more", some=found, count=f"{len(items) - NAMED:,}")


def recalled(text: str, content: object) -> str:
    """A text that was written down, as the sentence that it was; the text alone where that is not told.

    Args:
      content: what was written down beside it, of `Sentence.as_json`; a file may have anything there.
    """
    try:
        made = _of_json(content, len(text))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError):
        return text
    return made if made == text else text


def _of_json(content: Any, most: int) -> Sentence:
    """The sentence of what `Sentence.as_json` gave; values longer than `most` are in no text of that length.

    Raises:
      TypeError, ValueError, KeyError, AttributeError, OverflowError: it is something else.
    """
    template = content["template"]
    if len(template) > LONGEST or not TEMPLATE.fullmatch(template):
        raise ValueError("no template")
    values = {name: _of_json(one, most) if isinstance(one, dict) else one for name, one in content["values"].items()}
    if any(isinstance(one, str) and len(one) > most for one in values.values()):
        raise ValueError("no value of it")
    return Sentence(template, **values)
