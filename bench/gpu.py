"""Measures the real model on a real GPU: peak memory and time of a step, compared with the plan.

    python bench/gpu.py [--card rtx4070-12gb] [--gigabytes 11] [--steps 20] [--batch 8] [--variant gemma3-4b]

Random weights of PaliGemma 3B at 224 pixels, or of another --variant, and all three methods, each in a process of its
own whose share of the GPU is capped to `--gigabytes`. It prints the planned peak, the peak that the device reports,
milliseconds a step (median), the lower bound (operations at the card's full bfloat16 speed, or weights moved) and the
share of it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time

METHODS = ("attention", "full", "lora")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--card", default="rtx4070-12gb", help="whose speed the floor is of: a name or a JSON file")
    parser.add_argument("--gigabytes", type=float, default=11.0, help="share of the GPU (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--variant", default="paligemma-3b-224", help="as of palitune plan (default: %(default)s)")
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)  # what a child process runs
    args = parser.parse_args()
    if args.method:
        print(json.dumps(measure(args)))
        return
    if shutil.which("nvidia-smi") is None:
        sys.exit("no NVIDIA GPU here: nvidia-smi is not installed")
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    name, total, driver = (
        subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")[0].split(", ")
    )
    share = args.gigabytes * 1e9 / (int(total) << 20)
    environment = {**os.environ, "XLA_CLIENT_MEM_FRACTION": f"{share:.4f}"}
    print(
        f"{name}, driver {driver}, {args.gigabytes:g} GB of it; {args.variant}, batch {args.batch}, {args.steps} steps"
    )
    print(f"{'method':10} {'planned GB':>10} {'peak GB':>8} {'off':>6} {'ms a step':>9} {'floor ms':>8} {'share':>6}")
    for method in METHODS:
        command = [sys.executable, __file__, *sys.argv[1:], "--method", method]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{method:10} failed: {done.stderr.strip().splitlines()[-1][:200]}")
            continue
        r = json.loads(done.stdout.splitlines()[-1])
        off, part = r["planned"] / r["peak"] - 1, r["floor"] / r["seconds"]
        print(
            f"{method:10} {r['planned'] / 1e9:10.2f} {r['peak'] / 1e9:8.2f} {off:+6.1%} {r['seconds'] * 1e3:9.0f} "
            f"{r['floor'] * 1e3:8.0f} {part:6.0%}"
        )


def measure(args: argparse.Namespace) -> dict[str, float]:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from palitune.config import run_config
    from palitune.models import families, spec
    from palitune.train import cards, floor, plan
    from palitune.train.step import init_state

    sizes = families.variant(args.variant)
    if sizes is None:
        sys.exit(f"no variant {args.variant}. There are: {', '.join(families.variants())}")
    settings = run_config.training(method=args.method, batch_size=args.batch)
    dtype = jnp.dtype(sizes.stored_dtype)
    stored = {path: jax.ShapeDtypeStruct(leaf.shape, dtype) for path, leaf in spec.expected(sizes).items()}
    work = plan.Work(sizes, stored, settings, jnp.dtype(jnp.bfloat16), 21, 2, args.method != "full")
    keep = plan.budget(work, plan.device_memory())
    _, planned = plan.compiled(work, keep)
    prepared = plan.prepare(work)
    shapes, frozen_shapes = plan.parameters(work)

    def random(number: int, shape: jax.ShapeDtypeStruct) -> jax.Array:
        make = jax.jit(lambda key: 0.02 * jax.random.normal(key, shape.shape, shape.dtype))
        return make(jax.random.key(number)).block_until_ready()

    trainable = {path: random(number, shape) for number, (path, shape) in enumerate(shapes.items())}
    frozen = {path: random(-number, shape) for number, (path, shape) in enumerate(frozen_shapes.items(), 1)}
    state = init_state(prepared.transform, trainable, prepared.options, 1e-4)
    rng = np.random.default_rng(0)
    batch = jax.tree.map(
        lambda leaf: (
            rng.integers(0, 2, leaf.shape).astype(leaf.dtype)
            if leaf.dtype.kind == "i"
            else np.ones(leaf.shape, leaf.dtype)
        ),
        plan.batch(work),
    )
    times = []
    for _ in range(args.steps + 2):
        started = time.perf_counter()
        trainable, state, outcome = prepared.step(trainable, state, frozen, batch)
        outcome.loss.block_until_ready()
        times.append(time.perf_counter() - started)
    peak = (jax.devices()[0].memory_stats() or {})["peak_bytes_in_use"]
    return {
        "planned": planned.peak,
        "peak": peak,
        "seconds": float(np.median(times[2:])),
        "floor": floor.seconds(work, cards.find(args.card)),
    }


if __name__ == "__main__":
    main()
