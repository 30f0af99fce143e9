"""Steps of a golden model on some of the devices of a CPU that is several; `test_parallel` starts it."""

import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from conftest import golden_model
from test_layerwise import parameters
from test_models import batch

from palitune import trees
from palitune.config import run_config
from palitune.data.batches import Batch
from palitune.method import METHODS
from palitune.parallel import Placement
from palitune.train import communication, optimizers
from palitune.train.step import Step, init_state, make_step
from palitune.train.step_options import Options

EXAMPLES = 8
RATES = {"attention": 0.01, "full": 0.0001, "lora": 0.003}
WHOLE = {"attention": Options(accumulate=2, clip_global=1.0, ema=0.9)}  # with all gradients at once
RULES = {"attention": "sgd", "full": "sgd", "lora": "adamw"}
GOLDEN = golden_model("paligemma2_gqa_softcap")


def examples(count: int, parts: int) -> Batch:
    """A batch of as many examples, different ones; with `parts` as many batches."""
    one: Any = jax.tree.map(lambda leaf: np.concatenate([np.asarray(leaf)] * count)[: count * parts], batch(GOLDEN))
    rng = np.random.default_rng(0)
    one = one._replace(image=rng.uniform(-1, 1, one.image.shape).astype(np.float32))
    return jax.tree.map(lambda leaf: leaf.reshape(parts, count, *leaf.shape[1:]), one) if parts > 1 else one


def steps(method: str, placement: Placement | None, count: int, options: Options) -> tuple[list[float], Step]:
    """The losses of some steps."""
    settings = run_config.training(method=method, optimizer=RULES[method])
    transform = optimizers.make(settings, lambda step: 1.0)
    chosen, frozen = trees.split(parameters(GOLDEN, method), METHODS[method].trainable)

    def put(path: str, leaf: Any) -> jax.Array:
        return jnp.array(leaf, jnp.float32) if placement is None else placement.place(path, np.asarray(leaf))

    trainable: Any = {path: put(path, leaf) for path, leaf in chosen.items()}
    still = {path: put(path, leaf) for path, leaf in frozen.items()}
    state = init_state(transform, trainable, options, RATES[method], placement=placement)
    step = make_step(GOLDEN.sizes, transform, jnp.float32, options, placement)
    losses = []
    for _ in range(count):
        trainable, state, outcome = step(trainable, state, still, examples(EXAMPLES, options.accumulate))
        losses.append(float(outcome.loss))
    return losses, step


def gathered(step: Step) -> list[int]:
    """How many values each gathering of a compiled step makes."""
    (program,) = step.programs.values()
    found = []
    for line in program.as_text().splitlines():
        if re.search(r"= .* all-gather(-start)?\(", line):
            shapes = re.findall(r"\b[a-z]+\d+\[([\d,]*)\]", line.partition("= ")[2].partition("all-gather")[0])
            found += [math.prod(int(size) for size in shape.split(",") if size) for shape in shapes]
    return found


def is_large(path: str) -> bool:
    return not path.endswith(("scale", "bias"))


def main(arguments: list[str]) -> None:
    """Prints what `test_parallel` asks for."""
    devices = jax.devices()
    if arguments[0] == "losses":
        options = WHOLE.get(arguments[1], Options())
        for data, fsdp in ((1, 1), (1, 2), (1, 4), (1, 8), (2, 4)):
            placement = Placement(devices[: data * fsdp], data) if data * fsdp > 1 else None
            losses, _ = steps(arguments[1], placement, int(arguments[2]), options)
            print(f"{data}x{fsdp}", *losses)
    elif arguments[0] == "sent":
        # On a CPU gradients are summed for everybody, so only what is gathered is what it would be on GPUs.
        _, step = steps("full", Placement(devices), 1, Options())
        (program,) = step.programs.values()
        layers = [leaf for path, leaf in GOLDEN.params.items() if path.startswith(optimizers.STACKS) and is_large(path)]
        least = 2 * sum(4 * math.prod(leaf.shape) for leaf in layers) * 7 // 8
        print(communication.sent(program.as_text() or "")["all-gather"], least)
    else:
        layers = [leaf for path, leaf in GOLDEN.params.items() if path.startswith(optimizers.STACKS)]
        largest = max(math.prod(leaf.shape[1:]) for leaf in layers)
        table = math.prod(GOLDEN.params["llm/embedder/input_embedding"].shape)
        for method, options in (("full", Options()), ("attention", WHOLE["attention"])):
            _, step = steps(method, Placement(devices), 1, options)
            print(method, max(gathered(step)), largest, table)
