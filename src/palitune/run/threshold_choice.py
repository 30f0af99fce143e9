"""A threshold and a temperature chosen on a file of answers, printed, and stored beside the model."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from palitune import console, workspace
from palitune.checkpoint import operating_point
from palitune.checkpoint.operating_point import Stored
from palitune.data import answer_source
from palitune.data.formats.lines import require_file
from palitune.evaluate import class_threshold, several_answers, several_thresholds, stored_threshold
from palitune.evaluate.report.text import value
from palitune.evaluate.report.threshold_text import chosen_lines
from palitune.evaluate.stored_threshold import Wanted
from palitune.evaluate.threshold import Goal
from palitune.text_tables import aligned

FEW = 100  # examples


def show(model: str) -> None:
    """Prints what is stored beside a model. Raises as `stored_threshold.of_model`."""
    stored = stored_threshold.of_model(model)
    for line in several_thresholds.shown(stored.thresholds):
        print(line)
    print(f"threshold: {stored.point.threshold:.9g}\ntemperature: {stored.point.temperature:.6g}")
    console.note(f"{stored.chosen}; labels {','.join(stored.labels)}")


def remove(model: str, quiet: bool) -> None:
    """Removes what is stored beside a model. Raises as `stored_threshold.remove`."""
    file, was_there = stored_threshold.remove(model)
    if not quiet:
        console.note(f"removed {file}" if was_there else f"{file}: nothing is stored")


def choose(
    file: str,
    goal: Goal | None,
    model: str | None,
    *,
    labels: tuple[str, ...] | None = None,
    positive: str | None = None,
    fit_temperature: bool = False,
    written_with: float | None = None,
    quiet: bool = False,
) -> None:
    """Chooses, prints what that changes on the answers, and stores it where a model is named.

    The arguments are those of `stored_threshold.Wanted`.

    Args:
      file: of answers; - is standard input.
      model: beside which it is stored.

    Raises:
      MissingInputError, BadDataError: the answers or the model cannot be used.
      StorageError: it cannot be stored.
    """
    with _copied(file) as path:
        checkpoint = workspace.checkpoint_to_annotate(model) if model else None
        wanted = Wanted(path, file, goal, fit_temperature, checkpoint, labels, positive, written_with, quiet)
        stored = _of_several_labels(wanted) if several_answers.are_in(path) else _of_one(wanted)
    if not quiet and (seen := answer_source.read_seen(path)) is not None and (said := seen.text("records")):
        console.note(f"{file}: the model {said}: a threshold of records that it does not know is more to be trusted")
    if checkpoint is not None:
        operating_point.write(checkpoint, stored)
    if not quiet:
        advice = f"-m NAME stores {'both' if fit_temperature else 'it'} with the model"
        console.note(f"stored in {operating_point.path_of(checkpoint)}" if checkpoint else advice)


@contextlib.contextmanager
def _copied(name: str) -> Iterator[Path]:
    """The file; standard input as a file, because it is read more than once."""
    if name != "-":
        require_file(Path(name))
        yield Path(name)
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield workspace.copied_stdin(Path(scratch))


def _of_one(wanted: Wanted) -> Stored:
    """Chooses for answers to one question."""
    are_several = class_threshold.are_several(wanted.path, wanted.labels)
    chosen = class_threshold.choose(wanted) if are_several else stored_threshold.choose(wanted)
    if not wanted.quiet:
        if isinstance(chosen, class_threshold.ChosenOfSeveral):
            lines, count = class_threshold.chosen_lines(chosen, wanted.fit_temperature), len(chosen.codes)
        else:
            lines, count = chosen_lines(chosen, wanted.fit_temperature), len(chosen.positive)
        for line in lines:
            print(line)
        _tell_of_few(count)
    if not are_several or wanted.goal is not None:
        print(f"threshold: {chosen.point.threshold:.9g}")
    if wanted.fit_temperature:
        print(f"temperature: {chosen.point.temperature:.6g}")
    return chosen.stored


def _of_several_labels(wanted: Wanted) -> Stored:
    """Chooses a threshold for each of several labels."""
    chosen = several_thresholds.choose(
        wanted.path,
        wanted.file,
        wanted.goal,
        checkpoint=wanted.checkpoint,
        fit_temperature=wanted.fit_temperature,
        written_with=wanted.written_with,
        quiet=wanted.quiet,
    )
    if not wanted.quiet:
        print("\n".join(aligned(several_thresholds.rows(chosen))))
        before, after = several_thresholds.macro_f(chosen)
        print(f"macro F-measure: {value(before)} -> {value(after)}")
        if wanted.fit_temperature:
            print("log loss: {:.4f} -> {:.4f}".format(*chosen.log_losses))
        _tell_of_few(min(one.records for one in chosen.choices))
    for line in several_thresholds.shown({one.name: one.after for one in chosen.choices}):
        print(line)
    if wanted.fit_temperature:
        print(f"temperature: {chosen.temperature:.6g}")
    return chosen.stored


def _tell_of_few(count: int) -> None:
    if count < FEW:
        console.note(f"{count} examples are few: another {count} may well choose otherwise")
