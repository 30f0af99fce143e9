"""Settings of pages and drawings: in which language they are."""

import dataclasses

from palitune.config.settings import Settings, setting
from palitune.config.value_kinds import Choice

ENGLISH, JAPANESE = "en", "ja"
LANGUAGES = (ENGLISH, JAPANESE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageSettings(Settings):
    """How pages and drawings are written."""

    lang: str | None = setting(
        None,
        Choice(LANGUAGES),
        "language of pages and drawings; what a terminal shows is English",
        shown="ja where LC_ALL, LC_MESSAGES or LANG is Japanese, else en",
        memory=False,
        recorded=False,
    )
