"""Runs a Python script in a fork of `fork_server.py`, in the place of `palitune`, `python` or `python3`.

Imported by a file of one of these names that knows the server's socket; it starts in a hundredth of a second, and so
imports as little as can be. What the server does not take runs in the interpreter proper.
"""

import _socket
import array
import marshal
import os
import resource
import signal
import sys

HEADER = 8


def inherited() -> list[int]:
    """The descriptors that a command would have: the standard ones that are open, and others given by a shell."""
    return [number for number in map(int, os.listdir("/proc/self/fd")) if is_inherited(number)]


def is_inherited(number: int) -> bool:
    try:
        return os.get_inheritable(number)
    except OSError:
        return False  # of the listing itself


def message(script: str | None, code: str | None, arguments: list[str], numbers: list[int]) -> bytes:
    mask = os.umask(0)
    os.umask(mask)
    kinds = {getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
    limits = [(kind, *resource.getrlimit(kind)) for kind in kinds]
    return marshal.dumps((script, code, arguments, os.getcwd(), dict(os.environ), mask, limits, numbers))


def split_arguments(name: str, script: str, arguments: list[str]) -> tuple[str | None, str | None, list[str]] | None:
    """The script or code to run and its arguments; None where it is something else that Python should do."""
    if name == "palitune":
        return script, None, arguments
    if arguments[:1] == ["-c"] and len(arguments) > 1:
        return None, arguments[1], arguments[2:]
    if arguments and not arguments[0].startswith("-"):
        return arguments[0], None, arguments[1:]
    return None


def main(path: str, python: str, script: str) -> None:
    """Runs what was asked for and ends as it did.

    Args:
      path: the server's socket.
      python: the interpreter proper.
      script: the command `palitune`.
    """
    name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
    wanted = split_arguments(name, script, arguments)
    pid = 0
    if wanted is not None:
        numbers = inherited()
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        connection.connect(path)
        body = message(*wanted, numbers)
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", numbers))
        connection.sendmsg([b"%8d" % len(body)], [rights])
        connection.sendall(body)
        pid = int(line(connection))
    if not pid:
        program = script if name == "palitune" else python
        os.execv(program, [program, *arguments])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, frame: os.kill(pid, received))
    code = int(line(connection))
    if code < 0:  # ended by a signal: so do we
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def line(connection: _socket.socket) -> bytes:
    """What the server says next."""
    text = b""
    while not text.endswith(b"\n"):
        received = connection.recv(1)
        if not received:
            os.write(2, b"fork_client.py: the server is gone\n")
            os._exit(70)
        text += received
    return text
