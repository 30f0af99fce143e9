"""Published models: from the package, from Kaggle and other servers that fail in every way, from a file at hand."""

import hashlib
import io
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import conftest
import numpy as np
import pytest
from conftest import Run
from server import Site, serving, trouble

from palitune.checkpoint import npz
from palitune.errors import BadDataError, NetworkError
from palitune.hub import catalogue, checksum, kaggle, transfer
from palitune.models import families, spec
from palitune.storage import locks

ACCOUNT = {"KAGGLE_USERNAME": "somebody", "KAGGLE_KEY": "0123456789"}
NOBODY = {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "http_proxy": "http://127.0.0.1:9"}  # the port of "discard"
HANDLE, FILE = catalogue.PUBLISHED["3b-pt-224"].handle, catalogue.PUBLISHED["3b-pt-224"].file


def archive(seed: int, size: int = 3_000_000) -> bytes:
    """An .npz of random numbers; those of two seeds are of one length."""
    file = io.BytesIO()
    rng = np.random.default_rng(seed)
    np.savez(file, a=rng.integers(0, 256, size // 2, np.uint8), b=rng.integers(0, 256, size // 2, np.uint8))
    return file.getvalue()


@pytest.fixture(scope="module")
def contents() -> list[bytes]:
    return [archive(seed) for seed in range(3)]


@pytest.fixture
def site(contents: list[bytes]) -> Iterator[Site]:
    """Kaggle, with a file of our own under every name."""
    with serving(Site(contents[0])) as site:
        yield site


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE", 0.001)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, site: Site, impatient: None) -> None:
    """Kaggle's credentials, in this process."""
    for name, value in (ACCOUNT | site.environment).items():
        monkeypatch.setenv(name, value)
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_CONFIG_DIR", "KAGGLEHUB_CACHE", "KAGGLEHUB_VERBOSITY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module")
def run(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Commands as elsewhere; where a published model would have no room, they are refused before what is tested."""

    def roomy(*command: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
        done = run(*command, **settings)
        if done.returncode == 74 and (free := shutil.disk_usage(tmp_path_factory.getbasetemp()).free) < 8_000_000_000:
            pytest.skip(f"{free:,} bytes are free here: {done.stderr}")
        return done

    return roomy


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_tiny_model_ships_with_the_package(tmp_path: Path) -> None:
    path = catalogue.download("tiny", tmp_path)
    assert path == catalogue.checkpoint_path("tiny", tmp_path)
    written = path.stat().st_mtime_ns
    assert catalogue.download("tiny", tmp_path).stat().st_mtime_ns == written
    checkpoint = npz.Checkpoint(path)
    sizes = families.read(checkpoint)
    assert set(spec.expected(sizes)) == set(checkpoint)
    package = files("palitune") / "tiny"
    assert sum(len((package / name).read_bytes()) for name in ("tiny.npz", "tokenizer.model")) <= 4_000_000


def test_a_damaged_copy_is_replaced(tmp_path: Path) -> None:
    path = catalogue.download("tiny", tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    assert catalogue.download("tiny", tmp_path).read_bytes() == whole


def test_the_tiny_gemma_ships_as_a_folder(tmp_path: Path) -> None:
    """It is read where it was installed until it is in the cache as a whole, weights last."""
    packaged = catalogue.packaged("tiny3")
    assert catalogue.present("tiny3", tmp_path) == packaged
    path = catalogue.checkpoint_path("tiny3", tmp_path)
    path.mkdir(parents=True)
    (path / "config.json").write_text("{")  # a copy that was cut off
    assert catalogue.present("tiny3", tmp_path) == packaged
    assert catalogue.download("tiny3", tmp_path) == path == catalogue.present("tiny3", tmp_path)
    for file in catalogue.PACKAGED["tiny3"]:
        assert (path / file).read_bytes() == (packaged / file).read_bytes()
    assert catalogue.tokenizer_path(520, tmp_path) == path / "tokenizer.model"
    assert catalogue.tokenizer_path(2048, tmp_path) == catalogue.packaged("tinytext") / "tokenizer.model"


def test_the_latest_download_comes_first_and_tiny_last(tmp_path: Path) -> None:
    assert catalogue.downloaded(tmp_path) == []
    for name in ("pt-448", "pt-224"):
        path = catalogue.checkpoint_path(name, tmp_path)
        path.parent.mkdir(parents=True)
        path.touch()
    for name in catalogue.PACKAGED:
        catalogue.download(name, tmp_path)
    assert catalogue.downloaded(tmp_path) == ["pt-224", "pt-448", "tinytext", "tiny3", "tiny"]


def test_names() -> None:
    assert len(catalogue.NAMES) == 3 + 5 + 3 * 5
    assert catalogue.short("paligemma2-10b-mix-448") == "10b-mix-448"
    assert catalogue.short("paligemma-3b-pt-896") == "pt-896"
    assert catalogue.short("tiny") == "tiny"
    for name, model in catalogue.PUBLISHED.items():
        assert model.page.startswith("https://www.kaggle.com/models/google/paligemma")
        assert model.handle.endswith("/1"), "the version is pinned"
        assert name.endswith(str(model.resolution))
        assert model.sizes.img.image_size == model.resolution


# From Kaggle.


# kagglehub leaves connections that broke to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("account")
def test_cut_at_random(site: Site, contents: list[bytes], tmp_path: Path) -> None:
    """The right file or a clean error, whatever happens on the way; and the next attempt, undisturbed, has it."""
    arrived = errors = cuts = 0
    count = conftest.CASES // 5

    def fetch(target: Path, folder: Path) -> None:
        # In a thread, whose call stack is short: kagglehub looks through all of it for every request.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(kaggle.fetch, HANDLE, FILE, target, folder, "here", npz.problem, silent=True).result()

    for seed in range(count):
        rng = random.Random(seed)
        site.content, site.versions = contents[0], [contents[0]]
        site.ranges, site.md5 = rng.random() < 0.9, rng.random() < 0.5
        site.faults = trouble(rng, len(contents[0]), contents[1])
        cuts += sum(fault[0] == "cut" for fault in site.faults)
        target, folder = tmp_path / f"{seed}" / FILE, tmp_path / f"{seed}"
        try:
            fetch(target, folder)
            assert target.read_bytes() in site.versions, f"seed {seed}: a file that never was"
            arrived += 1
        except (NetworkError, BadDataError):
            assert not target.exists()
            errors += 1
            site.faults = []
            fetch(target, folder)
            assert target.read_bytes() == site.content, f"seed {seed}: not what is there"
        shutil.rmtree(folder)
    assert cuts >= count
    assert arrived >= 0.75 * count
    assert arrived + errors == count


@pytest.mark.usefixtures("account")
def test_a_cut_download_goes_on_where_it_was(site: Site, contents: list[bytes], tmp_path: Path) -> None:
    site.faults = [("cut", 1_500_000)]
    target = tmp_path / "there" / FILE
    kaggle.fetch(HANDLE, FILE, target, tmp_path / "parts", "here", npz.problem, silent=True)
    assert target.read_bytes() == contents[0]
    assert [headers["Range"] for _, _, headers in site.requests if "Range" in headers] == ["bytes=1048576-"]


@pytest.mark.usefixtures("account")
def test_what_is_always_damaged_is_no_model(site: Site, tmp_path: Path) -> None:
    site.md5 = False
    site.faults = [("garble", 1_000_000)] * 9
    with pytest.raises(BadDataError, match=r"array a.* does not have its checksum"):
        kaggle.fetch(HANDLE, FILE, tmp_path / FILE, tmp_path / "parts", "here", npz.problem, silent=True)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, 77, "does not know the credentials from KAGGLE_USERNAME and KAGGLE_KEY"),
        (403, 77, "Accept it at https://www.kaggle.com/models/google/paligemma-2"),
        (404, 66, "--from"),
        (429, 69, "too many requests"),
        (503, 69, "later"),
    ],
)
def test_refusals(status: int, code: int, words: str, site: Site, tmp_path: Path, run: Run) -> None:
    # A server that asks for more patience than anybody has: what is busy is not asked again and again.
    site.faults = [("status", status, {"Retry-After": "3600"})] * 9
    done = run("palitune", "download", "--model", "3b-pt-224", cwd=tmp_path, env=ACCOUNT | site.environment)
    assert done.returncode == code, done.stderr
    assert f"HTTP {status}" in done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not catalogue.checkpoint_path("3b-pt-224", tmp_path / "cache").exists()
    assert ACCOUNT["KAGGLE_KEY"] not in done.stdout + done.stderr


def test_no_network(tmp_path: Path, run: Run) -> None:
    done = run("palitune", "download", "--model", "pt-224", cwd=tmp_path, env=ACCOUNT | NOBODY)
    assert done.returncode == 69, done.stderr
    assert "cannot reach Kaggle for paligemma-3b-pt-224" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_interrupted_download_goes_on(
    site: Site, contents: list[bytes], tmp_path: Path, environment: dict[str, str], run: Run
) -> None:
    """From the command line: Ctrl-C in the middle, then the rest, the tokenizer, and a checksum of both."""
    part = kaggle.partial(HANDLE, FILE, tmp_path / "cache" / "kagglehub")
    site.faults = [("cut", 2_200_000)] + [("status", 503, {"Retry-After": "30"})] * 3
    env = ACCOUNT | site.environment
    command = ["palitune", "download", "--model", "paligemma2-3b-pt-224"]
    started = subprocess.Popen(command, cwd=tmp_path, env=environment | env, stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if transfer.size(part) and len(site.faults) < 3:
            break
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    assert "what has arrived is kept" in started.communicate(timeout=60)[1]
    assert started.returncode == 75
    assert transfer.size(part) == 2 << 20
    site.faults = []
    tokenizer = str(files("palitune") / "tiny" / "tokenizer.model")
    done = run(*command, "--tokenizer-from", tokenizer, cwd=tmp_path, env=env)
    path = catalogue.checkpoint_path("3b-pt-224", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert Path(tmp_path / done.stdout.strip()) == path
    assert path.read_bytes() == contents[0]
    for file in (path, path.parent.parent / "paligemma_tokenizer.model"):
        assert subprocess.run(["sha256sum", "-c", f"{file.name}.sha256"], cwd=file.parent, check=True)
    again = run(*command, cwd=tmp_path, env=env)
    assert again.returncode == 0
    path.write_bytes(contents[1])
    changed = run(*command, cwd=tmp_path, env=env)
    assert changed.returncode == 65
    assert "its content has changed since it was downloaded" in changed.stderr
    assert run(*command, "--overwrite", "--tokenizer-from", tokenizer, cwd=tmp_path, env=env).returncode == 0
    assert path.read_bytes() == contents[0]


# Credentials.


@pytest.mark.parametrize("name", ["pt-224", "28b-mix-448"])
def test_no_credentials(name: str, tmp_path: Path, run: Run) -> None:
    done = run("palitune", "download", "--model", name, cwd=tmp_path)
    assert done.returncode == 77
    assert "needs a Kaggle account. Make a token at https://www.kaggle.com/settings" in done.stderr
    assert done.stderr.count("\n") == 1


TOKEN = "KGAT_0123456789abcdef"
LEGACY = '{"username":"somebody","key":"0123456789"}'


@pytest.mark.parametrize(
    ("variables", "found", "sent"),
    [
        ({"KAGGLE_API_TOKEN": f"{TOKEN}\r\n"}, "KAGGLE_API_TOKEN", "Bearer"),
        ({"KAGGLE_API_TOKEN": "{}/token"}, "KAGGLE_API_TOKEN", "Bearer"),
        ({"HOME": "{}/token-home"}, "{}/token-home/.kaggle/access_token", "Bearer"),
        ({"KAGGLE_CONFIG_DIR": "{}/token-home/.kaggle"}, "{}/token-home/.kaggle/access_token", "Bearer"),
        ({"KAGGLE_USERNAME": "somebody", "KAGGLE_KEY": "0123456789\n"}, "KAGGLE_USERNAME and KAGGLE_KEY", "Basic"),
        ({"HOME": "{}/legacy-home"}, "{}/legacy-home/.kaggle/kaggle.json", "Basic"),
        ({"KAGGLE_CONFIG_DIR": "{}/legacy-home/.kaggle"}, "{}/legacy-home/.kaggle/kaggle.json", "Basic"),
    ],
)
def test_every_documented_way_to_sign_in(
    variables: dict[str, str], found: str, sent: str, site: Site, tmp_path: Path, run: Run
) -> None:
    for home, name, text in (("token-home", "access_token", f"{TOKEN}\n"), ("legacy-home", "kaggle.json", LEGACY)):
        (tmp_path / home / ".kaggle").mkdir(parents=True)
        (tmp_path / home / ".kaggle" / name).write_text(text)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    variables = {name: value.format(tmp_path) for name, value in variables.items()}
    site.faults = [("status", 401)]
    done = run("palitune", "download", "--model", "pt-224", cwd=tmp_path, env=variables | site.environment)
    assert done.returncode == 77, done.stderr
    assert f"does not know the credentials from {found.format(tmp_path)} (HTTP 401)" in done.stderr
    authorization = {name.lower(): value for name, value in site.requests[0][2].items()}["authorization"]
    assert authorization.startswith(sent)
    assert TOKEN not in done.stderr + done.stdout
    if sent == "Bearer":
        assert authorization == f"Bearer {TOKEN}"


@pytest.mark.parametrize("text", ["{", "[1]", "7", '{"username": "somebody"}', "\ufeff{}", ""])
def test_unreadable_credentials(text: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / "kaggle.json").write_text(text, "utf-8")
    done = run("palitune", "download", "--model", "pt-224", cwd=tmp_path, env={"KAGGLE_CONFIG_DIR": str(tmp_path)})
    assert done.returncode == 77, done.stderr
    assert "cannot be read" in done.stderr
    assert str(tmp_path / "kaggle.json") in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("value", ["x" * 300, "{}/empty", "two\nlines", "トークン", "with a blank", "{}/bom"])
def test_tokens_that_are_none(value: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "bom").write_text(TOKEN, "utf-8-sig")
    env = {"KAGGLE_API_TOKEN": value.format(tmp_path)}
    done = run("palitune", "download", "--model", "pt-224", cwd=tmp_path, env=env | NOBODY)
    assert done.returncode == 77, done.stderr
    assert done.stderr.count("\n") == 1
    assert "lines" not in done.stderr.replace("line breaks", "")
    assert TOKEN not in done.stderr


# From an address and from a file.


def ours(path: Path) -> str | None:
    return npz.problem(path)


@pytest.mark.usefixtures("impatient")
def test_troubled_transfers(contents: list[bytes], tmp_path: Path) -> None:
    arrived, count = 0, conftest.CASES // 10
    with serving(Site(contents[0])) as site:
        for seed in range(count):
            rng = random.Random(seed)
            site.content, site.versions = contents[0], [contents[0]]
            site.ranges, site.md5, site.etag = rng.random() < 0.9, rng.random() < 0.5, rng.random() < 0.8
            site.faults = trouble(rng, len(contents[0]), contents[1])
            target = tmp_path / f"{seed}" / "weights.npz"
            try:
                transfer.fetch(site.url, target, ours, silent=True)
                assert target.read_bytes() in site.versions, f"seed {seed}"
                arrived += 1
            except (NetworkError, BadDataError):
                assert not target.exists()
                site.faults = []
                transfer.fetch(site.url, target, ours, silent=True)
                assert target.read_bytes() == site.content, f"seed {seed}"
            assert sorted(path.name for path in target.parent.iterdir()) == ["weights.npz", "weights.npz.sha256"]
            checksum.verify(target)
            shutil.rmtree(target.parent)
    assert arrived >= 0.75 * count


@pytest.mark.usefixtures("impatient")
def test_a_file_that_changes_between_attempts_is_not_mixed(contents: list[bytes], tmp_path: Path) -> None:
    with serving(Site(contents[0])) as site:
        site.faults = [("cut", 2_000_000), ("change", contents[1])]
        transfer.fetch(site.url, tmp_path / "weights.npz", ours, silent=True)
        asked = [headers.get("If-Range") for _, _, headers in site.requests]
    assert (tmp_path / "weights.npz").read_bytes() == contents[1]
    assert asked[0] is None
    assert asked[1] is not None
    assert len(asked) == 2, "the server's own answer to If-Range is enough: nothing is fetched a third time"


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, 77), (403, 77), (404, 66), (410, 66), (429, 69), (500, 69)],
)
def test_addresses_that_refuse(status: int, code: int, tmp_path: Path, run: Run) -> None:
    with serving(Site()) as site:
        site.faults = [("status", status, {"Retry-After": "3600"})] * 9
        address = site.url.replace("http://", "http://me:secret@") + "?signature=secret"
        done = run("palitune", "download", "--model", "pt-224", "--from", address, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert f"HTTP {status}" in done.stderr
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("http://[::1/x", 66),
        (f"http://{'a' * 70}.example/x", 66),
        ("ftp://me:secret@host/x", 66),
        ("HTTPS://me:secret@127.0.0.1:9/x", 69),
        ("http:///x", 66),
        ("", 66),
    ],
)
def test_addresses_that_are_none(address: str, code: int, tmp_path: Path, run: Run) -> None:
    done = run("palitune", "download", "--model", "pt-224", "--from", address, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("version", ["", "\n", "\x00\xff", '"other"'])
def test_a_version_that_is_none(version: str, contents: list[bytes], tmp_path: Path) -> None:
    """What was left beside half a file may be damaged: then the file is fetched from its beginning."""
    partial = transfer.partial_of(tmp_path / "weights.npz")
    partial.write_bytes(contents[1][:1000])
    partial.with_name(f"{partial.name}.version").write_text(version, "latin-1")
    with serving(Site(contents[0])) as site:
        transfer.fetch(site.url, tmp_path / "weights.npz", ours, silent=True)
    assert (tmp_path / "weights.npz").read_bytes() == contents[0]


def test_one_download_at_a_time(site: Site, tmp_path: Path, run: Run) -> None:
    with locks.exclusive(catalogue.folder(tmp_path / "cache") / ".lock", "it"):
        done = run("palitune", "download", "--model", "pt-224", cwd=tmp_path, env=ACCOUNT | site.environment)
    assert done.returncode == 73, done.stderr
    assert "another process is at work on downloads into this cache" in done.stderr
    assert site.requests == []


def test_what_is_there_is_not_replaced_unasked(tmp_path: Path, run: Run, contents: list[bytes]) -> None:
    there = catalogue.checkpoint_path("pt-224", tmp_path / "cache")
    there.parent.mkdir(parents=True)
    there.write_bytes(contents[0])
    (tmp_path / "other.npz").write_bytes(contents[1])
    done = run("palitune", "download", "--model", "pt-224", "--from", "other.npz", cwd=tmp_path)
    assert done.returncode == 73
    assert "--overwrite replaces it" in done.stderr
    assert there.read_bytes() == contents[0]


def test_weights_at_hand_have_to_be_the_named_model(tmp_path: Path, run: Run, contents: list[bytes]) -> None:
    tiny = str(files("palitune") / "tiny" / "tiny.npz")

    def from_(source: str, *more: str) -> "subprocess.CompletedProcess[str]":
        return run("palitune", "download", "--model", "pt-224", "--from", source, *more, cwd=tmp_path)

    other = from_(tiny)
    assert other.returncode == 65
    assert "not pt-224: 72 pixels, 4 layers" in other.stderr
    (tmp_path / "cut.npz").write_bytes(contents[0][:-5])
    assert from_("cut.npz").returncode == 65
    (tmp_path / "more.npz").write_bytes(contents[0] + b"{}")
    assert "something follows the archive" in from_("more.npz").stderr
    (tmp_path / "twice.npz").write_bytes(contents[0] * 2)
    assert "something precedes the archive" in from_("twice.npz").stderr
    missing = from_("no-such.npz")
    assert missing.returncode == 66
    assert from_(".").returncode == 66
    assert "for published models" in run("palitune", "download", "--from", tiny, cwd=tmp_path).stderr
    assert not (tmp_path / "cache" / "models" / "pt-224").exists()


def test_a_tokenizer_has_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tokenizer")
    target = tmp_path / "tokenizer.model"
    with pytest.raises(BadDataError, match="not a SentencePiece model"):
        catalogue._fetch(str(tmp_path / "text"), target, catalogue._tokenizer_problem, silent=True)
    assert not target.exists()


def test_a_tiny_model_names_a_large_one(tmp_path: Path, run: Run) -> None:
    for name, larger in (
        ("tiny", "--model pt-224 fetches PaliGemma"),
        ("tiny3", "--model google/gemma-3-4b-it fetches"),
        ("tinytext", "--model google/gemma-3-1b-it fetches"),
    ):
        done = run("palitune", "download", "--model", name, cwd=tmp_path)
        assert done.returncode == 0
        assert f"is for practice; {larger}" in done.stderr


def test_an_unknown_name(tmp_path: Path, run: Run) -> None:
    done = run("palitune", "download", "--model", "pt-242", cwd=tmp_path)
    assert done.returncode == 2
    assert "Did you mean pt-224" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="a small volume can only be mounted by root")
def test_no_room(site: Site, tmp_path: Path, run: Run) -> None:
    small = tmp_path / "cache"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=True)
    try:
        done = run("palitune", "download", "--model", "28b-pt-896", cwd=tmp_path, env=ACCOUNT | site.environment)
    finally:
        subprocess.run(["umount", small], check=True)
    assert done.returncode == 74, done.stderr
    assert "28b-pt-896 takes 5" in done.stderr
    assert "are free" in done.stderr
    assert site.requests == []


# At each use.


def test_a_changed_model_is_found_at_use(workspace: Path, run: Run, tmp_path: Path) -> None:
    """Every command that loads a downloaded checkpoint holds it to its checksum."""
    model = tmp_path / "model.npz"
    shutil.copy(workspace / "cache" / "models" / "tiny" / "tiny.npz", model)
    checksum.record(model)
    arguments = ("palitune", "inference", "-l", str(model), "-d", "dataset/set1/valid.jsonl", "--no-features")
    assert run(*arguments, cwd=workspace).returncode == 0
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    done = run(*arguments, cwd=workspace)
    assert done.returncode == 65
    assert "its content has changed since it was downloaded" in done.stderr


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c + b"x", lambda c: c[:50] + b"x" + c[51:]])
def test_checksums(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    file = tmp_path / "weights.npz"
    file.write_bytes(archive(7, 1000))
    assert checksum.recorded(file) == set()
    checksum.verify(file)
    assert checksum.record(file) == sha256(file.read_bytes())
    checksum.verify(file)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(BadDataError, match="has changed"):
        checksum.verify(file)
