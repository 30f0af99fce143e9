"""Regular expressions over parameter paths, matched without going back: a stranger's takes no longer than others.

Python's own engine tries one way after the other, and there can be more ways than atoms. Here all places that an
expression can have got to are followed at once. What cannot be matched so (looking ahead and back, references, flags)
is refused; rules over paths have no need of it.
"""

import functools
import re
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

LONGEST = 500  # characters of an expression, and of a path
MOST_REPEATS = 100  # that are counted: `{100}`
DEEPEST = 3  # levels of repeats of repeats
CATEGORIES = {
    codes.CATEGORY_DIGIT: r"\d",
    codes.CATEGORY_NOT_DIGIT: r"\D",
    codes.CATEGORY_SPACE: r"\s",
    codes.CATEGORY_NOT_SPACE: r"\S",
    codes.CATEGORY_WORD: r"\w",
    codes.CATEGORY_NOT_WORD: r"\W",
}
CHARACTERS = (codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN)
REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT)
BEGINNING, END = (codes.AT_BEGINNING, codes.AT_BEGINNING_STRING), (codes.AT_END, codes.AT_END_STRING)
Places = frozenset[int]  # in a path
Known = dict[tuple[int, Places], Places]


class Pattern:
    """A regular expression; `matches` is what `re.fullmatch` finds."""

    def __init__(self, text: str) -> None:
        """Raises ValueError, with what is wrong, for one that is none, is too long, or needs more than is here."""
        if len(text) > LONGEST:
            raise ValueError(f"it has more than {LONGEST} characters")
        try:
            self.items = parser.parse(text)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(str(error)) from None
        if self.items.state.flags & ~re.UNICODE.value:
            raise ValueError("flags are not taken here")
        self.text = text
        _check(self.items)

    def matches(self, path: str) -> bool:
        return len(path) <= LONGEST and len(path) in _sequence(self.items, path, frozenset({0}), {})


@functools.lru_cache(1000)
def compiled(text: str) -> Pattern:
    """The pattern of a text, made once. Raises as `Pattern`."""
    return Pattern(text)


def _check(items: Any, depth: int = 0) -> None:
    for code, value in items:
        if code in REPEATS:
            low, high, inner = value
            if max(low, 0 if high == codes.MAXREPEAT else high) > MOST_REPEATS or depth == DEEPEST:
                raise ValueError(f"it repeats more than {MOST_REPEATS} times, or in more than {DEEPEST} levels")
            _check(inner, depth + 1)
        elif code == codes.BRANCH:
            for inner in value[1]:
                _check(inner, depth)
        elif code == codes.SUBPATTERN and not (value[1] or value[2]):
            _check(value[3], depth)
        elif code not in CHARACTERS and not (code == codes.AT and value in BEGINNING + END):
            raise ValueError("only characters, groups, | and repeats are taken here")


def _sequence(items: Any, path: str, places: Places, known: Known) -> Places:
    """Where a sequence of items can end that begins at any of some places."""
    for item in items:
        if not places:
            break
        key = (id(item), places)
        if key not in known:
            known[key] = _one(item, path, places, known)
        places = known[key]
    return places


def _one(item: Any, path: str, places: Places, known: Known) -> Places:
    code, value = item
    if code in CHARACTERS:
        return frozenset(at + 1 for at in places if at < len(path) and _is_in(code, value, path[at]))
    if code == codes.AT:
        return places & {0 if value in BEGINNING else len(path)}
    if code == codes.SUBPATTERN:
        return _sequence(value[3], path, places, known)
    if code == codes.BRANCH:
        return frozenset().union(*(_sequence(inner, path, places, known) for inner in value[1]))
    low, high, inner = value
    for _ in range(low):
        places = _sequence(inner, path, places, known)
    found = places
    for _ in range(len(path) + 1 if high == codes.MAXREPEAT else high - low):
        places = _sequence(inner, path, places, known) - found
        if not places:
            break
        found |= places
    return found


def _is_in(code: Any, value: Any, character: str) -> bool:
    """Whether a character is one that an item takes."""
    if code == codes.ANY:
        return character != "\n"
    if code == codes.LITERAL:
        return ord(character) == int(value)
    if code == codes.NOT_LITERAL:
        return ord(character) != int(value)
    if code == codes.RANGE:
        return bool(value[0] <= ord(character) <= value[1])
    if code == codes.CATEGORY:
        return re.match(CATEGORIES[value], character) is not None
    negated = value[0][0] == codes.NEGATE
    return bool(negated) != any(_is_in(kind, what, character) for kind, what in value[int(negated) :])
