#!/usr/bin/env python3
"""As much of a container engine as the image's test needs, where there is none: `build` by buildah, `run` in a chroot.

`run` knows the options that bin/docker-run.sh gives and does what they say: a root that cannot be written to, mounts, a
user, the image's environment, working folder and entry point, and a network with nobody in it. Needs root.
"""

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
IFF_UP, SIOCSIFFLAGS = 1, 0x8914  # linux/if.h, linux/sockios.h
NAMESPACES = 0x00020000 | 0x20000000 | 0x40000000  # CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET of linux/sched.h


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    for flag in ("--rm", "--init", "--read-only", "-i", "-t"):
        parser.add_argument(flag, action="store_true")
    for option in ("--tmpfs", "--mount", "--env"):
        parser.add_argument(option, action="append", default=[])
    for option in ("--shm-size", "--stop-timeout", "--user", "--workdir"):
        parser.add_argument(option)
    parser.add_argument("image")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser


def buildah(*arguments: str) -> str:
    return subprocess.run(["buildah", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def furnish(root: Path, args: argparse.Namespace) -> None:
    """Everything that is mounted; in a mount namespace of our own."""
    mount("--make-rprivate", "/")
    mount("--bind", root, root)
    if args.read_only:
        mount("-o", "remount,bind,ro", root)
    mount("-t", "proc", "proc", root / "proc")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root / "dev")
    for name in DEVICES:
        (root / "dev" / name).touch()
        mount("--bind", f"/dev/{name}", root / "dev" / name)
    (root / "dev" / "fd").symlink_to("/proc/self/fd")
    (root / "dev" / "shm").mkdir()
    mount("-t", "tmpfs", "-o", f"mode=1777,size={args.shm_size or '64m'}", "tmpfs", root / "dev" / "shm")
    for folder in args.tmpfs:
        mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / folder.lstrip("/"))
    for wanted in args.mount:
        fields = dict(part.partition("=")[::2] for part in wanted.split(","))
        target = root / fields["target"].lstrip("/")
        if not Path(fields["source"]).exists():
            sys.exit(f"bind source path does not exist: {fields['source']}")
        mount("--bind", fields["source"], target)
        if "readonly" in fields:
            mount("-o", "remount,bind,ro", target)


def become(args: argparse.Namespace, root: Path, config: dict[str, Any]) -> None:
    """Turns this process into the command."""
    environment = dict(line.split("=", 1) for line in config.get("Env") or [])
    for wanted in args.env:
        name, given, value = wanted.partition("=")
        if given or name in os.environ:
            environment[name] = value if given else os.environ[name]
    user, _, group = (args.user or config.get("User") or "0:0").partition(":")
    os.chroot(root)
    os.chdir(args.workdir or config.get("WorkingDir") or "/")
    os.setgroups([])
    os.setgid(int(group))
    os.setuid(int(user))
    command = [*(config.get("Entrypoint") or []), *(args.command or config.get("Cmd") or [])]
    os.execvpe(command[0], command, environment)


def attend(child: int) -> int:
    """Waits for a child, to which signals go, and returns its exit code; buries orphans, as an init process does."""

    def pass_on(received: int, frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, received)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


def run(arguments: list[str]) -> int:
    args = parser().parse_args([part for a in arguments for part in (["-i", "-t"] if a == "-it" else [a])])
    config = json.loads(buildah("inspect", "--type", "image", args.image))["OCIv1"]["config"]
    container = buildah("from", "--pull-never", args.image)
    try:
        root = Path(buildah("mount", container))
        first = os.fork()
        if first == 0:
            # In a process of its own: once the first one in a namespace of processes has ended, no other can begin.
            if ctypes.CDLL(None, use_errno=True).unshare(NAMESPACES):
                raise OSError(ctypes.get_errno(), "unshare")
            second = os.fork()
            if second:
                os._exit(attend(second))
            with socket.socket() as any_socket:
                fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))
            furnish(root, args)
            if args.init and (third := os.fork()):
                os._exit(attend(third))
            become(args, root, config)
        return attend(first)
    finally:
        buildah("rm", container)


def main() -> int:
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "build":
        return subprocess.run(["buildah", "build", "--layers", *arguments], check=False).returncode
    if command == "run":
        return run(arguments)
    print("engine.py: for tests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
