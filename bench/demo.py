"""The demo task over several seeds: does fine-tuning a tiny model teach the rule?

    python bench/demo.py [--seeds 5] [--new 200] [--method attention] [--model tiny]

Each seed draws its own 96 advertisements, splits them (10 for validation) and learns with the defaults of
03-do_learn.py. Accuracy on the training set and on newly drawn advertisements is printed before and after, with the
seconds of the whole stage: start, compilation, training, evaluation before and after.
"""

import argparse
import tempfile
import time
from pathlib import Path

import jax
from stages import accuracy, palitune

NEW_SEED = 10_000  # far from the seeds of the training sets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--method", choices=("attention", "full", "lora"), default="attention")
    parser.add_argument("--new", type=int, default=200, help="newly drawn advertisements (default: %(default)s)")
    parser.add_argument("--model", choices=("tiny", "tiny3"), default="tiny")
    parser.add_argument("--examples", type=int, default=512, help="seen while learning (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        palitune(folder, "download", "--model", args.model)
        palitune(folder, "demo-data", "-o", "new", "--count", str(args.new), "--seed", str(NEW_SEED))
        before_new = accuracy(palitune(folder, "validate", "-m", args.model, "new/data.jsonl"))
        print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}")
        print("seed  train before  train after  new before  new after  seconds")
        passed = 0
        for seed in range(args.seeds):
            data, run = f"set{seed}", f"run{seed}"
            palitune(folder, "demo-data", "-o", data, "--seed", str(seed))
            palitune(folder, "split", "-d", f"{data}/data.jsonl", "-v", "10", "-n", "split", "--seed", str(seed))
            start = time.perf_counter()
            names = ("-m", args.model, "-d", f"{data}/split", "-w", run)
            options = ("--seed", str(seed), "--method", args.method, "--examples", str(args.examples))
            blocks = palitune(folder, "learn", *names, *options).split("Result: ")
            seconds = time.perf_counter() - start
            train_before, train_after = accuracy(blocks[1]), accuracy(blocks[4])
            new = accuracy(palitune(folder, "validate", "-m", run, "new/data.jsonl"))
            passed += train_after == 1.0 and new >= 0.9
            print(
                f"{seed:4}  {train_before:12.3f}  {train_after:11.3f}  {before_new:10.3f}  {new:9.3f}  {seconds:7.1f}",
                flush=True,
            )
        print(f"train 1.0 and new >= 0.9: {passed} of {args.seeds} seeds")


if __name__ == "__main__":
    main()
