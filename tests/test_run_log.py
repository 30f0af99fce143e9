"""What a run says of an evaluation, and draws of it: why the kept weights are not those of the lowest loss."""

import pytest

from palitune.evaluate.report import plots
from palitune.run.run_log import RunLog
from palitune.train.evaluation import Evaluation
from palitune.train.loop import Row


def row(step: int, loss: float, is_best: bool, is_as_good: bool = False) -> Row:
    found = Evaluation(loss, 1.0, [loss], [True], [5])
    return Row(step, 0.03, 0.1, 1.0, found, {"accuracy": 1.0}, is_best, [], is_as_good)


def test_why_a_worse_evaluation_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLog(None, quiet=False, tensorboard=False)
    log.open_bar("1st training", 4, 2, 0)
    for one in (row(1, 0.07, True), row(2, 0.09, False), row(3, 0.072, True, True)):
        log.row(one, 4, {"trial": 1, "pass": 1, "attempt": 1})
    log.close()
    said = capsys.readouterr().err.splitlines()
    endings = [line.partition("accuracy: 1.0000   accuracy: 1.0000")[2].strip() for line in said]
    assert endings == ["kept", "", "kept (as good as the lowest loss within chance, and later)"]


def test_the_lowest_is_marked_where_another_is_kept() -> None:
    rows = [{"step": 0, "valid_loss": 0.01}, {"step": 4, "valid_loss": 0.07, "best": True}]
    assert plots._lower_than_kept(rows, 0.07) is None  # the one before learning is none to keep
    rows.append({"step": 8, "valid_loss": 0.072, "best": True, "as_good": True})
    assert plots._lower_than_kept(rows, 0.072) == (4, 0.07, "0.0700 at step 4: lower by chance alone")
    rows[-1] = {"step": 8, "valid_loss": 0.09, "best": True}
    assert plots._lower_than_kept(rows, 0.09) == (4, 0.07, "0.0700 at step 4: the lowest, and not chosen by its loss")
