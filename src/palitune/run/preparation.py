"""Everything about a run that can be checked before it costs time: settings, model, data, and room for it all."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from palitune import hosts, parallel, path_patterns, workspace
from palitune.checkpoint import manifest
from palitune.config.quantization import EXACT, NONE, Quantization
from palitune.config.run_config import DISTIL, ENSEMBLE, RunConfig, TrainingConfig, require_effect, training
from palitune.console import note, status
from palitune.data import templates
from palitune.data.example import Example
from palitune.data.images.of_examples import NoImages
from palitune.data.label_sets import YES_NO, LabelSet
from palitune.data.prediction import MadeWith
from palitune.errors import ConfigurationError, UsageError
from palitune.infer import answering_memory
from palitune.infer.asked import check_images
from palitune.infer.loading import Model, announce, files_of, load, require_single
from palitune.infer.opening import ImagesOfModel, image_source
from palitune.method import METHODS
from palitune.models import lora
from palitune.models.arrays import Weights
from palitune.run import distillation, fold_data, lockstep_trials, reproduce, run_data
from palitune.run.evaluation import whole_of
from palitune.run.fold_data import FoldData
from palitune.run.folder import RunFolder
from palitune.run.folds import Folds
from palitune.run.reproduce import Asked
from palitune.run.sweep import Trial, Trials
from palitune.run.training_setup import TrainingSetups
from palitune.run.trial_queue import TrialQueue
from palitune.train import plan, step_shapes

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
    sets: dict[Path, list[Example]]  # the result is evaluated on the last; in folds one, of all that is learned from
    whole: dict[Path, list[Example]]  # the set that they are parts of, if there is one
    data: Path
    queue: TrialQueue
    configured: Configured
    config: TrainingConfig  # of the first trial, for what all have in common
    facts: dict[str, object]  # what the run depends on: the content of config.json
    learned: list[Example]  # everything that is learned from
    chosen_on: list[Example]  # by which steps and trials are chosen
    untouched: list[Example]  # of a run in folds, what the result is evaluated on at the end


def prepare(asked: Asked, folder: RunFolder | None, command: Sequence[str]) -> Preparation:
    """Checks settings, model, data and free space before a run. Raises a PalituneError for what is wrong."""
    config = asked.config
    fold_data.require_effect(config)
    if in_folds := fold_data.files_of(config):
        config = dataclasses.replace(config, folds=len(in_folds))
    source, trials = workspace.checkpoint_to_read(config.model), Trials(config)
    frames = config.frames or manifest.frames(source, "middle")
    sets, labels = run_data.sets_of(config, source, in_folds)
    trials = trials.of(labels)
    train_file, valid_file = next(iter(sets)), next(iter(list(sets)[1:]), None)
    train, base = [one for path in in_folds or [train_file] for one in sets[path]], manifest.quantization(source)
    configured = Configured(config, run_data.prompt_of(config, source, train), frames, len(train), labels, base)
    for trial in trials.known():  # what is wrong with the settings alone is said before a model is opened
        configured(trial)
    model = _opened(source, config, folder)
    sets = {path: run_data.shortened(found, model, config, path) for path, found in sets.items()}
    train, valid = sets[train_file], sets[valid_file or train_file]
    folded = FoldData([], [], [])
    if config.folds:
        folded = fold_data.parted(sets, config, config.folds, by_files=bool(in_folds))
        train = valid = folded.examples
    separated = list(templates.separated(model.template, train))
    configured = dataclasses.replace(configured, checkpoint=model.checkpoint, count=len(separated))
    configs = [configured(trial) for trial in trials.known()]
    first = configs[0]
    rounded = Quantization(first.quantize, first.quantize_embeddings)
    model = model._replace(quantization=rounded, trainable=METHODS[first.method].trainable)
    model = _split_evenly(model, configs, config)
    images = _images(model, configs, config, sets)
    setups = TrainingSetups(model, images, train, valid, configs[0], folder)
    unlabelled = run_data.unlabelled_of(config)
    status("compiling a training step, to see whether it fits", config.quiet)
    together = lockstep_trials.count(setups, configs, config.together, is_search=bool(config.search))
    _require_room(setups.several(together), configs, folder, config.save_every)
    status(f"checking the images of {sum(map(len, sets.values()))} records", config.quiet)
    check_images([*sets.values(), unlabelled], images)
    whole = {} if config.folds else whole_of(train_file, valid_file, config, images, labels)
    if not config.quiet:
        run_data.tell(config, sets, train_file, valid_file, configs[0], source)
        announce(model)
        _tell_of_steps(setups.several(together).prepared(first).memory.waiting, together)
    facts, data = _facts(asked, model, configs, sets, frames, together, command), train_file
    if config.folds:
        facts["folds"] = fold_data.facts(config, folded, facts["data"], data := fold_data.together(list(sets)))
        sets = {data: folded.examples}
    return Preparation(
        model=model,
        images=images,
        sets=sets,
        whole=whole,
        data=data,
        queue=_queue(trials, configured, setups, folded, unlabelled, first, together),
        configured=configured,
        config=first,
        facts=facts,
        learned=[*train, *unlabelled],
        chosen_on=valid if valid_file else [],
        untouched=folded.untouched,
    )


def _facts(
    asked: Asked,
    model: Model,
    configs: Sequence[TrainingConfig],
    sets: Mapping[Path, Sequence[Example]],
    frames: str,
    together: int,
    command: Sequence[str],
) -> dict[str, Any]:
    """The content of config.json, with the settings that others resulted in. Raises as `reproduce.facts`."""
    name = asked.config.model or workspace.latest_model()
    facts = reproduce.facts(asked, name, model, configs[0], sets, command)
    features = asked.config.features and not _needs_pixels(configs)
    facts["resolved"] = {"features": features, "frames": frames, "dtype": str(model.dtype)}
    if together > 1:
        facts["resolved"]["together"] = together
    return facts


def _opened(source: Path, config: RunConfig, folder: RunFolder | None) -> Model:
    """The model to learn from. Raises as `infer.loading.load`, and UsageError for one that cannot be learned from."""
    model = load(source, config, quiet=config.quiet)
    require_single(model.checkpoint, "learning")
    if folder is not None and folder.target.resolve() in files_of(model.checkpoint):
        raise UsageError(f"-w {config.write} would replace the model that it learns from")
    return model


def _queue(
    trials: Trials,
    configured: Configured,
    setups: TrainingSetups,
    folded: FoldData,
    unlabelled: Sequence[Example],
    first: TrainingConfig,
    together: int,
) -> TrialQueue:
    """The trainings of a run. Raises ConfigurationError where what they come to would not fit."""
    quiet, folds = configured.config.quiet, None
    if folded.places:
        name, labels = setups.model.path.stem, configured.labels.labels
        made = MadeWith(labels, prompt=first.prompt, model=name, positive=first.positive)
        folds = Folds(setups, folded.examples, folded.places, made, quiet)
    trials = _fitting(trials, setups, first, quiet)
    teach = distillation.teacher(setups, unlabelled, quiet) if trials.how == DISTIL else None
    return TrialQueue(trials, configured, setups, folds, teach, together)


def _fitting(trials: Trials, setups: TrainingSetups, config: TrainingConfig, quiet: bool) -> Trials:
    """The trials, of which the best is kept where an ensemble of them would not fit and nobody has asked for one.

    Raises:
      ConfigurationError: somebody has.
    """
    if trials.how not in (ENSEMBLE, DISTIL) or (limit := plan.device_memory()) is None:
        return trials
    needed = answering_memory.estimate(setups.work(config), trials.members).peak
    if needed <= limit * plan.SAFETY:
        return trials
    what = (
        f"an ensemble of {trials.members} needs {needed / 1e9:.1f} GB, and {limit / 1e9:.1f} GB are free on the device"
    )
    if trials.is_asked:
        raise ConfigurationError(what, hint="Use --combine best or soup, --method lora, or fewer trials")
    if not quiet:
        note(f"note: {what}: the best trial is kept")
    return trials.with_best()


def _tell_of_steps(waiting: int, together: int) -> None:
    """Says on stderr what waits in the host's memory, in bytes, and how many trainings share their steps."""
    if together > 1:
        note(f"note: {together} trainings take their steps together; --together 1 is one after another")
    if waiting:
        what = f"{waiting / 1e6:,.0f} MB of the optimizer's state wait in the host's memory"
        note(f"note: {what}, and cross to the device and back in a step")


def _images(
    model: Model, configs: Sequence[TrainingConfig], config: RunConfig, sets: Mapping[Path, Sequence[Example]]
) -> ImagesOfModel:
    """Where the images come from, or what stands in their place."""
    if not any(one.images for found in sets.values() for one in found):
        return NoImages(model.sizes.llm.width)
    return image_source(model, config, features=config.features and not _needs_pixels(configs), quiet=config.quiet)


def _needs_pixels(configs: Sequence[TrainingConfig]) -> bool:
    """Whether image features cannot be used: a trainable image encoder needs pixels, and so do images that change."""
    return METHODS[configs[0].method].trains_image_encoder or any(one.augment for one in configs)


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
