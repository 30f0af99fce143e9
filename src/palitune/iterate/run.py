"""A loop from what was asked for to its page: `palitune iterate` and stage 7 call `iterate`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palitune import console
from palitune.config.iterate_config import LEFT_OUT, IterateConfig
from palitune.config.settings import checked, settings_of
from palitune.errors import BadDataError, ResumableError, Stopped, UsageError
from palitune.evaluate.report import loop_page
from palitune.iterate import hard_summary, loop_folder, loop_summary, records
from palitune.iterate.hard_examples import HardExamples
from palitune.iterate.loop import Loop
from palitune.iterate.loop_folder import END, LoopFolder
from palitune.iterate.steps import Steps
from palitune.run import fold_data

FREE = ("resume", "write", "quiet", "lang")  # what may be typed beside --resume


def iterate(config: IterateConfig) -> Path:
    """Loops as the settings say; returns the page about it.

    Raises:
      UsageError: settings that have no effect together.
      BadDataError, MissingInputError: data are not as they should be.
      OutputExistsError: something of this name is there, or at work.
      PalituneError: a step without which there is no result has failed.
      ResumableError: stopped by a signal; every step that was taken is kept.
    """
    folder = loop_folder.of_name(config.write)
    if config.resume and (more := sorted(config.given - set(FREE))):
        raise UsageError(f"--resume continues a loop as it is: leave out --{more[0].replace('_', '-')}")
    if not config.resume:
        _require_effect(config)
        loop_folder.require_free(folder, config.overwrite)
    else:
        folder.read(is_held=False)  # before a folder is made for nothing
    with folder.held():
        own = _resumed(config, folder) if config.resume else config
        found = records.in_two(own) if own.hard_examples else records.of(own, folder)
        steps = Steps(own, folder, found)
        loop = HardExamples(steps) if own.hard_examples else Loop(steps)
        if not config.resume:
            folder.begin(own, {"files": records.marks(found)})
        elif not records.unchanged(found, folder.read().get("files")):
            raise BadDataError("the data have changed since the loop began", where=own.data, hint="Use --overwrite")
        try:
            loop.run()
        except Stopped as stopped:
            stopped.hint = f"continue with {steps.again}"
            raise
        except ResumableError as error:
            raise ResumableError("stopped", hint=f"Continue with {steps.again}") from error
        summary = hard_summary.of(loop) if isinstance(loop, HardExamples) else loop_summary.of(loop)
        loop_page.write(folder.page, summary, config.lang or own.lang)
        if not folder.is_over:
            folder.write({"event": END, "sentences": summary.sentences})
    for line in summary.sentences:
        print(line)
    if not config.quiet:
        console.note(f"saved {folder.target}; the page is {loop_folder.typed(folder.page)}")
    return folder.page


def _require_effect(config: IterateConfig) -> None:
    """Raises UsageError for settings that a loop of runs in folds cannot have."""
    for name in LEFT_OUT:
        if name in config.given:
            raise UsageError(f"--{name.replace('_', '-')} is for single runs: a loop learns in folds")
    if not config.hard_examples:
        fold_data.require_effect(config.run(folds=config.folds))


def _resumed(config: IterateConfig, folder: LoopFolder) -> IterateConfig:
    """What was asked for when the loop began. Raises BadDataError."""
    options: Mapping[str, Any] = folder.read().get("options", {})
    try:
        known = {one.name: one for one in settings_of(IterateConfig)}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        found = IterateConfig.of(checked(known, values, "those of a loop"))
    except (ValueError, TypeError, AttributeError, UsageError) as error:
        raise BadDataError(
            f"damaged: {error}", where=loop_folder.typed(folder.config), hint="Use --overwrite"
        ) from None
    return dataclasses.replace(found, write=config.write, quiet=config.quiet, resume=True)
