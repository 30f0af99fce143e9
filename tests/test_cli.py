"""The main job at the shell: the stages in playground/, their outputs, and what bad input gets."""

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import REPOSITORY, Once, Run
from PIL import Image

from palitune.checkpoint import npz
from palitune.ending import Ending

LINE = re.compile(r"step: \d+/\d+   lr: \d\.\d{5}   loss: \d+\.\d{4}")
BLOCK = re.compile(
    r"Result: (?P<path>\S+)(?: \((?P<label>[^)]+)\))?\n  Tp=(?P<tp>\d+) Tn=(?P<tn>\d+) Fp=(?P<fp>\d+) Fn=(?P<fn>\d+)\n"
    r"(?:  (?:accuracy: |precision:|recall:   |F-measure:) \d\.\d+(?:e-\d+)?\n)*"
)
QUICK = ("-d", "dataset/few/set", "--examples", "8", "--quiet")


@pytest.fixture(scope="module")
def demo(run: Run, once: Once) -> Path:
    """A clone with the tiny model, demo data and a split; to be copied."""

    def make(clone: Path) -> None:
        (clone / "checkpoints").mkdir()
        shutil.copytree(REPOSITORY / "playground", clone / "playground", ignore=shutil.ignore_patterns("dataset"))
        for command in (
            ["./01-download_models.py"],
            ["palitune", "demo-data"],
            ["./02-shuffle_data.sh", "-v", "10", "-n", "set1"],
            ["palitune", "demo-data", "-o", "dataset/few", "--count", "12"],
            ["./02-shuffle_data.sh", "-d", "dataset/few/data.jsonl", "-v", "4", "-n", "set"],
        ):
            done = run(*command, cwd=clone / "playground")
            assert done.returncode == 0, done.stderr

    return once("demo", make)


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory, demo: Path) -> Path:
    """A clone's `playground`, with the tiny model, demo data and a split."""
    clone = shutil.copytree(demo, tmp_path_factory.mktemp("clone with a blank"), dirs_exist_ok=True)
    return clone / "playground"


@pytest.fixture(scope="module")
def learned(playground: Path, demo: Path, run: Run, once: Once) -> "subprocess.CompletedProcess[str]":
    """What learning printed; its checkpoint is in the playground's clone."""

    def make(folder: Path) -> None:
        clone = shutil.copytree(demo, folder / "clone")
        done = run("./03-do_learn.py", "-d", "set1", "-w", "trained-set1", cwd=clone / "playground")
        assert done.returncode == 0, done.stderr
        (folder / "printed.json").write_text(json.dumps([done.stdout, done.stderr]))

    folder = once("learned", make)
    shutil.copytree(folder / "clone" / "checkpoints", playground.parent / "checkpoints", dirs_exist_ok=True)
    return subprocess.CompletedProcess([], 0, *json.loads((folder / "printed.json").read_text()))


def test_shuffled(playground: Path) -> None:
    parts = {name: (playground / f"dataset/set1/{name}.jsonl").read_text() for name in ("shuffle", "train", "valid")}
    assert parts["shuffle"] == parts["valid"] + parts["train"]
    assert [parts[name].count("\n") for name in ("train", "valid")] == [86, 10]


def test_learning_prints_what_scripts_parse(learned: "subprocess.CompletedProcess[str]") -> None:
    lines = [line for line in learned.stdout.splitlines() if line.startswith("step: ")]
    assert [line.split()[1] for line in lines] == [f"{step}/256" for step in range(32, 257, 32)]
    assert all(LINE.fullmatch(line) for line in lines)
    assert [line.split()[3] for line in lines[:2]] == ["0.02995", "0.02804"]
    blocks = [(block["path"], block["label"]) for block in BLOCK.finditer(learned.stdout)]
    sets = [f"./dataset/set1/{name}.jsonl" for name in ("train", "valid", "shuffle")]
    assert blocks == [(path, label) for label in ("zero trained", "1st trained") for path in sets]
    # Nothing else is on stdout.
    rest = BLOCK.sub("", learned.stdout)
    assert [line for line in rest.splitlines() if not LINE.fullmatch(line)] == []


def test_learning_converges(learned: "subprocess.CompletedProcess[str]") -> None:
    before, _, _, after, _, _ = BLOCK.finditer(learned.stdout)
    assert (int(after["fp"]), int(after["fn"])) == (0, 0)
    assert int(before["fp"]) + int(before["fn"]) > 20


def test_only_attention_learned(playground: Path, learned: "subprocess.CompletedProcess[str]") -> None:
    base = npz.Checkpoint(playground.parent / "cache/models/tiny/tiny.npz")
    trained = npz.Checkpoint(playground.parent / "checkpoints/trained-set1.npz")
    assert set(trained) == {path for path in base if path.startswith("llm/layers/attn/")}
    for path in trained:
        assert not np.array_equal(base[path], trained[path]), path
        assert trained[path].dtype == base[path].dtype == np.float16


def test_validating_repeats_what_learning_said(
    playground: Path, learned: "subprocess.CompletedProcess[str]", run: Run
) -> None:
    paths = ["./dataset/set1/train.jsonl", "./dataset/set1/valid.jsonl"]
    done = run("./04-validate.py", "-m", "./checkpoints/trained-set1.npz", *paths, cwd=playground)
    assert done.returncode == 0, done.stderr
    after = learned.stdout[learned.stdout.rindex("Result: ./dataset/set1/train") :].replace(" (1st trained)", "")
    parts, whole = after[: after.index("Result: ./dataset/set1/shuffle")], "./dataset/set1/shuffle.jsonl"
    assert done.stdout == parts
    # The block of the whole set is put together from those of its parts.
    assert run("./04-validate.py", "-m", "trained-set1", whole, cwd=playground).stdout == after.removeprefix(parts)
    names = ("trained-set1", "checkpoints/trained-set1", "../checkpoints/trained-set1.npz")
    for name in names:
        again = run("./04-validate.py", "-m", name, paths[1], "--quiet", cwd=playground)
        assert again.stdout == done.stdout[done.stdout.index("Result: ./dataset/set1/valid") :]
        assert again.stderr == ""


def test_a_sheet_of_verdicts(playground: Path, learned: object, run: Run) -> None:
    arguments = ["-m", "trained-set1", "dataset/set1/valid.jsonl", "--sheet", "sheet.png"]
    assert run("./04-validate.py", *arguments, cwd=playground).returncode == 0
    with Image.open(playground / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 800
        assert len(sheet.convert("RGB").getcolors(1 << 20)) > 1000


def test_a_second_pass_goes_on_at_a_tenth(playground: Path, run: Run) -> None:
    done = run("./03-do_learn.py", *QUICK, "-2", "-w", "twice", cwd=playground)
    assert done.returncode == 0, done.stderr
    assert [block["label"] for block in BLOCK.finditer(done.stdout)][::3] == [
        "zero trained",
        "1st trained",
        "2nd trained",
    ]
    rates = [float(line.split()[3]) for line in done.stdout.splitlines() if line.startswith("step: ")]
    assert rates[4:] == pytest.approx([rate / 10 for rate in rates[:4]], abs=1e-5)
    manifest = json.loads((playground.parent / "checkpoints/twice.json").read_text())
    assert manifest["base"]["name"] == "tiny"
    assert manifest["config"]["second_pass"] is True
    assert done.stderr == ""


def test_the_prompt_is_remembered(playground: Path, run: Run) -> None:
    run("./03-do_learn.py", *QUICK, "--prompt", "is there a star?", "-w", "stars", cwd=playground)
    assert (
        json.loads((playground.parent / "checkpoints/stars.json").read_text())["config"]["prompt"] == "is there a star?"
    )
    data = "dataset/set1/valid.jsonl"
    remembered = run("./04-validate.py", "-m", "stars", data, cwd=playground).stdout
    asked = run("./04-validate.py", "-m", "stars", data, "--prompt", "is there a star?", cwd=playground).stdout
    other = run("./04-validate.py", "-m", "stars", data, "--prompt", "is there a triangle?", cwd=playground).stdout
    assert remembered == asked != other


@pytest.mark.slow
def test_the_same_seed_gives_the_same_parameters(playground: Path, run: Run) -> None:
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        assert run("./03-do_learn.py", *QUICK, "--seed", seed, "-w", name, cwd=playground).returncode == 0
    a, b, c = ((playground.parent / f"checkpoints/{name}.npz").read_bytes() for name in "abc")
    assert a == b != c


def test_a_checkpoint_is_not_replaced_unasked(playground: Path, run: Run) -> None:
    target = playground.parent / "checkpoints" / "mine.npz"
    target.write_bytes(b"precious")
    done = run("./03-do_learn.py", *QUICK, "-w", "mine", cwd=playground)
    assert (done.returncode, done.stdout) == (73, "")
    assert "--overwrite" in done.stderr
    assert target.read_bytes() == b"precious"
    assert run("./03-do_learn.py", *QUICK, "-w", "mine", "--overwrite", cwd=playground).returncode == 0
    assert target.read_bytes() != b"precious"


def test_divergence_saves_nothing(playground: Path, run: Run) -> None:
    target = playground.parent / "checkpoints" / "good.npz"
    target.write_bytes(b"good")
    done = run("./03-do_learn.py", "-r", "1e38", "-w", "good", "--overwrite", "--quiet", cwd=playground)
    assert done.returncode == 79, done.stderr
    assert re.search(r"learning diverged at step \d+ of 256 .* no model was saved", done.stderr)
    assert done.stderr.count("\n") == 1
    assert target.read_bytes() == b"good"
    assert not target.with_suffix(".json").exists()


OK = '{"prefix":"","suffix":"yes","image":"ok.png"}\n'


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (None, 66, "bad.jsonl: no such file"),
        ("", 65, "bad.jsonl: the file is empty"),
        (OK + '{"image":\n', 65, "bad.jsonl:2: broken JSON"),
        (OK + '{"suffix":"yes"}\n', 65, 'bad.jsonl:2: the record has no "image"'),
        (OK + '{"image":"ok.png"}\n', 65, 'bad.jsonl:2: the record has no "suffix"'),
        (OK + '{"suffix":"no","image":"gone.png"}\n', 66, "bad.jsonl:2: no such image: "),
        (OK + '{"suffix":"no","image":"text.png"}\n', 65, "bad.jsonl:2: not an image but a text: "),
        (OK + '{"suffix":"maybe","image":"ok.png"}\n', 65, 'bad.jsonl:2: suffix "maybe" is neither yes nor no'),
    ],
)
@pytest.mark.parametrize("stage", ["03-do_learn.py", "04-validate.py"])
def test_bad_data(
    stage: str, content: str | None, code: int, message: str, playground: Path, tmp_path: Path, run: Run
) -> None:
    Image.new("RGB", (20, 20), "red").save(tmp_path / "ok.png")
    (tmp_path / "text.png").write_text("no picture")
    path = tmp_path / "bad.jsonl"
    if content is not None:
        path.write_text(content)
    if stage == "03-do_learn.py":
        (tmp_path / "valid.jsonl").write_text(OK)
        if path.exists():
            path.rename(tmp_path / "train.jsonl")
        message = message.replace("bad.jsonl", "train.jsonl")
        arguments = ["-d", str(tmp_path), "-w", "from-bad-data", "--quiet"]
    else:
        arguments = [str(path), "--quiet"]
    done = run(f"./{stage}", *arguments, cwd=playground)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert done.stderr.startswith(f"{stage}: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not list((playground.parent / "checkpoints").glob("*from-bad-data*"))


def test_a_checkpoint_that_does_not_fit(playground: Path, tmp_path: Path, run: Run) -> None:
    base = npz.Checkpoint(playground.parent / "cache/models/tiny/tiny.npz")
    arrays = dict(base)
    arrays["llm/final_norm/scale"] = np.zeros(7, np.float16)
    del arrays["img/head/bias"]
    arrays["llm/lost"] = np.zeros(3)
    npz.save(tmp_path / "misfit.npz", arrays)
    done = run("./04-validate.py", "-m", str(tmp_path / "misfit.npz"), "dataset/data.jsonl", cwd=playground)
    assert done.returncode == 65
    for path in ("img/head/bias is missing", "llm/lost is not a parameter", "llm/final_norm/scale has shape (7,)"):
        assert path in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["./02-shuffle_data.sh", "-v", "96", "-n", "x"], 2, "-v 96 leaves no training data"),
        (["./02-shuffle_data.sh", "-v", "0", "-n", "x"], 2, "validation needs at least one record"),
        (["./02-shuffle_data.sh", "-v", "ten", "-n", "x"], 2, "neither a number of records nor a percentage"),
        (["./02-shuffle_data.sh", "-n", "../x"], 2, "plain name"),
        (["./02-shuffle_data.sh", "-d", "gone.jsonl"], 66, "palitune demo-data"),
        (["./03-do_learn.py", "-d", "set9"], 66, "./02-shuffle_data.sh -n set9"),
        (["./03-do_learn.py", "-m", "pt-224"], 66, "./01-download_models.py --model pt-224"),
        (["./03-do_learn.py", "-m", "tinny"], 66, "Did you mean tiny?"),
        (["./03-do_learn.py", "-m", "dataset/data.jsonl"], 66, "no checkpoint dataset/data.jsonl"),
        (["./03-do_learn.py", "-w", "dataset/"], 2, "names no file"),
        (["./03-do_learn.py", "-w", ".."], 2, "names no file"),
        (["./03-do_learn.py", "-m", ""], 66, "names no checkpoint"),
        (["./03-do_learn.py", "-w", ""], 2, "names no file"),
        (["./03-do_learn.py", "--examples", "9" * 20], 2, "is more than"),
        (["./04-validate.py", "--prompt", "a" * 2001, "x"], 2, "2001 characters"),
        (["./04-validate.py", "/dev/zero"], 66, "not a file of records"),
        (["./02-shuffle_data.sh", "-n", ".."], 2, "plain name"),
        (["./03-do_learn.py", "-w", "dataset/data.jsonl/x"], 74, "dataset/data.jsonl/x.npz: cannot write"),
        (["./03-do_learn.py", "--seed=-1"], 2, "not between 0 and"),
        (["./03-do_learn.py", "-r", "nan"], 2, "not a number above 0"),
        (["./03-do_learn.py", "-b", "0"], 2, "not at least 1"),
        (["./03-do_learn.py", "--examples", "1"], 2, "less than one batch"),
        (["./03-do_learn.py", "--tokenizer", "gone.model"], 66, "gone.model"),
        (["./04-validate.py"], 2, "required: FILE"),
        (["./04-validate.py", "--frobnicate", "x"], 2, "unrecognized arguments"),
        (["palitune", "frobnicate"], 2, "invalid choice"),
    ],
)
def test_bad_arguments(command: list[str], code: int, message: str, playground: Path, run: Run) -> None:
    done = run(*command, cwd=playground)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (playground / "dataset" / "x").exists()


def test_without_a_model(playground: Path, tmp_path: Path, run: Run) -> None:
    done = run("./04-validate.py", "dataset/data.jsonl", cwd=playground, env={"PALITUNE_HOME": str(tmp_path)})
    assert done.returncode == 66
    assert "Run ./01-download_models.py first" in done.stderr
    elsewhere = run("palitune", "validate", "x.jsonl", cwd=tmp_path, env={"PALITUNE_HOME": str(tmp_path)})
    assert elsewhere.returncode == 66
    assert "Run palitune download first" in elsewhere.stderr


def test_the_tiny_model_needs_no_download(playground: Path, tmp_path: Path, run: Run) -> None:
    data = str(playground / "dataset" / "data.jsonl")
    home = {"PALITUNE_HOME": str(tmp_path)}
    answers = run("palitune", "inference", "-m", "tiny", "-d", data, cwd=tmp_path, env=home)
    assert answers.returncode == 0, answers.stderr
    here = run("./13-inference.py", "-m", "tiny", "-d", data, cwd=playground)
    assert answers.stdout == here.stdout != ""
    (tmp_path / "answers.tsv").write_text(answers.stdout)
    command = ["palitune", "threshold", "answers.tsv", "--recall", "0.9", "-m", "tiny"]
    stored = run(*command, cwd=tmp_path, env=home)
    assert stored.returncode == 0, stored.stderr
    # What is stored beside the model is in the cache: the package's own folder stays as it was installed.
    assert f"stored in {tmp_path / 'cache' / 'models' / 'tiny'}" in stored.stderr


def test_the_wrong_tokenizer(playground: Path, tmp_path: Path, run: Run) -> None:
    base = npz.Checkpoint(playground.parent / "cache/models/tiny/tiny.npz")
    arrays = {**base, "llm/embedder/input_embedding": base["llm/embedder/input_embedding"][:100]}
    npz.save(tmp_path / "small.npz", arrays)
    command = ["./04-validate.py", "-m", str(tmp_path / "small.npz"), "dataset/data.jsonl"]
    tokenizer = str(playground.parent / "cache/models/tiny/tokenizer.model")
    for arguments, message in (
        ([], "knows no tokenizer for a vocabulary of 100"),
        (["--tokenizer", tokenizer], "512 pieces for a model with a vocabulary of 100"),
    ):
        done = run(*command, *arguments, cwd=playground)
        assert done.returncode == 78
        assert message in done.stderr


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_weights_in_other_dtypes(dtype: str, playground: Path, tmp_path: Path, run: Run) -> None:
    """PaliGemma 2 is published in bfloat16; the answers are those of the float16 tiny model, but for close calls."""
    base = npz.Checkpoint(playground.parent / "cache/models/tiny/tiny.npz")
    npz.save(tmp_path / "other.npz", {path: base[path].astype(jnp.dtype(dtype)) for path in base})
    arguments = ["dataset/set1/train.jsonl", "--quiet", "--dtype", dtype]
    counts = []
    for model in ("tiny", str(tmp_path / "other.npz")):
        done = run("./04-validate.py", "-m", model, *arguments, cwd=playground)
        assert done.returncode == 0, done.stderr
        counts.append([int(number) for number in re.findall(r"=(\d+)", done.stdout)])
    assert sum(abs(a - b) for a, b in zip(*counts, strict=True)) <= (0 if dtype == "float32" else 24)


def test_a_reader_that_has_enough(playground: Path, run: Run) -> None:
    script = (
        "./04-validate.py -m tiny dataset/data.jsonl dataset/set1/train.jsonl --quiet | head -1; echo ${PIPESTATUS[0]}"
    )
    done = run("bash", "-c", script, cwd=playground)
    assert done.stdout.startswith("Result: dataset/data.jsonl\n")
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout(playground: Path, run: Run) -> None:
    done = run("bash", "-c", "./04-validate.py dataset/set1/valid.jsonl --quiet > /dev/full", cwd=playground)
    assert (done.returncode, done.stderr.count("\n")) == (74, 1)
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(closed: str, playground: Path, run: Run) -> None:
    done = run("bash", "-c", f"palitune download {closed}; echo $? > code", cwd=playground)
    assert (playground / "code").read_text() == "0\n"
    assert done.stderr.count("Traceback") == 0


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
@pytest.mark.parametrize("saving", [pytest.param(False, marks=pytest.mark.slow), True])
def test_signals_leave_nothing_behind(
    saving: bool, number: int, code: int, playground: Path, environment: dict[str, str]
) -> None:
    name = f"stopped-{code}"
    command = ["./03-do_learn.py", "--examples", "100000", *(["-w", name] if saving else [])]
    with subprocess.Popen(
        command, cwd=playground, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Result: ")
        time.sleep(0.5)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == (75 if saving else code)
    assert "Traceback" not in errors
    assert ("./03-do_learn.py --resume -w" in errors) == saving
    checkpoints = playground.parent / "checkpoints"
    assert not list(checkpoints.glob(f"*{name}.npz*"))
    assert (checkpoints / f"{name}.run").exists() == saving
    assert not [path for path in checkpoints.glob(f"{name}.run/.*") if path.is_file()]
    shutil.rmtree(checkpoints / f"{name}.run", ignore_errors=True)


def test_help(run: Run, playground: Path) -> None:
    top = run("palitune", "--help", cwd=playground)
    assert top.returncode == 0
    for command in ("download", "demo-data", "split", "learn", "validate", "pretrain-tiny"):
        assert f"\n  {command} " in top.stdout
        page = run("palitune", command, "--help", cwd=playground)
        assert page.returncode == 0
        assert "usage: palitune" in page.stdout
    assert run("palitune", cwd=playground).stdout == top.stdout
    assert "79 diverged" in top.stdout


def test_debug_shows_where(playground: Path, run: Run) -> None:
    done = run("./04-validate.py", "gone.jsonl", "--debug", cwd=playground)
    assert "Traceback" in done.stderr


def test_a_device_without_memory_left_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A real allocation that no machine can serve, through the same door as any command."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ending = Ending("palitune learn", debug=False)
    with ending:
        jnp.zeros(1 << 46, jnp.uint8).block_until_ready()
    for number, handler in before.items():
        signal.signal(number, handler)
    shown = capsys.readouterr().err
    assert ending.code == 78
    assert shown.startswith("palitune learn: the device ran out of memory. Use a smaller --batch-size")
    assert len(shown.splitlines()) == 1
