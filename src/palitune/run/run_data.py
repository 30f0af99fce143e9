"""What a run learns from and is evaluated on: files of records, what their answers are one of, and what is asked."""

import sys
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

from palitune.checkpoint import manifest
from palitune.config.run_config import DISTIL, PROMPT, RunConfig, TrainingConfig
from palitune.data import dataset_files, example_files, label_sets
from palitune.data.checks import example_checks, seen_in_training
from palitune.data.example import Example
from palitune.data.image_folders import ImageFolders
from palitune.data.label_sets import LabelSet
from palitune.data.long_chats import Shortener
from palitune.errors import UsageError
from palitune.infer.answering import tell_of_labels
from palitune.infer.asked import tell_of_questions
from palitune.infer.loading import Model
from palitune.labels import LABELS, plain_set


def sets_of(config: RunConfig, source: Path, in_folds: Sequence[Path]) -> tuple[dict[Path, list[Example]], LabelSet]:
    """The files to learn from and to evaluate on, by their paths, and what answers are one of.

    Args:
      in_folds: the parts of a split into folds, if that is what is learned from.

    Raises:
      MissingInputError, BadDataError: a file is not there, or a line of it is not as it should be.
      UsageError: something was asked for that is for other labels.
    """
    files = in_folds or [path for path in dataset_files.data_files(config.data, config.valid_data) if path]
    sets = {path: dataset_files.load(path, config, labels=None) for path in files}
    labels = _labels(config, source, [one for path in in_folds or files[:1] for one in sets[path]])
    if labels.labels is None and config.balance != "none":
        hint = "Leave it out; --labels-from FILE names classes"
        raise UsageError(f"--balance {config.balance} is for labels, and these answers are free text", hint=hint)
    if labels.labels is not None:
        for path, examples in sets.items():
            example_files.require_labels(examples, labels.labels)
            sets[path] = label_sets.spelled(examples, labels.labels)
    _require_labels_for(config, labels)
    return sets, labels


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


def _require_labels_for(config: RunConfig, labels: LabelSet) -> None:
    """Raises UsageError for what only answers with labels have."""
    if labels.labels is None and config.combine == DISTIL:
        hint = "soup, ensemble and best are for free text too"
        raise UsageError("--combine distil is for labels, and these answers are free text", hint=hint)
    if config.unlabelled and config.combine != DISTIL:
        raise UsageError("--unlabelled is for --combine distil: add it, or leave --unlabelled out")


def unlabelled_of(config: RunConfig) -> list[Example]:
    """Records that a student is taught beside the others. Raises MissingInputError, BadDataError."""
    if config.unlabelled is None:
        return []
    dataset_files.require_data(config.unlabelled)
    path = Path(config.unlabelled)
    folders = ImageFolders.of(path, config)
    return [folders.placed(one) for one in example_files.stream(path, labelled=False, folders=folders)]


def prompt_of(config: RunConfig, source: Path, train: Sequence[Example]) -> str:
    """The question where an example has none of its own."""
    if config.prompt is not None:
        return config.prompt
    usual = manifest.prompt(source, PROMPT)
    own = {record.prompt for record in train}
    # The only question that is learned is the model's own from then on.
    return own.pop() or usual if len(own) == 1 else usual


def shortened(examples: list[Example], model: Model, config: RunConfig, path: Path) -> list[Example]:
    """Examples, of which chats that are too long are without their oldest turns, which is said on stderr."""
    if config.max_length is not None:
        model.template.longest = config.max_length
    shortener = Shortener(model.template, config.max_length)
    found = list(shortener(examples))
    shortener.tell(str(path), config.quiet)
    return found


def tell(
    config: RunConfig,
    sets: Mapping[Path, Sequence[Example]],
    train_file: Path,
    valid_file: Path | None,
    made: TrainingConfig,
    source: Path,
) -> None:
    """Says on stderr what a person should know of the data before learning from it."""
    if valid_file is None and not config.folds:
        what = f"{train_file} is also what the model is evaluated on"
        print(f"{what}: --valid-data FILE names examples that are not learned from", file=sys.stderr)
    _tell_of_data(sets, train_file, in_folds=bool(config.folds))
    if valid_file is not None:
        seen_in_training.tell(source, str(valid_file), sets[valid_file])
    tell_of_questions(sets.values(), config.prompt, config.quiet)
    if config.epochs is None and config.examples is None:
        count = sum(map(len, sets.values())) if config.folds else len(sets[train_file])
        what = f"{count} records, of which a pass shows {made.examples} examples"
        print(f"{what}: each record {made.examples / count:.3g} times; -t N shows it N times", file=sys.stderr)


def _thing(example: Example) -> Hashable:
    """An image's file, or what else examples have in common that are about the same."""
    thing = example_checks.thing_of(example)
    return thing.resolve() if isinstance(thing, Path) else thing


def _tell_of_data(sets: Mapping[Path, Sequence[Example]], train_file: Path, *, in_folds: bool) -> None:
    """The quick part of `palitune lint`: what lines alone tell. It warns, and leaves it to the person."""
    found: dict[str, list[example_checks.Finding]] = {}
    for finding in example_checks.check_examples(sets, _thing):
        found.setdefault(finding.check, []).append(finding)
    for check, several in found.items():
        more = f", and {len(several) - 1} more: palitune lint names them" if len(several) > 1 else ""
        print(f"warning: {check}: {several[0].where}: {several[0].what}{more}", file=sys.stderr)
    # Of the files of a run in folds all is learned from, and evaluated together.
    for line in example_checks.expectations(sets, lambda path: in_folds or path == train_file):
        print(line, file=sys.stderr)
