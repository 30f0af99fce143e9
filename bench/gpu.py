"""Runs the promised configurations on a real GPU: peak memory and time of a step, compared with the plan.

    python bench/gpu.py [--only 10b ...] [--card h200-141gb] [--steps 20] [--jobs 12]

Those of one card in tests/promises.py, with random weights, each in a process of its own that may take as much of the
GPU as a run on the promise's card. It prints the planned peak, the peak that the device reports, milliseconds a step
(median), the lower bound (`train/floor.py`, of --card) and the share of it. Activations are kept as far as there is
room, as in a run, so that peaks are above those that are promised.

With --jobs so many are compiled at once first; JAX_COMPILATION_CACHE_DIR has to name a folder for that.
"""

import argparse
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

COMPILED, MEASURED = "compile", "measure"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="TEXT", help="configurations with this in their names")
    parser.add_argument("--card", help="whose speed the floor is of: a name or a JSON file (default: the promise's)")
    parser.add_argument("--steps", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="how many are compiled at once (default: %(default)s)")
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "NAME"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        what, name = args.child
        print(json.dumps(measure(name, args, what == COMPILED)))
        return
    if shutil.which("nvidia-smi") is None:
        sys.exit("no NVIDIA GPU here: nvidia-smi is not installed")
    if args.jobs > 1 and not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        parser.error("--jobs: JAX_COMPILATION_CACHE_DIR names no folder in which compiled programs could be kept")
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    name, total, driver = (
        subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")[0].split(", ")
    )
    from promises import PROMISED

    from palitune.train import cards

    chosen = [
        one for one in PROMISED if one.devices == 1 and (not args.only or any(text in one.name for text in args.only))
    ]

    def child(what: str, number: int) -> subprocess.CompletedProcess[str]:
        card = cards.find(chosen[number].card)
        share = (card.memory - cards.RESERVED) / (int(total) << 20)
        environment = {**os.environ, "XLA_CLIENT_MEM_FRACTION": f"{share:.4f}"}
        if what == COMPILED:  # which takes little memory: what kernels are tried on
            environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        command = [sys.executable, __file__, *sys.argv[1:], "--child", what, chosen[number].name]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    if not chosen:
        parser.error("--only: no configuration has that in its name")
    print(f"{name}, driver {driver}, {args.steps} steps", flush=True)
    if args.jobs > 1:
        started = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(child, [COMPILED] * len(chosen), range(len(chosen))))
        print(f"compiled in {time.perf_counter() - started:.0f} s", flush=True)
    width = max(len(one.name) for one in chosen)
    heads = f"{'planned GB':>10} {'peak GB':>8} {'off':>6} {'ms a step':>9} {'floor ms':>8} {'share':>6}"
    print(f"{'configuration':{width}} {heads}")
    for number, one in enumerate(chosen):
        done = child(MEASURED, number)
        if done.returncode:
            print(f"{one.name:{width}} failed: {(done.stderr.strip().splitlines() or ['?'])[-1][:200]}", flush=True)
            continue
        r = json.loads(done.stdout.splitlines()[-1])
        off, part = r["planned"] / r["peak"] - 1, r["floor"] / r["seconds"]
        memory = f"{r['planned'] / 1e9:10.2f} {r['peak'] / 1e9:8.2f} {off:+6.1%}"
        speed = f"{r['seconds'] * 1e3:9.0f} {r['floor'] * 1e3:8.1f} {part:6.0%}"
        print(f"{one.name:{width}} {memory} {speed}", flush=True)


def measure(name: str, args: argparse.Namespace, only_compiled: bool) -> dict[str, float]:
    """Compiles a promised step as a run does, and runs it unless it should be compiled only."""
    from palitune import host_memory

    host_memory.raise_limit()
    import jax
    import jax.numpy as jnp
    import numpy as np
    from promises import PROMISED

    from palitune.train import cards, floor, plan, step_shapes
    from palitune.train.step import init_state

    (promise,) = (one for one in PROMISED if one.name == name)
    work = promise.work()
    prepared = plan.prepare(work)
    if only_compiled:
        return {}

    def random(number: int, path: str, shape: jax.ShapeDtypeStruct) -> jax.Array:
        """Weights as of a model that has not learned: of quantized ones any codes, and scales like theirs."""
        key, is_code = jax.random.key(number), jnp.issubdtype(shape.dtype, jnp.integer)
        if path.endswith("_low"):
            make = jax.jit(lambda key: jnp.full(shape.shape, -6, shape.dtype))
        elif path.endswith("_step"):
            make = jax.jit(lambda key: jnp.full(shape.shape, 0.01, shape.dtype))
        elif is_code:
            make = jax.jit(lambda key: jax.random.bits(key, shape.shape, jnp.uint8).astype(shape.dtype))
        else:
            make = jax.jit(lambda key: 0.02 * jax.random.normal(key, shape.shape, shape.dtype))
        return make(key).block_until_ready()

    shapes, frozen_shapes = step_shapes.parameters(work)
    trainable = {path: random(number, path, shape) for number, (path, shape) in enumerate(shapes.items())}
    frozen = {path: random(-number, path, shape) for number, (path, shape) in enumerate(frozen_shapes.items(), 1)}
    state = init_state(prepared.transform, trainable, prepared.options, 1e-4)
    rng = np.random.default_rng(0)
    batch = jax.tree.map(
        lambda leaf: (
            rng.integers(0, 2, leaf.shape).astype(leaf.dtype)
            if leaf.dtype.kind == "i"
            else np.ones(leaf.shape, leaf.dtype)
        ),
        step_shapes.batch(work),
    )
    times = []
    for _ in range(args.steps + 2):
        started = time.perf_counter()
        trainable, state, outcome = prepared.step(trainable, state, frozen, batch)
        outcome.loss.block_until_ready()
        times.append(time.perf_counter() - started)
    return {
        "planned": prepared.memory.peak,
        "peak": (jax.devices()[0].memory_stats() or {})["peak_bytes_in_use"],
        "seconds": float(np.median(times[2:])),
        "floor": floor.seconds(work, cards.find(args.card or promise.card)),
    }


if __name__ == "__main__":
    main()
