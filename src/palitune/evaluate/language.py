"""Languages of pages and drawings: English, which the code has its texts in, and Japanese, from `japanese.toml`."""

import functools
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from palitune.config.page import ENGLISH, JAPANESE
from palitune.sentence import Sentence

CATALOGUE = Path(__file__).with_name("report") / "japanese.toml"
VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set counts, as POSIX has it


class Language:
    """A language that texts are said in.

    Attributes:
      code: as HTML's `lang` has it.
      texts: templates by the English ones; what is not there stays English.
    """

    def __init__(self, code: str, texts: Mapping[str, str]) -> None:
        self.code, self.texts = code, texts

    @property
    def is_english(self) -> bool:
        """Whether texts stay as the code has them."""
        return self.code == ENGLISH

    def __call__(self, template: str, /, **values: object) -> str:
        """A text of a drawing. The arguments are those of a `Sentence`."""
        return self.text(Sentence(template, **values))

    def text(self, value: str) -> str:
        """A sentence, and the sentences in it, in this language; any other text as it is, because that is data."""
        if not isinstance(value, Sentence):
            return value
        return self.template(value.template) % self.translated(value.values)

    def template(self, english: str) -> str:
        """The template of this language."""
        return self.texts.get(english, english)

    def translated(self, values: Mapping[str, object]) -> dict[str, object]:
        """Values of a template, of which sentences are said in this language."""
        return {name: self.text(one) if isinstance(one, str) else one for name, one in values.items()}


IN_ENGLISH = Language(ENGLISH, {})


def language_of(code: str | None = None) -> Language:
    """The language of a setting; without one that of the user's environment, where it is one of ours, else English."""
    return _japanese() if (code or of_environment(os.environ)) == JAPANESE else IN_ENGLISH


def of_environment(variables: Mapping[str, str]) -> str:
    """The code of the language that an environment asks for by the variables of its locale."""
    locale = next((variables[name] for name in VARIABLES if variables.get(name)), "")
    return JAPANESE if re.match(rf"{JAPANESE}(?![a-z])", locale) else ENGLISH


@functools.cache
def _japanese() -> Language:
    return Language(JAPANESE, read(CATALOGUE))


def read(catalogue: Path) -> dict[str, str]:
    """The texts of a catalogue: a table of TOML for each part of the code, whose keys are the English templates."""
    parts = tomllib.loads(catalogue.read_text("utf-8"))
    return {english: text for part in parts.values() for english, text in part.items()}
