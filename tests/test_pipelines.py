"""The second series of stages, as people type them: through a shell, glued with its tools."""

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from conftest import REPOSITORY, Once, Run
from PIL import Image, ImageOps

from palitune.data import example_files
from palitune.storage import append_file

pytestmark = pytest.mark.quick_programs

Shell = Callable[..., "subprocess.CompletedProcess[str]"]
ROW = re.compile(r"images/(OK|NG)_image\d+\.(png|jpg|gif)\t(True|False)\t[01]\.\d{6}\t(yes|no)\t(yes|no)")


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory, run: Run, once: Once) -> Path:
    """A clone's folders with the tiny model, a model trained a little, and drawn advertisements with their answers."""

    def make(home: Path) -> None:
        kept = shutil.ignore_patterns("dataset", "tmp")
        shutil.copytree(REPOSITORY / "playground", home / "playground", ignore=kept)
        for name in ("checkpoints", "playground/dataset", "playground/tmp"):
            (home / name).mkdir()
        for command in (
            "./01-download_models.py --model tiny",
            "palitune demo-data --count 48",
            "./02-shuffle_data.sh -v 8 -n set1",
            "./03-do_learn.py -d set1 -w x --examples 96 --quiet",
            "palitune convert dataset/data.jsonl --to tsv > all.tsv",
            "./13-inference.py -d all.tsv -i dataset > indata.tsv",
        ):
            done = run("bash", "-c", command, cwd=home / "playground")
            assert done.returncode == 0, f"{command}: {done.stderr}"

    home = shutil.copytree(once("answered", make), tmp_path_factory.mktemp("pipelines") / "home")
    return home / "playground"


@pytest.fixture
def shell(playground: Path, run: Run) -> Shell:
    def shell(command: str, code: int = 0, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        done = run("bash", "-c", f"set -o pipefail; {command}", cwd=playground, env=env)
        assert done.returncode == code, f"{command}: {done.returncode}: {done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    return shell


def test_the_whole_chain(playground: Path, shell: Shell) -> None:
    shell("shuf indata.tsv | split -l 20 --additional-suffix .tsv - tmp/splitted-")
    done = shell("./13-inference.py -l checkpoints/x.npz -d tmp/splitted-ab.tsv -i dataset -b 4 | tee tmp/out-ab.tsv")
    lines = done.stdout.splitlines()
    assert len(lines) == 20
    assert all(ROW.fullmatch(line) for line in lines)
    asked = [one.image.name for one in example_files.stream(playground / "tmp/splitted-ab.tsv")]
    assert [line.split("\t")[0] for line in lines] == asked
    for line in lines:
        _, correct, p_yes, label, answer = line.split("\t")
        assert (correct == "True") == (label == answer)
        assert (float(p_yes) > 0.5) == (answer == "yes")
    blocks = shell("./14-validate_outtsv.py tmp/out-ab.tsv tmp/splitted-ab.tsv").stdout
    assert re.findall(r"^\S.*", blocks, re.MULTILINE) == [
        "Aggregate: tmp/out-ab.tsv",
        "Aggregate: tmp/splitted-ab.tsv",
    ]
    texts = [(playground / "tmp" / name).read_text() for name in ("out-ab.tsv", "splitted-ab.tsv")]
    right = [text.count("\tTrue\t") for text in texts]
    assert [float(share) for share in re.findall(r"accuracy:  (\S+)", blocks)] == [count / 20 for count in right]
    shell("./16-filter_train_data.py tmp/splitted-aa.tsv | head -64 > tmp/false.tsv")
    wrong = (playground / "tmp/false.tsv").read_text()
    kept = [line for line in (playground / "tmp/splitted-aa.tsv").read_text().splitlines(True) if "\tFalse\t" in line]
    assert wrong == "".join(kept)
    shell("./15-train.py -d tmp/false.tsv -i dataset -b 4 -r 0.001 -t 2 -s checkpoints/false.npz")
    config = json.loads((playground.parent / "checkpoints/false.run/config.json").read_text())["config"]
    assert (config["examples"], config["batch_size"], config["learning_rate"]) == (2 * len(kept), 4, 0.001)
    shell("./13-inference.py -l false -d tmp/false.tsv -i dataset --quiet | ./14-validate_outtsv.py -")


def test_the_tools_of_the_shell(shell: Shell) -> None:
    without = shell("grep -v '\\bTrue\\b.*\\byes$' indata.tsv").stdout.splitlines()
    kept = shell("./16-filter_train_data.py --keep fp,fn,tn indata.tsv").stdout.splitlines()
    assert without == kept
    assert 0 < len(kept) < 48
    assert shell("cut -f5 indata.tsv | sort | uniq -c | wc -l").stdout.strip() == "2"
    assert shell("sort -t$'\\t' -k3 -n indata.tsv | head -1 | cut -f5").stdout == "no\n"
    answers = shell("./13-inference.py -d dataset/data.jsonl --jsonl --quiet | jq -r .answer || true").stdout
    jsonl = shell("./13-inference.py -d dataset/data.jsonl --jsonl --quiet | tee tmp/out.jsonl").stdout.splitlines()
    fields = [json.loads(line) for line in jsonl]
    assert {"image", "prefix", "suffix", "correct", "p_yes", "answer"} == set(fields[0])
    if answers:  # where there is a jq
        assert answers.split() == [one["answer"] for one in fields]
    assert shell("./14-validate_outtsv.py tmp/out.jsonl").stdout.count("Aggregate: tmp/out.jsonl") == 1


def test_head_ends_it_quietly(playground: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", "./13-inference.py -d all.tsv -i dataset -b 2 --quiet | head -3; echo ${PIPESTATUS[0]}"],
        cwd=playground,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert lines[3] == "141"
    assert done.stderr == ""


def test_bad_pictures_stop_it_before_the_first_answer_or_are_left_out(playground: Path, shell: Shell) -> None:
    names = [line.split("\t")[0] for line in (playground / "all.tsv").read_text().splitlines()[:4]]
    (playground / "dataset/broken.png").write_bytes(b"no picture")
    lines = [f"{names[0]}\tyes", "broken.png\tno", f"{names[1]}\tno", "missing.png\tyes", "../out.png\tyes"]
    (playground / "tmp/bad.tsv").write_text("\n".join(lines))
    done = shell("./13-inference.py -d tmp/bad.tsv -i dataset", 65)
    assert done.stdout == ""
    told = done.stderr.splitlines()
    assert "tmp/bad.tsv:2: not an image" in told[0]
    assert "tmp/bad.tsv:4: no such image" in told[1]
    assert "tmp/bad.tsv:5: the image's path climbs" in told[2]
    assert told[3].endswith("3 of 5 images cannot be used. --on-bad-image skip leaves them out")
    assert len(told) == 4
    for source in ("-d tmp/bad.tsv", "-d - < tmp/bad.tsv"):
        done = shell(f"./13-inference.py -i dataset --on-bad-image skip {source}")
        assert [line.split("\t")[0] for line in done.stdout.splitlines()] == names[:2]
        assert sum(":2: not an image" in line for line in done.stderr.splitlines()) == 1
        assert done.stderr.splitlines()[-1] == "3 of 5 records are left out"
    assert "no image can be used" in shell("./13-inference.py -d tmp/bad.tsv -i tmp --on-bad-image skip", 65).stderr
    shell("./13-inference.py -d all.tsv -i dataset --pool mean", 2)
    done = shell("./13-inference.py -i dataset -d - < tmp/bad.tsv", 65)
    assert done.stderr.startswith("stdin:2: not an image")
    shell("printf '%s\\tyes\\nbroken.png\\n' x.png | ./13-inference.py -i dataset -d -", 65)


def test_five_of_a_kind_are_named_and_the_rest_counted(playground: Path, shell: Shell) -> None:
    (playground / "tmp/many.tsv").write_text("".join(f"missing{number}.png\tyes\n" for number in range(30)))
    told = shell("./13-inference.py -d tmp/many.tsv -i dataset", 65).stderr.splitlines()
    assert told[0] == "Is it the right folder? -i names another one"
    assert [line.split(":")[1] for line in told[1:6]] == ["1", "2", "3", "4", "5"]
    assert told[6] == "no such image: 25 more"
    assert told[7].endswith("30 of 30 images cannot be used. Is it the right folder? -i names another one")
    assert len(told) == 8


def test_one_process_writes_a_file_of_answers(playground: Path, shell: Shell) -> None:
    with append_file.exclusive(playground / "tmp/owned.tsv") as file:
        file.write(b"half")
        done = shell("./13-inference.py -d all.tsv -i dataset --resume tmp/owned.tsv", 73)
        assert "is writing this file" in done.stderr
    assert (playground / "tmp/owned.tsv").read_bytes() == b"half"


def test_records_without_a_label_are_answered(playground: Path, shell: Shell) -> None:
    done = shell("cut -f1 all.tsv | head -3 | ./13-inference.py -d - -i dataset | tee tmp/unlabelled.tsv")
    for line in done.stdout.splitlines():
        _, correct, _, label, answer = line.split("\t")
        assert (correct, label) == ("", "")
        assert answer in ("yes", "no")
    assert "without a label: 3" in shell("./14-validate_outtsv.py tmp/unlabelled.tsv").stdout
    done = shell("./15-train.py -d tmp/unlabelled.tsv -i dataset", 65)
    assert "tmp/unlabelled.tsv:1: the label is empty" in done.stderr


def test_it_goes_on_where_it_was_killed(playground: Path, shell: Shell, environment: Mapping[str, str]) -> None:
    whole = shell("./13-inference.py -d all.tsv -i dataset -b 2").stdout
    out = playground / "tmp/resumed.tsv"
    out.unlink(missing_ok=True)
    command = [
        "./13-inference.py",
        "-d",
        "all.tsv",
        "-i",
        "dataset",
        "-b",
        "2",
        "--resume",
        "tmp/resumed.tsv",
        "--quiet",
    ]
    process = subprocess.Popen(command, cwd=playground, env=dict(environment))
    while process.poll() is None and not (out.exists() and out.stat().st_size):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert whole.startswith(out.read_text())
    with out.open("a") as file:
        file.write(whole[out.stat().st_size :][:20])  # half a line
    done = shell(" ".join(command))
    assert done.stdout == ""
    assert out.read_text() == whole
    shell(" ".join(command))
    assert out.read_text() == whole
    done = shell(
        "tac all.tsv > tmp/other.tsv; ./13-inference.py -d tmp/other.tsv -i dataset --resume tmp/resumed.tsv", 65
    )
    assert "no answer to the records that are asked about" in done.stderr
    assert out.read_text() == whole


def test_what_is_no_answer_is_left_alone(playground: Path, shell: Shell) -> None:
    ask = "./13-inference.py -i dataset -d tmp/five.tsv --resume"
    shell("head -5 all.tsv > tmp/five.tsv; head -2 indata.tsv > tmp/two.tsv")
    whole = shell("./13-inference.py -i dataset -d tmp/five.tsv --quiet").stdout
    for name, content in (
        ("text", "one line"),
        ("other", "a.png\tTrue\t0.5\tyes\tyes\n"),
        ("labels", "\n".join(line.rsplit("\t", 1)[0] for line in (playground / "all.tsv").read_text().splitlines())),
        ("half", whole[:50].rsplit("\n", 1)[0] + "\nsomething"),
    ):
        (playground / "tmp" / name).write_text(content)
        shell(f"{ask} tmp/{name}", 65)
        assert (playground / "tmp" / name).read_text() == content
    shell(f"{ask} tmp/five.tsv", 2)
    shell(f"{ask} -", 2)
    shell(f"{ask} /dev/full", 2)
    shell(f"{ask} tmp", 2)
    shell(f"{ask} tmp/two.tsv --jsonl", 65)
    (playground / "tmp/gap.tsv").write_text(whole.split("\n", 2)[2].split("\n")[0] + "\n")
    assert "tmp/gap.tsv:1: this is no answer" in shell(f"{ask} tmp/gap.tsv", 65).stderr
    assert "2 of 5 records are left out" in shell(f"{ask} tmp/gap.tsv --on-bad-image skip").stderr
    assert (playground / "tmp/gap.tsv").read_text() == whole.split("\n", 2)[2]
    shell(f"{ask} tmp/two.tsv")
    assert (playground / "tmp/two.tsv").read_text() == whole


@pytest.mark.parametrize("command", ["14-validate_outtsv.py -", "16-filter_train_data.py", "13-inference.py -d -"])
def test_standard_input_that_is_closed(command: str, shell: Shell) -> None:
    assert "standard input is closed" in shell(f"./{command} <&-", 66).stderr


def test_names_that_look_like_something_else(playground: Path, shell: Shell) -> None:
    shutil.copy(
        playground / "dataset" / (playground / "all.tsv").read_text().split("\t")[0], playground / "dataset/[y].png"
    )
    shutil.copy(playground / "dataset/[y].png", playground / "dataset/image")
    (playground / "tmp/odd.tsv").write_text("[y].png\tyes\nimage\tno\n")
    done = shell(
        "./13-inference.py -d tmp/odd.tsv -i dataset --quiet | tee tmp/odd-out.tsv | ./14-validate_outtsv.py -"
    )
    assert "accuracy" in done.stdout
    assert "looks like a header" in shell("printf 'image\tlabel\n' | ./16-filter_train_data.py", 65).stderr


@pytest.mark.slow
def test_frames_of_an_animation(playground: Path, shell: Shell) -> None:
    named = [line.split("\t") for line in (playground / "all.tsv").read_text().splitlines()]
    first = {label: name for name, label in reversed(named) if not name.endswith(".gif")}
    frames = [
        Image.open(playground / "dataset" / first[label]).convert("RGB").resize((160, 160)) for label in ("no", "yes")
    ]
    frames.append(ImageOps.mirror(frames[1]))
    frames[0].save(
        playground / "dataset/both.webp", save_all=True, append_images=frames[1:], duration=100, lossless=True
    )
    (playground / "tmp/both.tsv").write_text("both.webp\tyes\n")

    def p_yes(options: str) -> float:
        line = shell(f"./13-inference.py -l x -d tmp/both.tsv -i dataset --quiet {options}").stdout
        return float(line.split("\t")[2])

    each = [p_yes(f"--frames {number}") for number in range(3)]
    assert len({round(share, 3) for share in each}) == 3
    assert [p_yes("--frames first"), p_yes(""), p_yes("--frames 9")] == each
    assert [p_yes("--frames all"), p_yes("--frames all --pool best")] == [min(each), max(each)]
    assert p_yes("--frames all --pool mean") == pytest.approx(sum(each) / 3, abs=1e-6)
    assert p_yes("--frames all --most-frames 2 --pool mean") == pytest.approx((each[0] + each[2]) / 2, abs=1e-6)
    keys = [path.name for path in (playground.parent / "cache/features").rglob("*-[012].f16")]
    assert len({name.rpartition("-")[2] for name in keys}) == 3


@pytest.mark.slow
def test_a_million_lines_take_no_more_memory(playground: Path, environment: Mapping[str, str]) -> None:
    """Lines are answered while they come: the first answers are there before the input has ended."""
    process = subprocess.Popen(
        ["./13-inference.py", "-d", "-", "-i", "dataset", "-b", "4", "--on-bad-image", "skip", "--quiet"],
        cwd=playground,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines = (playground / "all.tsv").read_text().splitlines(keepends=True)
    process.stdin.writelines(lines)
    process.stdin.flush()
    first = process.stdout.readline()
    assert first.startswith(lines[0].split("\t")[0])
    assert process.poll() is None
    process.stdin.close()
    assert len(process.stdout.readlines()) == len(lines) - 1
    assert process.wait() == 0
    process.stdout.close()


def test_splits_of_tsv_are_learned_from(shell: Shell) -> None:
    done = shell("shuf indata.tsv | ./02-shuffle_data.sh -d - -n tsv -v 25% --stratify")
    assert "dataset/tsv: 36 for training, 12 for validation" in done.stderr
    done = shell("./03-do_learn.py -d tsv --examples 8")
    assert "Result: ./dataset/tsv/valid.tsv (1st trained)" in done.stdout
    shell("./02-shuffle_data.sh --folds 3 -n three")
    done = shell("./03-do_learn.py -d three/fold2 --examples 8")
    assert "Result: ./dataset/three/fold2/valid.jsonl (1st trained)" in done.stdout
