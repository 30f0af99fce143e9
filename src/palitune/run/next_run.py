"""What a run's advice comes from, and the commands that it comes with, as its user would type them."""

import collections
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from palitune import workspace
from palitune.config.model import FolderSettings, ImageSettings, ModelSettings
from palitune.config.run_config import RunConfig, TrainingConfig
from palitune.config.settings import groups_of, settings_of
from palitune.data import dataset_files
from palitune.data.example import Example
from palitune.data.prediction import Prediction
from palitune.data.probabilities import log_odds
from palitune.errors import printable
from palitune.evaluate import label_table, metrics, several_labels, threshold
from palitune.evaluate.advice import MOST, SEEN, Advice, advise
from palitune.evaluate.confusion import is_right
from palitune.evaluate.label_table import YES
from palitune.evaluate.run_facts import Answered, Facts, Lift, Together
from palitune.evaluate.threshold import Goal
from palitune.labels import plain
from palitune.method import METHODS
from palitune.run.folder import LONGEST_LINE, RunFolder
from palitune.sentence import Sentence, recalled
from palitune.storage import files

LONGEST = 2_000  # characters that are shown of what a file tells
OF_TRIALS = ("repeat", "sweep", "search", "together", "combine", "unlabelled")
# What a next run does not take over: where it goes, and how this one was begun.
LEFT_OUT = ("write", "overwrite", "resume", "save_every", "source", "recipe", "quiet")


class Told(NamedTuple):
    """What was said of a run, and the command to try next."""

    text: str
    command: str

    @property
    def lines(self) -> list[str]:
        """Both as lines for a person."""
        return [printable(f"advice: {self.text}"), printable(f"  try: {self.command}")]

    def as_row(self) -> dict[str, object]:
        """What a run writes down of it, which `read_told` reads: the text, and what it is made of."""
        made = {"sentence": self.text.as_json()} if isinstance(self.text, Sentence) else {}
        return {"what": self.text, "command": self.command, **made}


def facts_of(
    config: TrainingConfig,
    train: Sequence[Example],
    answers: Sequence[Prediction],
    is_validation: bool,
    together: Together | None = None,
) -> Facts:
    """What advice needs to know of a run beside its metrics.

    Args:
      config: of the trial that was kept.
      answers: of what was kept to the set that the run was evaluated on; of free text none.
      is_validation: whether that is another set than the training set.
      together: what several trials have become.
    """
    classes: dict[str, collections.Counter[str]] = {}
    for target in (target for example in train for target in example.targets if target.answer):
        classes.setdefault(target.name, collections.Counter())[plain(target.answer or "")] += 1
    method = METHODS[config.method]
    return Facts(
        examples=len(train),
        classes=list(classes.values()),
        shown=config.examples,
        learning_rate=config.learning_rate,
        usual_rate=method.learning_rate if config.optimizer == method.optimizer else None,
        balance=config.balance,
        has_validation=is_validation,
        validation=_answered(answers) if is_validation else (),
        has_images=all(example.images for example in train),
        together=together,
    )


def _answered(predictions: Sequence[Prediction]) -> list[Answered]:
    """The answers to each target, counted."""
    by_target: dict[str, list[Prediction]] = {}
    for one in predictions:
        if one.target.answer:
            by_target.setdefault(one.target.name, []).append(one)
    return [
        Answered(
            collections.Counter(plain(one.target.answer or "") for one in several),
            collections.Counter(plain(one.text) for one in several),
            sum(is_right(one.text, one.target.answer or "") for one in several),
            name,
            _lift(several) if name else None,
        )
        for name, several in by_target.items()
    ]


def _lift(answers: Sequence[Prediction]) -> Lift | None:
    """What the best threshold of one label does for its F-measure; None where it cannot be told."""
    table, _ = label_table.of_predictions((one.example, [one]) for one in answers)
    positive, p = table.truth[:, 0] == YES, table.p[:, 0]
    if np.isnan(p).any() or positive.sum() < SEEN or positive.all():
        return None
    best = threshold.choose(log_odds(p), positive, Goal(f_measure=True))
    own = several_labels.counts_of(table)[0].f_measure
    area = metrics.figures(table.outcomes(0))["roc_auc"]
    return Lift(own or 0.0, best.counts.f_measure or 0.0, area or 0.0)


def command_of(advice: Advice, config: RunConfig, program: str, examples: int) -> str:
    """The command to try next, with everything else as it was.

    Args:
      config: what was asked for, of a sweep with the settings of its best trial.
      program: the command that the run was begun with.
      examples: of the training set.
    """
    if advice.check == "threshold":
        return _thresholds(config)
    if advice.check:
        return _check(advice.check, config)
    changes = dict(advice.changes)
    epochs = changes.get("epochs")
    if isinstance(epochs, int) and "examples" in config.given:  # as the user says how long a pass is
        del changes["epochs"]
        changes["examples"] = epochs * examples
    if "examples" in changes or "epochs" in changes:
        changes.setdefault("examples" if "epochs" in changes else "epochs", None)
    left_out = LEFT_OUT if "combine" in changes else (*LEFT_OUT, *OF_TRIALS)
    wanted = {name: value for name, value in config.options().items() if name not in left_out} | changes
    wanted["data"] = config.data
    if config.write is not None:
        wanted["write"] = _free_name(config.write)
    return shlex.join([*program.split(), *typed(wanted)])


def _check(check: str, config: RunConfig) -> str:
    """The command that checks the training data, and the images where they are."""
    names = {one.name for one in settings_of(ImageSettings if check.startswith("suspect") else FolderSettings)}
    names |= {"model", "tokenizer", "labels"} if check.startswith("suspect") else set()
    if check == "suspect --learn":  # what decides whether it fits on the card that the run has fitted on
        names |= {"prompt", "method", "batch_size", *(one.name for one in settings_of(ModelSettings))}
    options = {name: value for name, value in config.options().items() if name in names}
    if check == "lint":
        return shlex.join(["palitune", "lint", config.data, *typed(options)])
    command = shlex.join(["palitune", *check.split(), *typed(options | {"data": config.data})])
    return f"{command} | palitune report --text -" if check == "suspect --learn" else command


def _thresholds(config: RunConfig) -> str:
    """The command that asks the model about the validation set, and stores the thresholds that come of its answers.

    Of a run in folds the answers are there: those of the model that has learned from all records would tell nothing.
    """
    choose = ["palitune", "threshold", "-", "--f-measure", "-m", config.write or ""]
    if config.folds:
        answers = RunFolder(workspace.checkpoint_to_write(config.write or "")).answers[1]  # as several labels have it
        choose[2] = min(str(answers), os.path.relpath(answers), key=len)
        return shlex.join(choose)
    names = {one.name for one in settings_of(FolderSettings)}
    options = {name: value for name, value in config.options().items() if name in names}
    _, validation = dataset_files.data_files(config.data, config.valid_data)
    asked = typed(options | {"data": str(validation), "model": config.write})
    command = shlex.join(["palitune", "inference", *asked])
    return f"{command} | {shlex.join(choose)}"


def typed(wanted: Mapping[str, object]) -> list[str]:
    """Settings as options, in the order of --help but for the name to write, which comes last."""
    words: list[str] = []
    settings = [one for group in groups_of(RunConfig) for one in settings_of(group)]
    for one in sorted(settings, key=lambda one: one.name == "write"):
        value = wanted.get(one.name)
        if value is None or (one.is_flag and value == one.default):
            continue
        name = one.details.short[0] if one.details.short else one.option
        words += [name] if one.is_flag else one.details.kind.typed(name, value)
    return words


def _free_name(name: str) -> str:
    """A name for the next run that no checkpoint and no run has: trained-2 after trained."""
    stem, ending = re.fullmatch(r"(.*?)(\.npz)?", name, re.DOTALL).groups("")  # type: ignore[union-attr]
    base, _, number = stem.rpartition("-")
    base, count = (base, int(number)) if base and re.fullmatch(r"[1-9]\d{0,3}", number) else (stem, 1)
    while True:
        count += 1
        target = workspace.checkpoint_to_write(f"{base}-{count}{ending}")
        if not target.exists() and not target.with_suffix(".run").exists():
            return f"{base}-{count}{ending}"


def of_run(
    rows: Sequence[Mapping[str, object]], facts: Facts, config: RunConfig, program: str, winner: int, whole: RunConfig
) -> list[Told]:
    """What there is to say of a run, each with a command; nothing whose command would change nothing.

    Args:
      rows: of the run's metrics.
      config, program: as in `command_of`.
      winner: the trial that was kept, from 0.
      whole: what was asked for, of all trials.
    """
    return [
        Told(one.text, command_of(one, whole if "combine" in one.changes else config, program, facts.examples))
        for one in advise(rows, facts, winner)
        if (config.write is not None or one.check != "threshold")  # there is a model to store it with
        and (not one.changes or any(getattr(config, name) != value for name, value in one.changes.items()))
    ]


def read_told(metrics: Path) -> list[Told]:
    """What a run wrote down of its advice at its end; nothing where its file does not tell."""
    found = []
    try:
        with files.open_to_read(metrics) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LONGEST_LINE))
            for line in file.read().decode("utf-8", "replace").splitlines():
                if '"event": "advice"' in line:
                    row = json.loads(line)
                    text = recalled(str(row["what"])[:LONGEST], row.get("sentence"))
                    found.append(Told(text, str(row["command"])[:LONGEST]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return found[:MOST]
