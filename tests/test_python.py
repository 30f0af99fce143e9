"""The Python interface: the code of docs/python.md runs, and nothing heavy is imported before it is needed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

import palitune
from palitune.data.example import Example
from palitune.data.prediction import MadeWith, Prediction
from palitune.errors import BadDataError
from palitune.evaluate.evaluation import Evaluation, evaluate
from palitune.labels import LABELS

PAGE = (REPOSITORY / "docs" / "python.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_code_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PALITUNE_HOME", str(tmp_path))
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "docs/python.md", "exec"), names)
    said = capsys.readouterr().out
    assert said.startswith("images/")
    assert "(1st trained)" in said
    assert "96 predictions of yes, no by mine, threshold 0.5" in said
    result = names["result"]
    assert isinstance(result, Evaluation)
    assert result.accuracy.low is not None
    assert "<table>" in result._repr_html_()
    prediction = names["prediction"]
    assert isinstance(prediction, Prediction)
    assert prediction.text in ("red", "green", "blue")
    assert prediction.made is not None
    assert prediction.made.model == "tiny"


def test_every_name_is_there_and_nothing_heavy_before() -> None:
    code = "import sys, palitune; dir(palitune); print(*sorted({'jax', 'numpy', 'PIL'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "\n"
    for name in dir(palitune):
        assert getattr(palitune, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = palitune.nothing


def said(label: str | None, text: str, p_yes: float, made: MadeWith | None) -> Prediction:
    example = Example.of("a.jpg", label=label)
    return Prediction(example, example.target, text, p_yes, None, made)


def test_an_evaluation() -> None:
    made = MadeWith(LABELS, 0.4, model="m")
    found = evaluate([said("yes", "yes", 0.9, made), said("no", "yes", 0.6, made), said(None, "no", 0.1, made)])
    assert (found.confusion.tp, found.confusion.fp, found.unlabelled) == (1, 1, 1)
    assert found.accuracy.value == 0.5
    lines = repr(found).splitlines()
    assert lines[0] == "2 predictions of yes, no by m, threshold 0.4; 1 without a label are left out"
    assert lines[1] == "Tp=1 Tn=0 Fp=1 Fn=0"
    with pytest.raises(BadDataError, match="none of the predictions"):
        evaluate([said(None, "no", 0.1, made)])
    with pytest.raises(BadDataError, match='label "maybe" is none of yes, no'):
        evaluate([said("maybe", "no", 0.1, made)])
    other = evaluate([said("a", "a", 0.9, None), said("c", "b", 0.6, None)], labels=("a", "b", "c"))
    assert other.made is None
    with pytest.raises(ValueError, match="needs two labels"):
        _ = other.confusion
