"""A run of learning, from its settings to what is saved: `palitune.learn` and the stages call `learn`."""

import contextlib
import dataclasses
import io
import operator
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from palitune import console, hosts, workspace
from palitune.checkpoint import manifest, run_state
from palitune.config import hosts as hosts_config
from palitune.config.run_config import RunConfig
from palitune.errors import DivergedError, MissingInputError, OutputExistsError, ResumableError, Stopped, UsageError
from palitune.infer.loading import set_allocator
from palitune.infer.opening import Opened
from palitune.method import METHODS
from palitune.models.arrays import Flat
from palitune.run import cost, description, preparation, reproduce, run_result, supervision
from palitune.run.evaluation import UNTRAINED, SetEvaluator
from palitune.run.folder import RunFolder, end_of
from palitune.run.folds import OutOfFold
from palitune.run.preparation import Preparation
from palitune.run.run_log import RunLog
from palitune.run.run_result import RunResult
from palitune.run.tracking import Tracking
from palitune.run.trainer import Trainer
from palitune.storage import atomic_files
from palitune.train import plan

NEEDS_NAME = ("resume", "tensorboard", "track", "save_every", "report")


def learn(config: RunConfig, *, program: str = "palitune learn", command: Sequence[str] = ()) -> RunResult:
    """Learns as the settings say, in a folder of the run's own where there is something to save.

    Args:
      program: the command that a hint names to go on.
      command: what was typed, which config.json records.

    Raises:
      UsageError: settings that contradict each other.
      BadDataError, MissingInputError, ConfigurationError, StorageError: data, model or room are not as they should be.
      OutputExistsError: a checkpoint or another run is in the way, or at work.
      DivergedError: every attempt diverged.
      ResumableError: stopped by a signal, with everything saved that resuming takes.
    """
    _require_name(config)
    began = time.monotonic()
    with _joined(config, program) as config, _run_folder(config, supervision.again(program, config.write)) as folder:
        read = folder if hosts.is_first() or config.write is None else _folder_of(config.write)
        if read is not None and _is_over(config, read):
            return RunResult(read.target, {}, {}, [], [], None)
        run = preparation.prepare(reproduce.completed(config, _recorded(config, read)), folder, command)
        saved = _saved(config, read)
        if folder is not None and not config.resume:
            folder.clear()
            folder.write_config(run.facts)
        memory = run.queue.setups.several(run.queue.together).prepared(run.config).memory.peak
        tracking = Tracking(config.track, folder, run.facts) if config.track and folder is not None else None
        size = _size_of_metrics(folder, saved)
        with (
            RunLog(folder, config.quiet, config.tensorboard, size, config.lang, tracking) as log,
            cost.recorded(folder, began, memory, plan.memory_taken),
        ):
            evaluator = SetEvaluator(run.model, run.images, run.config, run.sets, run.whole, log)
            trainer = _trainer(run, config, log, evaluator, saved)
            try:
                trainer.learn()
            except DivergedError:
                log.draw(None)
                trainer.finish("failed")
                raise
            result = run_result.finished(run, config, log, evaluator, trainer, program)
    if not config.quiet:
        said = f"saved {folder.target}; the run is in {folder.path}" if folder is not None else None
        print(said or "nothing was saved: -w NAME keeps what is learned", file=sys.stderr)
    return result


def cross_validate(config: RunConfig) -> OutOfFold:
    """Learns in folds alone: what each fold's model says of its held-out records, and nothing is written or kept.

    Args:
      config: with the number of folds. Nothing is said of the data, which may be no file that a person knows.

    Raises:
      UsageError, BadDataError, MissingInputError, ConfigurationError: as `learn`.
      DivergedError: a fold diverged in every attempt.
    """
    asked = dataclasses.replace(config, write=None, quiet=True)
    console.status("compiling a training step, to see whether it fits", config.quiet)
    run = preparation.prepare(reproduce.completed(asked), None, ())
    run = run._replace(queue=run.queue.of_folds_alone())
    # The lines of steps are those of a run on stdout, which is the caller's here.
    with RunLog(None, config.quiet, tensorboard=False) as log, contextlib.redirect_stdout(io.StringIO()):
        evaluator = SetEvaluator(run.model, run.images, run.config, run.sets, {}, log)
        trainer = _new_trainer(run, Opened(run.model, run.images).params(), log, evaluator, save_every=0)
        trainer.learn()
    found = run.queue.out_of_fold(trainer.progress.results, trainer.weights)
    assert found is not None  # a fold that diverged has been said
    return found


@contextlib.contextmanager
def _joined(config: RunConfig, program: str) -> Iterator[RunConfig]:
    """The settings of this process, once all processes are there where there are several: only the first one prints.

    Raises:
      ResumableError: another process has ended.
    """
    if (joining := hosts_config.joining(config)) is None:
        yield config
        return
    try:
        set_allocator(config.allocator)
        hosts.join(joining)
        yield (
            config
            if hosts.is_first()
            else dataclasses.replace(config, quiet=True, tensorboard=False, track=None, report=False)
        )
    except jax.errors.JaxRuntimeError as error:
        what = f"another process has ended ({' '.join(str(error).split())[:200]})"
        hint = f"The first one may say why. Continue with {supervision.again(program, config.write)}, in all processes"
        raise ResumableError(what, hint=hint) from None


def _require_name(config: RunConfig) -> None:
    """Raises UsageError for settings that have no effect without a name, or with --resume."""
    for name in NEEDS_NAME:
        if getattr(config, name) and config.write is None:
            raise UsageError(f"--{name.replace('_', '-')} needs -w NAME: without it nothing is saved")
    if config.model and config.model == config.write and manifest.folder_of(workspace.checkpoint_to_read(config.model)):
        what = f"-w {config.write} would hide the model of that name, which it learns from"
        raise UsageError(what, hint="Write another name")
    if config.resume and (config.overwrite or config.source or config.recipe):
        raise UsageError("--resume continues a run as it is: leave out --overwrite, --from and --config")


def _folder_of(name: str) -> RunFolder:
    return RunFolder(workspace.checkpoint_to_write(name))


@contextlib.contextmanager
def _run_folder(config: RunConfig, again: str) -> Iterator[RunFolder | None]:
    """The folder of the run, kept from other processes; None where nothing is saved.

    Args:
      again: the command that resumes the run, for the person who stops it.
    """
    if config.write is None or not hosts.is_first():
        yield None
        return
    folder = _folder_of(config.write)
    if config.resume:
        reproduce.require_run(folder, config.write)
    else:
        _require_free(folder, config.overwrite, again)  # before anything is made
    with contextlib.ExitStack() as held:
        held.enter_context(_removed_if_empty(folder.target.parent))
        atomic_files.check_writable(folder.target)
        held.enter_context(folder.held())
        if not config.resume:
            _require_free(folder, config.overwrite, again)  # and once more, now that nobody else can
        folder.clean()
        folder.begun = config.resume
        try:
            yield folder
        except ResumableError as error:
            raise ResumableError(error.what, hint=f"Continue with {again}") from None
        except Stopped as stopped:
            if folder.begun:
                stopped.hint = f"continue with {again}"
            raise


@contextlib.contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Removes a folder again that was not there before, and has nothing in it."""
    is_new = not folder.exists()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if is_new:
                folder.rmdir()


def _require_free(folder: RunFolder, overwrite: bool, again: str) -> None:
    """Raises OutputExistsError if a checkpoint, or a run that can go on, would be replaced unasked."""
    if folder.config.exists() and end_of(folder) is None and not overwrite:
        hint = f"Continue it: {again}. Or use another name with -w, or --overwrite"
        raise OutputExistsError("a run of this name was begun", where=str(folder.path), hint=hint)
    workspace.check_free(folder.target, overwrite)


def _is_over(config: RunConfig, folder: RunFolder) -> bool:
    """Whether the run to resume has come to its end, which is said on stderr.

    Raises:
      DivergedError: that end was none that saved anything.
      MissingInputError: what it saved is no longer there.
    """
    if not config.resume or end_of(folder) is None:
        return False
    folder.clean_state()
    if end_of(folder) == "failed":
        hint = "Start another, with --overwrite or of another name"
        raise DivergedError("this run diverged in every attempt", where=str(folder.path), hint=hint)
    if not folder.target.exists():
        what = "this run has come to its end, and its checkpoint is no longer there"
        raise MissingInputError(what, where=str(folder.target), hint="Learn again with --overwrite")
    print(f"{folder.target}: this run has come to its end", file=sys.stderr)
    return True


def _recorded(config: RunConfig, folder: RunFolder | None) -> Path | None:
    return folder.config if folder is not None and config.resume else None


def _saved(config: RunConfig, folder: RunFolder | None) -> run_state.Saved | None:
    """The state to go on from, where there is one. Raises BadDataError."""
    return run_state.load(folder.state) if folder is not None and config.resume and folder.state.is_file() else None


def _size_of_metrics(folder: RunFolder | None, saved: run_state.Saved | None) -> int:
    """Bytes of the metrics that belong to a saved state. Raises BadDataError."""
    if folder is None or saved is None:
        return 0
    with run_state.understood(folder.state):
        return max(0, operator.index(saved.facts["metrics"]))


def _trainer(
    run: Preparation, config: RunConfig, log: RunLog, evaluator: SetEvaluator, saved: run_state.Saved | None
) -> Trainer:
    """What trains; the model has been evaluated before learning, if the run was not resumed after that."""
    model = run.model
    params = Opened(model, run.images).params()
    if saved is None:
        log.note(f"evaluating {sum(map(len, run.sets.values()))} records before learning")
        evaluator(params, UNTRAINED)
    follows = config.write is not None and not hosts.is_first()
    trainer = _new_trainer(run, params, log, evaluator, config.save_every, follows=follows)
    if saved is not None and config.write is not None:
        trainer.resume(saved, _folder_of(config.write))
    elif config.resume:
        log.note("no state of this run had been saved: it begins from the start")
    return trainer


def _new_trainer(
    run: Preparation,
    params: Flat,
    log: RunLog,
    evaluator: SetEvaluator,
    save_every: int | None,
    *,
    follows: bool = False,
) -> Trainer:
    """What trains, of all parameters of the model those that the method does."""
    trainable = METHODS[run.config.method].trainable
    frozen = {path: leaf for path, leaf in params.items() if not trainable(path)}
    return Trainer(run.queue, frozen, log, evaluator, description.describer(run), save_every, follows=follows)
