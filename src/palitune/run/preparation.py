"""Everything about a run that can be checked before it costs time: settings, model, data, and room for it all."""

import dataclasses
import math
import sys
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune import hosts, parallel, path_patterns, workspace
from palitune.checkpoint import manifest
from palitune.config.quantization import EXACT, NONE, Quantization
from palitune.config.run_config import PROMPT, RunConfig, TrainingConfig, require_effect, training
from palitune.console import note, status
from palitune.data import dataset_files, example_files, label_sets, templates
from palitune.data.checks import example_checks, seen_in_training
from palitune.data.example import Example
from palitune.data.images.of_examples import NoImages
from palitune.data.label_sets import YES_NO, LabelSet
from palitune.data.long_chats import Shortener
from palitune.errors import UsageError
from palitune.infer.answering import tell_of_labels
from palitune.infer.asked import check_images, tell_of_questions
from palitune.infer.loading import Model, announce, files_of, load
from palitune.infer.opening import ImagesOfModel, image_source
from palitune.labels import LABELS, plain_set
from palitune.method import METHODS
from palitune.models import lora
from palitune.models.arrays import Weights
from palitune.run import reproduce
from palitune.run.evaluation import whole_of
from palitune.run.folder import RunFolder
from palitune.run.reproduce import Asked
from palitune.run.sweep import Trial, Trials
from palitune.run.training_setup import TrainingSetups
from palitune.train import step_shapes

RULES = ("weight_decay", "learning_rate_scale")
NEW_ADAPTERS = ("lora_rank", "lora_alpha", "lora_targets")


@dataclasses.dataclass(frozen=True)
class Configured:
    """What the trials of a run have in common when their configurations are made."""

    config: RunConfig
    prompt: str
    frames: str
    count: int  # of training examples in the data
    labels: LabelSet = YES_NO
    base: Quantization = EXACT  # how what the model was trained beside was kept
    checkpoint: Weights | None = None  # parameters by path; None before a model is opened

    def __call__(self, trial: Trial) -> TrainingConfig:
        """The configuration of a trial. Raises UsageError where its settings contradict each other or the model."""
        own = trial.of(self.config)
        require_effect(own)
        examples = self._examples(own)
        answers = {"labels": self.labels.classes, "positive": self.labels.positive}
        how = _quantization(own, self.base)
        kept = {"quantize": how.kind, "quantize_embeddings": how.embeddings}
        made = training(own, prompt=self.prompt, frames=self.frames, **answers, **examples, **kept)
        if made.examples < made.batch_size * made.accumulate:
            one = f"one batch of {made.batch_size}" + (f" x {made.accumulate}" if made.accumulate > 1 else "")
            shown = f"--examples {made.examples} is"
            if own.epochs:
                shown = f"-t {own.epochs}: {made.examples} examples are"
            raise UsageError(f"{shown} less than {one}")
        return made if self.checkpoint is None else _with_adapters(made, own, self.checkpoint)

    def _examples(self, own: RunConfig) -> dict[str, int]:
        if own.epochs is None:
            return {}
        if own.examples is not None:
            raise UsageError("--epochs and --examples both say how long a pass is: leave one out")
        return {"examples": own.epochs * self.count}


def _quantization(own: RunConfig, base: Quantization) -> Quantization:
    """How frozen parameters are kept: as was asked for, as the method has it, or as they were.

    Raises:
      UsageError: there is nothing frozen, or the method is one that quantizes.
    """
    method = METHODS[own.method]
    asked = Quantization(own.quantize or NONE, own.quantize_embeddings)
    if method.trains_mlp and method.trains_embedder:
        if asked.is_any:
            raise UsageError(f"--method {own.method} trains every parameter, and only frozen ones can be quantized")
        return EXACT
    if own.quantize == NONE and method.quantize != NONE:
        other = f"--method {own.method} is for weights of 4 or 8 bits"
        raise UsageError(other, hint="--method lora trains the same adapters beside weights as they are")
    if own.quantize is not None:
        return asked
    kind = method.quantize if method.quantize != NONE else base.kind
    return Quantization(kind, asked.embeddings or base.embeddings)


def _with_adapters(made: TrainingConfig, own: RunConfig, checkpoint: Weights) -> TrainingConfig:
    """The configuration with the adapters that the checkpoint has, if it has some.

    Raises:
      UsageError: others were asked for.
    """
    if not METHODS[made.method].adds_adapters or not (adapted := lora.adapted(checkpoint)):
        return made
    if given := [name for name in NEW_ADAPTERS if name in own.given]:
        option = f"--{given[0].replace('_', '-')}"
        hint = "Leave it out to use them, or merge them into the weights first: palitune merge"
        raise UsageError(f"{option} is for new adapters, and this model has some already", hint=hint)
    rank, alpha = checkpoint[adapted[0] + lora.A].shape[-1], checkpoint[adapted[0] + lora.ALPHA][0]
    return dataclasses.replace(made, lora_rank=int(rank), lora_alpha=float(alpha))


class Preparation(NamedTuple):
    """A run that nothing speaks against."""

    model: Model
    images: ImagesOfModel  # what the model is shown for an image
    sets: dict[Path, list[Example]]
    whole: dict[Path, list[Example]]  # the set that they are parts of, if there is one
    data: Path
    setups: TrainingSetups
    trials: Trials
    configured: Configured
    config: TrainingConfig  # of the first trial, for what all have in common
    facts: dict[str, object]  # what the run depends on: the content of config.json


def prepare(asked: Asked, folder: RunFolder | None, command: Sequence[str]) -> Preparation:
    """Checks settings, model, data and free space before a run. Raises a PalituneError for what is wrong."""
    config = asked.config
    train_file, valid_file = dataset_files.data_files(config.data, config.valid_data)
    source = workspace.checkpoint_to_read(config.model)
    trials = Trials(config)
    frames = config.frames or manifest.frames(source, "middle")
    sets = {path: dataset_files.load(path, config, labels=None) for path in (train_file, valid_file) if path}
    labels = _labels(config, source, sets[train_file])
    if labels.labels is None and config.balance != "none":
        hint = "Leave it out; --labels-from FILE names classes"
        raise UsageError(f"--balance {config.balance} is for labels, and these answers are free text", hint=hint)
    if labels.labels is not None:
        for path, examples in sets.items():
            example_files.require_labels(examples, labels.labels)
            sets[path] = label_sets.spelled(examples, labels.labels)
    train, valid = sets[train_file], sets[valid_file or train_file]
    base = manifest.quantization(source)
    configured = Configured(config, _prompt(config, source, train), frames, len(train), labels, base)
    for trial in trials.known():  # what is wrong with the settings alone is said before a model is opened
        configured(trial)
    model = load(source, config, quiet=config.quiet)
    if folder is not None and folder.target.resolve() in files_of(model.checkpoint):
        raise UsageError(f"-w {config.write} would replace the model that it learns from")
    sets = {path: _shortened(found, model, config, path) for path, found in sets.items()}
    train, valid = sets[train_file], sets[valid_file or train_file]
    count = sum(1 for _ in templates.separated(model.template, train))
    configured = dataclasses.replace(configured, checkpoint=model.checkpoint, count=count)
    configs = [configured(trial) for trial in trials.known()]
    first = configs[0]
    model = model._replace(
        quantization=Quantization(first.quantize, first.quantize_embeddings), trainable=METHODS[first.method].trainable
    )
    model = _split_evenly(model, configs, config)
    # A trainable image encoder needs pixels, and so do images that augmentation changes.
    pixels = METHODS[configs[0].method].trains_image_encoder or any(one.augment for one in configs)
    features = config.features and not pixels
    images: ImagesOfModel
    if any(one.images for found in sets.values() for one in found):
        images = image_source(model, config, features=features, quiet=config.quiet)
    else:
        images = NoImages(model.sizes.llm.width)
    setups = TrainingSetups(model, images, train, valid, configs[0], folder)
    status("compiling a training step, to see whether it fits", config.quiet)
    _require_room(setups, configs, folder, config.save_every)
    status(f"checking the images of {sum(map(len, sets.values()))} records", config.quiet)
    check_images(sets.values(), images)
    whole = whole_of(train_file, valid_file, config, images, labels)
    if not config.quiet:
        _tell(config, sets, train_file, valid_file, configs[0], source)
        announce(model)
        if waiting := setups.prepared(first).memory.waiting:
            what = f"{waiting / 1e6:,.0f} MB of the optimizer's state wait in the host's memory"
            note(f"note: {what}, and cross to the device and back in a step")
    name = config.model or workspace.latest_model()
    facts = reproduce.facts(asked, name, model, configs[0], sets, command)
    facts["resolved"] = {"features": features, "frames": frames, "dtype": str(model.dtype)}
    return Preparation(model, images, sets, whole, train_file, setups, trials, configured, configs[0], facts)


def _split_evenly(model: Model, configs: Sequence[TrainingConfig], config: RunConfig) -> Model:
    """The model on devices over which every batch can be split evenly: on fewer where nobody said how many.

    Raises:
      UsageError: it cannot, over the devices that were asked for, or over those of all hosts.
    """
    where = model.placement
    uneven = [one.batch_size for one in configs if where is not None and one.batch_size % where.count]
    if where is None or not uneven:
        return model
    what = f"a batch of {uneven[0]} cannot be split evenly over {where.count} devices"
    common, enough = math.gcd(*(one.batch_size for one in configs)), where.rounded(uneven[0])
    # The sizes of models are multiples of powers of two: over three devices hardly a weight could be split.
    powers = (1 << n for n in range(where.count.bit_length()))
    fewer = max(math.gcd(where.count, common), *(power for power in powers if common % power == 0))
    if hosts.count() > 1:
        raise UsageError(what, hint=f"Use --batch-size {enough}")
    if config.devices is not None or config.mesh:
        raise UsageError(what, hint=f"Use --batch-size {enough}, or --devices {fewer}")
    if not config.quiet:
        note(f"note: {what}, so {fewer} of them {'is' if fewer == 1 else 'are'} used; --batch-size {enough} uses all")
    return model._replace(placement=parallel.chosen(fewer, (), model.dtype))


def _shortened(examples: list[Example], model: Model, config: RunConfig, path: Path) -> list[Example]:
    """Examples, of which chats that are too long are without their oldest turns, which is said on stderr."""
    if config.max_length is not None:
        model.template.longest = config.max_length
    shortener = Shortener(model.template, config.max_length)
    found = list(shortener(examples))
    shortener.tell(str(path), config.quiet)
    return found


def _labels(config: RunConfig, source: Path, train: Sequence[Example]) -> LabelSet:
    """What answers are one of: as was typed, or as the model has learned before, or as the training examples have it.

    Raises:
      UsageError, MissingInputError, BadDataError: as `label_sets.typed` and `label_sets.with_positive`.
    """
    if (typed := label_sets.typed(config)) is not None:
        return label_sets.with_positive(typed, config.positive)
    own, positive = manifest.labels(source)
    there = plain_set(target.answer for one in train for target in one.targets if target.answer)
    if own and there <= plain_set(own):
        return label_sets.with_positive(own, config.positive or positive or None)
    found = label_sets.of_examples(train)
    if found != LABELS and not config.quiet:
        if found is None:
            what = f"{len(there)} different labels are free text: an answer is right if all of it is"
            print(f"{what} (--labels-from FILE names classes)", file=sys.stderr)
        else:
            tell_of_labels(found, config.positive)
    return label_sets.with_positive(found, config.positive)


def _prompt(config: RunConfig, source: Path, train: Sequence[Example]) -> str:
    """The question where an example has none of its own."""
    if config.prompt is not None:
        return config.prompt
    usual = manifest.prompt(source, PROMPT)
    own = {record.prompt for record in train}
    # The only question that is learned is the model's own from then on.
    return own.pop() or usual if len(own) == 1 else usual


def _require_room(
    setups: TrainingSetups, configs: Sequence[TrainingConfig], folder: RunFolder | None, save_every: int | None
) -> None:
    """Raises UsageError for a rule that nothing matches, ConfigurationError and StorageError for want of room."""
    trainable = list(step_shapes.parameters(setups.work(configs[0]))[0])
    for config in configs:
        require_matches(config, trainable)
    checkpoint, state = setups.sizes(configs[0])
    if folder is not None:
        # While a file is written, the one that it replaces is still there.
        folder.check_space(2 * checkpoint + (0 if save_every == 0 else 2 * state))


def require_matches(config: TrainingConfig, trainable: Sequence[str]) -> None:
    """Raises UsageError if a rule over paths matches no trainable parameter."""
    for name in RULES:
        for pattern, _ in getattr(config, name):
            if not any(path_patterns.compiled(pattern).matches(path) for path in trainable):
                hint = f"Trainable are {', '.join(trainable[:4])}{' …' if len(trainable) > 4 else ''}"
                raise UsageError(f"--{name.replace('_', '-')} {pattern}: no trainable parameter matches", hint=hint)


def _tell(
    config: RunConfig,
    sets: Mapping[Path, Sequence[Example]],
    train_file: Path,
    valid_file: Path | None,
    made: TrainingConfig,
    source: Path,
) -> None:
    """Says on stderr what a person should know of the data before learning from it."""
    if valid_file is None:
        what = f"{train_file} is also what the model is evaluated on"
        print(f"{what}: --valid-data FILE names examples that are not learned from", file=sys.stderr)
    _tell_of_data(sets, train_file)
    if valid_file is not None:
        seen_in_training.tell(source, str(valid_file), sets[valid_file])
    tell_of_questions(sets.values(), config.prompt, config.quiet)
    if config.epochs is None and config.examples is None:
        count = len(sets[train_file])
        what = f"{count} records, of which a pass shows {made.examples} examples"
        print(f"{what}: each record {made.examples / count:.3g} times; -t N shows it N times", file=sys.stderr)


def _thing(example: Example) -> Hashable:
    """An image's file, or what else examples have in common that are about the same."""
    thing = example_checks.thing_of(example)
    return thing.resolve() if isinstance(thing, Path) else thing


def _tell_of_data(sets: Mapping[Path, Sequence[Example]], train_file: Path) -> None:
    """The quick part of `palitune lint`: what lines alone tell. It warns, and leaves it to the person."""
    found: dict[str, list[example_checks.Finding]] = {}
    for finding in example_checks.check_examples(sets, _thing):
        found.setdefault(finding.check, []).append(finding)
    for check, several in found.items():
        more = f", and {len(several) - 1} more: palitune lint names them" if len(several) > 1 else ""
        print(f"warning: {check}: {several[0].where}: {several[0].what}{more}", file=sys.stderr)
    for line in example_checks.expectations(sets, lambda path: path == train_file):
        print(line, file=sys.stderr)
