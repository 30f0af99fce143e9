"""Downloads: the tiny model from the package, published ones from a server that answers as Kaggle might."""

import http.server
import threading
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from conftest import Run

from palitune.checkpoint import hub, npz
from palitune.models import variants

PORT = 7777  # where kagglehub looks under KAGGLE_API_ENVIRONMENT=TEST
ACCOUNT = {"KAGGLE_USERNAME": "somebody", "KAGGLE_KEY": "0123456789", "KAGGLE_API_ENVIRONMENT": "TEST"}


class Kaggle(http.server.BaseHTTPRequestHandler):
    """Refuses everything with `status`."""

    status = 500

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = answer

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def kaggle() -> Iterator[type[Kaggle]]:
    http.server.HTTPServer.allow_reuse_address = True
    with http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Kaggle) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Kaggle
        server.shutdown()


def test_the_tiny_model_ships_with_the_package(tmp_path: Path) -> None:
    path = hub.download("tiny", tmp_path)
    assert path == hub.checkpoint_path("tiny", tmp_path)
    written = path.stat().st_mtime_ns
    assert hub.download("tiny", tmp_path).stat().st_mtime_ns == written
    checkpoint = npz.Checkpoint(path)
    sizes = variants.read(checkpoint)
    assert set(variants.expected(sizes)) == set(checkpoint)
    package = files("palitune") / "tiny"
    assert sum(len((package / name).read_bytes()) for name in ("tiny.npz", "tokenizer.model")) <= 4_000_000


def test_a_damaged_copy_is_replaced(tmp_path: Path) -> None:
    path = hub.download("tiny", tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    assert hub.download("tiny", tmp_path).read_bytes() == whole


def test_the_latest_download_comes_first_and_tiny_last(tmp_path: Path) -> None:
    assert hub.downloaded(tmp_path) == []
    for name in ("pt-448", "pt-224", "tiny"):
        path = hub.checkpoint_path(name, tmp_path)
        path.parent.mkdir(parents=True)
        path.touch()
    assert hub.downloaded(tmp_path) == ["pt-224", "pt-448", "tiny"]


@pytest.mark.parametrize("name", hub.NAMES)
def test_no_credentials(name: str, tmp_path: Path, run: Run) -> None:
    if name not in ("pt-224", "28b-mix-448"):  # a process each: two names stand for all
        assert name == "tiny" or hub.PUBLISHED[name].page.startswith("https://www.kaggle.com/models/google/paligemma")
        return
    done = run("palitune", "download", "--model", name, cwd=tmp_path)
    assert done.returncode == 77
    assert done.stderr.startswith(f"palitune download: downloading {name} needs a Kaggle account. Put KAGGLE_API_TOKEN")
    assert done.stderr.count("\n") == 1


def test_unreadable_credentials(tmp_path: Path, run: Run) -> None:
    (tmp_path / "kaggle.json").write_text("{")
    done = run("palitune", "download", "--model", "pt-224", cwd=tmp_path, env={"KAGGLE_CONFIG_DIR": str(tmp_path)})
    assert done.returncode == 77
    assert "cannot be read" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_network(tmp_path: Path, run: Run) -> None:
    done = run("palitune", "download", "--model", "pt-224", cwd=tmp_path, env=ACCOUNT)
    assert done.returncode == 69, done.stderr
    assert "cannot reach Kaggle for pt-224" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("status", "code"), [(401, 77), (403, 77), (404, 66), (429, 69), (503, 69)])
def test_refusals(kaggle: type[Kaggle], status: int, code: int, tmp_path: Path, run: Run) -> None:
    kaggle.status = status
    done = run("palitune", "download", "--model", "3b-pt-224", cwd=tmp_path, env=ACCOUNT)
    assert done.returncode == code, done.stderr
    assert f"HTTP {status}" in done.stderr
    assert done.stderr.count("\n") == 1
    if code == 77:
        assert "https://www.kaggle.com/models/google/paligemma-2" in done.stderr
    assert not hub.checkpoint_path("3b-pt-224", tmp_path / "cache").exists()
    assert ACCOUNT["KAGGLE_KEY"] not in done.stdout + done.stderr


def test_an_unknown_name(tmp_path: Path, run: Run) -> None:
    done = run("palitune", "download", "--model", "pt-242", cwd=tmp_path)
    assert done.returncode == 2
    assert "Did you mean pt-224" in done.stderr
