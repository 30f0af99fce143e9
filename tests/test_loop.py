"""A pass of learning on a golden model: repeatable, and ended when the loss goes astray."""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Golden
from PIL import Image

from palitune import config
from palitune.data.batches import Batch
from palitune.data.pictures import Pictures
from palitune.data.records import Record
from palitune.data.tokens import Text
from palitune.errors import DivergedError
from palitune.train import loop, step


class Letters:
    """A tokenizer for the golden models' random vocabulary: one token a letter."""

    def example(self, prefix: str, suffix: str) -> Text:
        return Text([ord(letter) for letter in prefix + "\n" + suffix] + [1], len(prefix) + 1)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("images")
    made = []
    for number, colour in enumerate(("red", "lime", "blue", "white", "black")):
        path = folder / f"{number}.png"
        Image.new("RGB", (8, 8), colour).save(path)
        made.append(Record(path, "", "yes" if number % 2 else "no", f"data:{number}"))
    return made


def batches_of(records: list[Record], seed: int, name: str = "1st") -> list[Batch]:
    settings = config.learning()
    settings.seed = seed
    settings.prompt = "ok?"
    settings.examples = 10
    texts = loop.examples_of(records, Letters(), settings.prompt)
    return list(loop.training_batches(records, texts, Pictures(56), settings, name))


def learn(golden: Golden, feed: list[Batch], rate: float = 0.03) -> tuple[dict[str, np.ndarray], list[float]]:
    losses: list[float] = []
    settings = config.learning()
    settings.examples = 2 * len(feed)
    transform, options = step.configured(settings, len(feed), 0)
    params = loop.learn(
        dict(golden.params),
        iter(feed),
        step.make_step(golden.sizes, transform, jnp.float32, options),
        transform,
        options,
        config=settings,
        learning_rate=rate,
        weights_dtype=jnp.float32,
        progress=lambda step, steps, rate, loss: losses.append(loss),
    )
    return params, losses


def test_the_seed_and_the_pass_decide_the_order(records: list[Record]) -> None:
    first, again = batches_of(records, 0), batches_of(records, 0)
    for a, b in zip(first, again, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    for other in (batches_of(records, 1), batches_of(records, 0, "2nd")):
        assert not all(np.array_equal(a.image, b.image) for a, b in zip(first, other, strict=True))


def test_an_empty_prefix_takes_the_prompt(records: list[Record]) -> None:
    batch = batches_of(records, 0)[0]
    start = [ord(letter) for letter in "ok?\n"]
    assert batch.text[0, :4].tolist() == start
    own = [record._replace(prefix="mine") for record in records]
    assert batches_of(own, 0)[0].text[0, :5].tolist() == [ord(letter) for letter in "mine\n"]


@pytest.mark.parametrize("golden", ["paligemma1_mqa"], indirect=True)
def test_learning_is_repeatable_and_leaves_the_base_alone(golden: Golden, records: list[Record]) -> None:
    before = {path: value.copy() for path, value in golden.params.items()}
    feed = batches_of(records, 0)[:1] * 5
    params, losses = learn(golden, feed)
    again, _ = learn(golden, feed)
    assert losses[-1] < losses[0]
    for path, value in golden.params.items():
        assert np.array_equal(value, before[path])
        assert np.array_equal(params[path], again[path])
        assert np.array_equal(params[path], value) != path.startswith("llm/layers/attn/")


@pytest.mark.parametrize("golden", ["paligemma1_mqa"], indirect=True)
def test_a_loss_that_is_not_finite_ends_learning(golden: Golden, records: list[Record]) -> None:
    feed = batches_of(records, 0)
    feed[2] = feed[2]._replace(image=np.full_like(feed[2].image, np.nan))
    with pytest.raises(DivergedError, match=r"step 3 of 5 \(loss nan\)"):
        learn(golden, feed)


@pytest.mark.parametrize("golden", ["paligemma1_mqa"], indirect=True)
def test_a_last_update_that_is_not_finite_ends_learning(golden: Golden, records: list[Record]) -> None:
    with pytest.raises(DivergedError, match="at its last step, 1"):
        learn(golden, batches_of(records, 0)[:1], rate=float("inf"))


@pytest.mark.parametrize("golden", ["paligemma1_mqa"], indirect=True)
def test_a_loss_above_100_ends_learning(golden: Golden, records: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    feed = batches_of(records, 0)
    learn(golden, feed)
    monkeypatch.setattr(loop, "HOPELESS_LOSS", 1.0)  # a random model starts at log(256) = 5.5
    with pytest.raises(DivergedError, match="step 1 of 5"):
        learn(golden, feed)
