"""All wrong answers of files of answers, as lines, as JSON, and on a page."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import Run
from test_report import Addresses

from palitune.data.answer_source import AnswerSource
from palitune.data.demo import demo_data
from palitune.data.example import Content, Example, Image, Message, Target
from palitune.data.prediction import MadeWith
from palitune.evaluate.failures import Counted, Failure, Failures, Pair
from palitune.evaluate.language import IN_ENGLISH
from palitune.evaluate.report import failures_page

BAD = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn images with answers: `train.tsv`, two of whose 16 are wrong, and `test.tsv`, three of whose 8 are."""
    folder = tmp_path_factory.mktemp("answers")
    records = demo_data.make(folder, 24)
    wrong = {3: 0.97, 11: 0.6, 17: 0.99, 18: 0.7, 23: 0.55}
    rows = []
    for number, record in enumerate(records):
        label = record["suffix"]
        said = {"yes": "no", "no": "yes"}[label] if number in wrong else label
        sure = wrong.get(number, 0.8)
        p = sure if said == "yes" else 1 - sure
        rows.append(f"{record['image']}\t{said == label}\t{p:.6f}\t{label}\t{said}\n")
    (folder / "train.tsv").write_text("".join(rows[:16]))
    (folder / "test.tsv").write_text("".join(rows[16:]))
    return folder


def test_the_most_confident_come_first_whichever_file_they_are_in(run: Run, answers: Path) -> None:
    done = run("palitune", "failures", "train.tsv", "test.tsv", cwd=answers)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["test.tsv", "train.tsv", "test.tsv", "train.tsv", "test.tsv"]
    assert [float(row[4]) for row in rows] == pytest.approx([0.99, 0.97, 0.7, 0.6, 0.55])
    assert all({row[2], row[3]} == {"yes", "no"} for row in rows)
    lines = (answers / "test.tsv").read_text().splitlines()
    assert rows[0][1] == lines[1].split("\t")[0]
    said = done.stderr.splitlines()
    assert said[:2] == ["train.tsv: 2 of 16 answers are wrong", "test.tsv: 3 of 8 answers are wrong"]
    counts = {line.split(maxsplit=1)[1]: int(line.split()[0]) for line in said[2:]}
    assert sum(counts.values()) == 5
    assert set(counts) <= {"yes answered no", "no answered yes"}
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    quiet = run("palitune", "failures", "train.tsv", "test.tsv", "--quiet", cwd=answers)
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")


def test_unsure_answers_are_listed_right_or_wrong(run: Run, answers: Path) -> None:
    done = run("palitune", "failures", "test.tsv", "--min-p", "0.6", cwd=answers)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [(float(row[4]), row[3] == "unsure") for row in rows] == [(0.99, False), (0.7, False), (0.55, True)]
    assert "test.tsv: 3 of 8 answers are wrong or unsure" in done.stderr
    every = run("palitune", "failures", "test.tsv", "--min-p", "0.9", "--quiet", cwd=answers)
    assert [line.split("\t")[3] for line in every.stdout.splitlines()][1:] == ["unsure"] * 7


def test_free_text_that_is_not_the_label(run: Run, tmp_path: Path) -> None:
    rows = [
        {"text": f"{i}", "suffix": f"right {i} " + "x" * 90, "answer": f"said {i}", "p_yes": 0.5} for i in range(60)
    ]
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    AnswerSource(tmp_path / "out.jsonl").write(MadeWith(None, model="chat", decode=True))
    done = run("palitune", "failures", "out.jsonl", "-o", "page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 60
    assert "out.jsonl: 60 of 60 answers are wrong" in done.stderr
    assert f"     1  right 0 {'x' * 32}… answered said 0" in done.stderr
    assert "and 50 other pairs" in done.stderr


def test_json_has_everything(run: Run, answers: Path) -> None:
    done = run("palitune", "failures", "train.tsv", "test.tsv", "--json", "--quiet", cwd=answers)
    assert done.stderr == ""
    content = json.loads(done.stdout)
    assert content["files"] == [
        {"file": "train.tsv", "wrong": 2, "total": 16},
        {"file": "test.tsv", "wrong": 3, "total": 8},
    ]
    assert sum(pair["count"] for pair in content["pairs"]) == len(content["failures"]) == 5
    first = content["failures"][0]
    assert (first["file"], first["where"], first["probability"]) == ("test.tsv", "test.tsv:2", pytest.approx(0.99))


def test_any_labels_and_answers_that_are_none(run: Run, tmp_path: Path) -> None:
    """Of many labels p is the answer's; what is no label is wrong as well, and an unlabelled line is left out."""
    rows = [
        {"image": "a.png", "suffix": "🎉", "answer": "🐱", "p_yes": 0.4, "p": {"🎉": 0.35, "🐱": 0.4, "cat": 0.25}},
        {"image": "b.png", "suffix": "cat", "answer": "🐱", "p_yes": 0.9, "p": {"🎉": 0.05, "🐱": 0.9, "cat": 0.05}},
        {"image": "c.png", "suffix": "cat", "answer": "cat", "p_yes": 0.9, "p": {"🎉": 0.05, "🐱": 0.05, "cat": 0.9}},
        {"image": "d.png", "suffix": "", "answer": "cat", "p_yes": 0.9, "p": {"🎉": 0.05, "🐱": 0.05, "cat": 0.9}},
        {"image": "e.png", "suffix": "🎉", "answer": "a\tdog", "p_yes": 0.2, "p": {"🎉": 0.5, "🐱": 0.3, "cat": 0.2}},
        {
            "image": "f.png",
            "suffix": "cat",
            "answer": "unsure",
            "p_yes": 0.35,
            "p": {"🎉": 0.35, "🐱": 0.32, "cat": 0.33},
        },
    ]
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    done = run("palitune", "failures", "out.jsonl", cwd=tmp_path)
    assert [line.split("\t")[1:] for line in done.stdout.splitlines()] == [
        ["b.png", "cat", "🐱", "0.900000"],
        ["a.png", "🎉", "🐱", "0.400000"],
        ["f.png", "cat", "unsure", "0.350000"],
        ["e.png", "🎉", "a dog", ""],
    ]
    assert "out.jsonl: 1 lines without a label are left out" in done.stderr
    assert "out.jsonl: 4 of 5 answers are wrong or unsure" in done.stderr


def test_several_labels_of_each_text(run: Run, tmp_path: Path) -> None:
    """Each wrong label is a failure of its own, with the probability of its answer; what is unknown is none."""
    rows = [
        {"text": "one\ttwo", "labels": {"rude": "yes", "spam": "no"}, "correct": False,
         "p_yes": {"rude": 0.1, "spam": 0.2}, "answer": {"rude": "no", "spam": "no"}},
        {"text": "three", "labels": {"rude": None, "spam": "no"}, "correct": False,
         "p_yes": {"rude": 0.9, "spam": 0.95}, "answer": {"rude": "yes", "spam": "yes"}},
        {"text": "four", "labels": {"rude": "no", "spam": "yes"}, "correct": True,
         "p_yes": {"rude": 0.1, "spam": 0.9}, "answer": {"rude": "no", "spam": "yes"}},
    ]  # fmt: skip
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run("palitune", "failures", "out.jsonl", "-o", "page.html", cwd=tmp_path)
    assert done.stdout.splitlines() == [
        "out.jsonl\tthree\tno\tyes\t0.950000\tspam",
        "out.jsonl\tone two\tyes\tno\t0.900000\trude",
    ]
    said = done.stderr.splitlines()
    assert "out.jsonl: 2 of 5 answers are wrong" in said
    assert {"     1  spam: no answered yes", "     1  rude: yes answered no"} <= set(said)
    content = (tmp_path / "page.html").read_text("utf-8")
    assert "spam: <b>yes</b>, is no" in content
    assert '<div class="said">three</div>' in content


def test_a_page_shows_each_failure_and_loads_nothing(run: Run, answers: Path) -> None:
    done = run("palitune", "failures", "train.tsv", "test.tsv", "-o", "wrong.html", cwd=answers)
    assert done.returncode == 0, done.stderr
    assert "wrote wrong.html" in done.stderr
    content = (answers / "wrong.html").read_text("utf-8")
    parser = Addresses()
    parser.feed(content)
    assert all(address.startswith("data:") for address in parser.found)
    assert sum(address.startswith("data:image/jpeg") for address in parser.found) == 5
    assert "no image" not in content
    assert content.index("probability 0.9900") < content.index("probability 0.9700")
    again = run("palitune", "failures", "train.tsv", "-o", "wrong.html", cwd=answers)
    assert (again.returncode, again.stdout) == (73, "")
    over = run("palitune", "failures", "train.tsv", "-o", "train.tsv", "--overwrite", cwd=answers)
    assert (over.returncode, over.stdout) == (2, "")


def test_the_page_filters_by_pair_and_by_file_without_a_script(run: Run, answers: Path, tmp_path: Path) -> None:
    """In a browser, where there is one: what a choice leaves is what the counts say, and nothing is complained of."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser here")
    page = tmp_path / "wrong.html"
    assert run("palitune", "failures", "train.tsv", "test.tsv", "-o", str(page), cwd=answers).returncode == 0
    content = page.read_text("utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--hide-scrollbars"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=900,900", "--disable-background-networking"]
    sizes = {}
    for name, shown in (("all", content), ("one", content.replace('id="f0"', 'id="f0" checked'))):
        page.write_text(shown, "utf-8")
        picture = tmp_path / f"{name}.pdf"
        done = run(browser, *options, f"--print-to-pdf={picture}", page.as_uri(), cwd=tmp_path)
        assert "CONSOLE" not in done.stderr
        sizes[name] = picture.read_bytes().count(b"/Subtype /Image")
    assert sizes["all"] == 5
    assert sizes["one"] == 2


def test_texts_several_labels_and_markup() -> None:
    """A text stands where an image would, as a text; names, labels and answers stay what they are."""
    text = Example.of(
        None, f"Is it {BAD}?", "yes", text=f"first line {BAD}\nsecond\u202e line " + "x" * 5000, where="a:1"
    )
    images = Example((Message("user", (Image(BAD), Image("b.png"), Content(BAD))),), (Target("rude"),), "b:2")
    found = [Failure("out.jsonl", text, Pair("", "yes", BAD), 0.75), Failure(BAD, images, Pair("rude", "no", ""))]
    files = [Counted("out.jsonl", 1, 4), Counted(BAD, 1, 1)]
    content = failures_page.html(Failures(found, files, {one.pair: 1 for one in found}), IN_ENGLISH)
    assert "<script" not in content
    assert "&lt;script&gt;" in content
    assert "\nsecond\\u202e line xxx" in content
    assert "characters more" in content
    assert content.count("no image") == 2
    assert "rude: <b>(nothing)</b>, is no" in content
    assert "rude: no answered (nothing)" in content
    assert "25.0 %" in content
    assert found[1].as_tsv() == f"{BAD}\t{BAD}\tno\t\t\trude"
    assert found[0].as_tsv().split("\t")[1].startswith(f"first line {BAD} second")


def test_nothing_is_wrong(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fine.tsv").write_text("a.png\tTrue\t0.9\tyes\tyes\nb.png\tTrue\t0.1\tno\tno\n")
    done = run("palitune", "failures", "fine.tsv", "-o", "p.html", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "fine.tsv: 0 of 2 answers are wrong" in done.stderr
    assert "There are none." in (tmp_path / "p.html").read_text()


@pytest.mark.parametrize(
    ("files", "code", "says"),
    [
        (["gone.tsv"], 66, "gone.tsv: no such file"),
        (["data.tsv"], 65, "no answer here"),
        (["new.tsv"], 65, "there are no labels here"),
        (["out.tsv", "out.tsv"], 2, "out.tsv is named twice"),
        (["-", "-"], 2, "standard input can be one of the files only"),
    ],
)
def test_what_cannot_be_listed(files: list[str], code: int, says: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "data.tsv").write_text("a.png\tyes\n")
    (tmp_path / "new.tsv").write_text("a.png\t\t0.9\t\tyes\n")
    (tmp_path / "out.tsv").write_text("a.png\tFalse\t0.9\tno\tyes\n")
    done = run("palitune", "failures", *files, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert says in done.stderr.splitlines()[-1]
