"""Reports and comparisons of files of answers."""

import html.parser
import json
import shutil
from pathlib import Path

import pytest
from conftest import Run
from test_confusion import BLOCKS

from palitune.data.demo import demo_data
from palitune.data.example import Example
from palitune.evaluate import metrics
from palitune.evaluate.language import IN_ENGLISH
from palitune.evaluate.report import curves, page, summary, text


def lines_of(case: dict[str, int], p: float = 0.9) -> str:
    """Answers with these counts, as inference writes them."""
    kinds = {"tp": ("yes", "yes"), "tn": ("no", "no"), "fp": ("no", "yes"), "fn": ("yes", "no")}
    rows = []
    for kind, (label, answer) in kinds.items():
        for number in range(case[kind]):
            share = p if answer == "yes" else 1 - p
            rows.append(f"images/{kind}{number}.png\t{label == answer}\t{share:.6f}\t{label}\t{answer}\n")
    return "".join(rows)


def test_known_blocks_from_files_of_answers(run: Run, tmp_path: Path) -> None:
    """All of the known blocks, by the stage that counts, exactly."""
    expected = []
    for number, case in enumerate(BLOCKS):
        (tmp_path / f"{number}.tsv").write_text(lines_of(case))
        block = f"Aggregate: {number}.tsv\n  Tp={case['tp']} Tn={case['tn']} Fp={case['fp']} Fn={case['fn']}\n"
        for name, key in (("accuracy: ", "accuracy"), ("precision:", "precision"), ("recall:   ", "recall")):
            block += f"  {name} {case[key]}\n" if case[key] is not None else ""
        block += f"  F-measure: {case['f_measure']}\n" if case["f_measure"] is not None else ""
        expected.append(block)
    done = run("palitune", "aggregate", *(f"{number}.tsv" for number in range(len(BLOCKS))), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(expected)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures with answers, `before.tsv` and `after.tsv`."""
    folder = tmp_path_factory.mktemp("answers")
    records = demo_data.make(folder, 24)
    for name, wrong in (("before", 3), ("after", 7)):
        rows = []
        for number, record in enumerate(records):
            right = number % wrong != 0
            said = record["suffix"] if right else {"yes": "no", "no": "yes"}[record["suffix"]]
            p = (0.6 + number / 80) if said == "yes" else (0.4 - number / 80)
            rows.append(f"{record['image']}\t{right}\t{p:.6f}\t{record['suffix']}\t{said}\n")
        (folder / f"{name}.tsv").write_text("".join(rows))
    return folder


class Addresses(html.parser.HTMLParser):
    """Everything that a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "data")]
        assert tag not in ("script", "iframe", "object", "embed")


def test_a_page_needs_nothing_else(run: Run, answers: Path) -> None:
    done = run("palitune", "report", "after.tsv", "--before", "before.tsv", "-o", "page.html", cwd=answers)
    assert done.returncode == 0, done.stderr
    content = (answers / "page.html").read_text("utf-8")
    parser = Addresses()
    parser.feed(content)
    assert len(parser.found) > 10
    assert all(address.startswith("data:") for address in parser.found)
    assert "url(" not in content
    assert "@import" not in content
    for name in ("confusion", "roc", "pr", "reliability"):
        assert (answers / f"page-{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "4 of them answered wrong" in content
    assert "McNemar" in content
    assert "format GIF" in content
    assert "no image" not in content
    again = run("palitune", "report", "after.tsv", "-o", "page.html", cwd=answers)
    assert again.returncode == 73


def test_a_page_opens_without_a_complaint(run: Run, answers: Path, tmp_path: Path) -> None:
    """In a browser, where there is one: no message on its console, no request."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser here")
    assert run("palitune", "report", "after.tsv", "-o", str(tmp_path / "p.html"), cwd=answers).returncode == 0
    log = tmp_path / "net.json"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--log-net-log={log}"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", "--disable-background-networking"]
    done = run(browser, *options, (tmp_path / "p.html").as_uri(), cwd=tmp_path)
    assert "after.tsv" in done.stdout
    assert "CONSOLE" not in done.stderr
    requests = [json.loads(line.rstrip(",\n")) for line in log.read_text().splitlines() if '"url":"http' in line]
    assert not [one for one in requests if "p.html" in json.dumps(one)]


def test_names_and_answers_cannot_become_markup(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    records = [Example.of(f"{bad}{i}", label="yes", where=f"x:{i}") for i in range(3)]
    outcomes = metrics.outcomes_of(["yes", "no", "yes"], [bad, "yes", "no"], [0.2, 0.9, 0.4], ("yes", "no"))
    made = summary.summarize(bad, {"prompt": bad}, records, outcomes)
    content = page.html(made, curves.draw(outcomes, made.figures, IN_ENGLISH), IN_ENGLISH)
    assert "<script" not in content
    assert "&lt;script&gt;" in content
    assert "no image" in content


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("a.png\tTrue\t0.9\tyes\tyes\n", 'every label is "yes"'),
        ("a.png\tTrue\t0.9\tyes\tyes\nb.png\tFalse\t0.9\tno\tyes\n", 'every answer is "yes"'),
        ("a.png\tTrue\t0.9\tyes\tyes\nb.png\tFalse\t0.1\tno\tmaybe\n", "1 answers are none of yes, no"),
    ],
)
def test_sets_that_tell_little(run: Run, tmp_path: Path, rows: str, says: str) -> None:
    (tmp_path / "few.tsv").write_text(rows)
    printed = run("palitune", "report", "few.tsv", "--text", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert says in printed.stdout
    paged = run("palitune", "report", "few.tsv", cwd=tmp_path)
    assert paged.returncode == 0, paged.stderr
    assert says.replace('"', "&#34;") in (tmp_path / "report.html").read_text()
    assert "images are not found" in paged.stderr


def test_nothing_to_judge_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "none.tsv").write_text("a.png\t\t0.9\t\tyes\n")
    done = run("palitune", "report", "none.tsv", cwd=tmp_path)
    assert done.returncode == 65
    assert "there are no labels here" in done.stderr
    assert not (tmp_path / "report.html").exists()
    made = summary.summarize("empty", {}, [], metrics.outcomes_of([], [], [], ("yes", "no")))
    assert "nothing can be said" in text.text(made)
    assert "nothing can be said" in page.html(made, curves.draw(made.outcomes, made.figures, IN_ENGLISH), IN_ENGLISH)


def test_json_says_what_the_text_says(run: Run, answers: Path) -> None:
    found = json.loads(run("palitune", "report", "after.tsv", "--json", cwd=answers).stdout)
    printed = run("palitune", "report", "after.tsv", "--text", cwd=answers).stdout
    for name in ("accuracy", "roc_auc", "matthews"):
        figure = found["figures"][name]
        row = next(line for line in printed.splitlines() if line.startswith(metrics.NAMES[name] + " "))
        assert f"{figure['value']:.4f}" in row
        assert figure["low"] <= figure["value"] <= figure["high"]
        assert f"{figure['low']:.3f} to {figure['high']:.3f}" in row
    assert found["confusion"]["fp"] + found["confusion"]["fn"] == len(found["wrong"]) == 4
    sure = [one["p_yes"] if one["answer"] == "yes" else 1 - one["p_yes"] for one in found["wrong"]]
    assert sure == sorted(sure, reverse=True)
    assert sum(part["records"] for part in found["slices"] if part["kind"] == "format") == 24


def test_compare(run: Run, answers: Path) -> None:
    done = run("palitune", "compare", "before.tsv", "after.tsv", cwd=answers)
    assert done.returncode == 0, done.stderr
    assert "McNemar's p = " in done.stdout
    flips = run("palitune", "compare", "before.tsv", "after.tsv", "--flips", cwd=answers).stdout.splitlines()
    rows = {name: [line.split("\t") for line in (answers / name).read_text().splitlines()] for name in
            ("before.tsv", "after.tsv")}  # fmt: skip
    expected = [
        [old[0], old[3], old[4], new[4], "fixed" if new[1] == "True" else "broken"]
        for old, new in zip(rows["before.tsv"], rows["after.tsv"], strict=True)
        if old[4] != new[4]
    ]
    assert [line.split("\t") for line in flips] == expected
    # The order of lines is not what tells records apart, and what only one file has is left out.
    shuffled = (answers / "after.tsv").read_text().splitlines(keepends=True)[::-1][:20]
    (answers / "shuffled.tsv").write_text("".join(shuffled))
    done = run("palitune", "compare", "before.tsv", "shuffled.tsv", "--flips", cwd=answers)
    assert sorted(done.stdout.splitlines()) == sorted(
        line for line in flips if line.split("\t")[0] in "".join(shuffled)
    )
    assert "4 records are not in the other file" in done.stderr


def test_it_learned_to_say_yes(run: Run, tmp_path: Path) -> None:
    cautious = {"tp": 5, "tn": 10, "fp": 0, "fn": 5}
    eager = {"tp": 10, "tn": 4, "fp": 6, "fn": 0}
    rows = [lines_of(one).splitlines() for one in (cautious, eager)]
    for name, lines in zip(("a", "b"), rows, strict=True):
        named = sorted(lines, key=lambda line: line.split("\t")[3])
        fixed = [f"images/{number}.png\t" + line.partition("\t")[2] for number, line in enumerate(named)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(fixed) + "\n")
    done = run("palitune", "compare", "a.tsv", "b.tsv", cwd=tmp_path)
    assert (
        "WARNING: recall rose, precision fell: it learned to say yes (yes answers: 5 before, 16 after)" in done.stdout
    )


def test_labels_that_differ_are_named(run: Run, answers: Path) -> None:
    other = (answers / "after.tsv").read_text().replace("\tyes\t", "\tno\t", 1)
    (answers / "other.tsv").write_text(other)
    done = run("palitune", "compare", "before.tsv", "other.tsv", cwd=answers)
    assert done.returncode == 65
    assert 'is "no" here and "yes" at before.tsv:' in done.stderr


# Labels, answers and p_yes of one model, as inference writes them with --labels red,blue.
COLOURS = [("red", "red", 0.9), ("red", "blue", 0.3), ("blue", "red", 0.6), ("blue", "blue", 0.2), ("red", "red", 0.7)]


@pytest.mark.parametrize(("red", "blue"), [("red", "blue"), ("a", "b"), ("no", "yes")])
def test_whose_p_yes_it_is_the_answers_tell(run: Run, tmp_path: Path, red: str, blue: str) -> None:
    """Whatever the labels are called and in whatever order: the curves are those of the label that p_yes is of."""
    named = {"red": red, "blue": blue}
    rows = [f"{i}.png\t{a == b}\t{p:.6f}\t{named[a]}\t{named[b]}\n" for i, (a, b, p) in enumerate(COLOURS)]
    (tmp_path / "colours.tsv").write_text("".join(rows))
    done = run("palitune", "report", "colours.tsv", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # Of red against blue: 0.9, 0.7 and 0.3 against 0.6 and 0.2. Turned round it is the same area.
    assert found["figures"]["roc_auc"]["value"] == pytest.approx(5 / 6)
    positive = "yes" if "yes" in (red, blue) else red
    assert found["classes"][0] == positive
    assert found["confusion"]["tp"] == (1 if positive == blue else 2)
    turned = ",".join(reversed(found["classes"]))
    again = run("palitune", "report", "colours.tsv", "--json", "--labels", turned, cwd=tmp_path)
    assert json.loads(again.stdout)["figures"]["roc_auc"]["value"] == pytest.approx(5 / 6)


def test_p_yes_of_answers_is_no_p_yes(run: Run, tmp_path: Path) -> None:
    """Written with three labels, of which the third never came: p_yes is the answer's, and no curve is drawn of it."""
    labels = ["yes", "no"] * 10
    rows = [f"{i}.png\tTrue\t{0.5 + i / 50:.6f}\t{label}\t{label}\n" for i, label in enumerate(labels)]
    (tmp_path / "three.tsv").write_text("".join(rows))
    done = run("palitune", "report", "three.tsv", "--json", cwd=tmp_path)
    assert "answers do not follow from p_yes" in done.stderr
    figures = json.loads(done.stdout)["figures"]
    assert "roc_auc" not in figures
    assert figures["accuracy"]["value"] == 1.0


def test_answers_count_whatever_their_case(run: Run, tmp_path: Path) -> None:
    (tmp_path / "case.tsv").write_text("a.png\tTrue\t0.9\tyes\tYes\nb.png\tTrue\t0.1\tno\tNO\n")
    done = run("palitune", "report", "case.tsv", "--text", cwd=tmp_path)
    assert "Tp=1 Tn=1 Fp=0 Fn=0" in done.stdout
    assert "none of" not in done.stdout


def test_nothing_of_the_user_s_is_replaced(run: Run, answers: Path, tmp_path: Path) -> None:
    (tmp_path / "page-roc.png").write_text("mine")
    (tmp_path / "sheet.png").write_text("mine")
    source = str(answers / "after.tsv")
    for arguments, code in (
        (["report", source, "-o", "page.html"], 73),
        (["compare", source, source, "-o", "page.html"], 73),
        (["uncertain", source, "--sheet", "sheet.png"], 73),
        (["report", source, "-o", source, "--overwrite"], 2),
        (["report", source, "-o", "-"], 2),
        (["uncertain", source, "--sheet", str(tmp_path)], 2),
    ):
        done = run("palitune", *arguments, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "page-roc.png").read_text() == "mine"
    assert (tmp_path / "sheet.png").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


def test_questions_that_tsv_does_not_tell(run: Run, tmp_path: Path) -> None:
    asked = [("red?", "yes", 0.9), ("blue?", "no", 0.1)]
    lines = [{"image": "a.png", "prefix": q, "suffix": "no", "answer": a, "p_yes": p} for q, a, p in asked]
    for name, ordered in (("a", lines), ("b", lines[::-1])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in ordered))
        rows = [f"a.png\t{one['answer'] == 'no'}\t{one['p_yes']}\tno\t{one['answer']}\n" for one in ordered]
        (tmp_path / f"{name}.tsv").write_text("".join(rows))
    done = run("palitune", "compare", "a.jsonl", "b.jsonl", "--flips", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = run("palitune", "compare", "a.tsv", "b.tsv", cwd=tmp_path)
    assert "1 images come more than once with different answers" in done.stderr


def test_an_interval_without_0_stands_beside_no_noise(run: Run, tmp_path: Path) -> None:
    """A bootstrap of accuracy can hold no 0 where McNemar's test says chance. One test decides."""
    for name, wrong in (("a", range(9)), ("b", range(8, 10))):
        rows = [f"{i}.png\t{i not in wrong}\t0.5\tyes\t{'no' if i in wrong else 'yes'}\n" for i in range(40)]
        rows += [f"n{i}.png\tTrue\t0.5\tno\tno\n" for i in range(40)]
        (tmp_path / f"{name}.tsv").write_text("".join(rows))
    printed = run("palitune", "compare", "a.tsv", "b.tsv", cwd=tmp_path).stdout
    (found,) = json.loads(run("palitune", "compare", "a.tsv", "b.tsv", "--json", cwd=tmp_path).stdout)
    assert found["mcnemar"]["p_value"] == 20 / 512
    for one in found["differences"].values():
        if one["verdict"]:
            assert (one["low"] <= 0 <= one["high"]) == (one["verdict"] in ("noise", "the same"))
    assert "McNemar's p = 0.0391: the difference in accuracy is more than chance" in printed
    (row,) = [line for line in printed.splitlines() if line.startswith("accuracy ")]
    assert row.endswith("more than chance  McNemar's exact test")
