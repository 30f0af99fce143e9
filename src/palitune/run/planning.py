"""What fits on a card, worked out from what was asked: the model's sizes, methods, batch sizes, a row for each of them.

Imports nothing heavy: JAX takes what it is told of a card before it is imported.
"""

import dataclasses
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from palitune.config.learning import LearningSettings
from palitune.config.model import ModelSettings
from palitune.config.quantization import NONE, Quantization
from palitune.config.settings import settings_of
from palitune.errors import UsageError
from palitune.method import METHODS
from palitune.train import cards

if TYPE_CHECKING:
    from collections.abc import Mapping

    from palitune.models.arrays import Leaf
    from palitune.models.spec import ModelSpec
    from palitune.train.plan_table import PlanTable
    from palitune.train.step_shapes import Work

BATCHES = (1, 2, 4, 8, 16, 32, 48)
USUAL = "paligemma-3b-224"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked about.

    Attributes:
      variant: a published model by any of its names; None, without a checkpoint, is `USUAL`.
      checkpoint: a checkpoint whose sizes count instead.
      card: a name of `cards.CARDS`, or a JSON file.
      vram: GB that the card has, where it is another size than usual.
      devices: how many such cards the model and each batch are spread over.
      batches: sizes; None is as many of `BATCHES` as can be split over the devices.
      prompt_length, answer_length: tokens.
      dtype: of the computation.
      features: whether image features come from the cache.
      ensemble: members of ensembles that are shown too.
      together: trainings whose steps are one program.
      is_estimate: whether nothing is compiled even where it can be.
    """

    variant: str | None = None
    checkpoint: str | None = None
    card: str
    vram: float | None = None
    devices: int = 1
    batches: list[int] | None = None
    prompt_length: int
    answer_length: int
    dtype: str
    features: bool = True
    ensemble: int | None = None
    together: int = 1
    is_estimate: bool = False


class Sizes(NamedTuple):
    """A model by what it is made of; nothing of it is loaded."""

    name: str
    spec: "ModelSpec"
    stored: "Mapping[str, Leaf]"
    quantization: Quantization


def table(question: Question, kept: ModelSettings, settings: LearningSettings, quiet: bool) -> "PlanTable":
    """Memory and time of every method and batch size that was asked about.

    JAX must not be imported yet.

    Args:
      kept: how the frozen parameters are kept.
      settings: of learning; without a method all methods that can have them are planned for.

    Raises:
      UsageError: settings that have no effect, a batch that cannot be split, or no such model.
      MissingInputError, ConfigurationError, BadDataError: a card or a checkpoint is not there, or cannot be used.
    """
    if question.together > 1 and question.devices > 1:
        raise UsageError("--together is for one device: leave out --devices")
    card, batches = cards.find(question.card), batches_of(question)
    compiling = cards.can_compile() and not question.is_estimate
    prepare_jax(question.devices, compiling)
    from tqdm import tqdm

    from palitune.infer import answering_memory
    from palitune.train import plan_table

    name, work = _work(question, kept)
    methods = methods_of(settings)
    silent = quiet or not sys.stderr.isatty()
    memory = int(question.vram * 1e9) if question.vram else card.memory
    with tqdm(total=len(methods) * len(batches), desc="planning", leave=False, disable=silent) as bar:
        made = plan_table.PlanTable(name, work, card, memory, compiling, question.devices)
        for method in methods:
            for size in made.add(dataclasses.replace(settings, method=method), batches):
                bar.set_postfix_str(f"{method}, batch {size}")
                bar.update()
            if question.ensemble:
                needed = answering_memory.of(made.latest, question.ensemble, made.sharding)
                made.add_ensemble(question.ensemble, needed)
    return made


def prepare_jax(devices: int, compiling: bool) -> None:
    """Tells JAX of described cards, by variables that have an effect before it is imported, and imports it.

    The GPU of this machine, if there is one, is left alone.

    Args:
      devices: that an estimate is spread over.
      compiling: whether programs are compiled for a card that is not there.
    """
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_NUM_CPU_DEVICES"] = str(devices)
    if compiling:
        os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's remarks on what it could not save
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {cards.FLAGS}"
    from palitune.infer.loading import set_up_jax

    set_up_jax()


def batches_of(question: Question) -> list[int]:
    """The batch sizes to plan for. Raises UsageError for one that cannot be split evenly over the devices."""
    devices = question.devices
    if question.batches is None:
        return [size for size in BATCHES if size % devices == 0] or [devices]
    for size in question.batches:
        if size % devices:
            raise UsageError(f"--batches {size} cannot be split evenly over {devices} devices")
    return question.batches


def methods_of(settings: LearningSettings) -> list[str]:
    """The methods to plan for. Raises UsageError for settings of one method where none was named."""
    if "method" in settings.given:
        return [settings.method]
    if any(one.name in settings.given and one.details.methods for one in settings_of(LearningSettings)):
        raise UsageError("options of one method need --method")
    if settings.clip_global or settings.accumulate > 1:
        return [name for name in METHODS if METHODS[name].holds_whole_gradient]
    return list(METHODS)


def _work(question: Question, kept: ModelSettings) -> "tuple[str, Work]":
    """The model's name and its sizes as `Work`, with a configuration to be filled in."""
    import jax.numpy as jnp

    from palitune.config.run_config import training
    from palitune.train.step_shapes import Work

    found = _of_checkpoint(question.checkpoint, kept) if question.checkpoint else _published(question.variant, kept)
    how, answer = found.quantization, question.answer_length
    settings = training(quantize=how.kind, quantize_embeddings=how.embeddings)
    inputs, dtype = question.prompt_length + answer, jnp.dtype(question.dtype)
    work = Work(found.spec, found.stored, settings, dtype, inputs, answer + 1, question.features)
    return found.name, work._replace(together=question.together)


def _of_checkpoint(typed: str, kept: ModelSettings) -> Sizes:
    """A checkpoint's sizes. Raises MissingInputError, BadDataError, and UsageError for an ensemble."""
    import jax

    from palitune import workspace
    from palitune.checkpoint import opening
    from palitune.infer.loading import check, quantization_of, require_single, spec_of

    path = workspace.checkpoint_to_read(typed)
    checkpoint = opening.load(path, workspace.checkpoint_to_read)
    spec = spec_of(checkpoint, path)
    check(checkpoint, spec, path)
    require_single(checkpoint, "plan", "Name its base, with --ensemble N for the memory that the answers of N take")
    stored = {key: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for key, leaf in checkpoint.leaves().items()}
    return Sizes(str(path), spec, stored, quantization_of(path, kept))


def _published(typed: str | None, kept: ModelSettings) -> Sizes:
    """A published model's sizes. Raises UsageError where there is none of that name."""
    import jax
    import jax.numpy as jnp

    from palitune.hub import published_models
    from palitune.models import families, spec

    asked = typed or USUAL
    name = published_models.variant(asked) or ""
    found = families.variant(name)
    if found is None:
        near = published_models.similar(asked, families.variants())
        hint = f"Did you mean {' or '.join(near)}?" if near else "docs/models.md has their names"
        raise UsageError(f"no published model is called {asked!r}", hint=hint)
    dtype = jnp.dtype(found.stored_dtype)
    stored = {key: jax.ShapeDtypeStruct(leaf.shape, dtype) for key, leaf in spec.expected(found).items()}
    return Sizes(name, found, stored, Quantization(kept.quantize or NONE, kept.quantize_embeddings))
