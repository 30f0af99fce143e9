"""What a run says and writes down while it learns: lines, a progress bar, metrics, a plot, results."""

import math
import sys
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from tqdm.auto import tqdm

from palitune import console
from palitune.errors import ConfigurationError
from palitune.evaluate.language import language_of
from palitune.run.folder import RunFolder
from palitune.run.metrics_log import PREFIX, MetricsLog
from palitune.run.tracking import Tracking
from palitune.storage import atomic_files
from palitune.train import loop
from palitune.train.loop import Row

TABLE_SECONDS = 10.0  # between two versions of the table while learning, which is written whole


class RunLog:
    """Prints lines to stdout and notes to stderr, and writes the rest into a run's folder, if there is one."""

    def __init__(
        self,
        folder: RunFolder | None,
        quiet: bool,
        tensorboard: bool,
        size: int = 0,
        lang: str | None = None,
        tracking: Tracking | None = None,
    ) -> None:
        """Args:
        size: of the metrics that a run goes on after (`MetricsLog`).
        lang: the language of the plot.
        tracking: the tracker that gets the metrics too.
        """
        self.folder, self.quiet, self.say = folder, quiet, language_of(lang)
        self.metrics = MetricsLog(folder, size)
        self.tracking = tracking
        self.blocks: list[str] = []
        self.bar: tqdm[NoReturn] | None = None
        self.size = 0  # examples to a step
        self.board: Any = None  # tensorboardX's SummaryWriter
        self.written = -TABLE_SECONDS  # when the table was
        self.total = 0  # steps of passes that are over, for TensorBoard
        if tensorboard and folder is not None:
            try:
                import tensorboardX
            except ImportError:
                hint = "Install it: pip install 'palitune[tensorboard]'"
                raise ConfigurationError(
                    "--tensorboard needs tensorboardX, which is not installed", hint=hint
                ) from None
            self.board = tensorboardX.SummaryWriter(str(folder.path / "tensorboard"))

    def note(self, text: str) -> None:
        """A line for a person."""
        if not self.quiet:
            with tqdm.external_write_mode(sys.stderr):
                print(text, file=sys.stderr, flush=True)

    def open_bar(self, name: str, steps: int, size: int, done: int) -> None:
        """A progress bar in examples, on a terminal."""
        silent = self.quiet or not console.is_watched()
        self.bar = tqdm(
            total=steps * size, initial=done * size, desc=name, unit="examples", leave=False, disable=silent
        )
        self.size = size

    def close_bar(self) -> None:
        """Removes the progress bar."""
        if self.bar is not None:
            self.bar.close()

    def row(self, row: Row, steps: int, place: Mapping[str, object]) -> None:
        """Everything about one step; `place` says of which trial, pass and attempt, and after how many epochs."""
        found = row.evaluation
        values: dict[str, object] = {"step": row.step, "train_loss": row.loss, "train_accuracy": row.accuracy}
        if found is not None:
            values |= {"valid_loss": found.loss, "valid_mean_token_accuracy": found.token_accuracy}
            named = {name if name.startswith(PREFIX) else f"valid_{name}": value for name, value in row.ratios.items()}
            values |= named
            values["best"] = row.is_best
            values |= {"as_good": True} if row.is_as_good else {}
        values["learning_rate"] = row.learning_rate
        self.metrics.add(values | dict(place))
        if found is not None and time.monotonic() - self.written >= TABLE_SECONDS:
            self.metrics.write_table()
            self.written = time.monotonic()
        if row.step and self.bar is not None:
            self.bar.update(self.size)
        if row.step and loop.is_line_due(row.step, steps):
            with tqdm.external_write_mode():
                print(loop.line(row.step, steps, row.learning_rate, row.loss), flush=True)
        if found is not None:
            best = "   kept" if row.is_best else ""
            if row.is_as_good:
                best += " (as good as the lowest loss within chance, and later)"
            right = sum(found.right) / len(found.right)
            text = f"valid: {row.step}/{steps}   loss: {found.loss:.4f}   token accuracy: {found.token_accuracy:.4f}"
            self.note(f"{text}   accuracy: {right:.4f}{best}")
        for remark in row.remarks:
            self.note(remark)
            self.event("remark", **place, step=row.step, what=remark)
        figures = {name: one for name, one in values.items() if isinstance(one, float) and math.isfinite(one)}
        if self.board is not None:
            for name, figure in figures.items():
                self.board.add_scalar(name, figure, self.total + row.step)
        if self.tracking is not None:
            self.tracking.log(figures, self.total + row.step, found is not None)

    def event(self, name: str, **facts: object) -> None:
        """Something that is no step: an attempt that diverged, the end."""
        self.metrics.add({"event": name, **facts})

    def block(self, text: str) -> None:
        """A result, on stdout and in the folder."""
        print(text, flush=True)
        self.blocks.append(text)
        if self.folder is not None:
            atomic_files.write(self.folder.blocks, "".join(f"{block}\n" for block in self.blocks).encode())

    def draw(self, winner: int | None) -> None:
        """Writes the table, and the plot of all losses so far; `winner` is the best trial, from 0."""
        if self.folder is None:
            return
        from palitune.evaluate.report import plots

        self.metrics.write_table()
        plots.losses(self.folder.losses, self.metrics.rows, winner or 0, self.say)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        self.close(is_over=error is None)

    def close(self, is_over: bool = True) -> None:
        """Closes every file; `is_over` says whether the run has come to its end."""
        self.close_bar()
        self.metrics.close()
        if self.board is not None:
            self.board.close()
        if self.tracking is not None:
            self.tracking.close(is_over)
