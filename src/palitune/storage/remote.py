"""Files elsewhere, by their addresses as fsspec has them: s3://, gs://, memory:// and so on. Needs fsspec."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palitune.errors import ConfigurationError, MissingInputError, NetworkError, PalituneError

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")
INSTALL = "Install it: pip install 'palitune[ray]'"


def is_address(name: str) -> bool:
    """Whether a name is an address and no path."""
    return ADDRESS.match(name) is not None


def fetch(address: str, path: Path) -> None:
    """Copies what is at an address into a new file.

    Raises:
      ConfigurationError: fsspec, or what it needs for such an address, is not installed.
      MissingInputError: there is nothing.
      NetworkError: it cannot be read.
    """
    with _told(address):
        system, inside = _opened(address)
        system.get_file(inside, str(path))


def is_absent(address: str) -> bool:
    """Whether nothing is at an address. Raises as `fetch`."""
    with _told(address):
        system, inside = _opened(address)
        return not system.exists(inside)


def put(path: Path, address: str) -> None:
    """Copies a whole file to an address. Raises as `fetch`."""
    with _told(address):
        system, inside = _opened(address)
        system.put_file(str(path), inside)


def _opened(address: str) -> tuple[Any, str]:
    import fsspec

    system, inside = fsspec.core.url_to_fs(address)
    return system, str(inside)


@contextlib.contextmanager
def _told(address: str) -> Iterator[None]:
    """Raises what goes wrong as an error that says what to do."""
    try:
        yield
    except PalituneError:
        raise
    except ImportError as error:
        if error.name == "fsspec":
            what = "an address needs fsspec, which is not installed"
            raise ConfigurationError(what, where=address, hint=INSTALL) from None
        raise ConfigurationError("this kind of address cannot be used", where=address, hint=str(error)) from None
    except FileNotFoundError:
        raise MissingInputError("there is nothing at this address", where=address) from None
    except ValueError as error:
        raise ConfigurationError(f"this kind of address is unknown ({error})", where=address) from None
    except Exception as error:  # each service has exceptions of its own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        what = f"this address cannot be used: {reason}"
        raise NetworkError(what, where=address, hint="Check the address and the credentials") from None
