"""The tiny text model that ships with palitune: what it is, what it was pretrained on, and that the demo is learned."""

import dataclasses
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import Once, Run

from palitune.checkpoint import manifest, opening
from palitune.data import templates
from palitune.data.demo import chat, emoji, sentences, sentiment, text_exercises, toxicity
from palitune.data.vocabulary import Vocabulary
from palitune.hub import catalogue
from palitune.models import families, spec

pytestmark = pytest.mark.quick_programs

MACRO_F = re.compile(r"F-measure: ([\d.]+) \(macro\)")
NEW_SEED = "10000"  # far from that of the training set
DEMO_LABELS = {"positive", "normal", "negative", *toxicity.LABELS, *(one.emoji for one in emoji.TOPICS.values())}


def vocabulary() -> Vocabulary:
    return Vocabulary.open(catalogue.packaged("tinytext"))


def test_what_ships_is_a_gemma_3_of_text() -> None:
    """The files say what the table of families says, and weigh little."""
    path = catalogue.packaged("tinytext")
    checkpoint = opening.load(path, lambda _: path)
    assert checkpoint.spec is not None
    assert dataclasses.replace(checkpoint.spec, tokenizer="tinytext") == families.TINYTEXT
    assert families.TINYTEXT.img is None
    assert set(spec.expected(families.TINYTEXT)) == set(checkpoint)
    assert {leaf.dtype.name for leaf in checkpoint.leaves().values()} == {"bfloat16"}
    assert sorted(entry.name for entry in path.iterdir()) == sorted(catalogue.PACKAGED["tinytext"])
    assert sum(entry.stat().st_size for entry in path.iterdir()) <= 2_500_000
    assert vocabulary().size == families.TINYTEXT.llm.vocab_size


@pytest.mark.parametrize(
    "text", ["おいしくない", "not bad at all", "鬱蒼とした龘", "\U0001fae0\U0001f9bf", "Ωμέγα", "3072"]
)
def test_any_text_has_tokens(text: str) -> None:
    """What no piece is for is spelled in bytes; digits stand alone, so that numbers can be repeated."""
    words = vocabulary()
    ids = words.encode(text)
    assert words.unknown not in ids
    assert words.decode(ids) == text
    assert len(ids) == 4 or not text.isdigit()


def test_texts_of_the_demo_are_short() -> None:
    """A text is a few words and not many letters, and an emoji has no more tokens than code points."""
    words, rng = vocabulary(), np.random.default_rng(0)
    reviews = [sentiment.review(label, rng) for label in sentiment.SHARES for _ in range(100)]
    assert np.mean([len(words.encode(text)) for text in reviews]) < 16
    assert all(len(words.encode(topic.emoji)) <= len(topic.emoji) for topic in emoji.TOPICS.values())


def test_the_demos_labels_are_only_said_where_they_are_asked_for() -> None:
    """Pretraining asks other things: a label or an emoji of the demo is an answer only if it stands in the question."""
    rng, kinds = np.random.default_rng(0), Counter[str]()
    asked = set(toxicity.QUESTIONS.values())
    for _ in range(6000):
        kind = sentences.pick(tuple(text_exercises.SHARES), rng)
        example = kind(rng, sentences.pick(sentences.LANGUAGES, rng))
        kinds[kind.__name__] += 1
        if example.label in DEMO_LABELS:
            assert example.label in example.prompt
            assert kind in (text_exercises.saying, text_exercises.repetition)
        assert example.prompt not in asked
        if kind is text_exercises.talk:
            said = [part for message in example.messages for part in message.parts]
            answers = {exchange.answer for both in chat.EXCHANGES.values() for exchange in both}
            assert not answers & set(map(str, said))
    assert set(kinds) == {kind.__name__ for kind in text_exercises.SHARES}
    assert sum(text_exercises.SHARES.values()) == pytest.approx(1)


def test_no_code_is_about_one_label_alone() -> None:
    """Each tells two labels or more from the others, or two others from one: nothing that the demo asks."""
    for kind, about, _ in text_exercises.CODES.values():
        assert len(about) >= 2
        assert (
            about <= {"post": set(toxicity.LABELS), "review": set(sentiment.SHARES), "tweet": set(emoji.TOPICS)}[kind]
        )
    assert Counter(kind for kind, _, _ in text_exercises.CODES.values()) == {"post": 12, "review": 6, "tweet": 10}


@pytest.mark.parametrize("kind", [text_exercises.mention, text_exercises.code])
def test_yes_and_no_are_even(kind: text_exercises.Exercise) -> None:
    rng = np.random.default_rng(0)
    answers = Counter(kind(rng, language).label for _ in range(1500) for language in sentences.LANGUAGES)
    assert set(answers) == {"yes", "no"}
    assert abs(answers["yes"] - answers["no"]) < 200


def test_exercises_are_encoded_as_the_family_does() -> None:
    """In turns, with a question behind what it is about; a chat counts in the loss in each of its answers."""
    template = templates.make(families.TINYTEXT.template, vocabulary(), takes_images=False)
    rng = np.random.default_rng(0)
    one = text_exercises.code(rng, sentences.ENGLISH)
    ids = [int(id) for id in templates.encoded(template, one, "").tokens]
    written = f"user\n{one.contents[0]}\n\n{one.prompt}"
    assert written in vocabulary().decode(ids)
    talk = next(
        example
        for example in (text_exercises.talk(rng, sentences.JAPANESE) for _ in range(100))
        if len(example.messages) > 4
    )
    answers = [message for message in talk.messages if message.role == "assistant"]
    assert len(templates.encoded(template, talk, "").answers) == len(answers)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, run: Run, once: Once) -> Path:
    """A folder with drawn reviews, new ones, and a model that has learned from them on `tinytext`."""

    def make(folder: Path) -> None:
        for command in (
            ["demo-data", "--task", "sentiment", "--count", "320"],
            ["demo-data", "--task", "sentiment", "-o", "new", "--seed", NEW_SEED, "--count", "150"],
            ["split", "-v", "20", "-n", "set1"],
            ["learn", "-d", "set1", "-m", "tinytext", "-w", "some", "--epochs", "4", "-b", "8"],
        ):
            done = run("palitune", *command, cwd=folder)
            assert done.returncode == 0, done.stderr

    return shutil.copytree(once("tinytext", make), tmp_path_factory.mktemp("tinytext") / "folder")


@pytest.mark.parametrize(("model", "least", "most"), [("tinytext", 0.0, 0.45), ("some", 0.85, 1.0)])
def test_sentiment_is_learned_on_it(learned: Path, run: Run, model: str, least: float, most: float) -> None:
    """Not known before, and learned from 300 reviews: new ones tell."""
    done = run("palitune", "validate", "-m", model, "new/data.jsonl", "--labels=1,0,-1", cwd=learned)
    assert done.returncode == 0, done.stderr
    found = MACRO_F.search(done.stdout)
    assert found
    assert least <= float(found[1]) <= most


def test_attention_is_saved_as_a_delta_of_the_folder(learned: Path) -> None:
    assert (manifest.read(learned / "checkpoints" / "some.npz")["base"] or {})["name"] == "tinytext"
