"""Labels and questions of a text in one pass: what each is when it is written out and asked by itself."""

import itertools
import unicodedata
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import compiled
import jax
import numpy as np
import pytest

from palitune import trees
from palitune.config.model import ImageSettings, ModelSettings
from palitune.data.encode import Encoded
from palitune.data.example import Content, Example, Image, Message, Target
from palitune.data.images.of_examples import NoImages
from palitune.data.prediction import MadeWith
from palitune.errors import UsageError
from palitune.infer.loading import Model, load
from palitune.infer.opening import image_source
from palitune.infer.predictor import Predictor
from palitune.infer.scoring import Scorer
from palitune.models.arrays import Flat
from palitune.models.multimodal import Text

TINY3 = Path(str(files("palitune") / "tiny3"))
YES_NO = ("yes", "no")
QUESTIONS = ("Is this text obscene?", "Is this text violent?", "Does it insult anybody?", "荒らしですか")


@pytest.fixture(scope="module")
def model() -> Model:
    return load(TINY3, ModelSettings(), quiet=True)


@pytest.fixture(scope="module")
def predictor(model: Model) -> Predictor:
    return Predictor(model, NoImages(model.sizes.llm.width), MadeWith(YES_NO), quiet=True)


@pytest.fixture(scope="module")
def params(model: Model) -> Flat:
    return dict(model.params(lambda path: not path.startswith("img/")))


TOGETHER, WIDTH = 8, 64  # rows and tokens of a pass, so that one program is compiled for all labels


def written_out(model: Model, params: Flat, prompt: Encoded, labels: Sequence[Sequence[int]]) -> np.ndarray:
    """The log-likelihood of each label behind a prompt, float64[L], by the forward pass that training has."""
    nested, begin, found = trees.unflatten(params), len(prompt.tokens), []
    none = np.zeros((TOGETHER, 0, model.sizes.llm.width), np.float32)
    for several in (labels[start : start + TOGETHER] for start in range(0, len(labels), TOGETHER)):
        text, rises, real = np.zeros((3, TOGETHER, WIDTH), np.int32)
        for row, label in enumerate(several):
            one = prompt.answered(label)
            length = len(one.tokens)
            text[row, :length], real[row, :length] = one.tokens, 1
            rises[row, :length] = np.diff(one.attention_blocks, prepend=0)
        logits = compiled.forward(model.sizes, nested, none, Text(text, rises, real))
        logp = np.asarray(jax.nn.log_softmax(logits, axis=-1), np.float64)
        found += [
            sum(logp[row, begin - 1 + place, token] for place, token in enumerate(label))
            for row, label in enumerate(several)
        ]
    return np.array(found)


LABELS = {
    "the same first tokens": ("not allowed", "not at all", "not", "nothing"),
    "beginnings of one another": ("a", "ab", "abc", "abcd"),
    "scripts and emoji": ("荒らし", "👩‍🔧", "👩", "très bien", "ё"),
    "64 long names": tuple(
        f"{a} {b} {c}" for a, b, c in itertools.product(("red", "green", "blue", "white"), repeat=3)
    ),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_one_pass_is_each_label_written_out(model: Model, params: Flat, labels: tuple[str, ...]) -> None:
    prompt = model.template.prompt(Example.of(text="いつも遅い。 Never again!", prompt="Which is it?"), "")
    scorer = Scorer(model.sizes, model.template, labels, np.float32)
    (found,) = scorer(params, [(None, prompt)])
    tokens = [model.template.answer(label) for label in labels]
    whole = set(map(tuple, tokens))
    if any(tuple(one[:length]) in whole for one in tokens for length in range(1, len(one))):
        tokens = [[*one, model.template.end] for one in tokens]
    expected = written_out(model, params, prompt, tokens)
    assert found.shape == (1, len(labels))
    np.testing.assert_allclose(found[0] - found[0, 0], expected - expected[0], rtol=0, atol=1e-4)


def test_labels_that_differ_in_their_normalisation_alone(model: Model, params: Flat) -> None:
    composed = "ガ"
    apart = unicodedata.normalize("NFD", composed)
    assert composed != apart
    prompt = model.template.prompt(Example.of(text="x"), "")
    scorer = Scorer(model.sizes, model.template, (composed, apart), np.float32)
    (found,) = scorer(params, [(None, prompt)])
    expected = written_out(model, params, prompt, [model.template.answer(one) for one in (composed, apart)])
    np.testing.assert_allclose(np.diff(found[0]), np.diff(expected), rtol=0, atol=1e-4)
    with pytest.raises(UsageError, match="cannot tell these labels apart"):
        Scorer(model.sizes, model.template, (composed, composed), np.float32)


def several(text: str, questions: Sequence[str] = QUESTIONS) -> Example:
    targets = tuple(Target(f"label{number}", YES_NO, None, asked) for number, asked in enumerate(questions))
    return Example((Message("user", (Content(text),)),), targets, text)


def test_questions_in_one_pass_are_those_asked_one_by_one(predictor: Predictor) -> None:
    texts = ["短い", "a longer text, about nothing at all", "x" * 100]
    together = list(predictor.predict(map(several, texts)))
    assert [(one.example.where, one.target.name) for one in together] == [
        (text, f"label{number}") for text in texts for number in range(4)
    ]
    apart = list(predictor.predict(several(text).only(target) for text in texts for target in several(text).targets))
    assert len({round(one.p_yes or 0, 5) for one in together}) > 8
    for one, other in zip(together, apart, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        assert one.text == other.text


def test_a_target_has_a_threshold_of_its_own(predictor: Predictor) -> None:
    example = several("a text")
    probabilities = [one.p_yes for one in predictor.predict([example])]
    predictor.made = MadeWith(YES_NO, thresholds=(("label1", 1.0), ("label2", 0.0)))
    try:
        assert [one.text for one in predictor.predict([example])][1:3] == ["no", "yes"]
        assert [one.p_yes for one in predictor.predict([example])] == probabilities
    finally:
        predictor.made = MadeWith(YES_NO)


def test_images_and_texts_in_one_stream(model: Model, tmp_path: Path) -> None:
    from palitune.data.demo import demo_data

    demo_data.make(tmp_path, 4)
    paths = sorted((tmp_path / "images").iterdir())
    images = image_source(model, ImageSettings(), features=False, quiet=True)
    predictor = Predictor(model, images, MadeWith(YES_NO, prompt="is there a star?"), quiet=True)
    shown = [Example.of(path) for path in paths]
    read = [Example.of(text=f"text {number}", prompt="is it?") for number in range(4)]
    mixed = [one for pair in zip(shown, read, strict=True) for one in pair]
    alone = [*predictor.predict(shown), *predictor.predict(read)]
    assert any(isinstance(part, Image) for part in mixed[0].messages[0].parts)
    found = {id(one.example): one.p_yes for one in predictor.predict(mixed)}
    for one in alone:
        assert found[id(one.example)] == pytest.approx(one.p_yes, abs=1e-5)
