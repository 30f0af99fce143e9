"""The manifest of what a run saves: its base, its configuration, and which records it knows."""

from collections.abc import Callable, Iterable

from palitune import workspace
from palitune.checkpoint import delta, manifest, spec_json, trained_images
from palitune.config.run_config import TrainingConfig
from palitune.data import dataset_files
from palitune.data.checks import seen_in_training
from palitune.data.example import Example
from palitune.models.arrays import Weights
from palitune.run.preparation import Preparation

Describe = Callable[[TrainingConfig, Weights, manifest.Combined | None], str]


def describer(run: Preparation) -> Describe:
    """What makes the manifest of the arrays that a configuration has made, and of what several trials have become."""
    model, data = run.model, run.data
    learned = _known(trained_images.read(model.path), run.learned)
    chosen = _known(trained_images.read(model.path, trained_images.CHOSEN), run.chosen_on)
    told = spec_json.of_model(model.sizes, model.checkpoint.leaves())

    def describe(made_by: TrainingConfig, saved: Weights, combined: manifest.Combined | None) -> str:
        return manifest.text(
            base=delta.describe(model.checkpoint, workspace.name_of(model.path)),
            dtypes={path: leaf.dtype for path, leaf in saved.items()},
            config=made_by.as_json(),
            data=str(data.parent if data.stem in dataset_files.PARTS else data),
            learned=learned,
            chosen=chosen,
            model=told,
            combined=combined,
        )

    return describe


def _known(before: trained_images.Known, examples: Iterable[Example]) -> manifest.Learned:
    return trained_images.as_json(trained_images.with_more(before, map(seen_in_training.learned_from, examples)))
