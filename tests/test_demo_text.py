"""The demo data of texts: counts, shares of labels, what is planted in them, and files that stay as they are."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from conftest import REPOSITORY, Run

from palitune import randomness
from palitune.cli import demo_data as command
from palitune.data.demo import chat, demo_data, emoji, sentences, sentiment, text_tasks, toxicity
from palitune.errors import OutputExistsError, UsageError

NUMBER = re.compile(r"\d{5}")


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("task", text_tasks.TASKS)
def test_the_same_seed_gives_the_same_files(task: str, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        demo_data.make_text(task, tmp_path / folder, 40, seed=3)
    assert demo_data.demo_data(tmp_path / "a", 40, 3, task) == tmp_path / "a" / text_tasks.TASKS[task].file
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "b").iterdir())
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    other = demo_data.demo_data(tmp_path / "c", 40, 4, task)
    assert other.read_bytes() != (tmp_path / "a" / other.name).read_bytes()


@pytest.mark.parametrize("task", text_tasks.TASKS)
def test_a_persons_data_is_not_replaced(task: str, tmp_path: Path) -> None:
    data = tmp_path / text_tasks.TASKS[task].file
    data.write_text("mine")
    with pytest.raises(OutputExistsError, match="another data set"):
        demo_data.make_text(task, tmp_path, 10)
    assert data.read_text() == "mine"
    demo_data.make_text(task, tmp_path, 10, overwrite=True)
    with pytest.raises(OutputExistsError, match="another data set"):
        demo_data.make_text(task, tmp_path, 10, seed=1)
    with pytest.raises(UsageError, match="at least 4"):
        demo_data.make_text(task, tmp_path, 3)


def test_a_task_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are adverts, toxicity, emoji, sentiment, chat"):
        demo_data.demo_data(tmp_path, task="poems")
    assert (demo_data.ADVERTISEMENTS, *text_tasks.TASKS) == command.TASKS


def test_shares_add_up() -> None:
    for shares in (sentiment.SHARES, toxicity.SHARES):
        assert sum(shares.values()) == pytest.approx(1)
        for count in (4, 7, 100, 601):
            values = Counter(sentences.shared_out(count, shares))
            assert values.total() == count
            assert all(abs(values[value] - count * share) <= 1 for value, share in shares.items())


def test_reviews_and_what_is_planted_among_them(tmp_path: Path) -> None:
    """A copy is that of an earlier line, a wrong label is another than was drawn, and the note says which they are."""
    note = demo_data.make_text("sentiment", tmp_path)
    rows = [json.loads(line) for line in lines(tmp_path / "data.jsonl")]
    labels = Counter(row["label"] for row in rows)
    assert labels.total() == 600
    for label, share in {"1": 240, "0": 200, "-1": 160}.items():
        assert abs(labels[label] - share) <= 6
    copies, wrong = (
        [int(number) - 1 for number in found.split(", ")]
        for found in re.findall(r"(?:copies of earlier lines|wrong labels): ([\d, ]+)", note)
    )
    assert len(copies) == len(wrong) == 6
    assert all(rows[place] in rows[:place] for place in copies)
    texts = [row["text"] for place, row in enumerate(rows) if place not in copies]
    assert len(set(texts)) == 594
    assert not set(copies) & set(wrong)


def test_no_word_of_a_review_tells_its_label() -> None:
    """Every quality is said of what somebody likes, does not like, and has no opinion of."""
    source = randomness.generator(0, "reviews")
    reviews = {label: "\n".join(sentiment.review(label, source) for _ in range(4000)) for label in sentiment.SHARES}
    for language, domains in sentiment.DOMAINS.items():
        for quality in {quality for domain in domains for quality in (*domain.good, *domain.bad)}:
            stem = quality[:-1] if language == sentences.JAPANESE else quality
            assert all(stem in text for text in reviews.values()), quality


@pytest.mark.parametrize(
    ("quality", "expected"), [("おいしい", "おいしくない"), ("いい香りだ", "いい香りではない"), ("狭い", "狭くない")]
)
def test_negation(quality: str, expected: str) -> None:
    assert sentiment.negated(quality) == expected


def test_ten_tweets_for_each_of_25_emoji(tmp_path: Path) -> None:
    demo_data.make_text("emoji", tmp_path)
    rows = [line.split("\t") for line in lines(tmp_path / "data.tsv")]
    assert Counter(label for _, label in rows) == dict.fromkeys((topic.emoji for topic in emoji.TOPICS.values()), 10)
    assert len(emoji.TOPICS) == 25
    assert len({text for text, _ in rows}) == 250


def test_emoji_are_whole() -> None:
    """Each is a sequence that Unicode has, several are of more than one code point, and one begins another."""
    base = r"[\u2600-\u27bf\U0001f300-\U0001faff]"
    one = rf"{base}(?:\ufe0f|[\U0001f3fb-\U0001f3ff])?"
    shown = [topic.emoji for topic in emoji.TOPICS.values()]
    assert all(re.fullmatch(rf"{one}(?:\u200d{one})*", found) for found in shown)
    assert len(set(shown)) == 25
    assert sum(len(found) > 1 for found in shown) >= 8
    assert all(any(part in found for found in shown) for part in ("\ufe0f", "\u200d", "\U0001f3fd"))
    assert any(a != b and b.startswith(a) for a in shown for b in shown)
    # What is drawn in colour only behind a variation selector has one.
    assert all("\ufe0f" in found for found in shown if found[0] in "\u2600\u2744\u2708\u2764")


def test_posts_with_four_labels(tmp_path: Path) -> None:
    demo_data.make_text("toxicity", tmp_path)
    with (tmp_path / "data.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["text"] for row in rows}) == 800
    assert list(rows[0]) == ["text", *toxicity.LABELS]
    counts = {name: Counter(row[name] for row in rows) for name in toxicity.LABELS}
    shares = {name: count["1"] / (count["0"] + count["1"]) for name, count in counts.items()}
    assert min(shares, key=lambda name: shares[name]) == "obscene"
    assert 0.03 < shares["obscene"] < 0.05
    assert all(count.keys() == {"0", "1", ""} for count in counts.values())
    assert 30 < sum(count[""] for count in counts.values()) < 100
    several = Counter(sum(row[name] == "1" for name in toxicity.LABELS) for row in rows)
    assert several[0] > 560
    assert several[2] > 20
    assert several[3] > 0
    questions = dict(line.split("\t") for line in lines(tmp_path / "questions.tsv"))
    assert tuple(questions) == toxicity.LABELS
    assert len(set(questions.values())) == 4


def test_chats_are_answered_by_what_was_said(tmp_path: Path) -> None:
    """Turns take turns; numbers of an answer were named before; bad answers have no weight and are not the last."""
    demo_data.make_text("chat", tmp_path)
    chats = [json.loads(line)["messages"] for line in lines(tmp_path / "data.jsonl")]
    assert len(chats) == 300
    bad = 0
    for turns in chats:
        roles = [turn["role"] for turn in turns]
        assert roles == ["system", *["user", "assistant"] * (len(turns) // 2)]
        assert turns[-1].get("weight", 1) == 1
        for place, turn in enumerate(turns):
            said = "".join(other["content"] for other in turns[:place] if other["role"] == "user")
            if turn["role"] == "assistant":
                assert set(NUMBER.findall(turn["content"])) <= set(NUMBER.findall(said))
                assert "{" not in turn["content"]
                assert ("weight" in turn) == any(turn["content"] in worse for worse in chat.BAD_ANSWERS.values())
                bad += turn.get("weight") == 0
    assert bad > 5
    assert sum(len(turns) > 3 for turns in chats) > 100


def test_the_command_says_what_it_drew(tmp_path: Path, run: Run) -> None:
    done = run("palitune", "demo-data", "--task", "toxicity", "-o", "posts", "--count", "50", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert re.fullmatch(
        r"50 posts: \d obscene, \d violent, \d insult, \d personal; \d+ labels are missing\n", done.stderr
    )
    again = run("palitune", "demo-data", "--task", "toxicity", "-o", "posts", cwd=tmp_path)
    assert again.returncode == 73
    assert "another data set" in again.stderr


@pytest.mark.parametrize("arguments", [["--task", "poems"], ["--task"], ["sentiment"]])
def test_the_script_names_its_tasks(arguments: list[str], tmp_path: Path, run: Run) -> None:
    """Before it makes anything."""
    done = run(str(REPOSITORY / "bin" / "demo.sh"), *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"usage: bin/demo.sh [--task {'|'.join(command.TASKS)}]\n"
