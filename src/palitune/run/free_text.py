"""What a model is worth on examples whose answers are free text: told its answers' tokens, and writing its own."""

from collections.abc import Sequence

from palitune.checkpoint import manifest
from palitune.console import note
from palitune.data.prediction import Prediction
from palitune.evaluate import free_text
from palitune.evaluate.free_text import Check
from palitune.evaluate.report.result_block import outcome_block
from palitune.infer.predictor import Predictor
from palitune.run.evaluation import forced, forced_lines
from palitune.train import loop


def block(path: str, predictions: Sequence[Prediction], predictor: Predictor, schema: Check | None = None) -> str:
    """The result block of free text, which has right answers beside it.

    Args:
      schema: whether a value meets a JSON schema, where that is asked.
    """
    records, model = [one.example for one in predictions], predictor.model
    texts = loop.examples_of(records, model.template, predictor.made.prompt, manifest.loss_on(model.path))
    told = forced(model, predictor.images, records, texts, predictor.params)
    right, said = [one.label for one in records], [one.text for one in predictions]
    lines = [*forced_lines(told), *free_text.measure(said, right, schema).lines()]
    return "\n".join([outcome_block(path, right, said, ()), *lines])


def tell_of_libraries(quiet: bool) -> None:
    """Says on stderr what more there would be with the libraries that are not installed."""
    if free_text.missing() and not quiet:
        note("chrF, BLEU and ROUGE-L are computed by libraries that are not installed: pip install 'palitune[text]'")
