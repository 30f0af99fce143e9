"""The metrics of a run: a line of JSON for every step, and the same as a table."""

import csv
import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from palitune.errors import BadDataError, StorageError
from palitune.run.folder import RunFolder
from palitune.storage import atomic_files, files

# The first five are the names that hosted fine-tuning services use.
COLUMNS = (
    *("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"),
    *("valid_accuracy", "valid_balanced_accuracy", "valid_precision", "valid_recall", "valid_f_measure"),
    *("learning_rate", "trial", "pass", "attempt", "best"),
)
PREFIX = "eval_"  # of the columns behind them, which figures of several labels have


class MetricsLog:
    """`metrics.jsonl`, a line for every step, and the same as a table, `metrics.csv`.

    Attributes:
      rows: everything so far, also of a run without a folder.
    """

    def __init__(self, folder: RunFolder | None, size: int = 0) -> None:
        """Goes on after `size` bytes; what was written after them is made again. Without a folder rows are kept alone.

        Raises:
          StorageError: the file cannot be written.
          BadDataError: what is there is not what a run wrote.
        """
        self.folder = folder
        self.rows: list[dict[str, object]] = []
        self.file: IO[bytes] | None = None
        if folder is None:
            return
        kept = b""
        try:
            if size:
                with files.open_to_read(folder.metrics) as earlier:
                    kept = earlier.read(size)
            self.rows = [json.loads(line) for line in kept.splitlines()]
            if len(kept) != size or not all(isinstance(row, dict) for row in self.rows):
                raise ValueError
        except (OSError, ValueError, RecursionError):
            hint = "Start the run again with --overwrite"
            raise BadDataError("the metrics of this run are damaged", where=str(folder.metrics), hint=hint) from None
        # A new file, whatever is at this name: a link leads to something else, and a copy of the run may share it.
        atomic_files.write(folder.metrics, kept)
        self.file = files.open_to_append(folder.metrics)

    def add(self, row: Mapping[str, object]) -> None:
        """Values that are None or no number are left out."""
        kept = {
            key: value
            for key, value in row.items()
            if value is not None and not (isinstance(value, float) and not math.isfinite(value))
        }
        self.rows.append(kept)
        if self.folder is None or self.file is None:
            return
        with _storage(self.folder.metrics):
            self.file.write(json.dumps(kept).encode() + b"\n")

    def sync(self) -> int:
        """Writes everything to the disk, and returns the file's size in bytes. Raises StorageError."""
        if self.folder is None or self.file is None:
            return 0
        with _storage(self.folder.metrics):
            with files.optional():
                os.fsync(self.file.fileno())
            return os.fstat(self.file.fileno()).st_size

    def write_table(self) -> None:
        """Writes the table again. Raises StorageError."""
        if self.folder is None:
            return
        text = io.StringIO()
        others = {name: None for row in self.rows for name in row if name.startswith(PREFIX)}  # of several labels
        table = csv.DictWriter(text, [*COLUMNS, *others], extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(row for row in self.rows if "event" not in row)
        atomic_files.write(self.folder.table, text.getvalue().encode())

    def close(self) -> None:
        """Closes the file."""
        if self.file is not None:
            self.file.close()


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror or error}", where=str(path)) from error
