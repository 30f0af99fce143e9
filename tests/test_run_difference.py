"""Two runs compared: settings, data, figures, and the records that both have answered."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Run

from palitune.evaluate import answer_files, comparison, run_difference
from palitune.evaluate.report import difference_text
from palitune.evaluate.run_difference import Paired, PairedSeveral, RunDifference
from palitune.run import ledger

pytestmark = pytest.mark.quick_programs


def found(home: Path, first: str = "first", second: str = "swept") -> RunDifference:
    return run_difference.compare(ledger.of_name(first), ledger.of_name(second))


def edited(home: Path, name: str, **parts: dict[str, Any]) -> None:
    """Changes what the configuration of a run says of its data."""
    path = home / "checkpoints" / f"{name}.run" / "config.json"
    content = json.loads(path.read_text())
    for part, values in parts.items():
        content["data"][f"{part}.jsonl"] |= values
    path.write_text(json.dumps(content))


def test_two_real_runs(home: Path) -> None:
    one = found(home)
    assert list(one.settings) == ["sweep", "learning_rate", "seed"]
    assert one.settings["learning_rate"] == (0.03, 0.02)
    assert [(part.what, part.is_same) for part in one.data] == [("training data", True), ("validation data", True)]
    assert isinstance(one.tested, Paired)
    files = [answer_files.read(home / f"checkpoints/{name}.run/valid.tsv") for name in ("first", "swept")]
    assert one.tested.found == comparison.compare(files[0].outcomes, files[1].outcomes)
    text = "\n".join(difference_text.lines(one))
    assert "learning_rate  0.03" in text
    assert "swept against first, 6 records" in text
    assert "McNemar's p = " in text
    assert "training data: the same, dataset/set1/train.jsonl (18 records, " in text
    document = json.loads(json.dumps(difference_text.as_json(one), allow_nan=False))
    assert document["settings"]["seed"] == {"first": 0, "second": 1}
    assert document["tested"]["records"] == 6
    assert document["why"] is None


def test_a_run_and_itself(home: Path) -> None:
    text = "\n".join(difference_text.lines(found(home, "first", "first")))
    assert "no setting differs" in text
    assert "McNemar's p = 1: the difference in accuracy is the same" in text


def test_records_that_were_added_removed_and_relabelled(home: Path) -> None:
    train = home / "dataset/set1/train.jsonl"
    lines = train.read_text().splitlines()
    other = {"yes": "no", "no": "yes"}
    turned = [json.loads(line) for line in lines[:3]]
    turned = [record | {"suffix": other[record["suffix"]]} for record in turned]
    new = [json.loads(lines[-1]) | {"image": f"images/new{number}.png"} for number in range(2)]
    content = "".join(f"{json.dumps(one)}\n" for one in (*turned, *map(json.loads, lines[3:-4]), *new))
    path = home / "dataset/other.jsonl"
    path.write_text(content)
    edited(home, "swept", train={"file": "dataset/other.jsonl", "sha256": hashlib.sha256(content.encode()).hexdigest()})
    training, validation = found(home).data
    assert (training.is_same, validation.is_same) == (False, True)
    assert training.records == (2, 4, 3)
    assert "2 added, 4 removed, 3 with another label" in "\n".join(difference_text.lines(found(home)))
    # What is no longer what it was tells nothing of records.
    path.write_text(content + lines[0] + "\n")
    training, _ = found(home).data
    assert (training.records, training.gone) == (None, "dataset/other.jsonl")
    assert "dataset/other.jsonl is not what it was" in "\n".join(difference_text.lines(found(home)))
    path.unlink()
    assert found(home).data[0].gone == "dataset/other.jsonl"


def test_other_images_under_the_same_lines(home: Path) -> None:
    edited(home, "swept", valid={"pictures": "0" * 64})
    assert [part.is_same for part in found(home).data] == [True, False]
    assert "the same lines (" in "\n".join(difference_text.lines(found(home)))


def test_nothing_in_common(home: Path, run: Run) -> None:
    folder = home / "checkpoints"
    answers = folder / "swept.run/valid.tsv"
    whole = answers.read_text()
    for change, why in (
        (lambda: answers.write_text("x.png\tTrue\t0.9\tyes\tyes\n"), "they have no answers to the same records"),
        (lambda: answers.write_bytes(b"\xff\x00"), "the answers of swept cannot be read"),
        (answers.unlink, "swept has no answers of its own"),
    ):
        change()
        one = found(home)
        assert one.tested is None
        assert why in one.why
        assert any(line.startswith("nothing in common to test: ") for line in difference_text.lines(one))
        assert difference_text.as_json(one)["tested"] is None
    answers.write_text(whole)
    done = run("palitune", "runs", "diff", "first", "gone", cwd=home)
    assert (done.returncode, done.stdout) == (66, "")
    assert "no run 'gone'" in done.stderr
    (folder / "swept.run/config.json").write_text("{")
    done = run("palitune", "runs", "diff", "first", "swept", cwd=home)
    assert (done.returncode, len(done.stderr.splitlines())) == (65, 1)


def test_only_some_records_in_common(home: Path, run: Run) -> None:
    answers = home / "checkpoints/swept.run/valid.tsv"
    answers.write_text("".join(answers.read_text().splitlines(keepends=True)[2:]))
    done = run("palitune", "runs", "diff", "first", "swept", cwd=home)
    assert done.returncode == 0
    assert "swept against first, 4 records" in done.stdout
    assert "2 records are not in the other file" in done.stderr


def test_answers_to_several_labels(home: Path) -> None:
    lines = [
        {
            "text": f"post {number}",
            "labels": {"a": "yes", "b": "no"},
            "p_yes": {"a": 0.9 if said == "yes" else 0.2, "b": 0.1},
            "answer": {"a": said, "b": "no"},
        }
        for number, said in enumerate(["yes", "no", "yes"])
    ]
    for name in ("first", "swept"):
        folder = home / "checkpoints" / f"{name}.run"
        (folder / "valid.tsv").unlink()
        (folder / "valid.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
        lines[1]["answer"] = {"a": "yes", "b": "no"}
    one = found(home)
    assert isinstance(one.tested, PairedSeveral)
    assert (one.tested.found.won, one.tested.found.lost) == (1, 0)
    text = "\n".join(difference_text.lines(one))
    assert "swept against first, 3 records" in text
    assert "records wholly right now and not before: 1, the other way: 0; McNemar's p = 1" in text
    assert json.dumps(difference_text.as_json(one), allow_nan=False)
    shutil.copy(home / "checkpoints/swept.run/valid.jsonl", home / "checkpoints/first.run/valid.jsonl")
    (home / "checkpoints/swept.run/valid.jsonl").unlink()
    (home / "checkpoints/swept.run/valid.tsv").write_text("x.png\tTrue\t0.9\tyes\tyes\n")
    assert found(home).why == "one of them has one label for each record, and the other several"


def test_names_from_elsewhere_are_printable(home: Path) -> None:
    name = "a\x1b[2J"
    shutil.copytree(home / "checkpoints/first.run", home / "checkpoints" / f"{name}.run")
    assert all(line.isprintable() for line in difference_text.lines(found(home, name, "swept")))
