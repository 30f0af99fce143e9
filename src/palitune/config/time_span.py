"""Spans of time as values of settings: 90s, 10m, 2h, 1d."""

import re

from palitune.config.value_kinds import Kind, words

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST = 366 * UNITS["d"]  # seconds


class TimeSpan(Kind[float]):
    """Seconds, typed with their unit."""

    def describe(self) -> str:
        return "90s, 10m, 2h, 1d"

    def parse(self, text: str) -> float:
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", text)
        if found is None:
            raise ValueError(f"{text!r} is no time such as 90s, 10m, 2h or 1d")
        return self.check(float(found[1]) * UNITS[found[2]])

    def check(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST:
            raise ValueError(f"{value!r} are no seconds above 0 and up to a year")
        return float(value)

    def typed(self, option: str, value: float) -> list[str]:
        return words(option, span(value))


def span(seconds: float) -> str:
    """Seconds as they are typed, in the largest unit of which they are a whole number."""
    unit = next((unit for unit in reversed(UNITS) if seconds % UNITS[unit] == 0), "s")
    return f"{seconds / UNITS[unit]:g}{unit}"
