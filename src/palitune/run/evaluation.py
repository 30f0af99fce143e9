"""Evaluations before and after learning: of the sets that a run learns from and is evaluated on, and of the whole."""

import sys
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

from palitune.config.run_config import RunConfig
from palitune.data import dataset_files
from palitune.data.example import Example
from palitune.data.formats.lines import KINDS
from palitune.data.images.loader import ImageSource
from palitune.data.prediction import MadeWith, Prediction
from palitune.errors import PalituneError
from palitune.evaluate import confusion
from palitune.evaluate.confusion import Confusion
from palitune.evaluate.outcomes import of_predictions
from palitune.evaluate.report.result_block import result_block
from palitune.infer.asked import check_images
from palitune.infer.loading import Model
from palitune.infer.opening import ImagesOfModel
from palitune.infer.predictor import Predictor
from palitune.labels import LABELS
from palitune.models.arrays import Flat
from palitune.run.folder import RunFolder
from palitune.run.run_log import RunLog

UNTRAINED = "zero trained"


def whole_of(
    train_file: Path, valid_file: Path | None, config: RunConfig, shown: ImageSource
) -> dict[Path, list[Example]]:
    """The set that a split's two parts were made from, as `palitune split` leaves it beside them; else nothing.

    Where a third part is kept aside it is left alone: what tests must not be evaluated by every run.
    """
    if valid_file is None or (train_file.stem, valid_file.stem) != ("train", "valid"):
        return {}
    if train_file.parent != valid_file.parent or any(train_file.with_name(f"test.{kind}").exists() for kind in KINDS):
        return {}
    path = train_file.with_name(f"shuffle{train_file.suffix}")
    if not path.is_file():
        return {}
    try:
        records = dataset_files.load(path, config)
        check_images([records], shown)
    except PalituneError as error:
        if not config.quiet:  # no part of the run depends on it
            print(f"{path} is left out: {error}", file=sys.stderr)
        return {}
    return {path: records}


def counted(predictions: Sequence[Prediction]) -> Confusion:
    """The confusion matrix of predictions of examples with labels."""
    labels = [one.example.label for one in predictions]
    return confusion.count(labels, [one.text for one in predictions], LABELS)


class SetEvaluator:
    """Prints and keeps the result blocks of parameters on some sets, and on the one that they are parts of.

    Attributes:
      first: evaluations before learning, by file; None where the run was resumed after them.
      last: the latest evaluations, by file.
    """

    def __init__(
        self,
        model: Model,
        shown: ImagesOfModel,
        prompt: str,
        sets: Mapping[Path, Sequence[Example]],
        whole: Mapping[Path, Sequence[Example]],
        log: RunLog,
    ) -> None:
        self.sets, self.whole, self.log = sets, whole, log
        made = MadeWith(LABELS, prompt=prompt, model=model.path.stem)
        self.predictor = Predictor(model, shown, made, quiet=log.quiet)
        self.first: dict[Path, list[Prediction]] | None = None
        self.last: dict[Path, list[Prediction]] = {}

    def __call__(self, params: Flat, label: str) -> None:
        """Evaluates all parameters of a model, and prints a block for every set under a label."""
        self.last = {}
        known: dict[tuple[Hashable, str], Prediction] = {}  # by what decides it
        for path, records in self.sets.items():
            self.last[path] = self.predictor.predict_all(records, params=params)
            known |= {(r.about, r.prompt): a for r, a in zip(records, self.last[path], strict=True)}
            self._print(path, self.last[path], label)
        for path, records in self.whole.items():
            new = [record for record in records if (record.about, record.prompt) not in known]
            if new:
                found = self.predictor.predict_all(new, params=params)
                known |= {(r.about, r.prompt): one for r, one in zip(new, found, strict=True)}
            # Another example of the same image and prompt may have another label.
            answers = [known[one.about, one.prompt]._replace(example=one, target=one.target) for one in records]
            self._print(path, answers, label)
        if label == UNTRAINED:
            self.first = self.last

    def _print(self, path: Path, predictions: Sequence[Prediction], label: str) -> None:
        named = str(path) if path.is_absolute() else f"./{path}"
        self.log.block(result_block(named, counted(predictions), label))

    def report(self, folder: RunFolder, quiet: bool) -> None:
        """Writes a page about the validation set, before and after. Raises StorageError."""
        from palitune.evaluate.report import page_files, summary
        from palitune.run.provenance import learning_of

        path, records = list(self.sets.items())[-1]
        learned = learning_of(str(folder.target))
        before = of_predictions(self.first[path], LABELS) if self.first else None
        title = f"{folder.target.stem} on {path}"
        outcomes = of_predictions(self.last[path], LABELS)
        made = summary.summarize(title, {"data": str(path)}, records, outcomes, before, 0.5, learned=learned)
        page_files.write(folder.report, made, quiet)
