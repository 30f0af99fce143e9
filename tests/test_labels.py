"""Labels are written as they are, and compared the same way on both sides of every comparison."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Run

from palitune.cli import values
from palitune.data import example_files
from palitune.data.example import Example
from palitune.data.formats.jsonl import parse
from palitune.data.prediction import Prediction
from palitune.errors import BadDataError
from palitune.evaluate import answer_files, confusion, metrics
from palitune.labels import plain
from palitune.run.answer_lines import answer_line

LABELS = [
    "赤い\u3000車",
    "a\u00a0b",
    "two  blanks",
    " red ",
    "\u3000赤",
    "\uff2f\uff2b",
    unicodedata.normalize("NFD", "パパ"),
    "YES",
]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("jsonl", [False, True])
def test_a_right_answer_is_right_everywhere(tmp_path: Path, run: Run, label: str, jsonl: bool) -> None:
    labels = values.labels(f"{label},青")
    asked = [
        parse(f'{{"image":"{name}.jpg","suffix":"{text}"}}', "d:1")
        for name, text in (("a", label), ("b", label), ("c", "青"))
    ]
    said = [labels[0], labels[1], labels[1]]
    lines = [
        answer_line(Prediction(one, one.target, text, 0.9 - 0.4 * n, (0.9, 0.1)), labels, jsonl)
        for n, (one, text) in enumerate(zip(asked, said, strict=True))
    ]
    path = tmp_path / "out"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    found = [said for _, (_, said) in example_files.Reader(path).answered() if said is not None]
    assert [one.text for one in found] == said  # exactly as it was given
    assert [confusion.is_right(one.text, one.example.label) for one in found] == [True, False, True]
    told = run("palitune", "aggregate", path.name, cwd=tmp_path).stdout
    # The lines of JSONL tell which labels there are, and which of the two is the first.
    assert "right=2 wrong=1" in told
    if jsonl:
        assert "Tp=1 Tn=1 Fp=0 Fn=1" in told
        assert f'Tp and Fp are of "{plain(label)}"' in told
    kept = run("palitune", "filter", path.name, "--quiet", cwd=tmp_path).stdout
    assert kept == lines[1] + "\n"
    for typed in (None, labels, (plain(label), "青")):
        outcomes = answer_files.read(path, typed, quiet=True).outcomes
        assert outcomes.right.tolist() == [True, False, True]
        counts = outcomes.counts
        assert {counts.tp, counts.tn} == {1}
        assert counts.fp + counts.fn == 1


def both(labels: Sequence[str], classes: Sequence[str]) -> metrics.Outcomes:
    return metrics.outcomes_of(labels, ["a b", "c"], [0.9, 0.1], classes)


def test_classes_and_labels_may_be_written_differently() -> None:
    one = both(["a\u3000b", "c "], ["a  b", "c"])
    assert one.counts == confusion.Confusion(tp=1, tn=1, fp=0, fn=0)
    example_files.require_labels([Example.of("x", label="a\u3000b", where="d:1")], ["a b", "c"])


def test_labels_that_would_be_taken_for_each_other() -> None:
    with pytest.raises(Exception, match="two or more different labels"):
        values.labels("a b,a\u3000b")


def test_what_nobody_sees_in_a_label_is_named() -> None:
    with pytest.raises(BadDataError, match=r'suffix "yes.*" \(with U\+200B ZERO WIDTH SPACE\) is neither'):
        example_files.require_labels([Example.of("x", label="yes\u200b", where="d:1")])
