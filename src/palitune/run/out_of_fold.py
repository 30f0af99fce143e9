"""Probabilities of every example's labels from a model that has not learned from it: fold by fold.

Axes: N examples, M held-out examples, C classes.
"""

import contextlib
import dataclasses
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from palitune import console
from palitune.checkpoint import manifest
from palitune.config.model import RECORDS, FolderSettings
from palitune.config.run_config import PROMPT, RunConfig
from palitune.config.settings import settings_of
from palitune.data import dataset_files
from palitune.data.example import Example
from palitune.data.formats.json_lines import to_json
from palitune.data.prediction import MadeWith
from palitune.data.probabilities import Array
from palitune.evaluate import probe
from palitune.infer import probe_features
from palitune.infer.asked import check_images
from palitune.infer.loading import announce
from palitune.infer.opening import Opened, open_model
from palitune.infer.predictor import Predictor
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
    return probe.out_of_fold(features, [record.label for record in records], folds, classes, seed)


def by_fine_tuning(records: Sequence[Example], classes: tuple[str, ...], folds: int, config: RunConfig) -> Array:
    """Probabilities float64[N, C] by fine-tuning a model for every fold.

    Args:
      config: settings of model, prompt, images and learning; where examples come from, and where models go, is added.

    Raises:
      ResumableError: stopped by a signal.
    """
    config = dataclasses.replace(config, labels=classes, labels_from=None)
    p = np.zeros((len(records), len(classes)))
    with tempfile.TemporaryDirectory() as scratch:
        parts = probe.parts([record.label for record in records], folds, config.seed)
        for number, (learned, held_out) in enumerate(parts, 1):
            if not config.quiet:
                console.note(f"fold {number} of {folds}: learning from {len(learned)} records")
            train = _file(Path(scratch) / f"train{number}.jsonl", [records[i] for i in learned])
            valid = _file(Path(scratch) / f"valid{number}.jsonl", [records[i] for i in held_out])
            p[held_out] = _one_fold(config, train, valid, Path(scratch) / f"fold{number}")
    return p


def _one_fold(config: RunConfig, train: Path, valid: Path, target: Path) -> Array:
    """Learns from one file; probabilities float64[M, C] of the other's M examples."""
    # Learning must not see the held-out labels, not even to choose its best step: its own examples evaluate it.
    own = dataclasses.replace(
        config, data=str(train), write=str(target), save_every=0, images=train.root, allow_outside=True, quiet=True
    )
    own = dataclasses.replace(own, **AS_WRITTEN)
    with contextlib.redirect_stdout(io.StringIO()):
        path = learn.learn(own).checkpoint
    assert path is not None
    opened = open_model(path, own, own, quiet=True)
    made = MadeWith(config.labels, prompt=manifest.prompt(path, PROMPT))
    held_out = dataset_files.load(valid, own, labels=config.labels)
    predictions = Predictor(opened.model, opened.images, made, quiet=True).predict_all(held_out)
    return np.array([one.probabilities for one in predictions])


def _file(path: Path, records: Sequence[Example]) -> Path:
    """Examples as lines of JSON, with absolute paths of their images."""
    lines = [to_json({"prefix": one.prompt, "suffix": one.label, **_thing(one)}) for one in records]
    path.write_text("\n".join(lines) + "\n", "utf-8", "surrogateescape")
    return path


def _thing(example: Example) -> dict[str, str]:
    image = {"image": str(example.image.path.resolve())} if example.images else {}
    return image | ({"text": "\n\n".join(example.contents)} if example.contents else {})
