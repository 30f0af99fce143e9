"""A server that answers as Kaggle and its storage might, and fails in every way that tests ask for."""

import base64
import contextlib
import hashlib
import http.server
import json
import random
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit


class Site:
    """What the server has, and how it will answer: `faults` are taken one for each request, then all is well.

    A fault is the name of a method of `Handler` without `fault_`, and its arguments. API requests (everything outside
    /storage/) only know `status` and `reset`; others wait for a storage request.
    """

    def __init__(self, content: bytes = b"") -> None:
        self.content, self.versions = content, [content]
        self.faults: list[tuple[Any, ...]] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.port = 0
        self.ranges = self.etag = self.md5 = True

    def change(self, content: bytes) -> None:
        self.content = content
        self.versions.append(content)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/storage/weights.npz"

    @property
    def environment(self) -> dict[str, str]:
        """Makes this site kagglehub's Kaggle: it looks at localhost then, and finds us as the proxy on the way."""
        proxy = f"http://127.0.0.1:{self.port}"
        return {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "http_proxy": proxy, "no_proxy": "127.0.0.1"}


AnySite = TypeVar("AnySite", bound=Site)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        site = self.site
        site.requests.append((self.command, self.path, dict(self.headers)))
        path = urlsplit(self.path).path  # a proxy is asked for the whole address
        storage = path.startswith("/storage/")
        if site.faults and (storage or site.faults[0][0] in ("status", "reset")):
            fault, *arguments = site.faults.pop(0)
            getattr(self, f"fault_{fault}")(*arguments)
        elif storage:
            self.send(site.content)
        else:
            self.send_response(302)
            self.send_header("Location", "/storage/weights.npz")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def send(self, content: bytes, claimed: int | None = None, cut: int | None = None, ranges: bool = True) -> None:
        """The file or the part that is asked for.

        Args:
          claimed: bytes more (or fewer) than there are, by the header.
          cut: bytes of the body after which the connection is gone.
        """
        site, start = self.site, 0
        wanted = self.headers.get("Range", "")
        same = self.headers.get("If-Range") in (None, self.version(content))
        if wanted and ranges and site.ranges and same:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.refuse(416)
                return
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if site.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if site.etag:
            self.send_header("ETag", self.version(content))
        if site.md5:
            self.send_header("X-Goog-Hash", f"md5={base64.b64encode(hashlib.md5(content).digest()).decode()}")
        self.send_header("Content-Length", str(len(body) + (claimed or 0)))
        self.end_headers()
        if claimed is not None and claimed < 0:
            body = body[:claimed]
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None or claimed:
            self.close_connection = True

    @staticmethod
    def version(content: bytes) -> str:
        return f'"{hashlib.sha1(content).hexdigest()}"'

    def refuse(self, status: int, headers: dict[str, str] | None = None) -> None:
        body = json.dumps({"code": status, "message": "no"}).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def fault_status(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.refuse(status, headers)

    def fault_reset(self) -> None:
        # A lingering time of zero makes the end of the connection a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def fault_cut(self, after: int) -> None:
        self.send(self.site.content, cut=after)

    def fault_claim(self, more: int) -> None:
        self.send(self.site.content, claimed=more)

    def fault_change(self, content: bytes) -> None:
        self.site.change(content)
        self.send(content)

    def fault_no_ranges(self) -> None:
        self.send(self.site.content, ranges=False)

    def fault_garble(self, at: int) -> None:
        """One wrong byte, under headers that know nothing of it."""
        content = bytearray(self.site.content)
        content[at % len(content)] ^= 0xFF
        self.send(bytes(content))

    def log_message(self, *arguments: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *arguments: object) -> None:
        pass  # a client that has gone


@contextlib.contextmanager
def serving(site: AnySite, kind: type[Handler] = Handler) -> Iterator[AnySite]:
    handler = type("Handler", (kind,), {"site": site})
    with Server(("127.0.0.1", 0), handler) as server:
        site.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield site
        server.shutdown()


def trouble(rng: random.Random, size: int, other: bytes) -> list[tuple[Any, ...]]:
    """Two to six faults, a cut among them."""
    kinds = [
        lambda: ("cut", rng.randrange(size)),
        lambda: ("claim", rng.choice([-1, 1]) * rng.randrange(1, size // 2)),
        lambda: ("change", other),
        lambda: ("no_ranges",),
        lambda: ("garble", rng.randrange(size)),
        lambda: ("status", rng.choice([429, 500, 502, 503])),
        lambda: ("reset",),
    ]
    faults = [rng.choice(kinds)() for _ in range(rng.randrange(1, 6))]
    faults.insert(rng.randrange(len(faults) + 1), ("cut", rng.randrange(size)))
    return faults
