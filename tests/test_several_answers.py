"""Files of answers to several labels at once, and the commands that read them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from conftest import Run

from palitune.checkpoint import operating_point
from palitune.checkpoint.operating_point import OperatingPoint, Stored
from palitune.data.answer_source import AnswerSource
from palitune.data.example import Content, Example, Message, Target
from palitune.data.formats import label_answers
from palitune.data.prediction import MadeWith, Prediction, by_example
from palitune.errors import BadDataError
from palitune.evaluate import label_table, several_answers
from palitune.evaluate.report import plots
from palitune.labels import LABELS


def written(path: Path, said: list[Prediction]) -> Path:
    """A file of answers as inference writes it."""
    path.write_text("".join(label_answers.to_line(*group) + "\n" for group in by_example(said)))
    return path


def answered(count: int = 40, seed: int = 0, wrong: float = 0.1) -> list[Prediction]:
    """Answers to drawn records with an image and three labels, of which the third is rare and often unknown."""
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        rights = [bool(rng.random() < share) for share in (0.5, 0.4, 0.2)]
        answers = ["yes" if right else "no" for right in rights]
        targets = tuple(
            Target(name, LABELS, None if name == "rare" and number % 3 == 0 else answer)
            for name, answer in zip(("obscene", "violent", "rare"), answers, strict=True)
        )
        example = Example.of(f"{number}.jpg")._replace(targets=targets)
        for target, right in zip(targets, rights, strict=True):
            p = float(np.clip(rng.normal(0.8 if right != (rng.random() < wrong) else 0.2, 0.1), 0.01, 0.99).round(4))
            found.append(Prediction(example, target, "yes" if p >= 0.5 else "no", p))
    return found


def test_answers_are_read_as_they_were_written(tmp_path: Path) -> None:
    said = answered()
    path = written(tmp_path / "out.jsonl", said)
    first = json.loads(path.read_text().splitlines()[0])
    assert list(first) == ["image", "labels", "correct", "p_yes", "answer"]
    assert first["labels"]["rare"] is None
    assert several_answers.are_in(path)
    found = several_answers.read(path)
    expected, _ = label_table.of_predictions(by_example(said))
    assert found.table.names == ("obscene", "violent", "rare")
    for part in ("truth", "said", "p"):
        assert (getattr(found.table, part) == getattr(expected, part)).all()
    marked = [json.loads(line)["correct"] for line in path.read_text().splitlines()]
    assert marked == found.table.right.tolist()


def test_lines_keep_all_keys_of_their_records() -> None:
    fields = {"text": "one", "labels": {"a": True}, "source": "x", "answer": "old"}
    example = Example((Message("user", (Content("one"),)),), (Target("a", LABELS, "yes"), Target("b")), "x:1", fields)
    said = [Prediction(example, target, "no", 0.25) for target in example.targets]
    line = json.loads(label_answers.to_line(example, said))
    assert line == {
        "text": "one",
        "labels": {"a": "yes", "b": None},
        "source": "x",
        "answer": {"a": "no", "b": "no"},
        "correct": False,
        "p_yes": {"a": 0.25, "b": 0.25},
    }


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ({"answer": {"a": "maybe"}, "p_yes": {"a": 0.5}}, "neither yes nor no"),
        ({"answer": {"a": 1}, "p_yes": {"a": 0.5}}, "neither yes nor no"),
        ({"answer": {"a": "yes"}, "p_yes": {"a": 1.5}}, "no probability"),
        ({"answer": {"a": "yes"}, "p_yes": {"a": True}}, "no probability"),
        ({"answer": {str(i): "yes" for i in range(1001)}, "p_yes": {}}, "1,001 labels"),
        ({"answer": {}, "p_yes": {}}, "no answers to several labels"),
    ],
)
def test_what_is_no_answer_is_refused(tmp_path: Path, line: dict[str, object], what: str) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(json.dumps({"image": "a.jpg", **line}) + "\n")
    with pytest.raises(BadDataError, match=what):
        several_answers.read(path)


def test_stage_14_prints_a_line_for_each_label(tmp_path: Path, run: Run) -> None:
    path = written(tmp_path / "out.jsonl", answered())
    lines = run("palitune", "aggregate", "out.jsonl", cwd=tmp_path).stdout.splitlines()
    assert lines[0] == "Aggregate: out.jsonl"
    first = ["label", "obscene", "violent", "rare", "micro", "macro", "samples"]
    assert [line.split()[0] for line in lines[1:8]] == first
    assert lines[8].startswith("  exact match: 0.")
    piped = run("palitune", "aggregate", "-", cwd=tmp_path, stdin=path.read_text()).stdout.splitlines()
    assert piped[1:] == lines[1:]


def test_stage_16_keeps_the_lines_that_are_wrong(tmp_path: Path, run: Run) -> None:
    path = written(tmp_path / "out.jsonl", answered())
    kept = run("palitune", "filter", "out.jsonl", cwd=tmp_path).stdout.splitlines()
    assert kept == [line for line in path.read_text().splitlines() if not json.loads(line)["correct"]]
    for line in map(
        json.loads, run("palitune", "filter", "--keep", "tn", "out.jsonl", cwd=tmp_path).stdout.splitlines()
    ):
        assert line["correct"]
        assert "yes" not in line["labels"].values()


def test_a_report_as_text_json_and_page(tmp_path: Path, run: Run) -> None:
    written(tmp_path / "out.jsonl", answered())
    told = run("palitune", "report", "out.jsonl", "--text", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("Result: out.jsonl\n  label ")
    assert "labels per record: 0: " in told.stdout
    assert "wrong, most confident first" in told.stdout
    content = json.loads(run("palitune", "report", "out.jsonl", "--json", cwd=tmp_path).stdout)
    table = several_answers.read(tmp_path / "out.jsonl").table
    assert content["labels"]["rare"]["records"] == int((table.truth[:, 2] >= 0).sum())
    assert content["together"]["names"] == ["obscene", "violent", "rare"]
    assert len(content["wrong"]) == int((~table.right).sum())
    assert all(content[group]["f_measure"]["low"] is not None for group in ("micro", "macro", "samples"))
    drawn = run("palitune", "report", "out.jsonl", "-o", "page.html", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    page = (tmp_path / "page.html").read_text()
    assert "macro F-measure" in page
    assert page.count('<figure class="wrong">') == len(content["wrong"])
    for name in ("pr", "together"):
        assert (tmp_path / f"page-{name}.png").read_bytes().startswith(b"\x89PNG")


def test_thresholds_of_each_label(tmp_path: Path, run: Run) -> None:
    """Drawn probabilities whose best thresholds are known, and a label of which only one answer is there."""
    rng, found = np.random.default_rng(5), []
    for number in range(200):
        targets = tuple(Target(name, LABELS, str(rng.choice(LABELS))) for name in ("low", "high"))
        targets = (*targets, Target("never", LABELS, "no"), Target("unknown", LABELS, None))
        example = Example.of(f"{number}.jpg")._replace(targets=targets)
        for target, place in zip(targets, (0.2, 0.8, 0.5, 0.5), strict=True):
            away = 0.1 if target.answer == "yes" else -0.1
            p = round(place + away + float(rng.uniform(-0.05, 0.05)), 6)
            found.append(Prediction(example, target, "yes" if p >= 0.5 else "no", p))
    written(tmp_path / "out.jsonl", found)
    done = run("palitune", "threshold", "out.jsonl", "--f-measure", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = dict(line.split(": ") for line in done.stdout.splitlines() if line.startswith("threshold of"))
    assert 0.15 <= float(told["threshold of low"]) <= 0.25
    assert 0.75 <= float(told["threshold of high"]) <= 0.85
    assert float(told["threshold of never"]) == 0.5
    assert "never: a threshold needs records of both labels; its threshold stays" in done.stderr
    # At 0.5 it is never found, which is an F-measure of 0 as everywhere.
    rows = [line.split()[:6] for line in done.stdout.splitlines()]
    assert ["low", "200", "0.5", "-", "0.0000", "0.0000"] in rows
    assert "-> 1.0000" in next(line for line in done.stdout.splitlines() if line.startswith("macro F-measure"))


def test_thresholds_of_labels_are_stored_and_read(tmp_path: Path) -> None:
    file = tmp_path / "x.threshold.json"
    stored = Stored(OperatingPoint(), LABELS, "recall 0.9 for each label", {"ab": 1.0}, "mark", thresholds={"a": 0.25})
    operating_point.write_file(file, stored)
    assert operating_point.read(tmp_path / "x.npz") == stored
    content = json.loads(file.read_text())
    for wrong in ({"a": 2}, {"a": True}, {"a": None}, ["a"]):
        file.write_text(json.dumps(content | {"thresholds": wrong}))
        with pytest.raises(BadDataError, match="not a stored threshold"):
            operating_point.read(tmp_path / "x.npz")


def test_two_models_on_the_same_records(tmp_path: Path, run: Run) -> None:
    before = written(tmp_path / "before.jsonl", answered(120, wrong=0.4))
    lines = written(tmp_path / "after.jsonl", answered(120, wrong=0.05)).read_text().splitlines()
    after = tmp_path / "after.jsonl"
    after.write_text("\n".join(lines[::-1]) + "\n")  # in another order
    first, second = several_answers.same_records(several_answers.read(before), several_answers.read(after))
    assert (first.table.truth == second.table.truth).all()
    content = json.loads(run("palitune", "compare", "before.jsonl", "after.jsonl", "--json", cwd=tmp_path).stdout)[0]
    assert content["f_measures"]["macro"]["significance"] == "more than chance"
    won = int((second.table.right & ~first.table.right).sum())
    assert content["mcnemar"]["won"] == won
    assert len(content["flips"]) == int((first.table.said != second.table.said).sum())
    told = run("palitune", "compare", "before.jsonl", "after.jsonl", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in told[2:8]] == ["obscene", "violent", "rare", "macro", "micro", "samples"]
    flips = run("palitune", "compare", "before.jsonl", "after.jsonl", "--flips", cwd=tmp_path).stdout.splitlines()
    assert {len(line.split("\t")) for line in flips} == {6}
    same = run("palitune", "compare", "after.jsonl", "after.jsonl", "--json", cwd=tmp_path).stdout
    assert json.loads(same)[0]["mcnemar"]["significance"] == "the same"


def test_two_models_on_a_page(tmp_path: Path, run: Run) -> None:
    before, after = (answered(40, wrong=wrong) for wrong in (0.4, 0.05))
    written(tmp_path / "before.jsonl", before)
    path = written(tmp_path / "after.jsonl", after)
    compared = run("palitune", "compare", "before.jsonl", "after.jsonl", "-o", "compared.html", cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert compared.stdout.startswith("after.jsonl against before.jsonl, 40 records\n")
    reported = run("palitune", "report", "after.jsonl", "--before", "before.jsonl", cwd=tmp_path)
    assert reported.returncode == 0, reported.stderr
    changed = {one.example.where for one, other in zip(after, before, strict=True) if one.text != other.text}
    for name in ("compared.html", "report.html"):
        page = (tmp_path / name).read_text()
        assert "Before and after" in page
        assert page.count("→ <b>") == sum(a.text != b.text for a, b in zip(after, before, strict=True))
        assert page.count("<figure") == len(changed) + int((~several_answers.read(path).table.right).sum())
    both = ("after.jsonl", "--before", "before.jsonl")
    content = json.loads(run("palitune", "report", *both, "--json", cwd=tmp_path).stdout)
    compared = run("palitune", "compare", "before.jsonl", "after.jsonl", "--json", cwd=tmp_path)
    assert content["comparison"]["f_measures"] == json.loads(compared.stdout)[0]["f_measures"]
    told = run("palitune", "report", *both, "--text", cwd=tmp_path).stdout
    assert "records wholly right now and not before: " in told


@pytest.mark.parametrize(
    "command", [("report", "-", "--text"), ("compare", "before.jsonl", "-"), ("failures", "-"), ("uncertain", "-")]
)
def test_standard_input_is_as_a_file(tmp_path: Path, run: Run, command: tuple[str, ...]) -> None:
    written(tmp_path / "before.jsonl", answered(40, wrong=0.4))
    lines = written(tmp_path / "after.jsonl", answered(40)).read_text()
    named = ["after.jsonl" if word == "-" else word for word in command]
    expected = run("palitune", *named, cwd=tmp_path)
    assert expected.returncode == 0, expected.stderr
    for beginning in ("", "\ufeff\n \n"):
        done = run("palitune", *command, cwd=tmp_path, stdin=beginning + lines)
        assert done.returncode == 0, done.stderr
        assert done.stdout.replace("stdin", "after.jsonl") == expected.stdout.replace("after.jsonl", "-")


def test_answers_to_one_label_and_to_several_are_not_compared(tmp_path: Path, run: Run) -> None:
    written(tmp_path / "several.jsonl", answered(4))
    (tmp_path / "one.tsv").write_text("a.jpg\tTrue\t0.9\tyes\tyes\n")
    for command in (("compare", "one.tsv", "several.jsonl"), ("report", "several.jsonl", "--before", "one.tsv")):
        done = run("palitune", *command, cwd=tmp_path)
        assert done.returncode == 65
        assert "one.tsv: these are answers to one label, and those in several.jsonl are to several" in done.stderr


def test_other_labels_or_records_are_not_compared(tmp_path: Path) -> None:
    first = several_answers.of_groups("a", list(by_example(answered(10))))
    with pytest.raises(BadDataError, match="no record with the same labels"):
        several_answers.same_records(first, several_answers.of_groups("b", list(by_example(answered(11)))[10:]))
    renamed = first._replace(table=dataclasses.replace(first.table, names=("x", "y", "z")))
    with pytest.raises(BadDataError, match="the labels are x, y, z here and obscene, violent, rare in a"):
        several_answers.same_records(first, renamed)


def test_a_record_is_as_uncertain_as_its_most_uncertain_label(tmp_path: Path, run: Run) -> None:
    p = ((0.9, 0.05, 0.99), (0.52, 0.1, 0.8), (0.9, 0.2, 0.45), (0.3, 0.7, 0.999))
    names = ("obscene", "violent", "rare")
    lines = [
        {"text": f"text {i}", "more": i, "p_yes": dict(zip(names, row, strict=True)),
         "answer": {name: "yes" if one >= 0.5 else "no" for name, one in zip(names, row, strict=True)}}
        for i, row in enumerate(p)
    ]  # fmt: skip
    path = tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    expected = [(1, "obscene"), (2, "rare"), (3, "violent"), (0, "obscene")]
    found = [json.loads(line) for line in run("palitune", "uncertain", "out.jsonl", cwd=tmp_path).stdout.splitlines()]
    assert [(line["more"], line["uncertain"]) for line in found] == expected
    assert all(line == lines[line["more"]] | {"uncertain": line["uncertain"]} for line in found)
    done = run("palitune", "uncertain", "out.jsonl", "--threshold", "0.99", "-n", "1", cwd=tmp_path)
    assert json.loads(done.stdout)["uncertain"] == "rare"
    AnswerSource(path).write(MadeWith(LABELS, thresholds=(("violent", 0.06),)))
    first = run("palitune", "uncertain", "out.jsonl", "-n", "2", cwd=tmp_path).stdout.splitlines()
    assert [json.loads(line)["uncertain"] for line in first] == ["obscene", "violent"]
    sheet = run("palitune", "uncertain", "out.jsonl", "--sheet", "x.png", cwd=tmp_path)
    assert sheet.returncode == 2
    assert "x.png: a sheet shows images, and no record has one" in sheet.stderr
    assert not sheet.stdout


def test_a_sheet_of_images_with_several_labels(tmp_path: Path, run: Run) -> None:
    said = answered(6)
    for example, _ in by_example(said):
        PIL.Image.new("RGB", (20, 20), "green").save(tmp_path / example.image.name)
    written(tmp_path / "out.jsonl", said)
    done = run("palitune", "uncertain", "out.jsonl", "--sheet", "sheet.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_sheet_says_of_several_labels() -> None:
    targets = tuple(Target(name, LABELS, answer) for name, answer in (("a", "yes"), ("b", "no"), ("c", None)))
    example = Example.of("one.jpg")._replace(targets=targets)

    def shown(*answers: tuple[str, float]) -> tuple[str, str, str]:
        said = [Prediction(example, target, *one) for target, one in zip(targets, answers, strict=True)]
        (cell,) = plots.sheet_images(said, "sheet.png")
        return cell.target, cell.label, cell.answer

    assert shown(("yes", 0.9), ("no", 0.1), ("yes", 0.9)) == ("", "a", "a")
    assert shown(("no", 0.4), ("no", 0.1), ("yes", 0.9)) == ("a", "yes", "no")
    assert shown(("no", 0.4), ("yes", 0.95), ("yes", 0.9)) == ("b", "no", "yes")


def test_unsure_answers_are_counted_among_known_labels(tmp_path: Path, run: Run) -> None:
    said = answered()
    written(tmp_path / "out.jsonl", said)
    known = [one for one in said if one.target.answer]
    sure = [one for one in known if max(one.p_yes or 0, 1 - (one.p_yes or 0)) >= 0.8]
    right = sum(one.text == one.target.answer for one in sure)
    done = run("palitune", "aggregate", "out.jsonl", "--min-p", "0.8", cwd=tmp_path)
    unsure = len(known) - len(sure)
    assert 0 < unsure < len(known) < len(said)
    share, accuracy = f"{unsure / len(known):.4f}", f"{right / len(sure):.4f}"
    expected = f"  unsure below 0.8: {unsure} of {len(known)} ({share}), accuracy of the rest: {accuracy}"
    assert done.stdout.splitlines()[-1] == expected
