"""Ranked prompts as a table for a terminal and as JSON."""

from collections.abc import Sequence

from palitune.evaluate import metrics
from palitune.evaluate.prompt_ranking import Row, Scored
from palitune.evaluate.report.text import between, value
from palitune.text_tables import aligned


def prompt_lines(scored: Sequence[Scored], rows: Sequence[Row], metric: str) -> list[str]:
    """A line for each prompt, the best first, and what cannot be told apart.

    Args:
      scored, rows: in the order of `prompt_ranking.ranked`.
      metric: what they are ranked by.
    """
    table = [[metrics.NAMES[metric], "95 %", "behind", f"says {scored[0].outcomes.classes[0]}", "words", "prompt"]]
    for one, row in zip(scored, rows, strict=True):
        behind = "best" if row.behind is None else value(-row.behind.value) if row.behind.value is not None else "-"
        behind += " (noise)" if row.is_noise else ""
        figure = row.figure
        table.append([value(figure.value), between(figure.low, figure.high), behind, str(row.yes),
                      "/".join(one.prompt.words), one.prompt.text])  # fmt: skip
    lines = aligned(table)
    noise = sum(row.is_noise for row in rows)
    lines.append(f"{len(scored)} prompts, {len(scored[0].outcomes.labels)} records; behind is how far from the best")
    if noise:
        lines.append(f"noise: {noise} of the others cannot be told from the best with so few records")
    return lines


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
