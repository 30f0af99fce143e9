"""A run that was made, as its folder tells: what it was asked for, how it ended, and what it is worth.

Imports nothing heavy: a table of hundreds of them is there at once.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from palitune.confidence_interval import Figure
from palitune.evaluate.confusion import NEGATIVE, POSITIVE, Confusion
from palitune.sentence import Sentence

FINISHED, FAILED, RUNNING, STOPPED = STATES = (
    Sentence("finished"),
    Sentence("failed"),
    Sentence("running"),
    Sentence("stopped"),
)
# Figures by the names that settings have for them, and as a person reads them.
FIGURES = {
    "accuracy": Sentence("accuracy"),
    "precision": Sentence("precision"),
    "recall": Sentence("recall"),
    "f_measure": Sentence("F-measure"),
    "balanced_accuracy": Sentence("balanced accuracy"),
    "exact_match": Sentence("exact match"),
    "token_accuracy": Sentence("token accuracy"),
    "loss": Sentence("loss"),
}
LOWER = ("loss",)  # figures that are better when they are lower
SHORT = 7  # digits of a hash that are shown


class DataFile(NamedTuple):
    """A file of records as it was when it was used.

    Attributes:
      records: how many it had; None where that is not known.
      sha256: of its lines.
      images: SHA-256 of its images in their order.
    """

    file: str = ""
    records: int | None = None
    sha256: str = ""
    images: str = ""

    @property
    def name(self) -> str:
        """Its name without its folders."""
        return Path(self.file).name

    @property
    def mark(self) -> str:
        """What tells it from other content."""
        return f"{self.sha256} {self.images}"

    @property
    def short(self) -> str:
        """The beginning of its hash."""
        return self.sha256[:SHORT]


class Worth(NamedTuple):
    """What a model is worth on some records.

    Attributes:
      figures: by the names of `FIGURES`, those that are known.
      counts: of two classes the confusion matrix.
      records: how many there were; None where that is not known.
      block: the result block of what is no confusion matrix of two classes; empty where it was not kept.
    """

    figures: Mapping[str, Figure] = {}
    counts: Confusion | None = None
    records: int | None = None
    block: str = ""


class FileEvaluation(NamedTuple):
    """A checkpoint evaluated on a file after its run.

    Attributes:
      date: seconds since 1970.
      seen: how many of the records it has learned from.
      asked: options that were typed, so that it was asked in another way than it was trained in.
    """

    date: float
    data: DataFile
    seen: int
    worth: Worth
    asked: Mapping[str, object] = {}


NOT_KNOWN = Worth()


@dataclasses.dataclass(frozen=True)
class PastRun:
    """A run.

    Attributes:
      name: by which `-m` finds its checkpoint.
      folder: `NAME.run`.
      began: seconds since 1970.
      state: one of `STATES`; what is stopped can be resumed.
      settings: what the model that was kept was trained with, and what it was trained on, by name.
      sets: the files that it learned from and was evaluated on; one where they are the same.
      in_folds: of a run in folds the records of all its files together, each answered by a model that has not learned
        from it; else None.
      base: the name of the model that its checkpoint is a change of.
      base_hash: of that model.
      after: what the model that was kept is worth on `evaluated_on`; of a run in folds what those of the folds are.
      before: what it was worth before learning.
      step: the one whose weights were kept.
      epoch: how often it had shown each example by then.
      evaluations: of its checkpoint, after it had ended; the latest is the last.
      seconds: that it took.
      planned: bytes of a device's memory that its step was compiled with.
      taken: the most bytes of a device's memory that it had.
      answers: its answers to the last of the sets.
      metrics: the rows of its metrics.
      winner: the trial that was kept, from 0.
      has_checkpoint: whether its checkpoint is there.
    """

    name: str
    folder: Path
    began: float
    state: str
    settings: Mapping[str, object]
    sets: tuple[DataFile, ...] = ()
    in_folds: DataFile | None = None
    base: str = ""
    base_hash: str = ""
    after: Worth = NOT_KNOWN
    before: Worth = NOT_KNOWN
    step: int | None = None
    epoch: float | None = None
    evaluations: tuple[FileEvaluation, ...] = ()
    seconds: float | None = None
    planned: int | None = None
    taken: int | None = None
    answers: Path | None = None
    metrics: Path | None = None
    winner: int = 0
    has_checkpoint: bool = False

    @property
    def trained_on(self) -> DataFile:
        """The file that it learned from, or the records of several."""
        return self.in_folds or (self.sets[0] if self.sets else DataFile())

    @property
    def evaluated_on(self) -> DataFile:
        """The file that it was evaluated on while it learned; that it learned from, where there was no other."""
        return self.in_folds or (self.sets[-1] if self.sets else DataFile())

    @property
    def has_validation(self) -> bool:
        """Whether what it is worth is that of models which have not learned from the records."""
        return self.in_folds is not None or len(self.sets) > 1

    @property
    def classes(self) -> tuple[str, str]:
        """Of two labels the positive one and the other."""
        labels = self.settings.get("labels")
        if isinstance(labels, (list, tuple)) and len(labels) == 2:
            return str(labels[0]), str(labels[1])
        return POSITIVE, NEGATIVE

    @property
    def test(self) -> FileEvaluation | None:
        """The latest evaluation on records that it has not learned from and that no weights of it were chosen by."""
        known = {one.sha256 for one in self.sets}
        fair = (one for one in reversed(self.evaluations) if not one.seen and not one.asked)
        return next((one for one in fair if one.data.sha256 not in known), None)

    def value(self, name: str) -> float | None:
        """A figure after learning; None where it is not known."""
        return self.after.figures.get(name, Figure(None)).value
