"""Runs Python scripts in forks of one process that has imported palitune and JAX: each starts a second or two sooner.

A command that is run so is a process all the same: it has its own arguments, environment, folder, streams, limits and
exit code. `fork_client.py`, under the names of `palitune`, `python` and `python3`, asks for it. What depends on how
Python or a library starts (another PATH, a variable of JAX) is not run here.
The server ends with whoever holds the other end of its stdin.
"""

import atexit
import contextlib
import gc
import importlib
import io
import marshal
import os
import pkgutil
import resource
import selectors
import signal
import socket
import sys
import threading
import types
from pathlib import Path
from typing import Any, NamedTuple

import palitune

# What commands import of other people's packages, none of which starts a thread of its own that a fork would miss.
LIBRARIES = (
    *("jax", "jax.numpy", "flax.linen", "optax", "ml_collections", "sentencepiece", "PIL.Image", "PIL.ImageDraw"),
    *("scipy.optimize", "scipy.sparse.csgraph", "scipy.special", "sklearn.linear_model", "sklearn.model_selection"),
    *("sklearn.pipeline", "sklearn.preprocessing", "matplotlib.figure", "matplotlib.backends.backend_agg"),
    *("imagehash", "jinja2", "tqdm", "re2", "concurrent.futures.thread", "secrets", "difflib", "zipfile", "html"),
)
# Variables that are read when they are needed, or here, and not while Python or a library starts.
DEVICES = "JAX_NUM_CPU_DEVICES"
READ_LATE = (
    DEVICES,
    "XLA_FLAGS",
    "PALITUNE_",
    "KAGGLE_",
    "HF_",
    "http_proxy",
    "no_proxy",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "PS1",
    "_",
)
HEADER = 8  # bytes of a message's length


class Request(NamedTuple):
    """What a client wants: a script (or code, where it is None), and all that makes its process."""

    script: str | None
    code: str | None
    arguments: list[str]
    folder: str
    environment: dict[str, str]
    mask: int
    limits: list[tuple[int, int, int]]  # (kind, soft, hard)
    numbers: list[int]  # that the descriptors sent along have with the client


def receive(connection: socket.socket) -> tuple[Request, list[int]]:
    """One request, with its descriptors as they are numbered here."""
    head, descriptors, _, _ = socket.recv_fds(connection, HEADER, 64)
    size, body = int(head), b""
    while len(body) < size:
        body += connection.recv(size - len(body))
    return Request(*marshal.loads(body)), descriptors


def same_start(environment: dict[str, str], mine: dict[str, str]) -> bool:
    """Whether a process with these variables would start as this one has with its own."""
    names = {name for name in environment.keys() | mine.keys() if environment.get(name) != mine.get(name)}
    return all(name.startswith(READ_LATE) for name in names)


def serve(listener: socket.socket, environment: dict[str, str]) -> tuple[Request, list[int]] | None:
    """Forks for each request and tells its client how that ended; returns in a fork, or None at the end."""
    children: dict[int, socket.socket] = {}
    woken, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(waking)
    with selectors.DefaultSelector() as events:
        for source in (listener, woken, sys.stdin):
            events.register(source, selectors.EVENT_READ)
        while True:
            for key, _ in events.select():
                if key.fileobj is sys.stdin:
                    return None
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    request, descriptors = receive(connection)
                    if not same_start(request.environment, environment):
                        with connection:
                            connection.sendall(b"0\n")
                    elif child := os.fork():
                        children[child] = connection
                        events.register(connection, selectors.EVENT_READ, child)
                        connection.sendall(b"%d\n" % child)
                    else:
                        signal.set_wakeup_fd(-1)
                        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                        for mine in (listener, connection, *children.values()):
                            mine.close()
                        os.close(woken)
                        os.close(waking)
                        return request, descriptors
                    for descriptor in descriptors:
                        os.close(descriptor)
                elif key.fileobj == woken:
                    os.read(woken, 4096)
                    bury(children, events)
                elif key.data in children:  # the client is gone: so is what it ran
                    events.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)


def bury(children: dict[int, socket.socket], events: selectors.BaseSelector) -> None:
    """Tells the clients of all children that have ended how they did."""
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        connection = children.pop(child)
        with contextlib.suppress(KeyError):
            events.unregister(connection)
        with contextlib.suppress(OSError):
            connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
        connection.close()


def take_place(request: Request, descriptors: list[int]) -> None:
    """Makes this process the one that the client asks for."""
    held = [os.dup2(descriptor, 100 + at) for at, descriptor in enumerate(descriptors)]
    for descriptor in descriptors:
        os.close(descriptor)
    for standard in range(3):
        os.close(standard)
    for descriptor, number in zip(held, request.numbers, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request.environment)
    if (devices := request.environment.get(DEVICES, "")).isdigit():
        importlib.import_module("jax").config.update(DEVICES.lower(), int(devices))  # which JAX has read already
    os.chdir(request.folder)
    os.umask(request.mask)
    for kind, soft, hard in request.limits:
        if resource.getrlimit(kind) != (soft, hard):
            resource.setrlimit(kind, (soft, hard))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, stream(number) if number in request.numbers else None)
        setattr(sys, f"__{name}__", getattr(sys, name))
    sys.argv = [request.script or "-c", *request.arguments]
    sys.orig_argv = [sys.executable, *([request.script] if request.script else ["-c", request.code or ""])]
    sys.orig_argv += request.arguments
    sys.path[0] = str(Path(request.script).resolve().parent) if request.script else ""


def stream(number: int) -> io.TextIOWrapper:
    """A standard stream as Python makes it."""
    old = (sys.__stdin__, sys.__stdout__, sys.__stderr__)[number]
    assert isinstance(old, io.TextIOWrapper)
    raw = open(number, "rb" if number == 0 else "wb", closefd=False)  # noqa: SIM115 (as long as the process lives)
    if number == 0:
        return io.TextIOWrapper(raw, old.encoding, old.errors)
    return io.TextIOWrapper(raw, old.encoding, old.errors, "\n", line_buffering=number == 2 or raw.isatty())


def main() -> tuple[str, Any] | None:
    """The code that a fork of this process has to run, with the name of its file."""
    environment = dict(os.environ)  # libraries add to it
    for name in LIBRARIES:
        importlib.import_module(name)
    for one in pkgutil.walk_packages(palitune.__path__, "palitune."):
        if not one.name.endswith("__main__"):
            importlib.import_module(one.name)
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        wanted = serve(listener, environment)
    if wanted is None:
        return None
    request, descriptors = wanted
    take_place(request, descriptors)
    name = request.script or "<string>"
    source = Path(request.script).read_bytes() if request.script else request.code or ""
    module = types.ModuleType("__main__")
    if request.script:
        module.__file__ = request.script
    sys.modules["__main__"] = module
    return name, compile(source, name, "exec", dont_inherit=True)


def leave(code: int) -> None:
    """Ends as Python does, but for taking apart all that has been imported, which a fork would have to copy for it."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__" and (found := main()):
    # Here, and in no function: an error is one of the process, as with any script.
    status: object = None
    try:
        exec(found[1], sys.modules["__main__"].__dict__)
    except SystemExit as end:
        status = end.code
    if (status is None or isinstance(status, int)) and sys.stdout and sys.stderr:
        with contextlib.suppress(OSError, ValueError):  # what cannot be flushed is for Python to tell
            leave((status or 0) & 0xFF)
    sys.exit(status)  # type: ignore[arg-type]
