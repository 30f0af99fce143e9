"""Images that are embedded in data: all of them are written into a folder, or none."""

import base64
import binascii
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from palitune.data.images.container import media_type
from palitune.errors import BadDataError, StorageError

EXTENSIONS = {"image/jpeg": "jpg"}  # of media types whose names are not those of the files


def content(address: str, where: str) -> tuple[str, bytes]:
    """A name for the image in a `data:` URL (RFC 2397), which its content decides, and the bytes of its file.

    Raises:
      BadDataError: the URL is not base64.
    """
    head, _, coded = address.partition(",")
    if ";base64" not in head.lower():
        raise BadDataError("the embedded image is not base64", where=where)
    try:
        raw = base64.b64decode(re.sub(r"\s+", "", coded), validate=True)
    except (binascii.Error, ValueError):
        raise BadDataError("the embedded image is not base64", where=where) from None
    claimed = re.match(r"data:image/([a-z]{1,10})", head)
    kind = media_type(raw)
    extension = EXTENSIONS.get(kind, kind.partition("/")[2]) if kind else claimed[1] if claimed else "img"
    return f"{hashlib.sha256(raw).hexdigest()[:16]}.{extension}", raw


class EmbeddedImages:
    """A folder that images go to; they appear there when the conversion has ended well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waiting: Path | None = None
        self.made: list[Path] = []  # folders that were not there

    def save(self, address: str, where: str) -> str:
        """Writes the image in a `data:` URL (RFC 2397). Returns the name of its file.

        Raises:
          BadDataError: the URL is not base64.
          StorageError: the image cannot be written.
        """
        name, raw = content(address, where)
        try:
            (self._place() / name).write_bytes(raw)
        except OSError as error:
            raise StorageError(f"cannot write: {error.strerror}", where=str(self.folder)) from None
        return name

    def _place(self) -> Path:
        if self.waiting is None:
            missing = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
            self.folder.mkdir(parents=True, exist_ok=True)
            self.made = missing
            self.waiting = Path(tempfile.mkdtemp(dir=self.folder, prefix=".convert."))
        return self.waiting

    def keep(self) -> None:
        """Moves the saved images into the folder. Raises StorageError if that fails."""
        if self.waiting is None:
            return
        try:
            for file in sorted(self.waiting.iterdir()):
                os.replace(file, self.folder / file.name)
        except OSError as error:
            raise StorageError(f"cannot write: {error.strerror}", where=str(self.folder)) from None
        self.made = []

    def close(self) -> None:
        """Removes images that were not kept, and the folders that were created for them."""
        if self.waiting is not None:
            shutil.rmtree(self.waiting, ignore_errors=True)
            for folder in self.made:
                try:
                    folder.rmdir()
                except OSError:
                    break
            self.waiting = None
