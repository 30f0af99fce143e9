"""What `validate` finds, recorded with the run that made the checkpoint: its figures on other files than its own."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from palitune import console
from palitune.checkpoint import manifest, trained_images
from palitune.config.predictor_config import PredictorConfig
from palitune.config.quantization import NONE
from palitune.data.checks.seen_in_training import learned_from
from palitune.data.prediction import Prediction, by_example
from palitune.errors import PalituneError
from palitune.evaluate import count_figures, label_figures, label_table
from palitune.evaluate.confusion import Confusion
from palitune.evaluate.outcomes import of_predictions
from palitune.evaluate.past_run import FIGURES, FINISHED, FileEvaluation, Worth
from palitune.labels import LABELS
from palitune.run import evaluation_log, reproduce, run_reading, run_results
from palitune.run.evaluation import counted
from palitune.run.evaluation_log import name_of
from palitune.run.folder import RunFolder
from palitune.storage import locks

# What a checkpoint can be asked in another way than it was trained in.
ASKED = (
    *("prompt", "labels", "labels_from", "positive", "decode", "threshold", "max_new_tokens"),
    *("frames", "most_frames", "pool", "quantize", "quantize_embeddings"),
)

USUAL: Mapping[str, object] = {"labels": list(LABELS), "quantize": NONE, "quantize_embeddings": False}  # unless said


class Recorder:
    """Adds evaluations of a checkpoint to those of its run, where there is one that has ended and can be written to."""

    def __init__(self, checkpoint: Path, config: PredictorConfig, quiet: bool = False) -> None:
        """`config` says how the checkpoint is asked."""
        self.checkpoint, self.quiet = checkpoint, quiet
        self.folder = _folder_of(checkpoint)
        known: Mapping[str, object] = {}
        if self.folder is not None:
            known = manifest.read(checkpoint).get("config", {})
        typed = {name: value for name, value in config.options().items() if name in ASKED}
        self.asked = {name: value for name, value in typed.items() if _plain(value) != known.get(name, USUAL.get(name))}

    def add(self, file: str, predictions: Sequence[Prediction], classes: Sequence[str], blocks: Sequence[str]) -> None:
        """Records what predictions about a file are worth, and says so on stderr; where it cannot be, it says why.

        Args:
          classes: the labels there are; none are free text.
          blocks: of free text, its result block.
        """
        path = Path(file)
        if self.folder is None or not path.is_file() or not predictions:
            return
        records = [example for example, _ in by_example(predictions)]
        try:
            data = run_reading.data_file({"file": file, **reproduce.fingerprint(path, records)})
            seen = trained_images.count(trained_images.read(self.checkpoint), map(learned_from, records))
            worth = run_reading.of_block(blocks[0]) if blocks else worth_of(predictions, classes)
            one = FileEvaluation(time.time(), data, seen, worth, self.asked)
            evaluation_log.append(self.folder.evaluations, one)
        except (PalituneError, OSError) as error:
            reason = error.what if isinstance(error, PalituneError) else error.strerror
            console.note(f"{file}: not recorded with the run: {reason}")
            return
        if not self.quiet:
            console.note(f"{file}: recorded with the run {self.folder.target.stem}")


def _plain(value: object) -> object:
    """A value as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def _folder_of(checkpoint: Path) -> RunFolder | None:
    own = run_results.own_run(checkpoint)
    if own is None or not os.access(own.folder.path, os.W_OK) or locks.holder(own.folder.lock):
        return None
    return own.folder if run_reading.told(own.folder.metrics).event == FINISHED else None


def worth_of(predictions: Sequence[Prediction], classes: Sequence[str]) -> Worth:
    """What predictions with labels are worth: counts of two classes, else figures over all labels with intervals."""
    if label_table.are_several(predictions):
        table, _ = label_table.of_predictions(by_example(predictions))
        found = label_figures.of_several(table)
    else:
        counts = counted(predictions, classes)
        if isinstance(counts, Confusion):
            total = counts.tp + counts.tn + counts.fp + counts.fn
            return Worth(count_figures.of_counts(counts), counts, total)
        found = label_figures.of_classes(of_predictions(predictions, classes))
    named = {name_of(title): figure for title, figure in found.figures.items()}
    return Worth({name: figure for name, figure in named.items() if name in FIGURES}, None, found.records)
