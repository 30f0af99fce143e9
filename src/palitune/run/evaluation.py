"""Evaluations before and after learning: of the sets that a run learns from and is evaluated on, and of the whole."""

import dataclasses
import itertools
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

from palitune.config.run_config import RunConfig, TrainingConfig
from palitune.data import dataset_files, label_sets
from palitune.data.encode import Encoded
from palitune.data.example import Example
from palitune.data.formats.lines import KINDS
from palitune.data.images.loader import ImageSource
from palitune.data.images.of_examples import NoImages
from palitune.data.label_sets import LabelSet
from palitune.data.prediction import MadeWith, Prediction, by_example
from palitune.errors import PalituneError
from palitune.evaluate import label_figures, label_table, several_answers, several_labels
from palitune.evaluate.class_counts import Counts, counts_of
from palitune.evaluate.confusion import is_right
from palitune.evaluate.label_figures import SetFigures
from palitune.evaluate.metrics import RESAMPLES
from palitune.evaluate.outcomes import of_predictions
from palitune.evaluate.report import several_text
from palitune.evaluate.report.result_block import counts_block, outcome_block
from palitune.infer.asked import check_images
from palitune.infer.loading import Model
from palitune.infer.opening import ImagesOfModel
from palitune.infer.predictor import Predictor
from palitune.labels import LABELS
from palitune.models.arrays import Flat
from palitune.run.folder import EVALUATED, RunFolder
from palitune.run.folder import UNTRAINED as UNTRAINED
from palitune.run.run_log import RunLog
from palitune.sentence import Sentence
from palitune.train import loop
from palitune.train.evaluation import Evaluation, Evaluator

RIGHT = "right"  # of free text, the only class
Known = dict[tuple[Hashable, str], list[Prediction]]  # predictions by what decides them: what is asked, and of what


def whole_of(
    train_file: Path, valid_file: Path | None, config: RunConfig, shown: ImageSource, labels: LabelSet
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
        records = dataset_files.load(path, config, labels=labels.labels)
        records = label_sets.spelled(records, labels.labels) if labels.labels else records
        check_images([records], shown)
    except PalituneError as error:
        if not config.quiet:  # no part of the run depends on it
            print(f"{path} is left out: {error}", file=sys.stderr)
        return {}
    return {path: records}


def counted(predictions: Sequence[Prediction], classes: Sequence[str] = LABELS) -> Counts:
    """The confusion matrix of predictions of examples with labels; of free text, without classes, right and wrong.

    Of several labels it is that of all known answers together.
    """
    if label_table.are_several(predictions):
        predictions = [one for one in predictions if one.target.answer is not None]
        return counts_of([one.target.answer or "" for one in predictions], [one.text for one in predictions], classes)
    labels, answers = [one.example.label for one in predictions], [one.text for one in predictions]
    if classes:
        return counts_of(labels, answers, classes)
    right = ["" if not is_right(*pair) else RIGHT for pair in zip(answers, labels, strict=True)]
    return counts_of([RIGHT] * len(right), right, (RIGHT,))


def forced(
    model: Model,
    shown: ImagesOfModel,
    records: Sequence[Example],
    texts: Sequence[Encoded],
    params: Flat,
    chunks: int = 1,
) -> Evaluation:
    """What parameters make of examples with their answers, of which no token is written.

    Args:
      texts: the examples as tokens.
      chunks: pieces in which the vocabulary goes by.
    """
    sizes = dataclasses.replace(model.sizes, img=None) if isinstance(shown, NoImages) else model.sizes
    return Evaluator(sizes, records, texts, shown, model.dtype, chunks, placement=model.placement)(params)


def forced_lines(found: Evaluation) -> list[str]:
    """Token accuracy and loss as lines of a result block."""
    return [f"  token accuracy: {found.token_accuracy:.6g}", f"  loss: {found.loss:.6g}"]


class SetEvaluator:
    """Prints and keeps the result blocks of parameters on some sets, and on the one that they are parts of.

    Free text is not written for that: each answer is right if greedy decoding would say all of it.

    Attributes:
      first: evaluations before learning, by file; None where the run was resumed after them.
      last: the latest evaluations, by file.
    """

    def __init__(
        self,
        model: Model,
        shown: ImagesOfModel,
        config: TrainingConfig,
        sets: Mapping[Path, Sequence[Example]],
        whole: Mapping[Path, Sequence[Example]],
        log: RunLog,
    ) -> None:
        """`config` names the prompt and the labels."""
        self.sets, self.whole, self.log = sets, whole, log
        self.classes, self.positive, self.prompt = config.labels, config.positive, config.prompt
        self.loss_on, self.max_length = config.loss_on, config.max_length
        self.model, self.shown, self.chunks = model, shown, config.vocabulary_chunks
        made = MadeWith(self.classes or None, prompt=config.prompt, model=model.path.stem, positive=config.positive)
        self.predictor = Predictor(model, shown, made, quiet=log.quiet)
        self.first: dict[Path, list[Prediction]] | None = None
        self.last: dict[Path, list[Prediction]] = {}
        self.blocks: dict[Path, list[str]] = {}  # of free text, as they were printed

    def __call__(self, params: Flat, label: str) -> None:
        """Evaluates all parameters of a model, and prints a block for every set under a label."""
        self.last = {}
        known: Known = {}
        for path, records in self.sets.items():
            if not self.classes:
                self.last[path] = self._written(params, path, records, label)
                continue
            self.last[path] = self.predictor.predict_all(records, params=params)
            known |= _by_what_is_asked(self.last[path])
            self._print(path, self.last[path], label)
        for path, records in self.whole.items() if self.classes else ():
            new = [record for record in records if (record.about, record.prompt) not in known]
            if new:
                known |= _by_what_is_asked(self.predictor.predict_all(new, params=params))
            self._print(path, _answers(records, known), label)
        if label == UNTRAINED:
            self.first = self.last

    def tell(self, predictions: Sequence[Prediction], label: str) -> None:
        """Prints the block of the only set, of predictions of all its examples that are there already."""
        (path,) = self.sets
        self.last = {path: list(predictions)}
        self._print(path, self.last[path], label)

    def _written(self, params: Flat, path: Path, records: Sequence[Example], label: str) -> list[Prediction]:
        """Evaluates free text, and prints a block about it; an answer that is not right is empty."""
        texts = loop.examples_of(records, self.model.template, self.prompt, self.loss_on, self.max_length)
        found = forced(self.model, self.shown, records, texts, params, self.chunks)
        right = iter(found.right)  # of every answer; an example is right if all of its are
        each = [list(itertools.islice(right, len(text.answers))) for text in texts]
        said = [Prediction(r, r.target, r.label if all(one) else "") for r, one in zip(records, each, strict=True)]
        block = outcome_block(_named(path), [r.label for r in records], [one.text for one in said], (), label)
        self.blocks.setdefault(path, []).append("\n".join([block, *forced_lines(found)]))
        self.log.block(self.blocks[path][-1])
        return said

    def _print(self, path: Path, predictions: Sequence[Prediction], label: str) -> None:
        if label_table.are_several(predictions):
            table, _ = label_table.of_predictions(by_example(predictions))
            self.log.block(several_text.block(_named(path), several_labels.evaluate(table, resamples=0), label))
            self._write_down(path, label, lambda resamples: label_figures.of_several(table, resamples))
            return
        if not self.classes:
            answers = [one.text for one in predictions]
            block = outcome_block(_named(path), [one.example.label for one in predictions], answers, (), label)
            self.blocks.setdefault(path, []).append(block)
            self.log.block(block)
            return
        counts = counted(predictions, self.classes)
        self.log.block(counts_block(_named(path), counts, label, positive=self.positive))
        if len(self.classes) > 2:
            outcomes = of_predictions(predictions, self.classes)
            self._write_down(path, label, lambda resamples: label_figures.of_classes(outcomes, resamples))

    def _write_down(self, path: Path, label: str, figures: Callable[[int], SetFigures]) -> None:
        """Writes the figures of the set that a run is evaluated on into its metrics, with intervals after learning."""
        if path == list(self.sets)[-1]:
            found = figures(0 if label == UNTRAINED else RESAMPLES)
            self.log.event(EVALUATED, data=path.name, label=label, **found.as_json())

    def report(self, folder: RunFolder, lang: str | None, quiet: bool) -> None:
        """Writes a page about the validation set, before and after, in a language. Raises StorageError."""
        from palitune.evaluate.report import page_files, several_report, summary
        from palitune.run.provenance import learning_of

        path, records = list(self.sets.items())[-1]
        learned = learning_of(str(folder.target))
        title = _title(folder, path)
        facts: dict[str, str] = {Sentence("data"): str(path)}
        if label_table.are_several(self.last[path]):
            found, *earlier = (
                several_answers.of_groups(str(path), list(by_example(said[path])), quiet=quiet)
                for said in (self.last, *([self.first] if self.first else []))
            )
            about = several_report.summarize(title, facts, found, learned, before=next(iter(earlier), None))
            several_report.write(folder.report, about, lang, quiet)
            return
        before = of_predictions(self.first[path], self.classes) if self.first else None
        outcomes = of_predictions(self.last[path], self.classes)
        made = summary.summarize(title, facts, records, outcomes, before, 0.5, learned=learned)
        page_files.write(folder.report, made, lang, quiet)

    def report_text(self, params: Flat, folder: RunFolder, lang: str | None, quiet: bool) -> None:
        """Writes a page about the validation set's free text, with some of the wrong answers, which are written for it.

        Raises:
          StorageError: it cannot be written.
        """
        from palitune.evaluate.report import text_report
        from palitune.run.provenance import learning_of

        path, records = list(self.sets.items())[-1]
        wrong = [one.example for one in self.last[path] if not is_right(one.text, one.example.label)]
        made = MadeWith(None, prompt=self.prompt, model=self.model.path.stem, decode=True)
        writer = Predictor(self.model, self.shown, made, quiet=quiet)
        written = writer.predict_all(wrong[: text_report.MOST], params=params)
        facts: dict[str, str] = {Sentence("data"): str(path)}
        about = text_report.summarize(
            _title(folder, path),
            facts,
            self.blocks[path],
            written,
            len(records),
            len(wrong),
            learning_of(str(folder.target)),
        )
        text_report.write(folder.report, about, lang, quiet)


def _title(folder: RunFolder, path: Path) -> str:
    return Sentence("%(model)s on %(data)s", model=folder.target.stem, data=path)


def _by_what_is_asked(predictions: Sequence[Prediction]) -> Known:
    return {(example.about, example.prompt): said for example, said in by_example(predictions)}


def _answers(records: Sequence[Example], known: Known) -> list[Prediction]:
    """The predictions of examples of which it is known what is said of the same; another may have another label."""
    return [
        one._replace(example=record, target=target)
        for record in records
        for one, target in zip(known[record.about, record.prompt], record.targets, strict=False)
    ]


def _named(path: Path) -> str:
    return str(path) if path.is_absolute() else f"./{path}"
