"""JAX's environment variables: which of them have an effect, so that no shell setting changes what palitune computes.

While it is imported, JAX takes each of its about one hundred settings from the environment. palitune keeps those that
select devices, caches and logging, and removes all others before the import. This module imports nothing heavy.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable

from palitune.errors import ConfigurationError

BOOLEANS = ("1", "y", "yes", "t", "true", "on", "0", "n", "no", "f", "false", "off")
ALLOCATORS = ("default", "platform", "bfc", "cuda_async")
FLAGS = "XLA_FLAGS"
THREADS = "NPROC"  # as many threads XLA makes for all CPU devices together; one for each core by default
WAITING = 32  # exchanges that may wait for one another on a CPU device
# Run in a process of its own with the user's XLA flags, because an unknown flag or value ends the whole process. XLA
# reads them for its options, a second before all of JAX is imported.
TRIAL = """
try:
    from jaxlib.xla_client import CompileOptions
except ImportError:
    import jax
    jax.jit(lambda x: x + 1)(1.0)
else:
    CompileOptions()
"""
TRIAL_SECONDS = 120


def _is_boolean(text: str) -> bool:
    return text.lower() in BOOLEANS


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _is_share(text: str) -> bool:
    return _is_number(text) and 0 < float(text) <= 100


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def _is_text(text: str) -> bool:
    return True


# Variables that change no result, each with the check of its values.
KEPT: dict[str, Callable[[str], bool]] = {
    "JAX_PLATFORMS": _is_text,
    "JAX_PLATFORM_NAME": _is_text,
    "JAX_CUDA_VISIBLE_DEVICES": _is_text,
    "JAX_NUM_CPU_DEVICES": _is_count,
    # Which of several processes this one is: config/hosts.py and JAX's own runtime ask for it.
    "JAX_COORDINATOR_ADDRESS": _is_text,
    "JAX_NUM_PROCESSES": _is_text,
    "JAX_PROCESS_ID": _is_text,
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": _is_text,
    "JAX_COMPILATION_CACHE_DIR": _is_text,
    "JAX_COMPILATION_CACHE_MAX_SIZE": _is_whole,
    "JAX_ENABLE_COMPILATION_CACHE": _is_boolean,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": _is_number,
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": _is_whole,
    "JAX_DISABLE_MOST_OPTIMIZATIONS": _is_boolean,
    "JAX_LOG_COMPILES": _is_boolean,
    "JAX_EXPLAIN_CACHE_MISSES": _is_boolean,
    "XLA_PYTHON_CLIENT_MEM_FRACTION": _is_share,
    "XLA_CLIENT_MEM_FRACTION": _is_share,
    "XLA_PYTHON_CLIENT_PREALLOCATE": _is_boolean,
    "XLA_PYTHON_CLIENT_ALLOCATOR": lambda text: text.lower() in ALLOCATORS,
}
left_out: dict[str, str] = {}  # the removed variables, with their values
_wrong: dict[str, str] = {}  # variables of KEPT with values that they cannot have
_flags: list[str] = []  # the user's XLA flags, until they have been checked


def clean() -> None:
    """Removes the variables that could change a result or prevent the import of JAX. Call it before that import."""
    for name in [name for name in os.environ if name.startswith(("JAX_", "FLAX_")) or name in KEPT]:
        value = os.environ[name]
        if name not in KEPT:
            left_out[name] = os.environ.pop(name)
        elif value and not KEPT[name](value):
            _wrong[name] = os.environ.pop(name)
    if (devices := os.environ.get("JAX_NUM_CPU_DEVICES", "")).isdigit():
        give_threads(int(devices))
    _flags[:] = [os.environ[FLAGS]] if os.environ.get(FLAGS, "").strip() else []


def give_threads(devices: int) -> None:
    """Lets CPU devices wait for each other. Call it before JAX's first device is there.

    Each exchange between them holds a thread until the other device makes the same one, and two that depend on nothing
    are made in any order: with one thread for each core all of them may wait for an exchange that none is left to make.
    """
    if devices > 1:
        os.environ.setdefault(THREADS, str(WAITING * devices))


def found() -> dict[str, str]:
    """Returns the environment as it was before `clean`."""
    return {**os.environ, **left_out, **_wrong}


def counting() -> dict[str, str]:
    """Returns the environment without the removed variables, but with the values that JAX would refuse."""
    return {**os.environ, **_wrong}


def check() -> None:
    """Raises ConfigurationError, with the name of the variable, for a value that JAX or XLA does not accept."""
    if _wrong:
        listed = ", ".join(f"{name}={value[:60]!r}" for name, value in _wrong.items())
        raise ConfigurationError(f"{listed}: JAX takes no such value", hint="Correct it, or unset it")
    if not _flags:
        return
    done: subprocess.CompletedProcess[bytes] | None = None
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [sys.executable, "-c", TRIAL],
            env={**os.environ, FLAGS: _flags[0], "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            timeout=TRIAL_SECONDS,
            check=False,
        )
    if done is None or done.returncode:
        raise ConfigurationError(
            f"{FLAGS}={_flags[0][:200]!r}: XLA does not start with that", hint="Correct or unset it"
        )
    _flags.clear()  # so that they are checked only once


def tell() -> None:
    """Says on stderr which variables have no effect."""
    if left_out:
        verb = "does" if len(left_out) == 1 else "do"
        what = "what palitune computes does not depend on the shell"
        print(f"{', '.join(sorted(left_out))} {verb} not count: {what}", file=sys.stderr)
