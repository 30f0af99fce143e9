"""Verdicts as pictures."""

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from palitune import files
from palitune.data import images
from palitune.judge.confusion import judged

COLUMNS, ROWS = 8, 6
RIGHT, WRONG = "#2a7a3b", "#b3261e"


def sheet(path: Path, shown: Sequence[tuple[Path, str, str]]) -> None:
    """A PNG with pictures and what the model said of them: (image, label, answer), wrong answers first.

    It holds 48; the rest is counted in the title.

    Raises:
      StorageError: the file cannot be written.
    """
    wrong = [item for item in shown if judged(item[2], item[1]) != item[1]]
    right = [item for item in shown if judged(item[2], item[1]) == item[1]]
    chosen = (wrong + right)[: COLUMNS * ROWS]
    rows = -(-len(chosen) // COLUMNS)
    # A Figure of its own draws without a display and leaves pyplot's global state alone.
    figure = Figure(figsize=(1.5 * COLUMNS, 1.75 * rows + 0.5), layout="constrained")
    figure.suptitle(
        f"{len(shown)} pictures, {len(wrong)} wrong" + (f"; {len(chosen)} shown" * (len(chosen) < len(shown)))
    )
    for cell, (image, label, answer) in zip(figure.subplots(rows, COLUMNS, squeeze=False).flat, chosen, strict=False):
        colour = RIGHT if judged(answer, label) == label else WRONG
        cell.imshow(images.decode(image))
        cell.set_title(answer if answer == label else f"{answer[:16]} (is: {label})", color=colour, fontsize=10)
        cell.spines[:].set(color=colour, linewidth=3)
    for cell in figure.axes:
        cell.set(xticks=[], yticks=[])
        if not cell.images:
            cell.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    files.write(path, buffer.getvalue())
