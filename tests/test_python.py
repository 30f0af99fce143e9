"""The Python interface: the code of docs/python.md runs, and nothing heavy is imported before it is needed."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image as picture

import palitune
from palitune.config.predictor_config import PredictorConfig
from palitune.data.example import Example, Image, Message
from palitune.data.prediction import MadeWith, Prediction
from palitune.errors import BadDataError, PalituneError, UsageError
from palitune.evaluate.evaluation import Evaluation, evaluate
from palitune.infer.predictor import Predictor
from palitune.labels import LABELS

pytestmark = pytest.mark.quick_programs

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


IMAGE = Image("a.jpg", Path("a.jpg"))


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load("tiny", quiet=True)


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


def test_the_order_of_labels_is_that_of_the_question() -> None:
    """Which label is the positive one changes what a probability means."""
    made = MadeWith(LABELS, model="m")
    told = [(0.9, "yes"), (0.8, "yes"), (0.3, "no"), (0.1, "no")]
    found = [
        said(label, text, p, made)._replace(probabilities=(p, 1 - p))
        for (p, text), label in zip(told, ("yes", "no", "yes", "no"), strict=True)
    ]
    one, other = evaluate(found), evaluate(found, labels=("no", "yes"))
    assert one.figures["roc_auc"].value == pytest.approx(0.75)
    for name in ("accuracy", "roc_auc", "brier"):
        assert other.figures[name].value == pytest.approx(one.figures[name].value)
    assert evaluate(found, labels=("yes", "no", "perhaps")).accuracy.value == 0.5
    with pytest.raises(BadDataError, match="there are no predictions"):
        evaluate([])


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (Example((Message("system", ("be brief",)), Message("user", (IMAGE, "ok?")))), "this example has 2 messages"),
        (Example((Message("user", (IMAGE, IMAGE, "which?")),)), "takes one image, and this example has 2"),
        (Example((Message("user", ("ok?",)),)), "takes one image, and this example has none"),
        (Example(()), "this example has 0 messages"),
        (Example((Message("user", (IMAGE,)),), ()), "has no target"),
    ],
)
def test_what_the_template_has_no_place_for_is_refused(example: Example, message: str, predictor: Predictor) -> None:
    with pytest.raises(BadDataError, match=message):
        list(predictor.predict([example]))
    told: list[PalituneError] = []
    assert list(predictor.predict([example], told.append)) == []
    assert len(told) == 1


def test_choices_that_are_the_model_s_labels_have_its_threshold(predictor: Predictor, tmp_path: Path) -> None:
    picture.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    predictor = Predictor(predictor.model, predictor.images, predictor.made._replace(threshold=1.0, temperature=3.0))
    with_labels, without, others = predictor.predict(
        Example.of(tmp_path / "red.png", "ok?", choices=choices) for choices in (LABELS, None, ("red", "blue"))
    )
    assert with_labels.made == without.made == predictor.made
    assert with_labels.text == without.text == "no"
    assert others.made is not None
    assert (others.made.threshold, others.made.temperature) == (0.5, 1.0)


def test_labels_from_python_are_taken_as_they_are() -> None:
    assert PredictorConfig.of({"labels": ["yes, clearly", " No "]}).labels == ("yes, clearly", "no")
    assert PredictorConfig.of({"threshold": np.float32(0.5), "max_pixels": np.int64(9)}).threshold == 0.5
    for labels in ("yes,no", ["yes"], ["yes", "YES"], [1, 2]):
        with pytest.raises(UsageError, match="labels: "):
            PredictorConfig.of({"labels": labels})
