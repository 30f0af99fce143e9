"""A server that answers as Hugging Face does for one repository, and fails as tests ask for it."""

import hashlib
import json
from typing import Any
from urllib.parse import unquote, urlsplit

from server import Handler, Site

NAME = "somebody/small"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER_COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
LARGE = (".safetensors", "tokenizer.json", "tokenizer.model")  # which git keeps elsewhere (LFS)


class Repository(Site):
    """A repository's files, by revision; `faults` wait for the next request of a large file's content.

    Attributes:
      listing_faults: as `faults`, for the requests of the listing.
      listed: what the listing claims of a file, by its name, instead of what is true.
      wanted_token: who has not this token gets no file of this gated repository.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__()
        self.revisions = {"main": COMMIT, "other": OTHER_COMMIT}
        self.files = {COMMIT: files, OTHER_COMMIT: files | {"config.json": b'{"other": true}'}}
        self.listing_faults: list[tuple[Any, ...]] = []
        self.listed: dict[str, dict[str, Any]] = {}
        self.wanted_token: str | None = None

    @property
    def endpoint(self) -> dict[str, str]:
        """The variables that make this Hugging Face."""
        return {"HF_ENDPOINT": f"http://127.0.0.1:{self.port}"}

    def sent(self, part: str) -> list[dict[str, str]]:
        """The headers of the requests whose path has this part."""
        return [
            {name.lower(): value for name, value in head.items()} for _, path, head in self.requests if part in path
        ]


def listed(name: str, content: bytes) -> dict[str, Any]:
    """How Hugging Face lists a file."""
    pointer = hashlib.sha256(content).hexdigest()
    blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    found: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
    if name.endswith(LARGE):
        found["blobId"] = hashlib.sha1(pointer.encode()).hexdigest()
        found["lfs"] = {"sha256": pointer, "size": len(content), "pointerSize": 130}
    return found


class RepositoryHandler(Handler):
    """Answers for a `Repository`."""

    site: Repository

    def answer(self) -> None:
        site, path = self.site, urlsplit(self.path).path
        site.requests.append((self.command, self.path, dict(self.headers)))
        if path.startswith("/api/"):
            self.list(path)
        elif path.startswith(f"/{NAME}/resolve/"):
            commit, _, name = path.removeprefix(f"/{NAME}/resolve/").partition("/")
            self.resolve(commit, name)
        elif path.startswith("/elsewhere/"):
            commit, _, name = path.removeprefix("/elsewhere/").partition("/")
            self.send_large(site.files[commit][name])
        else:
            self.fault_no(404, "RepoNotFound")

    def list(self, path: str) -> None:
        site = self.site
        if site.listing_faults:
            fault, *arguments = site.listing_faults.pop(0)
            getattr(self, f"fault_{fault}")(*arguments)
            return
        name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
        commit = site.revisions.get(unquote(revision) or "main", unquote(revision))
        if name != NAME:
            self.fault_no(404, "RepoNotFound")
        elif commit not in site.files:
            self.fault_no(404, "RevisionNotFound")
        else:
            there = site.files[commit].items()
            siblings = [listed(file, content) | site.listed.get(file, {}) for file, content in there]
            self.send_json({"id": NAME, "sha": commit, "siblings": siblings})

    def resolve(self, commit: str, name: str) -> None:
        site = self.site
        if site.wanted_token and self.headers.get("Authorization") != f"Bearer {site.wanted_token}":
            self.fault_no(403 if self.headers.get("Authorization") else 401, "GatedRepo")
        elif name.endswith(LARGE):  # from another host, as far as a client can tell
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{site.port}/elsewhere/{commit}/{name}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.send(site.files[commit][name])

    def send_large(self, content: bytes) -> None:
        site = self.site
        site.content = content
        if site.faults:
            fault, *arguments = site.faults.pop(0)
            getattr(self, f"fault_{fault}")(*arguments)
        else:
            self.send(content)

    def fault_whole(self) -> None:
        self.send(self.site.content)

    def fault_no(self, status: int, code: str) -> None:
        self.refuse(status, {"X-Error-Code": code, "X-Error-Message": "no"})

    def send_json(self, found: object) -> None:
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def fault_text(self, body: bytes) -> None:
        """A page, as that of a network which wants a sign-in."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
