"""Figures with their confidence intervals; that of a share, such as an accuracy, by Wilson's score (Wilson 1927)."""

import math
from typing import NamedTuple

CONFIDENCE, Z = 0.95, 1.959963984540054  # a normal distribution has this share of its values from -Z to Z


class Figure(NamedTuple):
    """A figure with its interval; None where it is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """Returns the lower and the upper end of the Wilson score interval of right / total, with `CONFIDENCE`."""
    share = right / total
    width = 2 * (total + Z**2)
    middle = (2 * total * share + Z**2) / width
    reach = Z / width * math.sqrt(4 * total * share * (1 - share) + Z**2)
    return 0.0 if right == 0 else middle - reach, 1.0 if right == total else middle + reach
