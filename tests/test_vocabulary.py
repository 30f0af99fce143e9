"""Code, messages, help and documentation use the field's words: what stands in the list here does not come back."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY

# A pattern over the words of a file in lower case, with one blank between them, and what to write instead. Identifiers
# are split into their words: `JudgedPictures` and `judged_pictures` are both "judged pictures".
WORDS = {
    r"pictures?|pictured": "image",
    r"judg(e|es|ed|ing|ement|ment)s?": "evaluate, evaluation",
    r"looks?(?! (up|for|like)\b)|look(ed|ing) (at|through|into)": "evaluate, evaluation; inspect, check",
    r"look alikes?|alike|twins?": "near-duplicate",
    r"(?<!of )courses?": "training setup",
    r"quiz(zes)?": "pretraining task",
    r"verdicts?": "evaluation, result",
    r"kept (image )?tokens?|image tokens (are |were )?kept": "image features",
    r"(what|all that|which parameters) learns?": "trainable parameters",
    r"rests|resting": "frozen",
    r"lottery|lotteries": "sweep",
    r"towers?": "image encoder",
    r"go(es|ne)? on with|gone on": "resume, continue",
    r"(is|are) no numbers?": "non-finite",
    r"astray": "diverged",
    r"journals?": "run log",
    r"(take|takes|taken|taking) up again": "resume",
    r"(begin|begins|began|begun|beginning) again": "restart",
    r"strangers?": "untrusted, unknown",
    r"anew": "again",
    r"passed by(?! name)": "ignore, skip",
    r"(is|are) none that": "is not, has no",
}
PATTERN = re.compile(r"\b(?:" + "|".join(f"(?:{word})" for word in WORDS) + r")\b")
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

# The same for the Japanese pages.
JAPANESE = {
    "バツ印": "十字マーク",
    "許され": "掲載可, 掲載不可",
    "くじ": "試行, シード",
    "計算機": "マシン",
    "道具": "ツール",
    "閾値": "しきい値",
    "トークナイザー": "トークナイザ",
    "フォルダー": "フォルダ",
    "ユーザ(?!ー)": "ユーザー",
}

# Where a word stays: (a file, a part of the line, why).
EXCEPTIONS: tuple[tuple[str, str, str], ...] = (
    ("README.md", "before   after  difference", "a table that is printed"),
    ("docs/evaluation.md", "The columns `verdict` and `by`", "a table that is printed"),
    ("docs/data.md", "| missing picture | error", "the name of a check, which lint prints"),
    ("bench/README.md", "bench/lottery.", "the name of a benchmark"),
    ("bench/lottery.py", "bench/lottery.", "the name of a benchmark"),
    ("docs/data.md", "| alike | warning", "the name of a check, which lint prints"),
    (
        "docs/tiny-model.md",
        "is this picture fine under the Bobar code?",
        "what the tiny model was asked in pretraining",
    ),
    ("src/palitune/data/demo/pretraining_tasks.py", "this picture", "what the tiny model was asked in pretraining"),
    ("src/palitune/data/checks/image_checks.py", '"missing picture"', "the name of a check"),
    ("src/palitune/data/checks/linted_file.py", '"missing picture"', "the name of a check"),
    ("src/palitune/data/checks/lint_text.py", '"missing picture"', "the name of a check"),
    ("src/palitune/data/checks/image_checks.py", '"alike"', "the name of a check"),
    ("src/palitune/data/checks/lint_text.py", '"verdicts":', "a key of lint --json"),
    ("src/palitune/data/checks/repair.py", 'dropped["picture"]', "a reason that lint --fix prints"),
    ("src/palitune/data/formats/reading.py", "--pictures FOLDER", "an option"),
    ("src/palitune/data/formats/tsv.py", '"picture")', "a heading in other people's tables"),
    ("src/palitune/evaluate/comparison.py", '"verdict":', "a key of the report's JSON"),
    ("src/palitune/evaluate/report/baseline_table.py", '"verdict":', "a key of baseline --json"),
    ("src/palitune/evaluate/report/comparison_text.py", '"verdict"', "a column and a key of compare"),
    ("src/palitune/checkpoint/tensor_names.py", "vision_tower", "a part of names in other people's files"),
    ("src/palitune/cli/convert.py", "pictures", "an option"),
    ("src/palitune/cli/pretrain_tiny.py", "pictures", "options"),
    ("src/palitune/cli/pretrain_tiny.py", "--tower-steps", "an option"),
    ("src/palitune/run/verification.py", 'f"verdict:', "a line that is printed"),
    ("src/palitune/run/reproduce.py", '"pictures"', "a key of config.json"),
    ("src/palitune/run/run_reading.py", '"pictures"', "a key of config.json"),
)

SOURCES = (
    "src/palitune/**/*.py",
    "src/palitune/**/*.html",
    "src/palitune/**/*.js",
    "bench/*.py",
    "bench/*.md",
    "bin/*",
    "playground/*.*",
)
PAGES = ("README.md", "docs/*.md", "compose.yaml", "Dockerfile", "pyproject.toml", ".ci/run")


def sources() -> list[Path]:
    found = [path for pattern in SOURCES + PAGES for path in REPOSITORY.glob(pattern) if path.is_file()]
    return sorted(path for path in found if not path.name.endswith(".ja.md") and path.suffix != ".pyc")


def words_of(text: str) -> Iterator[tuple[int, str]]:
    """(the number of its line, word) of every word that the list has."""
    said, starts, lines, length = [], [], [], 0
    for number, line in enumerate(text.splitlines(), 1):
        for word in WORD.findall(line):
            said.append(word.lower())
            starts.append(length)
            lines.append(number)
            length += len(word) + 1
    for found in PATTERN.finditer(" ".join(said)):
        yield lines[bisect_right(starts, found.start()) - 1], found[0]


def excused(name: str, line: str) -> bool:
    return any(name == file and part in line for file, part, _ in EXCEPTIONS)


def found_in(path: Path) -> list[str]:
    """`file:line: word` of every word that no exception allows."""
    name = path.relative_to(REPOSITORY).as_posix()
    text = path.read_text("utf-8")
    lines = text.splitlines()
    return [f"{name}:{number}: {word}" for number, word in words_of(text) if not excused(name, lines[number - 1])]


def test_the_words_of_the_field_are_used() -> None:
    found = [line for path in sources() for line in found_in(path)]
    assert not found, "\n".join(found)


def test_the_japanese_pages_use_the_terms_of_the_field() -> None:
    for page in [*REPOSITORY.glob("*.ja.md"), *REPOSITORY.glob("docs/*.ja.md")]:
        for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
            for word, instead in JAPANESE.items():
                assert not re.search(word, line), f"{page.name}:{number}: {word}: {instead}"


def test_exceptions_are_needed() -> None:
    for file, part, why in EXCEPTIONS:
        lines = [line for line in (REPOSITORY / file).read_text("utf-8").splitlines() if part in line]
        assert lines, f"{file} no longer says {part!r} ({why})"
        assert any(PATTERN.search(" ".join(WORD.findall(line)).lower()) for line in lines), part


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def judged_pictures(tower):", ["judged", "pictures", "tower"]),
        ("class JudgedPicture:", ["judged", "picture"]),
        ("kept\n  tokens", ["kept tokens"]),
        ("of course, a course", ["course"]),
        ("look up the best look", ["look"]),
        ("an image is evaluated; the rest of it", []),
    ],
)
def test_words_are_found(text: str, words: list[str]) -> None:
    assert [word for _, word in words_of(text)] == words


def test_everything_is_read() -> None:
    folders = {path.relative_to(REPOSITORY).parts[0] for path in sources()}
    assert folders >= {"src", "docs", "bench", "bin", "playground", "README.md", "pyproject.toml"}
