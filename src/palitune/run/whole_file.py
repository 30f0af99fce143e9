"""An output that appears when all of it is there: lines or a Parquet table, as a file or at an address."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from palitune.data.formats import parquet
from palitune.errors import OutputExistsError
from palitune.storage import atomic_files, remote


def is_table(output: str) -> bool:
    """Whether an output is a Parquet table, for which lines are JSON."""
    return output.lower().endswith(parquet.ENDING)


@contextlib.contextmanager
def made(output: str) -> Iterator[Path]:
    """A path that lines are written to; when the block ends without an exception they become the output.

    Raises:
      OutputExistsError: it is there already.
      ConfigurationError: it needs something that is not installed.
      NetworkError: its address cannot be used.
      StorageError: it cannot be written.
    """
    is_elsewhere = remote.is_address(output)
    if not (remote.is_absent(output) if is_elsewhere else not Path(output).exists()):
        raise OutputExistsError("there is something already", where=output, hint="Name another output")
    if is_table(output):
        parquet.pyarrow(output)
    with tempfile.TemporaryDirectory() as name:
        lines = Path(name) / "lines"
        yield lines
        lines.touch()
        if is_table(output):
            parquet.write(lines, Path(name) / "table")
            lines = Path(name) / "table"
        if is_elsewhere:
            remote.put(lines, output)
            return
        with atomic_files.replacing(Path(output)) as file, lines.open("rb") as source:
            while piece := source.read(1 << 20):
                file.write(piece)
