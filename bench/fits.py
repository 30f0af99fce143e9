"""What fits on a card: for each published model and method, the largest batch up to 8, and the memory of its step.

    python bench/fits.py [--card rtx4070-12gb] [--variant gemma3-4b ...]

Run by a Python that has JAX's CUDA plugin (`bin/test.sh --gpu-plan` makes one in .venv-cuda); no GPU is needed. The
step is compiled for the described card, with a 20-token prompt, a one-word answer, and image features from the cache
where the method can use them. It prints the table in docs/models.md.
"""

import argparse
import os

from palitune.train import cards

# Before JAX is imported.
os.environ.update(JAX_SKIP_CUDA_CONSTRAINTS_CHECK="1", JAX_PLATFORMS="cpu", XLA_FLAGS=cards.FLAGS)

import jax
import jax.numpy as jnp

from palitune.config import run_config
from palitune.method import METHODS
from palitune.models import families, spec
from palitune.train import plan, step_memory
from palitune.train.step_shapes import Work

BATCHES = (8, 4, 2, 1)
OFF = 1.1  # how far above the limit an estimate may be for the step to be compiled at all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--card", default="rtx4070-12gb", help="a name or a JSON file (default: %(default)s)")
    parser.add_argument("--variant", nargs="*", default=families.variants(), help="as of palitune plan")
    args = parser.parse_args()
    card = cards.find(args.card)
    limit = (card.memory - cards.RESERVED) * plan.SAFETY
    print(f"| model | {' | '.join(METHODS)} |")
    print(f"|---|{'---|' * len(METHODS)}")
    for name in args.variant:
        print(f"| {name} | {' | '.join(largest(name, method, card, limit) for method in METHODS)} |", flush=True)


def largest(name: str, method: str, card: cards.Card, limit: float) -> str:
    """The largest batch that fits, and the GB that its step takes."""
    sizes = families.variant(name)
    if sizes is None:
        raise SystemExit(f"no variant {name}. There are: {', '.join(families.variants())}")
    stored = {
        path: jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(jnp.bfloat16)) for path, leaf in spec.expected(sizes).items()
    }
    features = sizes.img is not None and not METHODS[method].trains_image_encoder
    for batch in BATCHES:
        settings = run_config.training(method=method, batch_size=batch)
        work = Work(sizes, stored, settings, jnp.dtype(jnp.bfloat16), 21, 2, features)
        if step_memory.estimate(work, 0).peak > limit * OFF:
            continue
        peak = plan.compiled(work, 0, cards.placement(card)).memory.peak
        if peak <= limit:
            return f"batch {batch}: {peak / 1e9:.1f} GB"
    return "—"


if __name__ == "__main__":
    main()
