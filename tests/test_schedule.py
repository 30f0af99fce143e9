"""The learning rate's published values."""

import json

import pytest
from conftest import GOLDEN

from palitune.errors import ConfigurationError
from palitune.train import loop, schedule

LOG = json.loads((GOLDEN / "training_log.json").read_text())


@pytest.mark.parametrize(("step", "rate"), LOG["learning_rate_at_step"].items())
def test_published_learning_rates(step: str, rate: str) -> None:
    assert f"{float(schedule.make('cosine', 256, 0.03)(int(step))):.5f}" == rate


def test_line_format() -> None:
    assert loop.line(32, 256, 0.029949, 0.34171) == LOG["line_format"]


def test_lines_of_a_pass() -> None:
    due = [step for step in range(1, 257) if loop.is_line_due(step, 256)]
    assert due == [int(step) for step in LOG["learning_rate_at_step"]]
    assert [step for step in range(1, 4) if loop.is_line_due(step, 3)] == [1, 2, 3]


def test_warm_up_rises_to_the_base_and_decay_ends_near_nothing() -> None:
    rates = [float(schedule.make("cosine", 100, 0.5)(step)) for step in range(1, 101)]
    top = schedule.warmup_steps(100)
    assert rates[top - 1] == pytest.approx(0.5)
    assert rates[: top - 1] == pytest.approx([0.5 * step / top for step in range(1, top)])
    assert rates[top - 1 :] == sorted(rates[top - 1 :], reverse=True)
    assert 0 < rates[-1] < 1e-3


def test_shortest_runs() -> None:
    for name in schedule.NAMES:
        assert float(schedule.make(name, 1, 0.5)(1)) == pytest.approx(0.5)
    assert schedule.warmup_steps(1) == 1


@pytest.mark.parametrize("name", schedule.NAMES)
@pytest.mark.parametrize("warmup", [0.0, 0.1])
def test_values_of_all_steps(name: str, warmup: float) -> None:
    rate = schedule.make(name, 3000, 0.3, warmup)
    values = list(loop._values(rate, 5, 3000))
    assert len(values) == 2996
    assert values[:2] + values[-1:] == pytest.approx([float(rate(step)) for step in (5, 6, 3000)], rel=1e-5, abs=1e-7)


def test_other_schedules() -> None:
    linear, constant = (schedule.make(name, 99, 1.0, warmup=0.2) for name in ("linear", "constant"))
    assert [float(linear(step)) for step in (10, 20, 60, 99)] == pytest.approx([0.5, 1.0, 0.5, 1 / 80])
    assert [float(constant(step)) for step in (10, 20, 60, 99)] == pytest.approx([0.5, 1.0, 1.0, 1.0])
    assert float(schedule.make("constant", 10, 0.3, warmup=0)(1)) == pytest.approx(0.3)
    with pytest.raises(ConfigurationError, match="There are: cosine, linear, constant"):
        schedule.make("cosin", 10, 0.3)
