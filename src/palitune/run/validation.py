"""What a model is worth on files of labelled examples: a result block for each, a sheet of images, and a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from palitune import workspace
from palitune.config.predictor_config import PredictorConfig
from palitune.console import status
from palitune.data import dataset_files, example_files
from palitune.data.checks import seen_in_training
from palitune.data.example import Example
from palitune.data.images import of_examples
from palitune.data.label_sets import LabelSet
from palitune.data.long_chats import Shortener
from palitune.data.prediction import MadeWith, Prediction, by_example
from palitune.data.probabilities import rejected
from palitune.errors import UsageError
from palitune.evaluate import free_text, label_table, per_class, several_answers, several_labels
from palitune.evaluate.confusion import is_right
from palitune.evaluate.outcomes import of_predictions
from palitune.evaluate.report import page_files, several_report, several_text, summary, text_report
from palitune.evaluate.report.result_block import outcome_block, unsure_line
from palitune.infer import answering
from palitune.infer.asked import check_images, frames_of, tell_of_questions
from palitune.infer.loading import Model, announce
from palitune.infer.opening import open_model
from palitune.infer.predictor import Predictor
from palitune.labels import plain, plain_set
from palitune.run import free_text as run_free_text
from palitune.run.provenance import learning_of
from palitune.run.recorded_evaluations import Recorder
from palitune.sentence import Sentence


def validate(
    config: PredictorConfig,
    files: Sequence[str],
    *,
    sheet: str | None = None,
    page: str | None = None,
    json_schema: str | None = None,
    lang: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Evaluates a model on each file and prints its result block as soon as it is there.

    Args:
      sheet: a drawing of all images with their answers, wrong ones first.
      page: a page about all files together.
      json_schema: a file with the JSON schema that answers of free text should meet.
      lang: the language of sheet and page; None is that of the user's environment.
      overwrite: sheet and page may replace files.

    Raises:
      MissingInputError, BadDataError, ConfigurationError: a model, a file or an image cannot be used.
      OutputExistsError: sheet or page is there already.
    """
    page_path, sheet_path = _outputs(page, sheet, files, overwrite)
    schema = free_text.read_schema(json_schema) if json_schema else None
    source = workspace.checkpoint_to_read(config.model)
    opened = open_model(source, config, config, quiet=quiet)
    sets = {path: dataset_files.load(Path(path), config, labels=None) for path in files}
    labels = answering.labels_of(source, config, [one for found in sets.values() for one in found], quiet)
    sets = {path: _whole(path, examples, opened.model, quiet) for path, examples in sets.items()}
    _require_use(sets, labels, sheet, json_schema)
    frames = frames_of(source, config)
    status(f"checking the images of {sum(map(len, sets.values()))} records", quiet)
    check_images(sets.values(), opened.images, frames)
    if not quiet:
        announce(opened.model)
    tell_of_questions(sets.values(), config.prompt, quiet)
    for path, examples in sets.items():
        seen_in_training.tell(source, path, examples, quiet)
    made = answering.made_with(opened.model, config, config.prompt, labels=labels, quiet=quiet)
    predictor = Predictor(*opened, made, frames=frames, most=config.max_new_tokens, quiet=quiet)
    everything, blocks, recorder = list[Prediction](), list[str](), Recorder(source, config, quiet)
    for path, examples in sets.items():
        predictions = predictor.predict_all(examples)
        everything += predictions
        if labels.labels:
            _print_block(path, predictions, made, labels)
        else:
            blocks.append(run_free_text.block(path, predictions, predictor, schema))
            print(blocks[-1], flush=True)
        recorder.add(path, predictions, labels.labels or (), blocks[-1:])
        if config.min_p is not None:
            _print_unsure(predictions, config.min_p)
    if not labels.labels:
        run_free_text.tell_of_libraries(quiet)
    if sheet_path is not None:
        _write_sheet(sheet_path, everything, str(sheet), lang, quiet)
    if page_path is not None:
        _write_page(page_path, everything, made, files, source, blocks, lang, quiet)


def _outputs(
    page: str | None, sheet: str | None, files: Sequence[str], overwrite: bool
) -> tuple[Path | None, Path | None]:
    """Where page and sheet go. Raises OutputExistsError."""
    page_path = page_files.page_to_write(page, overwrite, files) if page else None
    return page_path, workspace.file_to_write(sheet, overwrite, files) if sheet else None


def _print_unsure(predictions: Sequence[Prediction], least: float) -> None:
    """Prints how many answers with a known label are less likely than this, and how many of the rest are right."""
    known = [one for one in predictions if one.target.answer]
    sure = [one for one in known if rejected(one, least) is one]
    right = sum(is_right(one.text, one.target.answer or "") for one in sure)
    print(unsure_line(len(known) - len(sure), right, len(known), least), flush=True)


def _require_use(sets: Mapping[str, list[Example]], labels: LabelSet, sheet: str | None, schema: str | None) -> None:
    """Raises BadDataError for a label that is none of those there are, UsageError for what has no effect."""
    if labels.labels is None and sheet:
        what = "--sheet is for labels, and answers are free text here"
        raise UsageError(what, hint="--report FILE.html writes a page with the worst of them")
    if labels.labels and schema:
        raise UsageError("--json-schema is for free text, and answers are labels here: leave it out")
    for examples in sets.values() if labels.labels else ():
        example_files.require_labels(examples, labels.classes)
    if sheet:
        every = (one for examples in sets.values() for one in examples)
        of_examples.require_images(every, sheet, "--report FILE.html writes a page that shows texts")


def _whole(path: str, examples: list[Example], model: Model, quiet: bool) -> list[Example]:
    """Examples, of which chats that are too long are without their oldest turns, which is said on stderr."""
    shortener = Shortener(model.template)
    found = list(shortener(examples))
    shortener.tell(path, quiet)
    return found


def _print_block(path: str, predictions: Sequence[Prediction], made: MadeWith, labels: LabelSet) -> None:
    """Prints what predictions are worth, and on stderr which of them are none of the labels."""
    if label_table.are_several(predictions):
        table, _ = label_table.of_predictions(by_example(predictions))
        print(several_text.block(path, several_labels.evaluate(table, resamples=0)), flush=True)
        return
    right, said = [one.example.label for one in predictions], [one.text for one in predictions]
    print(outcome_block(path, right, said, labels.classes, positive=made.positive), flush=True)
    if more := per_class.several(of_predictions(predictions, labels.classes)):
        print(more.rstrip(), flush=True)
    if made.decode:
        known = plain_set(labels.classes)
        strange = [(one.example.subject, one.text) for one in predictions if plain(one.text) not in known]
        answering.tell_of_other_answers(path, strange, labels.classes, len(predictions))


def _write_sheet(target: Path, predictions: Sequence[Prediction], name: str, lang: str | None, quiet: bool) -> None:
    from palitune.evaluate.report import plots  # matplotlib takes a second to import

    plots.write_sheet(target, plots.sheet_images(predictions, name), name, lang, quiet)


def _write_page(
    target: Path,
    predictions: Sequence[Prediction],
    made: MadeWith,
    files: Sequence[str],
    source: Path,
    blocks: Sequence[str],
    lang: str | None,
    quiet: bool,
) -> None:
    facts: dict[str, str] = {Sentence("data"): ", ".join(files)}
    title = Sentence("%(model)s on %(data)s", model=source.stem, data=", ".join(files))
    if blocks:
        worst = text_report.summarize(
            title, facts, blocks, predictions, len(predictions), None, learning_of(str(source))
        )
        text_report.write(target, worst, lang, quiet)
        return
    if label_table.are_several(predictions):
        found = several_answers.of_groups(", ".join(files), list(by_example(predictions)), made, quiet)
        facts[Sentence("answered by")] = source.stem
        about = several_report.summarize(title, facts, found, learning_of(str(source)))
        several_report.write(target, about, lang, quiet)
        return
    labels = made.labels or ()
    examples = [one.example for one in predictions]
    asked = sorted({one.asked(made.prompt) for one in examples})
    if asked != [""]:
        several = Sentence("%(count)d questions of the records' own", count=len(asked))
        facts[Sentence("prompt")] = asked[0] if len(asked) == 1 else several
    if made.decode:
        facts[Sentence("answers")] = Sentence("written freely")
    elif len(labels) == 2:
        facts[Sentence("threshold")] = f"{made.threshold:.4g}"
    if made.temperature != 1:
        facts[Sentence("temperature")] = f"{made.temperature:.4g}"
    learned = learning_of(str(source))
    outcomes = of_predictions(predictions, labels)
    content = summary.summarize(title, facts, examples, outcomes, threshold=made.threshold, learned=learned)
    page_files.write(target, content, lang, quiet)
