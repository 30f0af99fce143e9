"""Memory of promised configurations, compiled for a described card: none may grow by more than 3 %.

    bin/test.sh --gpu-plan             compare with tests/golden/gpu_plan.json
    bin/test.sh --gpu-plan --record    write that file anew

Run by a Python that has JAX's CUDA plugin; no GPU is needed. What is counted is what XLA's memory analysis counts:
arguments and temporaries of the very step that `palitune learn` runs.
"""

import json
import os
import sys
from pathlib import Path

from palitune.train import cards

# Before JAX is imported.
os.environ.update(JAX_SKIP_CUDA_CONSTRAINTS_CHECK="1", JAX_PLATFORMS="cpu", XLA_FLAGS=cards.FLAGS)

import jax
import jax.numpy as jnp

from palitune.config import run_config
from palitune.models import families, spec
from palitune.train import plan

CARD = "rtx4070-12gb"
RECORD = Path(__file__).parent / "golden" / "gpu_plan.json"
GROWTH = 1.03
# Family, method, optimizer, batch, image tokens from the cache; 20-token prompt and one-word answer; the bar in GB.
PROMISED = (
    ("paligemma-3b", "attention", "sgd", 8, True, 7.0),
    ("paligemma-3b", "attention", "sgd", 8, False, 7.0),
    ("paligemma-3b", "attention", "sgd", 48, True, 11.0),
    ("paligemma-3b", "attention", "sgd", 48, False, 11.0),
    ("paligemma-3b", "full", "sgd", 8, False, 8.5),
    ("paligemma-3b", "full", "adafactor", 8, False, 11.0),
    ("paligemma-3b", "lora", "adamw", 8, True, 6.8),
    ("paligemma-3b", "lora", "sgd", 8, False, 6.8),
    ("paligemma-3b", "lora", "adamw", 48, True, 11.0),
    ("paligemma-3b", "lora", "adamw", 48, False, 11.0),
    ("paligemma2-3b", "full", "sgd", 4, False, 9.5),
    ("paligemma2-3b", "lora", "adamw", 16, True, 9.0),
    ("paligemma2-3b", "lora", "adamw", 16, False, 9.0),
    ("gemma3-4b", "attention", "sgd", 2, True, 9.5),
    ("gemma3-4b", "lora", "adamw", 2, True, 9.5),
    ("gemma3-1b", "full", "sgd", 8, False, 4.8),
    ("gemma2-2b", "full", "sgd", 4, False, 7.8),
)
RANKS = {"gemma3-4b": 16}
PROMPTS = {"gemma3-1b": 126}  # tokens: of 128 the last two are the answer's


def gigabytes(family: str, method: str, optimizer: str, batch: int, features: bool) -> tuple[float, float]:
    """What XLA counts, and what `plan.estimate` says."""
    sizes = families.published(family, 224 if family in families.PALIGEMMAS else None)
    rank = RANKS.get(family, run_config.training().lora_rank)
    settings = run_config.training(method=method, optimizer=optimizer, batch_size=batch, lora_rank=rank)
    dtype = jnp.dtype(families.FAMILIES[family].stored_dtype)
    stored = {path: jax.ShapeDtypeStruct(leaf.shape, dtype) for path, leaf in spec.expected(sizes).items()}
    work = plan.Work(sizes, stored, settings, jnp.dtype(jnp.bfloat16), PROMPTS.get(family, 20) + 1, 2, features)
    counted = plan.measure(work, 0, cards.placement(cards.find(CARD)))
    return counted.peak / 1e9, plan.estimate(work, 0).peak / 1e9


def main() -> int:
    recorded = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    figures, failed, worst = {}, 0, 0.0
    print(f"GB on {CARD}, jax {jax.__version__}")
    print(f"{'configuration':44} {'counted':>7} {'recorded':>8} {'bar':>5} {'estimate':>8}")
    for family, method, optimizer, batch, features, bar in PROMISED:
        pixels = not features and families.FAMILIES[family].img is not None
        name = f"{family} {method} {optimizer} batch {batch}{' with pictures' if pixels else ''}"
        counted, estimated = gigabytes(family, method, optimizer, batch, features)
        figures[name] = round(counted, 3)
        before = recorded.get(name, counted)
        worst = max(worst, abs(estimated / counted - 1))
        good = counted <= bar and counted <= before * GROWTH
        failed += not good
        mark = "" if good else "  TOO MUCH"
        print(f"{name:44} {counted:7.3f} {before:8.3f} {bar:5.1f} {estimated:8.3f}{mark}", flush=True)
    good = worst <= plan.ESTIMATE_ERROR
    failed += not good
    mark = "" if good else "  TOO MUCH"
    print(f"the estimate is off by at most {worst:.1%}; {plan.ESTIMATE_ERROR:.0%} is promised{mark}")
    if "--record" in sys.argv:
        RECORD.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"gpu-plan: {len(PROMISED) + 1 - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
