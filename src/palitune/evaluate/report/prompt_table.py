"""Ranked prompts as a table for a terminal and as JSON."""

from collections.abc import Sequence

from palitune.evaluate import metrics
from palitune.evaluate.prompt_ranking import Row, Scored
from palitune.evaluate.report.text import between, value
from palitune.text_tables import aligned

OF_SEVERAL = {"accuracy": "accuracy", "f_measure": "macro F"}  # figures of three or more classes in every table
MOST_WORDS = 3  # of a prompt that are shown


def prompt_lines(scored: Sequence[Scored], rows: Sequence[Row], metric: str, of: str = "records") -> list[str]:
    """A line for each prompt, the best first, and what cannot be told apart.

    Args:
      scored, rows: in the order of `prompt_ranking.ranked`.
      metric: what they are ranked by.
      of: what is counted: records, or known labels of them.
    """
    is_binary = scored[0].outcomes.is_binary
    others = [name for name in OF_SEVERAL if name != metric and not is_binary]
    heads = [f"says {scored[0].outcomes.classes[0]}"] if is_binary else [OF_SEVERAL[name] for name in others]
    name = metrics.NAMES[metric] if is_binary else OF_SEVERAL.get(metric, metrics.NAMES[metric])
    table = [[name, "95 %", "behind", *heads, "words", "prompt"]]
    for one, row in zip(scored, rows, strict=True):
        behind = "best" if row.behind is None else value(-row.behind.value) if row.behind.value is not None else "-"
        behind += " (noise)" if row.is_noise else ""
        figure, figures = row.figure, metrics.figures(one.outcomes) if others else {}
        more = [str(row.yes)] if is_binary else [value(figures.get(name)) for name in others]
        table.append([value(figure.value), between(figure.low, figure.high), behind, *more,
                      _words(one.prompt.words), one.prompt.text])  # fmt: skip
    lines = aligned(table)
    noise = sum(row.is_noise for row in rows)
    lines.append(f"{len(scored)} prompts, {len(scored[0].outcomes.labels)} {of}; behind is how far from the best")
    if noise:
        lines.append(f"noise: {noise} of the others cannot be told from the best with so few records")
    return lines


def _words(words: Sequence[str]) -> str:
    return "/".join(words) if len(words) <= MOST_WORDS else f"{'/'.join(words[:MOST_WORDS])}/… ({len(words)})"


def as_json(one: Scored, row: Row) -> dict[str, object]:
    """A ranked prompt as JSON has it."""
    return {
        "prompt": one.prompt.text,
        "words": list(one.prompt.words),
        "low": row.figure.low,
        "high": row.figure.high,
        "behind": None if row.behind is None or row.behind.value is None else -row.behind.value,
        "noise": row.is_noise,
        "figures": metrics.figures(one.outcomes),
    }
