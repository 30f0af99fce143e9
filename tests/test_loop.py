"""An attempt at learning on a golden model: repeatable, resumable at every step, and ended when it goes astray."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Golden, Letters
from PIL import Image

from palitune import trees
from palitune.checkpoint import run_state
from palitune.config import run_config
from palitune.data.batches import Batch
from palitune.data.example import Example
from palitune.data.images.loader import ImageLoader
from palitune.errors import DivergedError
from palitune.method import METHODS
from palitune.train import guard, loop, step
from palitune.train.early_stopping import Best
from palitune.train.evaluation import Evaluation, Evaluator
from palitune.train.loop import Attempt, Row, TrainingSetup

ONE = pytest.mark.parametrize("golden", ["paligemma1_mqa"], indirect=True)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    folder = tmp_path_factory.mktemp("images")
    made = []
    for number, colour in enumerate(("red", "lime", "blue", "white", "black")):
        path = folder / f"{number}.png"
        Image.new("RGB", (8, 8), colour).save(path)
        made.append(Example.of(path, label="yes" if number % 2 else "no", where=f"data:{number}"))
    return made


def settings_of(seed: int = 0, **changes: Any) -> Any:
    return run_config.training(**{"seed": seed, "prompt": "ok?", "examples": 10, **changes})


def batches_of(records: list[Example], seed: int = 0, name: str = "1st", start: int = 0, **changes: Any) -> list[Batch]:
    settings = settings_of(seed, **changes)
    texts = loop.examples_of(records, Letters(), settings.prompt)
    return list(loop.training_batches(records, texts, ImageLoader(56), settings, name, start))


def same(one: Batch, other: Batch) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(one, other, strict=True))


class School:
    """Attempts at one course on a golden model."""

    def __init__(self, golden: Golden, records: list[Example], **changes: Any) -> None:
        self.settings = settings = settings_of(**changes)
        transform, options = step.configured(settings, loop.steps_of(settings), 0)
        chosen, frozen = trees.split(golden.params, METHODS["attention"].trainable)
        texts = loop.examples_of(records, Letters(), settings.prompt)
        self.start = chosen
        self.records = records
        self.setup = TrainingSetup(
            step=step.make_step(golden.sizes, transform, jnp.float32, options),
            transform=transform,
            options=options,
            config=settings,
            weights_dtype=jnp.float32,
            frozen={path: jnp.asarray(leaf) for path, leaf in frozen.items()},
            evaluate=Evaluator(golden.sizes, records, texts, ImageLoader(56), jnp.float32),
            measure=lambda found: {"accuracy": float(np.mean(found.right))},
            keep=lambda learned: {path: np.array(leaf) for path, leaf in learned.items()},
            words=lambda tokens: [chr(token) for token in tokens],
            right_words=[record.label[0] for record in records],
            interval=2,
            last=loop.steps_of(settings),
        )

    def attempt(self, rate: float = 0.03, **changes: Any) -> Attempt:
        return Attempt(
            self.setup._replace(**changes), dict(self.start), rate, warmup=1, patience=self.settings.patience
        )

    def feed(self, attempt: Attempt) -> Any:
        settings = self.settings
        texts = loop.examples_of(self.records, Letters(), settings.prompt)
        return loop.training_batches(self.records, texts, ImageLoader(56), settings, "1st", attempt.count)

    def learn(self, attempt: Attempt) -> list[Row]:
        return list(attempt.rows(self.feed(attempt)))

    def watch(self, attempt: Attempt, feed: Any, observe: Callable[[Row], None]) -> None:
        for row in attempt.rows(feed):
            observe(row)


def seen(loss: float, right: list[bool] | None = None, spread: float = 0.0) -> Evaluation:
    """An evaluation of five examples with this mean loss; with a spread the first has more of it."""
    losses = [loss + 4 * spread, *[loss - spread] * 4]
    return Evaluation(loss, 0.5, losses, right or [True] * 5, [ord("y"), ord("n")])


def test_the_seed_and_the_pass_decide_the_order(records: list[Example]) -> None:
    first, again = batches_of(records), batches_of(records)
    assert all(map(same, first, again))
    for other in (batches_of(records, 1), batches_of(records, 0, "2nd")):
        assert not all(np.array_equal(a.image, b.image) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("changes", [{}, {"balance": "sample"}, {"augment": ("flip", "crop", "color")}])
def test_the_rest_of_a_pass_is_its_rest(records: list[Example], changes: dict[str, Any]) -> None:
    whole = batches_of(records, **changes)
    for start in range(6):
        assert all(map(same, batches_of(records, start=start, **changes), whole[start:]))


def test_an_empty_prefix_takes_the_prompt(records: list[Example]) -> None:
    batch = batches_of(records, 0)[0]
    start = [ord(letter) for letter in "ok?\n"]
    assert batch.text[0, :4].tolist() == start
    own = [Example.of(record.image.path, "mine", record.label) for record in records]
    assert batches_of(own, 0)[0].text[0, :5].tolist() == [ord(letter) for letter in "mine\n"]


def test_labels_are_balanced(records: list[Example]) -> None:
    rare = [Example.of(one.image.path, label="yes" if number else "no") for number, one in enumerate(records)]
    no = ord("n")
    for balance, share in (("none", 2), ("sample", 5)):
        drawn = np.concatenate([batch.targets[:, 0] for batch in batches_of(rare, balance=balance)])
        assert (drawn == no).sum() == share
    weighed = batches_of(rare, balance="weights")
    weights = {target: weight for b in weighed for target, weight in zip(b.targets[:, 0], b.weights[:, 0], strict=True)}
    assert weights[no] == pytest.approx(5 / 2)
    assert weights[ord("y")] == pytest.approx(5 / 8)


def test_augmentation_depends_on_the_seed_and_the_step_alone(records: list[Example]) -> None:
    plain = batches_of(records)
    for kinds in (("flip",), ("crop",), ("color",), ("flip", "crop", "color")):
        changed, again = batches_of(records, augment=kinds), batches_of(records, augment=kinds)
        assert all(map(same, changed, again))
        for one, other in zip(plain, changed, strict=True):
            assert same(one._replace(image=0), other._replace(image=0))
            assert np.abs(other.image).max() <= 1
            assert other.image.dtype == np.float32
    coloured = batches_of(records, augment=("color",))
    assert not all(np.array_equal(a.image, b.image) for a, b in zip(plain, coloured, strict=True))


@ONE
def test_learning_is_repeatable_and_leaves_the_base_alone(golden: Golden, records: list[Example]) -> None:
    before = {path: value.copy() for path, value in golden.params.items()}
    school = School(golden, records)
    first, second = school.attempt(), school.attempt()
    rows = school.learn(first)
    assert [row.step for row in rows] == list(range(6))
    assert [row.step for row in rows if row.evaluation] == [0, 2, 4, 5]
    assert rows[-1].evaluation.loss < rows[0].evaluation.loss
    assert [row.loss for row in school.learn(second)][1:] == [row.loss for row in rows][1:]
    for path in first.trainable:
        assert np.array_equal(first.trainable[path], second.trainable[path])
        assert not np.array_equal(first.trainable[path], golden.params[path])
    for path, value in golden.params.items():
        assert np.array_equal(value, before[path])


@ONE
def test_the_best_weights_are_those_of_the_best_evaluation(golden: Golden, records: list[Example]) -> None:
    school = School(golden, records)
    losses = iter([3.0, 2.0, 1.0, 4.0])
    kept: list[Any] = []

    def evaluate(params: Any) -> Evaluation:
        kept.append({path: np.array(params[path]) for path in school.start})
        return seen(next(losses), [True, False, True, True, True])

    attempt = school.attempt(evaluate=evaluate)
    rows = school.learn(attempt)
    assert [row.step for row in rows if row.is_best] == [2, 4]
    assert attempt.best is not None
    assert (attempt.best.step, attempt.best.loss, attempt.best.ratios) == (4, 1.0, {"accuracy": 0.8})
    for path, leaf in attempt.best.arrays.items():
        assert np.array_equal(leaf, kept[2][path])
        assert not np.array_equal(leaf, kept[3][path])


@ONE
def test_ties_are_broken_by_the_loss(golden: Golden, records: list[Example]) -> None:
    school = School(golden, records, select="accuracy")
    answers = iter([(3.0, 1), (2.0, 4), (1.5, 4), (1.0, 3)])

    def evaluate(params: Any) -> Evaluation:
        loss, right = next(answers)
        return seen(loss, [number < right for number in range(5)])

    attempt = school.attempt(evaluate=evaluate)
    assert [row.step for row in school.learn(attempt) if row.is_best] == [2, 4]


@ONE
@pytest.mark.parametrize(
    ("select", "looks", "best"),
    [
        ("loss", [(3.0, 0.0), (1.0, 0.0), (1.1, 0.1), (1.2, 0.0)], 4),  # one example makes all the difference
        ("loss", [(3.0, 0.0), (1.0, 0.0), (1.1, 0.0), (1.2, 0.2)], 5),  # every example, and then one
        ("loss", [(3.0, 0.0), (1.0, 0.0), (1.1, 0.05), (1.2, 0.1)], 2),  # more than chance, both times
        ("lowest_loss", [(3.0, 0.0), (1.0, 0.0), (1.1, 0.1), (1.2, 0.2)], 2),
    ],
)
def test_a_later_look_that_is_as_good_is_taken(
    golden: Golden, records: list[Example], select: str, looks: list[tuple[float, float]], best: int
) -> None:
    school = School(golden, records, select=select)
    given = iter(looks)
    attempt = school.attempt(evaluate=lambda params: seen_with(next(given)))
    school.learn(attempt)
    assert attempt.best is not None
    assert attempt.best.step == best


def seen_with(look: tuple[float, float]) -> Evaluation:
    return seen(look[0], spread=look[1])


@ONE
def test_an_attempt_ends_early_when_nothing_gets_better(golden: Golden, records: list[Example]) -> None:
    school = School(golden, records, patience=2, examples=40)
    losses = iter([3.0, 1.0, 1.1, 1.2, 0.5])
    attempt = school.attempt(evaluate=lambda params: seen(next(losses)))
    rows = school.learn(attempt)
    assert rows[-1].step == 6
    assert attempt.best is not None
    assert attempt.best.step == 2


@ONE
def test_a_second_pass_has_to_surpass_the_first(golden: Golden, records: list[Example]) -> None:
    school = School(golden, records)
    first = Best(0, -1.0, 1.0, {}, {"sentinel": np.zeros(1)})
    attempt = Attempt(
        school.setup._replace(evaluate=lambda params: seen(1.5)),
        dict(school.start),
        0.003,
        warmup=1,
        patience=0,
        best=first,
    )
    school.learn(attempt)
    assert attempt.best is first


@ONE
@pytest.mark.parametrize("changes", [{"examples": 20}, {"optimizer": "adamw", "ema": 0.9}])
def test_resumed_at_every_step_it_ends_the_same(
    golden: Golden, records: list[Example], tmp_path: Any, changes: dict[str, Any]
) -> None:
    """Two epochs and more of five records, stopped after every step, from a file each time."""
    school = School(golden, records, **changes)
    whole = school.attempt()
    expected = school.learn(whole)
    for stop in range(len(expected)):
        first = school.attempt()

        def observe(row: Row, first: Attempt = first, stop: int = stop) -> None:
            if row.step == stop:
                arrays = {
                    "trainable": first.trainable,
                    "state": run_state.leaves_of(first.state),
                    "best": first.best.arrays if first.best else {},
                }
                run_state.save(tmp_path / "state.npz", arrays, first.facts())
                raise InterruptedError

        with pytest.raises(InterruptedError):
            school.watch(first, school.feed(first), observe)
        saved = run_state.load(tmp_path / "state.npz")
        second = school.attempt()
        second.restore(saved.arrays, saved.facts)
        rest = school.learn(second)
        assert [row[:4] for row in rest] == [row[:4] for row in expected[stop + 1 :]]
        for path in whole.trainable:
            assert np.array_equal(whole.result[path], second.result[path])
        assert whole.best is not None
        assert second.best is not None
        assert (whole.best.step, whole.best.loss) == (second.best.step, second.best.loss)
        for path, leaf in whole.best.arrays.items():
            assert np.array_equal(leaf, second.best.arrays[path])
        assert whole.guard == second.guard


@ONE
def test_a_loss_that_is_not_finite_ends_learning(golden: Golden, records: list[Example]) -> None:
    school = School(golden, records)
    attempt = school.attempt()
    feed = list(school.feed(attempt))
    feed[2] = feed[2]._replace(image=np.full_like(feed[2].image, np.nan))
    before: dict[str, np.ndarray] = {}

    def observe(row: Row) -> None:
        before.update({path: np.array(leaf) for path, leaf in attempt.trainable.items()})

    with pytest.raises(DivergedError, match=r"step 3 of 5 \(loss nan\)"):
        school.watch(attempt, feed, observe)
    for path, leaf in attempt.trainable.items():
        assert np.array_equal(leaf, before[path])  # the update was not made


@ONE
def test_a_last_update_that_is_not_finite_ends_learning(golden: Golden, records: list[Example]) -> None:
    school = School(golden, records, examples=2)
    with pytest.raises(DivergedError, match=r"step 1 of 1 \(validation loss nan\)"):
        school.learn(school.attempt(rate=float("inf")))


@ONE
def test_a_loss_above_100_ends_learning(
    golden: Golden, records: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    school = School(golden, records)
    school.learn(school.attempt())
    monkeypatch.setattr(guard, "HOPELESS_LOSS", 1.0)  # a random model starts at log(256) = 5.5
    with pytest.raises(DivergedError, match="step 1 of 5"):
        school.learn(school.attempt())


@ONE
def test_evaluation_agrees_with_the_loss_of_each_example(golden: Golden, records: list[Example]) -> None:
    from palitune.train import objective

    texts = loop.examples_of(records, Letters(), "ok?")
    found = Evaluator(golden.sizes, records, texts, ImageLoader(56), jnp.float32)(golden.params)
    each = [batches_of([record], examples=2, batch_size=1)[0] for record in records]
    losses = [objective.loss(golden.sizes, trees.unflatten(golden.params), batch) for batch in each]
    assert found.loss == pytest.approx(float(np.mean([loss.value for loss in losses])), abs=1e-5)
    assert found.right == [bool(loss.accuracy == 1) for loss in losses]
    counts = [batch.weights.sum() for batch in each]
    wanted = np.average([float(loss.accuracy) for loss in losses], weights=counts)
    assert found.token_accuracy == pytest.approx(wanted, abs=1e-6)


def test_how_often_is_looked() -> None:
    for examples, batch, validation, every, wanted in (
        (512, 2, 10, 0, 32),
        (512, 2, 100, 0, 51),
        (512, 2, 512, 0, 256),
        (512, 2, 10_000, 0, 256),
        (8, 4, 2, 0, 1),
        (512, 2, 10_000, 7, 7),
    ):
        settings = settings_of(examples=examples, batch_size=batch, evaluate_every=every)
        assert loop.evaluation_interval(settings, validation) == wanted
