"""The answers of what a run has learned to the set that it is evaluated on, as a file of answers in its folder."""

from collections.abc import Sequence

from palitune.data.answer_source import AnswerSource
from palitune.data.prediction import Prediction, by_example
from palitune.errors import BadDataError
from palitune.run.answer_lines import line_of
from palitune.run.folder import RunFolder
from palitune.storage import atomic_files


def write(folder: RunFolder, predictions: Sequence[Prediction]) -> None:
    """Writes `valid.tsv`, or `valid.jsonl` where lines of TSV do not hold all, as `palitune inference` writes them.

    Args:
      predictions: of examples with labels; of free text there are none, and no file.

    Raises:
      StorageError: the file cannot be written.
    """
    made = predictions[0].made if predictions else None
    if made is None or not made.labels:
        return
    tsv, jsonl = folder.answers
    try:
        path, lines = tsv, None if _needs_keys(predictions) else _lines(predictions, made.labels, False)
    except BadDataError:  # a name with a tab
        lines = None
    if lines is None:
        path, lines = jsonl, _lines(predictions, made.labels, True)
    atomic_files.write(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    AnswerSource(path).write(made._replace(model=folder.target.stem))


def _needs_keys(predictions: Sequence[Prediction]) -> bool:
    """Whether a line has to hold what TSV has no column for: a question, several labels, or more than two classes."""
    made = predictions[0].made
    more = made is not None and len(made.labels or ()) > 2
    return more or any(one.target.name or one.example.prompt for one in predictions)


def _lines(predictions: Sequence[Prediction], labels: tuple[str, ...], jsonl: bool) -> list[str]:
    return [line_of(said, labels, jsonl) for _, said in by_example(predictions)]
