"""The demo task over several seeds: does fine-tuning the tiny model teach the rule?

    python bench/demo.py [--seeds 5] [--new 200] [--method attention]

Each seed draws its own 96 advertisements, splits them (10 for validation) and learns with the defaults of
03-do_learn.py. Train accuracy and the accuracy on newly drawn advertisements are printed before and after, with the
seconds that one learning pass took, compilation included.
"""

import argparse
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from palitune import config
from palitune.checkpoint import hub, npz
from palitune.data import demo, records, split
from palitune.data.pictures import Pictures
from palitune.data.tokens import Tokenizer
from palitune.infer.decoding import Answerer
from palitune.judge import confusion
from palitune.models import lora, variants
from palitune.train import loop, optimizers, step

NEW_SEED = 10_000  # far from the seeds of the training sets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--method", choices=optimizers.METHODS, default="attention")
    parser.add_argument("--learning-rate", type=float, help="(default: the method's)")
    parser.add_argument("--new", type=int, default=200, help="newly drawn advertisements (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = hub.download(hub.TINY, folder)
        params = dict(npz.Checkpoint(path))
        sizes = variants.read(params)
        tokenizer = Tokenizer(path.with_name("tokenizer.model"))
        pictures = Pictures(sizes.img.image_size)
        answer = Answerer(sizes, tokenizer, np.float32)
        demo.make(folder / "new", args.new, NEW_SEED)
        new = records.read(folder / "new" / "data.jsonl")

        def accuracy(params: dict[str, object], asked: list[records.Record]) -> float:
            questions = ((pictures(r.image), tokenizer.prompt(config.PROMPT)) for r in asked)
            counts = confusion.count([r.suffix for r in asked], list(answer(params, questions)))
            return counts.accuracy or 0.0

        print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}")
        print("seed  train before  train after  new before  new after  seconds")
        passed = 0
        for seed in range(args.seeds):
            demo.make(folder / str(seed), seed=seed)
            split.split(folder / str(seed) / "data.jsonl", folder / str(seed) / "set1", 10, seed)
            train = records.read(folder / str(seed) / "set1" / "train.jsonl")
            settings = config.learning(args.method)
            settings.seed = seed
            settings.learning_rate = args.learning_rate or settings.learning_rate
            transform, options = step.configured(settings, loop.steps_of(settings), 0)
            texts = loop.examples_of(train, tokenizer, settings.prompt)
            start = time.perf_counter()
            base = dict(params)
            if args.method == "lora":
                targets = (settings.lora_targets, settings.lora_rank, settings.lora_alpha)
                base |= lora.init(params, *targets, jax.random.key(seed))
            learned = loop.learn(
                base,
                loop.training_batches(train, texts, pictures, settings, "1st"),
                step.make_step(sizes, transform, np.float32, options),
                transform,
                options,
                config=settings,
                learning_rate=settings.learning_rate,
                weights_dtype=np.float32,
                progress=lambda *state: None,
            )
            seconds = time.perf_counter() - start
            figures = [accuracy(p, asked) for asked in (train, new) for p in (params, learned)]
            passed += figures[1] == 1.0 and figures[3] >= 0.9
            columns = zip(figures, (12, 11, 10, 9), strict=True)
            print(f"{seed:4}", *(f"{figure:>{width}.3f}" for figure, width in columns), f"{seconds:7.1f}", sep="  ")
        print(f"train 1.0 and new >= 0.9: {passed} of {args.seeds} seeds")


if __name__ == "__main__":
    main()
