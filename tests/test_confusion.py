"""Counts, ratios and the block that people's scripts parse, against known cases."""

import json
from typing import Any

import pytest
from conftest import GOLDEN

from palitune.errors import BadDataError
from palitune.evaluate import confusion
from palitune.evaluate.confusion import Confusion
from palitune.evaluate.report import result_block

BLOCKS = json.loads((GOLDEN / "confusion_blocks.json").read_text())


def answers_of(case: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Labels and answers that a model with these counts would have given."""
    pairs = [("yes", "yes")] * case["tp"] + [("no", "no")] * case["tn"]
    pairs += [("no", "yes")] * case["fp"] + [("yes", "no")] * case["fn"]
    return [label for label, _ in pairs], [answer for _, answer in pairs]


@pytest.mark.parametrize("case", BLOCKS, ids=lambda case: "{tp}-{tn}-{fp}-{fn}".format(**case))
def test_known_blocks(case: dict[str, Any]) -> None:
    counted = confusion.count(*answers_of(case))
    expected = f"Result: ./dataset/set1/train.jsonl (1st trained)\n  Tp={case['tp']} Tn={case['tn']}"
    expected += f" Fp={case['fp']} Fn={case['fn']}\n  accuracy:  {case['accuracy']}\n  precision: {case['precision']}"
    expected += f"\n  recall:    {case['recall']}"
    if case["f_measure"] is not None:
        expected += f"\n  F-measure: {case['f_measure']}"
    assert result_block.result_block("./dataset/set1/train.jsonl", counted, "1st trained") == expected


def test_there_are_23_known_blocks() -> None:
    assert len(BLOCKS) == 23


@pytest.mark.parametrize(
    ("counts", "lines"),
    [
        (Confusion(0, 5, 0, 0), ["accuracy:  1.0"]),
        (Confusion(0, 5, 0, 2), ["accuracy:  0.7142857142857143", "recall:    0.0"]),
        (Confusion(0, 0, 3, 0), ["accuracy:  0.0", "precision: 0.0"]),
        (Confusion(0, 0, 0, 0), []),
    ],
)
def test_ratios_without_a_denominator_have_no_line(counts: Confusion, lines: list[str]) -> None:
    assert [line.strip() for line in result_block.result_block("x", counts).split("\n")[2:]] == lines


def test_block_without_a_label() -> None:
    assert result_block.result_block("a.jsonl", Confusion(1, 1, 0, 0)).startswith(
        "Result: a.jsonl\n  Tp=1 Tn=1 Fp=0 Fn=0\n"
    )


def test_an_answer_that_is_neither_counts_as_wrong() -> None:
    labels = ["yes", "no", "yes", "no"]
    assert confusion.count(labels, ["maybe", "", "Yes", " NO\n"]) == Confusion(tp=1, tn=1, fp=1, fn=1)


def test_a_label_that_is_neither_is_refused() -> None:
    with pytest.raises(BadDataError, match="maybe"):
        confusion.count(["maybe"], ["yes"])


def test_no_records() -> None:
    assert confusion.count([], []) == Confusion(0, 0, 0, 0)
