"""Regular expressions over the paths of parameters, matched in linear time, whoever wrote them.

The engine of Python's `re` backtracks, and some expressions take it longer than anybody can wait. RE2 follows all
alternatives at once; it does not support lookaround and backreferences, which rules over paths do not need.
"""

import functools
import re
import warnings

import re2

LONGEST = 500  # characters of an expression, and of a path
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False  # an error is raised


class Pattern:
    """A regular expression over whole paths.

    Attributes:
      text: the expression as it was written.
    """

    def __init__(self, text: str) -> None:
        """Raises ValueError if `text` is too long, is not a regular expression, or is one that RE2 does not support."""
        if len(text) > LONGEST:
            raise ValueError(f"it has more than {LONGEST} characters")
        try:
            with warnings.catch_warnings():  # of what a later version may take for something else
                warnings.simplefilter("ignore")
                re.compile(text)  # RE2 gives some texts a meaning that are errors in Python
            self.compiled = re2.compile(text, _OPTIONS)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(str(error)) from None
        except re2.error as error:
            what = error.args[0]
            raise ValueError(what.decode("utf-8", "replace") if isinstance(what, bytes) else str(what)) from None
        self.text = text

    def matches(self, path: str) -> bool:
        """Returns whether the expression matches the whole path, as `re.fullmatch` would."""
        return len(path) <= LONGEST and self.compiled.fullmatch(path) is not None


@functools.lru_cache(1000)
def compiled(text: str) -> Pattern:
    """Returns the pattern of a text, and compiles each only once. Raises as `Pattern`."""
    return Pattern(text)
