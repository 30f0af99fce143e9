"""Regular expressions over parameter paths, matched by an engine that cannot go back: a stranger's takes no longer than
others.

Python's own engine tries one way after the other, and there can be more ways than there are atoms. RE2 follows all of
them at once, and refuses what cannot be matched so (looking ahead and back, references), of which rules have no need.
"""

import functools
import re

import re2

LONGEST = 500  # characters of an expression, and of a path
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False  # an error is raised


class Pattern:
    """A regular expression; `matches` is what `re.fullmatch` finds."""

    def __init__(self, text: str) -> None:
        """Raises ValueError, with what is wrong, for one that is none, is too long, or needs more than is here."""
        if len(text) > LONGEST:
            raise ValueError(f"it has more than {LONGEST} characters")
        try:
            re.compile(text)  # what is none for Python has another meaning for RE2
            self.compiled = re2.compile(text, _OPTIONS)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(str(error)) from None
        except re2.error as error:
            what = error.args[0]
            raise ValueError(what.decode("utf-8", "replace") if isinstance(what, bytes) else str(what)) from None
        self.text = text

    def matches(self, path: str) -> bool:
        return len(path) <= LONGEST and self.compiled.fullmatch(path) is not None


@functools.lru_cache(1000)
def compiled(text: str) -> Pattern:
    """The pattern of a text, made once. Raises as `Pattern`."""
    return Pattern(text)
