"""Models from Hugging Face: from a server that answers as it does and fails in every way, through huggingface_hub."""

import hashlib
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import conftest
import pytest
from conftest import Run
from hub_server import COMMIT, NAME, OTHER_COMMIT, Repository, RepositoryHandler
from server import serving

from palitune import workspace
from palitune.checkpoint import opening
from palitune.errors import BadDataError, MissingInputError, NetworkError, PalituneError
from palitune.hub import catalogue, checksum, huggingface, published_models, snapshot, transfer
from palitune.infer import loading
from palitune.models import families
from palitune.storage import locks

TOKEN = "hf_0123456789abcdef"
NOBODY = {"HF_ENDPOINT": "http://127.0.0.1:9"}  # the port of "discard"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}).encode()
WEIGHTS = [random.Random(seed).randbytes(1_500_000) for seed in range(2)]
FILES = {
    "config.json": b'{"model_type": "gemma3"}',
    "model.safetensors.index.json": INDEX,
    "tokenizer.json": b'{"version": "1.0"}',
    "chat_template.jinja": b"{{ messages }}",
    **dict(zip(SHARDS, WEIGHTS, strict=True)),
}
OTHERS = {
    "README.md": b"# small",
    "pytorch_model.bin": b"\x80\x04",
    "consolidated.safetensors": b"the same again",
    "onnx/model.safetensors": b"elsewhere",
    "../config.json": b"outside",
}


@pytest.fixture
def repository() -> Iterator[Repository]:
    with serving(Repository({**FILES, **OTHERS}), RepositoryHandler) as site:
        yield site


@pytest.fixture
def here(repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Repository:
    """The repository, as Hugging Face of this process; and no waiting."""
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
        monkeypatch.delenv(name)
    for name, value in {**repository.endpoint, "HF_HOME": str(tmp_path / "hf-home")}.items():
        monkeypatch.setenv(name, value)
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_VERBOSITY"):  # which are set by us, and are not to stay
        monkeypatch.setenv(name, "1" if name.endswith("TELEMETRY") else "critical")
    return repository


def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models" / "somebody--small"


def fetched(
    tmp_path: Path, run: Run, site: Repository, *arguments: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """A download from the site, of its repository where the arguments name none."""
    named = arguments if arguments and not arguments[0].startswith("-") else (NAME, *arguments)
    return run("palitune", "download", "--model", *named, cwd=tmp_path, env=site.endpoint | variables)


def content(folder: Path) -> dict[str, bytes]:
    """The files of a model's folder without their checksums and what says where they come from."""
    left_out = (".sha256", snapshot.SOURCE)
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(left_out)}


def one_line(done: "subprocess.CompletedProcess[str]", code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr, done.stderr
    assert TOKEN not in done.stderr


def test_a_whole_model(repository: Repository, tmp_path: Path, run: Run) -> None:
    """What a model needs arrives, with its checksums, and where it comes from; nothing else does."""
    done = fetched(tmp_path, run, repository, HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert tmp_path / done.stdout.strip() == folder(tmp_path)
    assert content(folder(tmp_path)) == FILES
    for name, whole in FILES.items():
        path = folder(tmp_path) / name
        assert checksum.recorded(path) == {hashlib.sha256(whole).hexdigest()}
        assert subprocess.run(["sha256sum", "-c", f"{name}.sha256"], cwd=path.parent, check=True)
    source = json.loads((folder(tmp_path) / snapshot.SOURCE).read_text())
    assert source == {
        "name": NAME,
        "revision": "main",
        "commit": COMMIT,
        "files": {
            name: {"size": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}
            for name, whole in sorted(FILES.items())
        },
    }
    assert [path.name for path in folder(tmp_path).parent.iterdir()] == ["somebody--small"]
    assert str(repository.port) not in (folder(tmp_path) / snapshot.SOURCE).read_text()


def test_the_token_goes_to_hugging_face_alone(repository: Repository, tmp_path: Path, run: Run) -> None:
    assert fetched(tmp_path, run, repository, HF_TOKEN=f"{TOKEN}\n").returncode == 0
    assert all(head["authorization"] == f"Bearer {TOKEN}" for head in repository.sent("/api/"))
    assert all(head["authorization"] == f"Bearer {TOKEN}" for head in repository.sent("/resolve/"))
    elsewhere = repository.sent("/elsewhere/")
    assert len(elsewhere) == 3
    assert not any("authorization" in head for head in elsewhere), "large files are on a host of their own"
    assert not any("torch" in head["user-agent"] or "agent/" in head["user-agent"] for head in repository.sent("/"))


def test_what_is_there_is_verified_and_not_fetched_again(repository: Repository, tmp_path: Path, run: Run) -> None:
    assert fetched(tmp_path, run, repository).returncode == 0
    asked = len(repository.requests)
    written = (folder(tmp_path) / SHARDS[0]).stat().st_mtime_ns
    for name in (NAME, f"{NAME}@main", f"{NAME}@{COMMIT}", f"{NAME}@{COMMIT[:8]}"):
        again = fetched(tmp_path, run, repository, name)
        assert again.returncode == 0, again.stderr
        assert tmp_path / again.stdout.strip() == folder(tmp_path)
    assert len(repository.requests) == asked
    assert (folder(tmp_path) / SHARDS[0]).stat().st_mtime_ns == written
    path = folder(tmp_path) / SHARDS[0]
    path.write_bytes(b"x" + path.read_bytes()[1:])
    one_line(fetched(tmp_path, run, repository), 65, SHARDS[0], "its content has changed since it was downloaded")
    assert len(repository.requests) == asked
    assert fetched(tmp_path, run, repository, "--overwrite").returncode == 0
    assert content(folder(tmp_path)) == FILES
    assert len(repository.sent("/elsewhere/")) == 4, "only the damaged file is fetched again"
    (folder(tmp_path) / "config.json").unlink()
    one_line(
        fetched(tmp_path, run, repository), 65, "config.json", "it is no longer there", f"--model {NAME} --overwrite"
    )


def test_another_revision(repository: Repository, tmp_path: Path, run: Run) -> None:
    assert fetched(tmp_path, run, repository).returncode == 0
    there = fetched(tmp_path, run, repository, f"{NAME}@other")
    one_line(there, 73, f"at revision main (commit {COMMIT[:12]}), not other", "--overwrite replaces it")
    done = fetched(tmp_path, run, repository, f"{NAME}@other", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert content(folder(tmp_path)) == FILES | {"config.json": b'{"other": true}'}
    found = snapshot.read(folder(tmp_path))
    assert found is not None
    assert (found.revision, found.commit) == ("other", OTHER_COMMIT)
    assert len(repository.sent("/elsewhere/")) == 3, "what both have is not fetched again"
    assert len(list(folder(tmp_path).parent.iterdir())) == 1
    assert (folder(tmp_path) / SHARDS[0]).stat().st_nlink == 1
    one_line(fetched(tmp_path, run, repository, f"{NAME}@nowhere", "--overwrite"), 66, NAME, "no revision nowhere")
    assert content(folder(tmp_path))["config.json"] == b'{"other": true}'


def test_the_branch_is_resolved_to_a_commit_that_is_kept(here: Repository, tmp_path: Path) -> None:
    catalogue.download(NAME, tmp_path, silent=True)
    here.revisions["main"] = OTHER_COMMIT
    path = catalogue.download(NAME, tmp_path, silent=True)
    found = snapshot.read(path)
    assert found is not None
    assert found.commit == COMMIT
    assert catalogue.download(NAME, tmp_path, overwrite=True, silent=True) == path
    found = snapshot.read(path)
    assert found is not None
    assert found.commit == OTHER_COMMIT


def test_a_folder_of_somebody_else_is_not_replaced(repository: Repository, tmp_path: Path, run: Run) -> None:
    folder(tmp_path).mkdir(parents=True)
    (folder(tmp_path) / "mine").write_text("mine")
    one_line(fetched(tmp_path, run, repository), 73, "palitune did not download it")
    assert repository.requests == []
    assert catalogue.downloaded(tmp_path / "cache") == []
    assert fetched(tmp_path, run, repository, "--overwrite").returncode == 0
    assert content(folder(tmp_path)) == FILES


@pytest.mark.parametrize("options", [[], ["--quiet"]])
def test_a_bar_at_a_terminal(
    options: list[str], repository: Repository, tmp_path: Path, environment: dict[str, str]
) -> None:
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (30, 100))
    command, env = ["palitune", "download", "--model", NAME, *options], environment | repository.endpoint
    done = subprocess.run(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=follower)
    os.write(follower, b"the end")
    shown = os.read(leader, 65536).decode()
    os.close(follower)
    os.close(leader)
    assert done.returncode == 0
    assert shown == "the end" if options else f"{NAME}: 100%" in shown


# What goes wrong.


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (("no", 404, "RepoNotFound"), 66, "no such model, or none that people without a token may see (HTTP 404)"),
        (("no", 401, "RepoNotFound"), 66, "no such model, or none that people without a token may see (HTTP 401)"),
        (("no", 404, "RevisionNotFound"), 66, "the repository has no revision"),
        (("no", 401, "GatedRepo"), 77, f"Accept it at https://huggingface.co/{NAME}"),
        (("no", 403, "GatedRepo"), 77, f"Accept it at https://huggingface.co/{NAME}"),
        (("status", 401), 77, f"{NAME} needs a token (HTTP 401)"),
        (("status", 403), 77, f"Hugging Face refuses {NAME} (HTTP 403)"),
        (("status", 429, {"Retry-After": "3600"}), 69, "too many requests of people without a token (HTTP 429)"),
        (("status", 503, {"Retry-After": "3600"}), 69, f"Hugging Face answers HTTP 503 for {NAME}"),
        (("status", 418), 69, "HTTP 418"),
        (("text", b"<html>Please sign in</html>"), 69, f"what answers for {NAME} is not Hugging Face"),
        (("text", b'{"sha": 7, "id": "a/b", "siblings": [{"rfilename": "x"}]}'), 69, "is not Hugging Face"),
        (("text", b'{"siblings": [{"size": 7}]}'), 69, "is not Hugging Face"),
        (("text", b"[" * 100_000), 69, "is not Hugging Face"),
    ],
)
def test_refusals(
    fault: tuple[object, ...], code: int, words: str, repository: Repository, tmp_path: Path, run: Run
) -> None:
    repository.listing_faults = [fault] * 9
    one_line(fetched(tmp_path, run, repository), code, words)
    assert len(repository.requests) == 1
    assert not folder(tmp_path).exists()


def test_what_is_busy_is_asked_again(here: Repository, tmp_path: Path) -> None:
    here.listing_faults = [("status", 503), ("reset",), ("status", 500)]
    here.faults = [("status", 503), ("reset",)]
    assert content(catalogue.download(NAME, tmp_path, silent=True)) == FILES
    shutil.rmtree(tmp_path / "models")
    here.listing_faults = [("status", 502)] * 9
    with pytest.raises(NetworkError, match="HTTP 502"):
        catalogue.download(NAME, tmp_path, silent=True)
    assert len(here.listing_faults) == 9 - transfer.ATTEMPTS


def test_a_gated_model(repository: Repository, tmp_path: Path, run: Run) -> None:
    """Its listing is public; its files are for people who have accepted the licence."""
    repository.wanted_token = TOKEN
    one_line(
        fetched(tmp_path, run, repository), 77, "there is no token", f"https://huggingface.co/{NAME}. Make a token"
    )
    other = fetched(tmp_path, run, repository, HF_TOKEN="hf_other")
    one_line(
        other, 77, "has not accepted the licence", f"https://huggingface.co/{NAME} with", "the token from HF_TOKEN"
    )
    assert not folder(tmp_path).exists()
    assert catalogue.downloaded(tmp_path / "cache") == []
    assert fetched(tmp_path, run, repository, HF_TOKEN=TOKEN).returncode == 0


def test_a_token_that_is_not_accepted(repository: Repository, tmp_path: Path, run: Run) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    for variables, source in (({"HF_TOKEN": TOKEN}, "HF_TOKEN"), ({"HF_TOKEN_PATH": f"{tmp_path}/token"}, "/token")):
        repository.listing_faults = [("status", 401)]
        done = fetched(tmp_path, run, repository, **variables)
        one_line(done, 77, "does not accept the token from ", source, "Make a token at https://huggingface.co/settings")
        assert repository.sent("/api/")[-1]["authorization"] == f"Bearer {TOKEN}"
    repository.listing_faults = [("status", 401)]
    done = fetched(tmp_path, run, repository, HF_TOKEN=TOKEN, HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
    one_line(done, 77, "needs a token")
    assert "authorization" not in repository.sent("/api/")[-1]


@pytest.mark.parametrize("value", ["x" * 5000, f"{TOKEN} and more", "トークン"])
def test_tokens_that_are_none(value: str, repository: Repository, tmp_path: Path, run: Run) -> None:
    one_line(fetched(tmp_path, run, repository, HF_TOKEN=value), 77, "HF_TOKEN: Hugging Face's token has blanks")
    (tmp_path / "token").write_text(value)
    one_line(fetched(tmp_path, run, repository, HF_TOKEN_PATH=str(tmp_path / "token")), 77, "/token: Hugging Face's")
    assert repository.requests == []


def test_a_token_that_cannot_be_read(repository: Repository, tmp_path: Path, run: Run) -> None:
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    one_line(fetched(tmp_path, run, repository, HF_TOKEN_PATH=str(tmp_path / "token")), 77, "cannot be read")


def test_variables_that_cannot_be_read(repository: Repository, tmp_path: Path, run: Run) -> None:
    one_line(fetched(tmp_path, run, repository, HF_HUB_DOWNLOAD_TIMEOUT="soon"), 78, "env | grep ^HF_ lists them")


def test_an_endpoint_that_is_empty_is_none(tmp_path: Path, run: Run) -> None:
    env = {"HF_ENDPOINT": "", "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = run("palitune", "download", "--model", NAME, cwd=tmp_path, env=env)
    one_line(done, 69, f"cannot reach Hugging Face for {NAME} (ConnectError)")


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [(NOBODY["HF_ENDPOINT"], 69), ("ftp://127.0.0.1", 69), ("http://[::1", 78), ("http://:secret@127.0.0.1:9", 69)],
)
def test_no_network(endpoint: str, code: int, tmp_path: Path, run: Run) -> None:
    started = time.monotonic()
    done = run("palitune", "download", "--model", NAME, cwd=tmp_path, env={"HF_ENDPOINT": endpoint})
    one_line(done, code)
    assert "secret" not in done.stderr
    assert time.monotonic() - started < 30
    if code == 69:
        assert f"cannot reach Hugging Face for {NAME}" in done.stderr


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"\x80"}, 65, "pickled Python (pytorch_model.bin), which can run"),
        ({"model.ckpt": b"", "a.PT": b""}, 65, "pickled Python (a.PT, model.ckpt)"),
        ({"config.json": b"{}", "gemma.gguf": b"GGUF"}, 66, "no .safetensors but config.json, gemma.gguf"),
        ({"onnx/model.safetensors": b""}, 66, "no .safetensors but onnx/model.safetensors"),
        ({}, 66, "the repository has no .safetensors"),
        ({**FILES, "model.safetensors.index.json": b"[]"}, 65, "this is not an index of .safetensors"),
        ({**FILES, "model.safetensors.index.json": b'{"weight_map": {"a": 7}}'}, 65, "the repository lacks 7"),
        ({name: FILES[name] for name in FILES if name != SHARDS[1]}, 65, f"the repository lacks {SHARDS[1]}"),
    ],
)
def test_repositories_that_are_no_model(
    files: dict[str, bytes], code: int, words: str, repository: Repository, tmp_path: Path, run: Run
) -> None:
    repository.files[COMMIT] = files
    one_line(fetched(tmp_path, run, repository), code, NAME, words)
    assert repository.sent("/elsewhere/model") == [], "before gigabytes are fetched"
    assert not folder(tmp_path).exists()


def test_weights_of_other_names(here: Repository, tmp_path: Path) -> None:
    """An adapter, or weights whose author has another name for them."""
    files = {"adapter_model.safetensors": b"weights", "adapter_config.json": b"{}"}
    here.files[COMMIT] = {**files, "README.md": b"", "training_args.bin": b""}
    assert content(catalogue.download(NAME, tmp_path, silent=True)) == files


@pytest.mark.parametrize(
    ("name", "claim", "words"),
    [
        (SHARDS[0], {"lfs": {"sha256": "0" * 64, "size": 1_500_000, "pointerSize": 130}}, "its SHA-256 is not the one"),
        (SHARDS[0], {"lfs": {"sha256": "0" * 64, "size": 1_400_000, "pointerSize": 130}}, "1,400,000"),
        (SHARDS[0], {"lfs": {"sha256": "0" * 64, "size": 1_600_000, "pointerSize": 130}}, "1,500,000 bytes, where"),
        ("config.json", {"blobId": "0" * 40}, "its SHA-1 is not the one that the repository lists"),
        ("config.json", {"size": 5}, "where the repository lists 5"),
    ],
)
def test_files_that_are_not_what_is_listed(
    name: str, claim: dict[str, object], words: str, here: Repository, tmp_path: Path
) -> None:
    """Each is fetched once more, from its beginning; then that is an error, and there is no model."""
    here.listed[name] = claim
    with pytest.raises(BadDataError, match=words):
        catalogue.download(NAME, tmp_path, silent=True)
    assert len(here.sent(f"/resolve/{COMMIT}/{name}")) == 2
    assert not folder(tmp_path.parent).exists()
    assert catalogue.downloaded(tmp_path) == []
    assert catalogue.present(NAME, tmp_path) is None


def test_one_wrong_byte_is_fetched_again(here: Repository, tmp_path: Path) -> None:
    here.faults = [("garble", 3), ("whole",), ("garble", 5)]
    path = catalogue.download(NAME, tmp_path, silent=True)
    assert content(path) == FILES


@pytest.mark.parametrize("left", [b"another beginning", WEIGHTS[0], WEIGHTS[1] * 2, b""])
def test_what_was_left_of_a_file_may_be_no_beginning_of_it(left: bytes, here: Repository, tmp_path: Path) -> None:
    arriving = tmp_path / "models" / f".somebody--small.{COMMIT[:12]}"
    arriving.mkdir(parents=True)
    transfer.partial_of(arriving / SHARDS[0]).write_bytes(left)
    transfer.partial_of(arriving / "config.json").write_bytes(left)
    (arriving / SHARDS[1]).write_bytes(left)
    (arriving / "chat_template.jinja").write_bytes(left)
    assert content(catalogue.download(NAME, tmp_path, silent=True)) == FILES
    if left == WEIGHTS[0]:
        assert here.sent(f"/resolve/{COMMIT}/{SHARDS[0]}") == []


def test_a_server_that_does_not_know_the_part_that_is_wanted(here: Repository, tmp_path: Path) -> None:
    here.faults = [("whole",), ("cut", 1_200_000), ("status", 416)]
    assert content(catalogue.download(NAME, tmp_path, silent=True)) == FILES


def test_troubled_transfers(here: Repository, tmp_path: Path) -> None:
    """The right files or a clean error, whatever happens on the way; and the next attempt, undisturbed, has them."""
    arrived, count = 0, max(12, conftest.CASES // 20)
    for seed in range(count):
        rng, cache = random.Random(seed), tmp_path / f"{seed}"
        here.ranges, here.etag = rng.random() < 0.9, rng.random() < 0.8
        kinds = [
            lambda rng=rng: ("cut", rng.randrange(1_500_000)),
            lambda rng=rng: ("claim", rng.choice([-1, 1]) * rng.randrange(1, 10)),
            lambda: ("no_ranges",),
            lambda rng=rng: ("garble", rng.randrange(1_500_000)),
            lambda rng=rng: ("status", rng.choice([429, 500, 502, 503])),
            lambda: ("reset",),
        ]
        here.faults = [rng.choice(kinds)() for _ in range(rng.randrange(1, 7))]
        try:
            catalogue.download(NAME, cache, silent=True)
            arrived += 1
        except (NetworkError, BadDataError):
            assert catalogue.downloaded(cache) == []
            here.faults = []
            catalogue.download(NAME, cache, silent=True)
        assert content(cache / "models" / "somebody--small") == FILES, f"seed {seed}"
        assert [path.name for path in (cache / "models").iterdir()] == ["somebody--small"]
        shutil.rmtree(cache)
    assert arrived >= 0.7 * count


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_goes_on(
    number: signal.Signals, repository: Repository, tmp_path: Path, environment: dict[str, str], run: Run
) -> None:
    """From the command line: Ctrl-C in the middle of a file, or worse, then the rest of it alone."""
    partial = transfer.partial_of(folder(tmp_path).with_name(f".somebody--small.{COMMIT[:12]}") / SHARDS[1])
    repository.faults = [("whole",), ("whole",), ("cut", 1_200_000)] + [("status", 503, {"Retry-After": "30"})] * 3
    command = ["palitune", "download", "--model", NAME]
    env = environment | repository.endpoint
    started = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if transfer.size(partial) and len(repository.faults) < 3:
            break
        time.sleep(0.05)
    started.send_signal(number)
    said = started.communicate(timeout=60)[1]
    if number == signal.SIGINT:
        assert "what has arrived is kept" in said
        assert started.returncode == 75
    had = transfer.size(partial)
    assert had >= 1_000_000
    assert catalogue.downloaded(tmp_path / "cache") == []
    repository.faults, repository.requests = [], []
    done = fetched(tmp_path, run, repository)
    assert done.returncode == 0, done.stderr
    assert content(folder(tmp_path)) == FILES
    assert [head.get("range") for head in repository.sent("/elsewhere/")] == [f"bytes={had}-"]


def test_a_process_that_died_in_the_last_moment(here: Repository, tmp_path: Path) -> None:
    """All is there, and neither the new folder nor the old one is in its place: the new one is put there."""
    path = catalogue.download(NAME, tmp_path, silent=True)
    path.rename(path.with_name(f".{path.name}.{COMMIT[:12]}"))
    for name in (
        f".{path.name}.0123abcd.old",
        f".{path.name}.{OTHER_COMMIT[:12]}",
        ".somebody--small-too.0123abcd.old",
    ):
        path.with_name(name).mkdir()
    asked = len(here.sent("/resolve/"))
    assert content(catalogue.download(NAME, tmp_path, silent=True)) == FILES
    assert len(here.sent("/resolve/")) == asked
    assert sorted(one.name for one in path.parent.iterdir()) == [".somebody--small-too.0123abcd.old", path.name]


def test_one_download_at_a_time(repository: Repository, tmp_path: Path, run: Run) -> None:
    with locks.exclusive(catalogue.folder(tmp_path / "cache") / ".lock", "it"):
        one_line(fetched(tmp_path, run, repository), 73, "another process is at work on downloads into this cache")
    assert repository.requests == []


@contextmanager
def small_volume(path: Path) -> Iterator[Path]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small volume can only be mounted by root")
def test_no_room(repository: Repository, tmp_path: Path, run: Run) -> None:
    with small_volume(tmp_path / "cache"):
        done = fetched(tmp_path, run, repository)
        one_line(done, 74, f"{NAME} takes {sum(map(len, FILES.values())):,} bytes and ", "are free")
    assert repository.sent("/resolve/") == [], "before anything is fetched"


# huggingface_hub's own cache, and no network at all.


def in_hub_cache(home: Path, links: bool = True) -> Path:
    """A model in huggingface_hub's cache as huggingface_hub has it there; returns the folder of the snapshot."""
    model = home / "hub" / "models--somebody--small"
    found = model / "snapshots" / COMMIT
    for path in (model / "blobs", found, model / "refs"):
        path.mkdir(parents=True)
    (model / "refs" / "main").write_text(COMMIT)
    for name, whole in FILES.items():
        large = name.endswith((".safetensors", "tokenizer.json"))
        blob = f"blob {len(whole)}\0".encode() + whole
        digest = hashlib.sha256(whole).hexdigest() if large else hashlib.sha1(blob).hexdigest()
        (model / "blobs" / digest).write_bytes(whole)
        if links:
            (found / name).symlink_to(f"../../blobs/{digest}")
        else:
            (found / name).write_bytes(whole)
    return found


def test_what_hugging_faces_cache_has_is_linked(repository: Repository, tmp_path: Path, run: Run) -> None:
    found = in_hub_cache(tmp_path / "hf")
    (found / SHARDS[1]).resolve().write_bytes(b"damaged")
    done = fetched(tmp_path, run, repository, HF_HOME=str(tmp_path / "hf"))
    assert done.returncode == 0, done.stderr
    assert content(folder(tmp_path)) == FILES
    assert (folder(tmp_path) / SHARDS[0]).samefile(found / SHARDS[0]), "it takes no room twice"
    assert not (folder(tmp_path) / SHARDS[0]).is_symlink()
    assert [path for _, path, _ in repository.requests if "elsewhere" in path] == [f"/elsewhere/{COMMIT}/{SHARDS[1]}"]


def test_offline(repository: Repository, tmp_path: Path, run: Run) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    one_line(fetched(tmp_path, run, repository, **offline), 69, "HF_HUB_OFFLINE is set", "Unset HF_HUB_OFFLINE")
    in_hub_cache(tmp_path / "hf", links=False)
    one_line(fetched(tmp_path, run, repository, **offline), 69, "HF_HUB_OFFLINE is set")
    shutil.rmtree(tmp_path / "hf")
    found = in_hub_cache(tmp_path / "hf")
    whole = (found / SHARDS[1]).read_bytes()
    (found / SHARDS[1]).resolve().write_bytes(whole[:-1] + b"x")
    one_line(fetched(tmp_path, run, repository, **offline), 69, "HF_HUB_OFFLINE is set", "whole and with its checksums")
    (found / SHARDS[1]).resolve().write_bytes(whole)
    done = fetched(tmp_path, run, repository, **offline)
    assert done.returncode == 0, done.stderr
    assert content(folder(tmp_path)) == FILES
    assert repository.requests == []
    read = snapshot.read(folder(tmp_path))
    assert read is not None
    assert read.commit == COMMIT
    shutil.rmtree(tmp_path / "hf")
    assert fetched(tmp_path, run, repository, **offline).returncode == 0, "what is there needs no network"


# Names.


def test_known_names() -> None:
    assert {name.partition("/")[0] for name in published_models.HUGGING_FACE} == {"google"}
    assert len(published_models.HUGGING_FACE) == 5 + 3 * 5 + 4 + 6 + 2 + 8 + 1
    for name, model in published_models.HUGGING_FACE.items():
        assert snapshot.parse(name) == (name, None)
        assert model.sizes.img is None or model.resolution in (None, model.sizes.img.image_size)
        assert model.licence.startswith("https://")
    # The sizes of the weights on Hugging Face in GB, by the pages of the models.
    for name, size in (("gemma-3-4b-it", 8.6), ("gemma-2-2b", 10.5), ("gemma-2b", 5.0), ("gemma-3-270m", 0.5)):
        assert round(published_models.HUGGING_FACE[f"google/{name}"].size / 1e9, 1) == size


def test_the_documented_table() -> None:
    """Every known name is in it once, with its size."""
    page = (conftest.REPOSITORY / "docs" / "models.md").read_text("utf-8")
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| ") and "`" in line]
    kaggle = [name for row in rows for name in re.findall("`([^`]+)`", row[1])]
    sizes = {name: row[3].strip() for row in rows for name in re.findall("`([^`]+)`", row[2])}
    assert sorted(kaggle) == sorted(published_models.KAGGLE)
    assert sizes.keys() == published_models.HUGGING_FACE.keys()
    for name, model in published_models.HUGGING_FACE.items():
        assert abs(float(sizes[name]) - model.size / 1e9) < 0.06, name
    assert published_models.GEMMA_TERMS in page


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("google/gemma-3-4b-it", ("google/gemma-3-4b-it", None)),
        ("google/gemma-3-4b-it@refs/pr/3", ("google/gemma-3-4b-it", "refs/pr/3")),
        ("a/b", ("a/b", None)),
        (f"{huggingface.SITE}/google/gemma-3-4b-it", ("google/gemma-3-4b-it", None)),
        (f"{huggingface.SITE}/google/gemma-3-4b-it/tree/main", None),
        (f"{huggingface.SITE}/google", None),
        *(
            (text, None)
            for text in ("", "tiny", "/b", "a/", "a/b/c", "../b", "a/..", "a--b/c", "a/b@", "a/b@x y", "a/b\n")
        ),
    ],
)
def test_names_of_repositories(text: str, parsed: tuple[str, str | None] | None) -> None:
    assert snapshot.parse(text) == parsed


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gemma-3-4b-it", "Did you mean google/gemma-3-4b-it?"),
        ("Gemma3-4B", "Did you mean google/gemma-3-4b-pt or google/gemma-3-4b-it?"),
        ("paligemma2-3b-pt-223", "Did you mean "),
        ("a/b/c", "owner/name@revision on Hugging Face"),
        ("google/", "no model is called google/"),
    ],
)
def test_names_that_are_none(name: str, words: str, tmp_path: Path, run: Run) -> None:
    one_line(run("palitune", "download", "--model", name, cwd=tmp_path), 2, words)


def test_a_name_typed_wrong(repository: Repository, tmp_path: Path, run: Run) -> None:
    done = fetched(tmp_path, run, repository, "google/gemma-3-4b-itt")
    one_line(done, 66, "google/gemma-3-4b-itt: Hugging Face has no such model", "Did you mean google/gemma-3-4b-it")


def test_options_of_other_models(tmp_path: Path, run: Run) -> None:
    done = run("palitune", "download", "--model", NAME, "--from", "x", cwd=tmp_path)
    one_line(done, 2, "--from and --tokenizer-from", f"{NAME} comes from Hugging Face", "by -m FOLDER")


def test_names_are_compared_by_letters_and_digits() -> None:
    assert published_models.similar("GEMMA 3 4b it@main") == ["google/gemma-3-4b-it"]
    assert published_models.similar("gemma3-4b", ["gemma-3-4b"]) == ["gemma-3-4b"]
    assert published_models.similar("--") == published_models.similar("x" * 30) == []
    assert published_models.named("Gemma-3-4B-it") == published_models.named("google/gemma3-4b-it")
    assert published_models.named("pt224") == "pt-224"
    assert published_models.named("gemma-3-4b") is None


def test_every_published_model_is_a_variant() -> None:
    """By each of its names, and with the very sizes."""
    for name, model in (published_models.KAGGLE | published_models.HUGGING_FACE).items():
        for one in (name, name.removeprefix("google/"), f"{name}@main"):
            assert families.variant(published_models.variant(one) or "") == model.sizes, one
    assert all(published_models.variant(name) == name for name in families.variants())
    assert published_models.variant("gemma-3-4b") is None


def test_a_published_name_that_was_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALITUNE_HOME", str(tmp_path))
    known = "google/gemma-3-4b-it"
    with pytest.raises(MissingInputError, match=f"There are: tiny, tiny3.*download --model {known}$"):
        workspace.checkpoint_to_read("gemma-3-4b-it")
    place = snapshot.folder_of(known, tmp_path / "cache" / "models")
    snapshot.write(place, snapshot.Snapshot(known, "main", COMMIT, {}))
    with pytest.raises(MissingInputError, match=rf"Did you mean {known}\?$"):
        workspace.checkpoint_to_read("gemma-3-4b-it")
    assert workspace.checkpoint_to_read(f"{huggingface.SITE}/{known}") == place


def test_the_folder_is_what_a_model_is_read_from(
    here: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALITUNE_HOME", str(tmp_path))
    for name in (NAME, "google/gemma-3-4b-it", f"{NAME}@other"):
        with pytest.raises(MissingInputError, match=f"download --model {name}"):
            workspace.checkpoint_to_read(name)
    catalogue.download("tiny", tmp_path / "cache")
    catalogue.download(NAME, tmp_path / "cache", silent=True)
    for name in (NAME, f"{NAME}@main", f"{NAME}@{COMMIT}", None):
        assert workspace.checkpoint_to_read(name) == folder(tmp_path)
    with pytest.raises(MissingInputError):
        workspace.checkpoint_to_read(f"{NAME}@other")
    assert catalogue.downloaded(tmp_path / "cache") == [NAME, "tiny"]
    assert catalogue.has_checksum(NAME, tmp_path / "cache")
    (folder(tmp_path) / snapshot.SOURCE).unlink()
    assert catalogue.downloaded(tmp_path / "cache") == ["tiny"]


def test_a_downloaded_model_opens_by_its_name(
    here: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrives is a checkpoint, and each of its files is held to its checksum whenever it is opened."""
    golden = conftest.REPOSITORY / "tests" / "golden" / "hf" / "paligemma2_published_names"
    here.files[COMMIT] = {path.name: path.read_bytes() for path in golden.iterdir()}
    monkeypatch.setenv("PALITUNE_HOME", str(tmp_path))
    catalogue.download(NAME, workspace.cache(), silent=True)
    checkpoint = opening.load(workspace.checkpoint_to_read(NAME), workspace.checkpoint_to_read)
    expected = opening.load(golden, workspace.checkpoint_to_read)
    assert checkpoint.spec == expected.spec
    assert checkpoint.leaves().keys() == expected.leaves().keys()
    files = loading.files_of(checkpoint)
    assert {*SHARDS, "config.json", "model.safetensors.index.json"} <= {path.name for path in files}
    for path in files:
        checksum.verify(path)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.raises(BadDataError, match="its content has changed since it was downloaded"):
            checksum.verify(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"name": "a/b", "revision": "main", "commit": "c"}',
        '{"name": "a/b", "revision": "main", "commit": "c", "files": {"x": {"size": "1", "sha256": "y"}}}',
        '{"name": "a/b", "revision": "main", "commit": "c", "files": {"../x": {"size": 1, "sha256": "y"}}}',
        '{"name": "a/b", "revision": "main", "commit": 7, "files": {}}',
        '{"name": "../b", "revision": "main", "commit": "c", "files": {}}',
        "[" * 100_000,
        " " * 2_000_000,
    ],
)
def test_what_says_nothing_makes_no_model(text: str, tmp_path: Path) -> None:
    folder(tmp_path).mkdir(parents=True)
    (folder(tmp_path) / snapshot.SOURCE).write_text(text)
    assert snapshot.read(folder(tmp_path)) is None
    assert catalogue.downloaded(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("variables", "source"),
    [
        ({}, None),
        ({"HF_TOKEN": " "}, None),
        ({"HF_TOKEN": TOKEN, "HF_HOME": "{}"}, "HF_TOKEN"),
        ({"HUGGING_FACE_HUB_TOKEN": TOKEN}, "HUGGING_FACE_HUB_TOKEN"),
        ({"HF_HOME": "{}"}, "{}/token"),
        ({"HF_TOKEN_PATH": "{}/token"}, "{}/token"),
        ({"HF_TOKEN_PATH": "{}/nothing"}, None),
        ({"XDG_CACHE_HOME": "{}/cache"}, "{}/cache/huggingface/token"),
        ({"HOME": "{}/home"}, "{}/home/.cache/huggingface/token"),
        ({"HF_TOKEN": TOKEN, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, None),
    ],
)
def test_where_the_token_comes_from(
    variables: dict[str, str], source: str | None, here: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (".", "cache/huggingface", "home/.cache/huggingface"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "token").write_text(TOKEN)
    monkeypatch.delenv("HF_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name, value in ({"HOME": str(tmp_path / "nobody")} | variables).items():
        monkeypatch.setenv(name, value.format(tmp_path))
    assert huggingface.credentials() == (source.format(tmp_path) if source else None)


def test_doctor_tells_where_the_token_comes_from(tmp_path: Path, run: Run) -> None:
    done = run("palitune", "doctor", cwd=tmp_path, env={"HF_TOKEN": TOKEN})
    assert "credentials  Hugging Face's, from HF_TOKEN" in done.stdout
    assert TOKEN not in done.stdout + done.stderr


def test_what_the_disk_says_is_told(here: Repository, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(PalituneError):
        catalogue.download(NAME, tmp_path, silent=True)
    assert here.requests == []
