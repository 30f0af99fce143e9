"""Images of chats that are no files yet: embedded ones and those on the network become files in the cache."""

import hashlib
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from palitune.data.formats import embedded_images
from palitune.data.image_folders import ENDINGS
from palitune.data.images.container import media_type
from palitune.errors import BadDataError, StorageError
from palitune.storage import atomic_files

LARGEST = 256 << 20  # bytes of an image's file
MOST_SHOWN = 200  # characters of an address


def folder() -> Path:
    """Where they are kept."""
    from palitune import workspace  # which imports NumPy

    return workspace.cache() / "images"


def kept(name: str) -> Path | None:
    """The file of an image that was put there before, by its whole path; None of another name."""
    path = Path(name)
    return path if path.is_absolute() and path.parent == folder().absolute() else None


def embedded(address: str, where: str) -> Path:
    """The file of the image in a `data:` URL, which is written where it is not there yet.

    Raises:
      BadDataError: it is not base64, or no image.
      StorageError: it cannot be written.
    """
    name, raw = embedded_images.content(address, where)
    if media_type(raw) is None:
        raise BadDataError("the embedded image is of a kind that palitune does not read", where=where)
    path = folder().absolute() / name
    if not path.is_file() or path.stat().st_size != len(raw):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot write: {error.strerror}", where=str(path.parent)) from None
        atomic_files.write(path, raw)
    return path


def downloaded(address: str, where: str, allowed: bool) -> Path:
    """The file of an image on the network, which is downloaded once.

    Raises:
      BadDataError: nobody has allowed it, or what is there is no image or too large.
      NetworkError, CredentialsError, MissingInputError: as `transfer.fetch`.
    """
    from palitune.hub import transfer

    ending = PurePosixPath(urlsplit(address).path).suffix.lower()
    name = hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    path = folder().absolute() / f"{name}{ending if ending in ENDINGS else ''}"
    if path.is_file():
        return path
    if not allowed:
        what = f"the image is on the network: {transfer.shown(address)[:MOST_SHOWN]}"
        raise BadDataError(what, where=where, hint="--allow-download downloads such images into cache/images/")
    transfer.fetch(address, path, _problem, silent=True, most=LARGEST)
    return path


def _problem(path: Path) -> str | None:
    with path.open("rb") as file:
        return None if media_type(file.read(64)) is not None else "it is no image of a kind that palitune reads"
