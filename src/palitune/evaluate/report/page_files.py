"""The report's page on disk, with its drawings as PNG files beside it."""

from collections.abc import Iterable
from pathlib import Path

from palitune import console, workspace
from palitune.evaluate.language import language_of
from palitune.evaluate.report.summary import Summary
from palitune.storage import atomic_files

DRAWINGS = ("confusion", "roc", "pr", "reliability", "unsure", "together")  # as `curves` and `several_curves` name them


def page_to_write(name: str, overwrite: bool, inputs: Iterable[str] = ()) -> Path:
    """Where a page goes. Raises as `workspace.file_to_write`, also for the drawings beside it."""
    target = workspace.file_to_write(name, overwrite, inputs)
    for drawing in DRAWINGS:
        workspace.file_to_write(str(drawing_of(target, drawing)), overwrite, inputs)
    return target


def drawing_of(target: Path, drawing: str) -> Path:
    """Where a drawing of a page goes."""
    return target.with_name(f"{target.stem}-{drawing}.png")


def write(target: Path, summary: Summary, lang: str | None, quiet: bool) -> None:
    """Writes the page, in a language as `language_of` has it, and its drawings beside it as `NAME-roc.png` and so on.

    Raises:
      ConfigurationError: matplotlib cannot draw.
      StorageError: a file cannot be written.
    """
    console.status("drawing", quiet)
    say = language_of(lang)
    from palitune.evaluate.report import canvas, curves, page  # matplotlib takes a second to import

    target.parent.mkdir(parents=True, exist_ok=True)
    drawings = curves.draw(summary.outcomes, summary.figures, say, summary.threshold, summary.before)
    content = page.html(summary, drawings, say).encode("utf-8", "replace")
    for name, drawing in drawings.items():
        atomic_files.write(drawing_of(target, name), drawing)
    atomic_files.write(target, content)
    if why := canvas.reason():
        console.note(f"{target}: {why}")
    if not quiet:
        beside = f", {target.stem}-{{{','.join(drawings)}}}.png beside it" if drawings else ""
        console.note(f"wrote {target}{beside}")
