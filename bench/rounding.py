"""Measures what rounding costs: full fine-tuning of the tiny model with float32 weights, and with bfloat16 ones.

    python bench/rounding.py [--seeds 5]

Each seed draws its own 96 advertisements and trains every parameter on them with SGD; it prints the loss on 200 newly
drawn ones. bfloat16 weights are rounded stochastically, as `--method full` does it, and for comparison to the nearest.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from palitune import trees
from palitune.checkpoint import npz
from palitune.config import run_config
from palitune.data import batches, example_files
from palitune.data.demo import demo_data
from palitune.data.images.loader import ImageLoader
from palitune.data.templates import PaliGemma
from palitune.data.vocabulary import Vocabulary
from palitune.hub import catalogue
from palitune.method import METHODS
from palitune.models import families
from palitune.train import loop, objective, optimizers, step

NEW_SEED, NEW = 10_000, 200


def to_nearest(x: jax.Array, key: jax.Array) -> jax.Array:
    return x.astype(jnp.bfloat16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=0.0003)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = catalogue.download(catalogue.TINY, folder)
        params = {key: np.asarray(array, np.float32) for key, array in npz.Checkpoint(path).items()}
        sizes = families.read(params)
        template = PaliGemma(Vocabulary.open(path.with_name("tokenizer.model")))
        loader = ImageLoader(sizes.image_encoder.image_size)
        demo_data.make(folder / "new", NEW, NEW_SEED)
        new = example_files.read(folder / "new" / "data.jsonl")
        new_texts = loop.examples_of(new, template, run_config.PROMPT)
        asked = batches.training(np.stack([loader(record.image.path) for record in new]), new_texts)
        mean_loss = jax.jit(lambda params: objective.loss(sizes, trees.unflatten(params), asked).value)

        changes = {name: getattr(args, name) for name in ("examples", "batch_size", "learning_rate")}
        settings = run_config.training(method="full", **changes)
        transform, options = step.configured(settings, loop.steps_of(settings), 0)

        def learned(train: Any, dtype: Any, update: Any) -> float:
            texts = loop.examples_of(train, template, settings.prompt)
            chosen, frozen = trees.split(params, METHODS["full"].trainable)
            weights: Any = {key: jnp.array(array, dtype) for key, array in chosen.items()}
            state = step.init_state(transform, weights, options, settings.learning_rate, settings.seed)
            for batch in loop.training_batches(train, texts, loader, settings, "1st"):
                weights, state, _ = update(weights, state, frozen, batch)
            return float(mean_loss({key: array.astype(jnp.float32) for key, array in {**weights, **frozen}.items()}))

        exact, stochastic, nearest = (step.make_step(sizes, transform, jnp.float32, options) for _ in range(3))
        print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}; before learning {float(mean_loss(params)):.4f}")
        print("seed  float32  bfloat16 stochastic  bfloat16 nearest")
        rows = []
        for seed in range(args.seeds):
            demo_data.make(folder / str(seed), seed=seed)
            train = example_files.read(folder / str(seed) / "data.jsonl")
            settings = replace(settings, seed=seed)
            row = [learned(train, jnp.float32, exact), learned(train, jnp.bfloat16, stochastic)]
            with mock.patch.object(optimizers, "round_stochastically", to_nearest):
                row.append(learned(train, jnp.bfloat16, nearest))
            rows.append(row)
            print(f"{seed:4}  {row[0]:7.4f}  {row[1]:19.4f}  {row[2]:16.4f}", flush=True)
        means = np.mean(rows, axis=0)
        print(f"mean  {means[0]:7.4f}  {means[1]:19.4f}  {means[2]:16.4f}")
        print(f"of float32     {means[1] / means[0] - 1:+18.1%}  {means[2] / means[0] - 1:+16.1%}")


if __name__ == "__main__":
    main()
