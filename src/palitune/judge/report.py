"""Verdicts as text."""

from palitune.judge.confusion import Confusion


def result_block(path: str, confusion: Confusion, label: str | None = None) -> str:
    """The block that people's scripts parse; ratios are Python's floats, and one without a value has no line."""
    ratios = {
        "accuracy: ": confusion.accuracy,
        "precision:": confusion.precision,
        "recall:   ": confusion.recall,
        "F-measure:": confusion.f_measure,
    }
    head = f"Result: {path} ({label})" if label else f"Result: {path}"
    counts = f"  Tp={confusion.tp} Tn={confusion.tn} Fp={confusion.fp} Fn={confusion.fn}"
    return "\n".join([head, counts, *(f"  {name} {value}" for name, value in ratios.items() if value is not None)])
