"""A run of learning from what was typed to what is saved: everything is looked at before anything costs time."""

import argparse
import copy
import dataclasses
import operator
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from palitune import atomic_files, workspace
from palitune.checkpoint import delta, manifest, run_state, trained_images
from palitune.cli import arguments
from palitune.cli.main import Stopped
from palitune.config import PROMPT, TrainingConfig
from palitune.console import status
from palitune.data import dataset
from palitune.data.checks import findings, seen_in_training
from palitune.data.example import Example
from palitune.errors import DivergedError, MissingInputError, OutputExistsError, ResumableError, UsageError
from palitune.evaluate.report.result_block import trial_table
from palitune.infer.loading import Model, announce, files_of, image_source, load, shown_params
from palitune.infer.predictor import check_pictures, tell_of_questions
from palitune.method import METHODS
from palitune.models import lora
from palitune.run import reproduce, sweep
from palitune.run.courses import Courses
from palitune.run.folder import RunFolder, end_of
from palitune.run.journal import Journal
from palitune.run.trainer import PASSES, Training
from palitune.run.verdicts import UNTRAINED, Verdicts, whole_of
from palitune.train.plan import parameters


def run(args: argparse.Namespace) -> None:
    """Learns, in a folder of the run's own where there is something to save."""
    if args.write is None:
        _learn(reproduce.replayed(args), None)
        if not args.quiet:
            print("nothing was saved: -w NAME keeps what is learned", file=sys.stderr)
        return
    folder = RunFolder(workspace.checkpoint_to_write(args.write))
    program = "palitune learn" if Path(sys.argv[0]).name == "palitune" else f"./{Path(sys.argv[0]).name}"
    again = f"{program} --resume -w {shlex.quote(args.write)}"
    if args.resume:
        reproduce.require_run(folder, args.write)
    else:
        _check_free(folder, args.overwrite, again)  # before anything is made
    atomic_files.check_writable(folder.target)
    with folder.held():
        if not args.resume:
            _check_free(folder, args.overwrite, again)  # and once more, now that nobody else can
        folder.clean()
        folder.begun = args.resume
        if args.resume and end_of(folder) is not None:
            folder.clean_state()
            if end_of(folder) == "failed":
                hint = "Start another, with --overwrite or of another name"
                raise DivergedError("this run diverged in every attempt", where=str(folder.path), hint=hint)
            if not folder.target.exists():
                hint = "Learn again with --overwrite"
                what = "this run has come to its end, and its checkpoint is no longer there"
                raise MissingInputError(what, where=str(folder.target), hint=hint)
            print(f"{folder.target}: this run has come to its end", file=sys.stderr)
            return
        try:
            _learn(reproduce.replayed(args, folder.config if args.resume else None), folder)
        except ResumableError as error:
            raise ResumableError(error.what, hint=f"Go on with {again}") from None
        except Stopped as stopped:
            if folder.begun:
                stopped.hint = f"go on with {again}"
            raise


def _check_free(folder: RunFolder, overwrite: bool, again: str) -> None:
    """Raises OutputExistsError if a checkpoint, or a run that can go on, would be replaced unasked."""
    if folder.config.exists() and end_of(folder) is None and not overwrite:
        hint = f"Go on with it: {again}. Or use another name with -w, or --overwrite"
        raise OutputExistsError("a run of this name was begun", where=str(folder.path), hint=hint)
    workspace.check_free(folder.target, overwrite)


def _learn(args: argparse.Namespace, folder: RunFolder | None) -> None:
    """Looks at everything, then learns."""
    plan = _planned(args, folder)
    saved = run_state.load(folder.state) if args.resume and folder is not None and folder.state.is_file() else None
    if folder is not None and not args.resume:
        folder.clear()
        folder.write_config(plan.facts)
    size = 0
    if saved is not None and folder is not None:
        with run_state.understood(folder.state):
            size = max(0, operator.index(saved.facts["metrics"]))
    journal = Journal(folder, args.quiet, args.tensorboard, size)
    try:
        _run(plan, args, journal, saved)
    finally:
        journal.close()
    if folder is not None and not args.quiet:
        print(f"saved {folder.target}; the run is in {folder.path}", file=sys.stderr)


class Planned(NamedTuple):
    """A run that nothing speaks against."""

    model: Model
    shown: Any  # what the model is shown for a picture
    sets: dict[Path, list[Example]]
    whole: dict[Path, list[Example]]  # the set that they are parts of, if there is one
    data: Path
    courses: Courses
    trials: sweep.Trials
    configured: Callable[[sweep.Trial], TrainingConfig]
    config: TrainingConfig  # of the first trial, for what all have in common
    facts: dict[str, Any]  # what the run depends on


def _planned(args: argparse.Namespace, folder: RunFolder | None) -> Planned:
    """Raises a PalituneError for everything that can be wrong with options, model, data and room."""
    typed, args = args, copy.copy(args)  # what is derived below is no option: another method derives other values
    train_file, valid_file = dataset.data_files(args.data, args.valid_data)
    source = workspace.checkpoint_to_read(args.model)
    settings = sweep.settings_of(args.sweep or [], bool(args.search))
    trials = sweep.Trials(args.seed or 0, args.repeat, settings, args.search)
    prompt = manifest.prompt(source, PROMPT)
    args.frames = args.frames or manifest.frames(source, "middle")
    sets = {
        path: dataset.load(path, images=args.images, allow_outside=args.allow_outside)
        for path in (train_file, valid_file)
        if path is not None
    }
    train, valid = sets[train_file], sets[valid_file or train_file]
    if args.prompt is None and len(own := {record.prompt for record in train}) == 1:
        prompt = own.pop() or prompt  # the only question that is learned is the model's own from then on
    for trial in trials.known():  # what is wrong with the options alone is said before a model is opened
        _configured(args, trial, prompt, len(train))
    model = load(source, tokenizer=args.tokenizer, dtype=args.dtype, allocator=args.allocator, quiet=args.quiet)
    if folder is not None and folder.target.resolve() in files_of(model.checkpoint):
        raise UsageError(f"-w {args.write} would replace the model that it learns from")

    def configured(trial: sweep.Trial) -> TrainingConfig:
        config = _configured(args, trial, prompt, len(train))
        return _go_on_with_adapters(model.checkpoint, args, config)

    configs = [configured(trial) for trial in trials.known()]
    # A trainable image encoder needs pixels, and so do images that augmentation changes.
    pixels = METHODS[configs[0].method].trains_image_encoder or any(config.augment for config in configs)
    args.features = args.features and not pixels
    shown = image_source(
        model, features=args.features, frames=args.frames, max_pixels=args.max_pixels, quiet=args.quiet
    )
    courses = Courses(model, shown, train, valid, configs[0], folder)
    status("compiling a training step, to see whether it fits", args.quiet)
    _check(courses, configs, folder, args)
    status(f"looking at the images of {sum(map(len, sets.values()))} records", args.quiet)
    check_pictures(sets.values(), shown)
    whole = whole_of(train_file, valid_file, args, shown)
    if not args.quiet:
        if valid_file is None:
            print(f"{train_file} also judges: --valid-data FILE names what is not learned from", file=sys.stderr)
        _tell_of_data(sets, train_file)
        if valid_file is not None:
            seen_in_training.tell(source, str(valid_file), valid)
        tell_of_questions(sets.values(), args.prompt, args.quiet)
        _tell_of_length(args, len(train), configs[0].examples)
        announce(model)
    facts = reproduce.facts(typed, args.model or workspace.latest_model(), model, configs[0], sets)
    facts["resolved"] = {"features": args.features, "frames": args.frames, "dtype": str(model.dtype)}
    return Planned(model, shown, sets, whole, train_file, courses, trials, configured, configs[0], facts)


def _tell_of_data(sets: Mapping[Path, Sequence[Example]], train_file: Path) -> None:
    """The quick part of `palitune lint`: what lines alone tell. It warns, and leaves it to the person."""
    found: dict[str, list[findings.Finding]] = {}
    for finding in findings.check_examples(sets, lambda record: record.image.path.resolve()):
        found.setdefault(finding.check, []).append(finding)
    for check, several in found.items():
        more = f", and {len(several) - 1} more: palitune lint names them" if len(several) > 1 else ""
        print(f"warning: {check}: {several[0].where}: {several[0].what}{more}", file=sys.stderr)
    for line in findings.expectations(sets, lambda path: path == train_file):
        print(line, file=sys.stderr)


def _tell_of_length(args: argparse.Namespace, records: int, examples: int) -> None:
    """Says how often records are shown, where nothing was typed about it."""
    if args.epochs is None and args.examples is None:
        each = examples / records
        what = f"{records} records, of which a pass shows {examples} examples: each record {each:.3g} times"
        print(f"{what}; -t N shows it N times", file=sys.stderr)


def _run(plan: Planned, args: argparse.Namespace, journal: Journal, saved: run_state.Saved | None) -> None:
    """Judges, learns, and judges what was learned."""
    model, config = plan.model, plan.config
    judge = Verdicts(model, plan.shown, config.prompt, plan.sets, plan.whole, journal)

    known = trained_images.with_more(
        trained_images.read(model.path), (record.image.path for record in plan.sets[plan.data])
    )

    def describe(content: Mapping[str, Any]) -> str:
        learned_from = plan.data.parent if plan.data.stem in dataset.PARTS else plan.data
        base = delta.describe(model.checkpoint, model.path.stem)
        return manifest.text(base=base, data=str(learned_from), learned=trained_images.as_json(known), **content)

    params = shown_params(model, plan.shown)
    if saved is None:
        journal.note(f"evaluating {sum(map(len, plan.sets.values()))} records before learning")
        judge(params, UNTRAINED)
    trainable = METHODS[config.method].trainable
    frozen = {path: leaf for path, leaf in params.items() if not trainable(path)}
    del params
    training = Training(plan.courses, frozen, plan.trials, plan.configured, journal, judge, describe, args.save_every)
    if saved is not None:
        training.resume(saved)
    elif args.resume:
        journal.note("no state of this run had been saved: it begins from the start")
    try:
        training()
    except DivergedError:
        journal.draw(None)
        training.finish("failed")
        raise
    progress = training.progress
    if plan.trials.count > 1 and training.kept is not None:
        journal.block(trial_table(progress.results, progress.winner, config.select))
        judge(training.all_params(training.kept), f"{PASSES[config.second_pass]} trained")
    journal.draw(progress.winner)
    training.finish("finished")
    if args.report and journal.folder is not None:
        judge.report(journal.folder, args.quiet)


def _configured(args: argparse.Namespace, trial: sweep.Trial, prompt: str, count: int) -> TrainingConfig:
    """The configuration of a trial on `count` records. Raises UsageError where its settings contradict each other."""
    args = sweep.changed(args, trial)
    config = arguments.configured(args, prompt)
    if args.epochs is not None:
        if args.examples is not None:
            raise UsageError("--epochs and --examples both say how long a pass is: leave one out")
        config = dataclasses.replace(config, examples=args.epochs * count)
    if config.examples < config.batch_size * config.accumulate:
        one = f"one batch of {config.batch_size}" + (f" x {config.accumulate}" if config.accumulate > 1 else "")
        said = (
            f"-t {args.epochs}: {config.examples} examples are" if args.epochs else f"--examples {config.examples} is"
        )
        raise UsageError(f"{said} less than {one}")
    return config


def _go_on_with_adapters(
    checkpoint: Mapping[str, Any], args: argparse.Namespace, config: TrainingConfig
) -> TrainingConfig:
    """The configuration with the adapters that the checkpoint has, if it has some.

    Raises:
      UsageError: others were asked for.
    """
    if not METHODS[config.method].adds_adapters or not (adapted := lora.adapted(checkpoint)):
        return config
    if typed := [name for name in ("lora_rank", "lora_alpha", "lora_targets") if getattr(args, name) is not None]:
        option = f"--{typed[0].replace('_', '-')}"
        hint = "Leave it out to go on with them, or merge them into the weights first: palitune merge"
        raise UsageError(f"{option} is for new adapters, and this model has some already", hint=hint)
    rank, alpha = checkpoint[adapted[0] + lora.A].shape[-1], checkpoint[adapted[0] + lora.ALPHA][0]
    return dataclasses.replace(config, lora_rank=int(rank), lora_alpha=float(alpha))


def _check(
    courses: Courses, configs: Sequence[TrainingConfig], folder: RunFolder | None, args: argparse.Namespace
) -> None:
    """Raises UsageError for a rule that nothing matches, ConfigurationError and StorageError for want of room."""
    learning = list(parameters(courses.work(configs[0]))[0])
    for config in configs:
        arguments.check_rules(config, learning)
    checkpoint, state = courses.sizes(configs[0])
    if folder is not None:
        # While a file is written, the one that it replaces is still there.
        folder.check_space(2 * checkpoint + (0 if args.save_every == 0 else 2 * state))
