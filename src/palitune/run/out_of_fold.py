"""Probabilities of every example's labels from a model that has not learned from it: fold by fold.

Axes: N examples, C classes.
"""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from palitune.config.model import RECORDS, FolderSettings
from palitune.config.run_config import RunConfig
from palitune.config.settings import settings_of
from palitune.data.example import Example
from palitune.data.formats.json_lines import to_json
from palitune.data.prediction import Prediction
from palitune.data.probabilities import Array
from palitune.data.split import example_groups
from palitune.evaluate import probe
from palitune.infer import probe_features
from palitune.infer.asked import check_images
from palitune.infer.loading import announce
from palitune.infer.opening import Opened
from palitune.run import learn

# What learning reads is written here, with palitune's own keys.
AS_WRITTEN: dict[str, Any] = {one.name: one.default for one in settings_of(FolderSettings) if one.name in RECORDS}


def by_linear_probe(
    records: Sequence[Example], opened: Opened, classes: tuple[str, ...], folds: int, seed: int, quiet: bool
) -> Array:
    """Probabilities float64[N, C] by a logistic regression on image features.

    Raises:
      BadDataError: an image cannot be used, or a label is there less often than there are folds.
    """
    probe_features.require_images(records, "--learn fine-tunes a model for every fold instead")
    check_images([records], opened.images)
    if not quiet:
        announce(opened.model)
    features = probe_features.features(records, opened.images, quiet)
    groups = example_groups.groups_of(records, folds, quiet=quiet)
    return probe.out_of_fold(features, [record.label for record in records], folds, classes, seed, groups)


def by_fine_tuning(records: Sequence[Example], classes: tuple[str, ...], folds: int, config: RunConfig) -> Array:
    """Probabilities float64[N, C] by fine-tuning a model for every fold.

    A model has not learned from the label that it doubts, nor from another record about the same image or text. The
    step whose answers count is the same for all folds, and chosen by the mean loss of all N records: one of the few
    steps of a run, which no single label decides.

    Args:
      config: settings of model, prompt, images and learning; where examples come from is added.

    Raises:
      BadDataError: so many records are about the same that a fold has none.
      DivergedError: a fold diverged in every attempt.
    """
    with tempfile.TemporaryDirectory() as scratch:
        data = _file(Path(scratch) / "records.jsonl", records)
        own = dataclasses.replace(config, data=str(data), folds=folds, labels=classes, labels_from=None)
        own = dataclasses.replace(own, images=data.root, allow_outside=True, **AS_WRITTEN)
        found = learn.cross_validate(own).predictions
    return np.array([[_by_label(one)[name] for name in classes] for one in found])


def _by_label(one: Prediction) -> dict[str, float]:
    """The probability of every label."""
    assert one.made is not None
    assert one.made.labels is not None
    assert one.probabilities is not None
    return dict(zip(one.made.labels, one.probabilities, strict=True))


def _file(path: Path, records: Sequence[Example]) -> Path:
    """Examples as lines of JSON, with absolute paths of their images."""
    lines = [to_json({"prefix": one.prompt, "suffix": one.label, **_thing(one)}) for one in records]
    path.write_text("\n".join(lines) + "\n", "utf-8", "surrogateescape")
    return path


def _thing(example: Example) -> dict[str, str]:
    image = {"image": str(example.image.path.resolve())} if example.images else {}
    return image | ({"text": "\n\n".join(example.contents)} if example.contents else {})
