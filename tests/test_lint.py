"""What spoils a run is found, named and, where that can be, repaired."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Letters, Run
from PIL import Image

from palitune.confidence_interval import wilson_interval
from palitune.data import encode, example_files
from palitune.data.checks import example_checks, near_duplicates
from palitune.data.checks.lint import LintReport, lint
from palitune.data.checks.repair import repair
from palitune.data.encode import Encoded
from palitune.data.example import Example
from palitune.data.image_folders import ImageFolders
from palitune.data.model_template import template_of


def picture(seed: int, size: tuple[int, int] = (96, 96), mode: str = "RGB") -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).convert(mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        picture(number).save(tmp_path / f"{number}.png")
    return tmp_path


def linted(folder: Path, *files: str) -> LintReport:
    return lint([folder / name for name in files], ImageFolders.beside)


def found(report: LintReport) -> list[tuple[str, str, str]]:
    """(level, check, line) of every finding."""
    return [(one.level, one.check, one.where.rpartition("/")[2]) for one in report.findings]


def write(folder: Path, name: str, rows: str) -> None:
    """Rows of `picture label`, as TSV."""
    lines = [line.strip().replace(" ", "\t") for line in rows.strip().splitlines()]
    (folder / name).write_text("\n".join(lines) + "\n")


def test_sound_data_has_no_findings(folder: Path) -> None:
    write(folder, "train.tsv", "0.png yes\n1.png no\n2.png yes")
    write(folder, "valid.tsv", "3.png yes\n4.png no")
    report = linted(folder, "train.tsv", "valid.tsv")
    assert report.findings == []
    assert [one.path.name for one in report.files] == ["train.tsv", "valid.tsv"]
    assert any('67 % yes: a model that always says "yes" scores 0.67' in line for line in report.expectations)
    interval = "of 2 records, 2 right ones would mean an accuracy from 0.34 to 1.00"
    assert any(interval in line for line in report.expectations)


def test_every_kind_of_picture(folder: Path) -> None:
    (folder / "text.png").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:-200])
    picture(7, (20, 90)).save(folder / "tiny.png")
    picture(8).save(folder / "jpeg.png", "JPEG", quality=95)
    picture(9, mode="CMYK").save(folder / "cmyk.jpg")
    alpha = picture(10, mode="RGBA")
    alpha.putalpha(100)
    alpha.save(folder / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(11).save(folder / "turned.jpg", exif=exif)
    picture(12).save(folder / "moving.gif", save_all=True, append_images=[picture(13), picture(14)])
    picture(15).save(folder / "Case.PNG")
    bad, odd = ("text.png", "cut.png", "tiny.png", "jpeg.png"), ("cmyk.jpg", "alpha.png", "turned.jpg", "moving.gif")
    names = [*bad, *odd, "case.png", "gone.png", "0.png"]
    write(folder, "data.tsv", "\n".join(f"{name} {'yes' if i % 2 else 'no'}" for i, name in enumerate(names)))
    report = linted(folder, "data.tsv")
    assert found(report) == [
        ("error", "unusable", "data.tsv:1"),
        ("error", "unusable", "data.tsv:2"),
        ("error", "missing picture", "data.tsv:9"),
        ("error", "missing picture", "data.tsv:10"),
        ("warning", "tiny", "data.tsv:3"),
        ("warning", "extension", "data.tsv:4"),
        ("note", "colours", "data.tsv:5"),
        ("note", "alpha", "data.tsv:6"),
        ("note", "rotated", "data.tsv:7"),
        ("note", "animated", "data.tsv:8"),
    ]
    assert "there is Case.PNG" in report.findings[2].what


def test_a_name_in_another_case_is_found_from_a_split(folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "0.png").rename(folder / "images" / "0.PNG")
    (folder / "images" / "0.jsonl").write_text("{}")  # which is no image
    (folder / "set1").mkdir()
    write(folder / "set1", "train.tsv", "images/0.png yes\n1.png no")
    report = linted(folder / "set1", "train.tsv")
    assert "images/0.png; there is images/0.PNG" in report.findings[0].what
    assert report.findings[0].what.count("set1") == 0
    repair(report, {folder / "set1/train.tsv": folder / "clean.tsv"})
    assert (folder / "clean.tsv").read_text() == "images/0.PNG\tyes\n1.png\tno\n"


def test_the_same_picture_again(folder: Path) -> None:
    (folder / "copy.png").write_bytes((folder / "0.png").read_bytes())
    picture(1).save(folder / "same.webp", lossless=True)
    picture(2).resize((150, 150)).save(folder / "smaller.jpg", quality=80)
    write(folder, "data.tsv", "0.png yes\ncopy.png yes\n1.png yes\nsame.webp no\n2.png yes\nsmaller.jpg no\n3.png no")
    assert found(linted(folder, "data.tsv")) == [
        ("error", "two labels", "data.tsv:4"),
        ("warning", "twice", "data.tsv:2"),
        ("warning", "alike", "data.tsv:6"),
    ]


def test_another_question_about_the_same_picture_is_no_repetition(folder: Path) -> None:
    lines = [{"image": "0.png", "prefix": prefix, "suffix": suffix} for prefix, suffix in (("a?", "yes"), ("b?", "no"))]
    (folder / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert found(linted(folder, "data.jsonl")) == []


def test_leaks(folder: Path) -> None:
    picture(1).resize((150, 150)).save(folder / "smaller.jpg", quality=80)
    write(folder, "train.tsv", "0.png yes\n1.png no\n2.png no")
    write(folder, "valid.tsv", "0.png yes\nsmaller.jpg no\n3.png yes")
    assert found(linted(folder, "train.tsv", "valid.tsv")) == [
        ("error", "leak", "valid.tsv:1"),
        ("warning", "near leak", "valid.tsv:2"),
    ]


def test_pictures_that_look_alike_are_one_finding_by_group(folder: Path) -> None:
    """Frames of a video: pairs of them would be quadratic."""
    still = np.asarray(picture(5)).astype(int)
    rng = np.random.default_rng(0)
    for number in range(40):
        changed = np.clip(still + rng.integers(-2, 3, still.shape), 0, 255).astype(np.uint8)
        Image.fromarray(changed).save(folder / f"f{number}.png")
    write(folder, "train.tsv", "\n".join(f"f{number}.png {'yes' if number % 2 else 'no'}" for number in range(30)))
    write(folder, "valid.tsv", "\n".join(f"f{number}.png {'yes' if number % 2 else 'no'}" for number in range(30, 40)))
    report = linted(folder, "train.tsv")
    assert found(report) == [("warning", "alike", "train.tsv:2")]
    assert "f1.png looks like f0.png in " in report.findings[0].what
    assert "; 28 more look like them: f2.png, f3.png, f4.png, f5.png, f6.png, and 23 more" in report.findings[0].what
    assert len(report.findings[0].others) == 29
    both = linted(folder, "train.tsv", "valid.tsv")
    assert found(both) == [("warning", "near leak", "valid.tsv:1"), ("warning", "alike", "train.tsv:2")]
    assert len(both.findings[0].others) == 39


def test_a_group_takes_no_more_pairs_than_members() -> None:
    rng = np.random.default_rng(0)
    video = np.repeat(rng.integers(0, 1 << 63, (1, 4), np.uint64), 3_000, axis=0)
    video[:, 0] ^= rng.integers(0, 1 << 8, 3_000).astype(np.uint64)
    others = rng.integers(0, 1 << 63, (500, 4), np.uint64)
    chain = np.repeat(rng.integers(0, 1 << 63, (1, 4), np.uint64), 4, axis=0)
    chain[:, 1] ^= np.array([0, 0xFFFFF, 0xFFFFFFFFFF, 0xFFFFFFFFFFFFFFF], np.uint64)  # 20 bits from each to the next
    order = rng.permutation(3_504)
    pairs = near_duplicates.near_pairs(np.concatenate([video, others, chain])[order])
    assert len(pairs) == 2_999 + 3
    assert (pairs[:, 0] < pairs[:, 1]).all()
    members = near_duplicates.components(3_504, pairs)
    assert len(np.unique(members[np.argsort(order)][:3_000])) == 1
    assert len(np.unique(members)) == 502


def test_labels_that_cannot_teach(folder: Path) -> None:
    write(folder, "data.tsv", "0.png yes\n1.png yes")
    assert found(linted(folder, "data.tsv")) == [("error", "one label", "data.tsv")]
    write(folder, "data.tsv", "0.png Cat\n1.png cat\n2.png dog")
    assert found(linted(folder, "data.tsv")) == [("warning", "spelling", "data.tsv")]
    write(folder, "data.tsv", "0.png 1\n1.png 0\n2.png 0")
    assert found(linted(folder, "data.tsv")) == [("warning", "label", "data.tsv")]
    write(folder, "data.tsv", "0.png cat\n1.png dog\n2.png cat")
    assert not found(linted(folder, "data.tsv"))
    write(folder, "data.tsv", "0.png yes\n1.png yess\n2.png no")
    report = linted(folder, "data.tsv")
    assert found(report) == [("error", "label", "data.tsv:2")]
    repair(report, {folder / "data.tsv": folder / "clean.tsv"})
    assert (folder / "clean.tsv").read_text() == "0.png\tyes\n2.png\tno\n"
    labels = [Example.of(f"{i}", label="yes" if i < 85 else "no", where=f"d:{i}") for i in range(100)]
    lines = example_checks.expectations({Path("train.jsonl"): labels})
    assert lines == [
        'train.jsonl: 85 % yes: a model that always says "yes" scores 0.85 (--balance weights helps)',
    ]


def test_tokens(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Words(Letters):
        """A token for the beginning and for the newline, and one for each word."""

        def prompt(self, example: Example, default: str) -> Encoded:
            return encode.prefix([0] * (len((example.prompt or default).split()) + 2), example.images)

        def answer(self, label: str) -> list[int]:
            return [0] * len(label.split())

    lines = [
        {"image": "0.png", "prefix": "a " * 130, "suffix": "yes"},
        {"image": "1.png", "suffix": "one two three four five six seven eight nine"},
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = lint([folder / "data.jsonl"], ImageFolders.beside, template=Words(), prompt="ok?", longest_answer=8)
    assert found(report)[1:] == [("warning", "long prompt", "data.jsonl:1"), ("warning", "long answer", "data.jsonl:2")]
    assert report.tokens == {"prompt": 132, "answer": 9}


def test_the_interval_is_wilsons() -> None:
    # Newcombe 1998, table I: 81 of 263, method 3.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_repair(folder: Path) -> None:
    picture(9).save(folder / "Case.PNG")
    (folder / "copy.png").write_bytes((folder / "0.png").read_bytes())
    rows = ["0.png\tyes", "copy.png\tyes", "1.png\tyes", "1.png\tno", "case.png\tno", "gone.png\tno"]
    rows.append("2.png\tTrue\t0.5\tyes\tyes")
    (folder / "train.tsv").write_bytes("\r\n".join([*rows, "broken", "3.png\tno"]).encode())
    write(folder, "valid.tsv", "3.png no\n4.png yes")
    report = linted(folder, "train.tsv", "valid.tsv")
    targets = {folder / name: folder / "clean" / name for name in ("train.tsv", "valid.tsv")}
    done = repair(report, targets)
    assert (folder / "clean/train.tsv").read_text() == "0.png\tyes\nCase.PNG\tno\n2.png\tTrue\t0.5\tyes\tyes\n"
    assert (folder / "clean/valid.tsv").read_text() == "3.png\tno\n4.png\tyes\n"
    assert done[folder / "train.tsv"] == (
        3,
        1,
        {"no record": 1, "twice": 1, "two labels": 2, "picture": 1, "leak": 1},
    )
    again = lint(list(targets.values()), lambda path: ImageFolders([folder]))
    assert again.count("error") == 0
    assert len(list(example_files.stream(folder / "clean/train.tsv"))) == 3


def test_the_command(workspace: Path, run: Run) -> None:
    done = run("palitune", "lint", "set1", cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert "dataset/set1/valid.jsonl: of 6 records" in done.stdout
    assert "tokens: prompts up to 28, answers up to 1" in done.stdout
    files = sorted(str(path.relative_to(workspace)) for path in (workspace / "dataset/set1").glob("*.jsonl"))
    assert run("palitune", "lint", *files, cwd=workspace).stdout == done.stdout.replace("note: animated (0)", "")
    lines = (workspace / "dataset/data.jsonl").read_text().splitlines()
    other = json.loads(lines[0]) | {"suffix": "yes" if json.loads(lines[0])["suffix"] == "no" else "no"}
    (workspace / "dataset/bad.jsonl").write_text("\n".join([*lines, json.dumps(other), "{"]))
    done = run("palitune", "lint", "dataset/bad.jsonl", "--json", "--fix", "dataset/clean.jsonl", cwd=workspace)
    assert done.returncode == 65
    content = json.loads(done.stdout)
    assert content["errors"] == 2
    assert [one["where"] for one in content["findings"] if one["level"] == "error"] == [
        f"dataset/bad.jsonl:{len(lines) + 2}",
        f"dataset/bad.jsonl:{len(lines) + 1}",
    ]
    assert (workspace / "dataset/clean.jsonl").read_text().splitlines() == lines[1:]
    assert "2 errors" in done.stderr
    done = run("palitune", "lint", "dataset/bad.jsonl", "--fix", "dataset/data.jsonl", cwd=workspace)
    assert done.returncode == 73
    assert run("palitune", "lint", "dataset/none.jsonl", cwd=workspace).returncode == 66


def test_learning_says_what_lines_alone_tell(workspace: Path, run: Run) -> None:
    folder = workspace / "dataset/leak"
    folder.mkdir()
    for name in ("train.jsonl", "valid.jsonl"):
        (folder / name).write_text((workspace / "dataset/set1/valid.jsonl").read_text())
    done = run("palitune", "learn", "-d", "leak", "--examples", "4", cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert "warning: leak: dataset/leak/valid.jsonl:1: " in done.stderr
    assert "and 5 more: palitune lint names them" in done.stderr
    assert "dataset/leak/valid.jsonl: of 6 records" in done.stderr


def test_labels_that_are_numbers_may_have_names(folder: Path) -> None:
    """The option is one that can be typed; 1 and 0 are yes and no, unless -1 is there too."""
    for labels, expected in (
        ("1 0 -1", "--map 1=positive 0=normal -1=negative"),
        ("0 1", "--map 1=yes 0=no"),
        ("FALSE TRUE", "--map TRUE=yes FALSE=no"),
        ("2 1 0", None),
        ("-1", None),
    ):
        write(folder, "data.tsv", "\n".join(f"{at}.png {label}" for at, label in enumerate(labels.split())))
        advice = [one.what for one in linted(folder, "data.tsv").findings if one.check == "label"]
        assert len(advice) == (expected is not None), labels
        assert all(one.endswith(f": palitune learn -d {folder / 'data.tsv'} {expected}") for one in advice)
    write(folder, "data.tsv", "0.png yes\n1.png 1\n2.png 0")
    errors = [one.what for one in linted(folder, "data.tsv").findings if one.check == "label"]
    assert all(one.endswith("learning refuses it without --map 1=yes 0=no") for one in errors)
    assert len(errors) == 2


def test_lengths_of_chats_are_those_of_what_is_learned(tmp_path: Path) -> None:
    """The longest answer of a chat and all that comes before its last one; of several questions, of each on its own."""
    template = template_of("tinytext", None)
    assert template is not None
    turns = [("Hi", "x" * 300, 1), ("And?", "y" * 20, 0), ("z" * 200, "ok", 1)]
    messages = [
        one
        for asked, said, weight in turns
        for one in (
            {"role": "user", "content": asked},
            {"role": "assistant", "content": said, "weight": weight},
        )
    ]
    (tmp_path / "chat.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    report = lint([tmp_path / "chat.jsonl"], ImageFolders.beside, template=template, longest_answer=900, longest_text=8)
    longest, prompt = len(template.answer("x" * 300)), report.tokens["prompt"]
    assert report.tokens["answer"] == longest
    assert longest + len(template.answer("z" * 200)) < prompt < longest + 300
    (said,) = [one.what for one in report.findings]
    assert said == f"an answer of {longest} tokens counts as wrong: evaluation decodes 8 at most"
