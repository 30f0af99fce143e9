"""Free text beside what it should have been: in Python, and through a shell by stages 4, 13 and 14."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Run
from hypothesis import given, settings
from hypothesis import strategies as st

from palitune.errors import BadDataError, MissingInputError
from palitune.evaluate import free_text
from palitune.evaluate.report import aggregate

pytestmark = pytest.mark.quick_programs

ENGLISH = ["The cat sat on the mat today.", "Your order has been sent, it arrives in two days."]
JAPANESE = ["猫がマットの上に座っています。", "ご注文は発送済みです。二日後に届きます。"]
CHINESE = ["猫坐在垫子上。", "您的订单已经寄出。"]


def test_right_answers_have_the_highest_figures() -> None:
    for texts, tokenizer, unit in (
        (ENGLISH, "13a", "words"),
        (JAPANESE, "ja-mecab", "characters"),
        (CHINESE, "zh", "characters"),
    ):
        found = free_text.measure(texts, texts)
        assert (found.total, found.exact, found.json, found.valid) == (2, 1.0, None, None)
        assert found.chrf == pytest.approx(100)
        assert found.bleu == pytest.approx(100)
        assert found.rouge_l == pytest.approx(1)
        assert (found.tokenizer, found.unit) == (tokenizer, unit)


def test_figures_of_a_worse_answer() -> None:
    """Those that the libraries' own programs print for the same files."""
    found = free_text.measure(["The cat sat on a mat today."], ENGLISH[:1])
    assert found.exact == 0
    assert found.lines() == [
        "  chrF: 73.71",
        "  BLEU: 50.00 (tokenizer 13a)",
        "  ROUGE-L: 0.8571 (of words)",
    ]
    other = free_text.measure(["猫が座っています。"], JAPANESE[:1])
    assert other.bleu is not None
    assert 0 < other.bleu < 60
    assert other.rouge_l == pytest.approx(2 * 9 / (9 + 15))  # all 9 of its characters are among the 15, in order


def common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, by its definition."""
    if not one or not other:
        return 0
    if one[0] == other[0]:
        return 1 + common(one[1:], other[1:])
    return max(common(one[1:], other), common(one, other[1:]))


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), min_size=1, max_size=6))
def test_rouge_is_of_the_longest_common_subsequence(answer: list[str], right: list[str]) -> None:
    found = free_text.measure([" ".join(answer)], [" ".join(right)])
    assert found.rouge_l == pytest.approx(2 * common(answer, right) / (len(answer) + len(right)))


def test_what_is_the_same_but_for_blanks_is_right() -> None:
    assert free_text.measure(["a  b\n", "x"], ["a b", "y"]).exact == 0.5


SCHEMA = {"type": "object", "required": ["colour"], "properties": {"colour": {"enum": ["red", "blue"]}}}
ANSWERS = ['{"colour": "red"}', '{"colour": "green"}', "no JSON", '{"colour": "blue"', "[" * 100_000]


def test_json(tmp_path: Path) -> None:
    right = ['{"colour": "red"}'] * len(ANSWERS)
    assert free_text.measure(ANSWERS, right).json == 2 / 5
    assert free_text.measure(ANSWERS, ["red"] * 5).json is None
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    found = free_text.measure(ANSWERS, right, free_text.read_schema(str(tmp_path / "schema.json")))
    assert (found.json, found.valid) == (2 / 5, 1 / 5)
    assert found.lines()[-2:] == ["  JSON: 0.4000", "  meets the schema: 0.2000"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ('{"type": "strange"}', "not a JSON schema"),
        ("[]", "not a JSON schema"),
        ('"text"', "not a JSON schema"),
    ],
)
def test_what_is_no_schema(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(content)
    with pytest.raises(BadDataError, match=message) as caught:
        free_text.read_schema(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(MissingInputError, match="no such file"):
        free_text.read_schema(str(tmp_path / "none.json"))


def test_a_schema_elsewhere_is_not_fetched(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text('{"properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}')
    meets = free_text.read_schema(str(path))
    with pytest.raises(BadDataError, match=r"it refers to http://127.0.0.1:9/schema.json, and only"):
        meets({"a": 1})


def test_without_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_text, "LIBRARIES", ("not_installed",))
    found = free_text.measure(ENGLISH, ENGLISH)
    assert (found.exact, found.chrf, found.bleu, found.rouge_l) == (1.0, None, None, None)
    assert found.lines() == []


def test_a_file_of_answers(tmp_path: Path) -> None:
    lines = [{"text": f"t{n}", "label": f"this is answer {n}", "answer": f"this is answer {n % 3}"} for n in range(6)]
    path = tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps(line | {"p_yes": None}) + "\n" for line in lines))
    block = aggregate.block_of(path).splitlines()
    assert block[:3] == [f"Aggregate: {path}", "  right=3 wrong=3", "  accuracy:  0.5"]
    assert [line.split(":")[0].strip() for line in block[3:]] == ["chrF", "BLEU", "ROUGE-L"]


def test_stages(tmp_path: Path, run: Run) -> None:
    """A model that has learned texts is evaluated as one that writes; its answers are read again."""
    words = ["red lamp", "blue bag", "old clock", "new chair", "big shelf", "small tea"]
    records = [{"prefix": f"what is {n}?", "suffix": f"a {word} of {n}"} for n, word in enumerate(words * 2)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    learn = ("learn", "-d", "data.jsonl", "-m", "tiny3", "-w", "text", "--examples", "12", "-b", "4", "--report")
    done = run("palitune", *learn, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "token accuracy" in done.stdout
    learned = (tmp_path / "checkpoints/text.run/report.html").read_text()
    assert "(1st trained)" in learned
    assert "losses over steps" in learned
    options = ("data.jsonl", "--max-new-tokens", "9", "--report", "page.html")
    done = run("palitune", "validate", "-m", "text", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for page in (learned, (tmp_path / "page.html").read_text()):
        assert "12 of 12 are shown" in page
        assert "a red lamp of 0</td>" in page
        assert "what is 0?" in page
    refused = run("palitune", "validate", "-m", "text", "data.jsonl", "--sheet", "sheet.png", cwd=tmp_path)
    assert (refused.returncode, "--report FILE.html" in refused.stderr) == (2, True)
    names = [line.split(":")[0].strip() for line in done.stdout.splitlines()]
    assert names == ["Result", "right=0 wrong=12", "accuracy", "token accuracy", "loss", "chrF", "BLEU", "ROUGE-L"]
    done = run("palitune", "inference", "-m", "text", "-d", "data.jsonl", "--jsonl", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "out.jsonl").write_text(done.stdout)
    assert all(json.loads(line)["p_yes"] is None for line in done.stdout.splitlines())
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    done = run("palitune", "aggregate", "out.jsonl", "--json-schema", "schema.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "  meets the schema: 0.0000" in done.stdout
