"""The folders in which the images of a data file are looked for, and which their names may not leave."""

import contextlib
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePath, PureWindowsPath

from palitune.config.model import FolderSettings
from palitune.data.example import Example, Image
from palitune.data.invisible_characters import is_address, why_missing
from palitune.errors import BadDataError

SHOWN = 200  # characters of a name, in messages
MOST_LISTED = 1_000  # folders whose lists of names are kept in memory
# What the names of images end in.
ENDINGS = (
    *(".jpg", ".png", ".jpeg", ".JPG", ".PNG", ".JPEG", ".jfif", ".gif", ".webp", ".bmp", ".tif", ".tiff"),
    *(".heic", ".avif", ".apng", ".svg"),
)
MOST_NAMED = 1_000  # characters of what may be a file
DOWNLOAD = "Download the images into a folder first (wget -i LIST), and write their files' names instead"
HINT = "--allow-outside takes images from anywhere"


class ImageFolders:
    """Folders in which the images of a data file are looked for, one after the other.

    Attributes:
      settings: what was asked for, also of how the file's records are read.
    """

    def __init__(
        self, folders: Sequence[Path], allow_outside: bool = False, settings: FolderSettings | None = None
    ) -> None:
        self.folders, self.allow_outside = list(folders), allow_outside
        self.settings = settings or FolderSettings(allow_outside=allow_outside)
        self.real = [folder.resolve() for folder in folders]
        self.listed: dict[Path, dict[str, list[str]]] = {}  # the names in each folder, by their composed form (NFC)

    @classmethod
    def of(cls, data: Path, settings: FolderSettings) -> "ImageFolders":
        """Returns the folder that settings name, or if they name none, the folders beside a data file."""
        if settings.images:
            return cls([Path(settings.images)], settings.allow_outside, settings)
        return cls(cls.beside(data).folders, settings.allow_outside, settings)

    @classmethod
    def beside(cls, data: Path, allow_outside: bool = False) -> "ImageFolders":
        """Returns the folder of a data file and the one above it, and for a fold also the next one above.

        For standard input it is the current folder.
        """
        if str(data) == "-":
            return cls([Path()], allow_outside)
        above = list(data.resolve().parents)
        count = 3 if re.fullmatch(r"fold\d+", above[0].name) else 2
        return cls([data.parent, *above[1:count]], allow_outside)

    def locate(self, name: str, where: str) -> Path:
        """Returns the file of an image; if there is none in any folder, the path where it would be.

        Args:
          name: the image as the data file names it.
          where: `file:line` of the example, for messages.

        Raises:
          BadDataError: the name is a URL, is absolute, contains `..`, or is a link that leaves the folders.
        """
        if is_address(name):
            what = f"the image is a URL and no file: {name[:SHOWN]}"
            raise BadDataError(what, where=where, hint=DOWNLOAD)
        path = Path(name)
        if not self.allow_outside:
            windows = PureWindowsPath(name)
            if path.is_absolute() or windows.drive or windows.root:
                hint = why_missing(name) or HINT  # C:\new.jpg in JSON has a line break in it
                raise BadDataError(f"the image's path is absolute: {name}", where=where, hint=hint)
            if ".." in windows.parts:
                raise BadDataError(f"the image's path climbs out of its folder: {name}", where=where, hint=HINT)
        found = self._existing(name)
        if found is None:
            # The first folder that has the image's own folder in it is where the image would be.
            likely = (folder / name for folder in self.folders if _exists(folder / path.parent))
            return next(likely, self.folders[0] / name)
        if not self.allow_outside:
            real = found.resolve()
            if not any(real.is_relative_to(folder) for folder in self.real):
                raise BadDataError(f"the image is a link out of its folder: {name}", where=where, hint=HINT)
        return found

    def names(self, text: str) -> bool:
        """Whether a text is the name of an image: by its ending, because it is a file, or because its folder is there.

        A missing image must not be taken for a text.
        """
        if text.rstrip().lower().endswith(ENDINGS):
            return True
        if len(text) > MOST_NAMED or text.isspace():
            return text.startswith("data:image/")
        if len(text.split(maxsplit=1)) > 1:
            return self._existing(text) is not None
        if is_address(text) or self._existing(text) is not None:
            return True
        above = PurePath(text.replace("\\", "/")).parent
        return above.name != "" and any(_exists(folder / above) for folder in self.folders)

    def file_of(self, image: Image, where: str) -> Path:
        """The file of an image: the one that it has been put into, or else as `locate` finds it. Raises as that."""
        return image.path if image.path.is_absolute() else self.locate(image.name, where)

    def placed(self, example: Example) -> Example:
        """The example with the files of all its images; one without images is as it was. Raises as `locate`."""
        if len(images := example.images) == 1:
            return example.with_image(path=self.file_of(images[0], example.where))
        if not images:
            return example
        messages = []
        for message in example.messages:
            parts = (
                Image(part.name, self.file_of(part, example.where)) if isinstance(part, Image) else part
                for part in message.parts
            )
            messages.append(message._replace(parts=tuple(parts)))
        return example._replace(messages=tuple(messages))

    def _existing(self, name: str) -> Path | None:
        # Names that were written on Windows have backslashes.
        names = [name, name.replace("\\", "/")] if "\\" in name else [name]
        for folder in self.folders:
            for spelling in names:
                if _exists(folder / spelling):
                    return folder / spelling
        if name.isascii():
            return None
        found = (self._composed(folder, PurePath(one).parts) for folder in self.folders for one in names)
        return next((path for path in found if path is not None), None)

    def _composed(self, folder: Path, parts: Sequence[str]) -> Path | None:
        """Returns a file whose name is the same in another Unicode form; one that is spelled as asked comes first.

        macOS writes an accent or a dakuten as a character of its own (NFD), other systems as part of the letter (NFC),
        also in the names of folders.
        """
        if not parts:
            return folder
        part, *rest = parts
        others = [] if part.isascii() else self._names(folder).get(unicodedata.normalize("NFC", part), [])
        for spelling in dict.fromkeys([part, *others]):
            if _exists(folder / spelling) and (found := self._composed(folder / spelling, rest)) is not None:
                return found
        return None

    def _names(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self.listed:
            if len(self.listed) >= MOST_LISTED:
                self.listed.clear()
            names: dict[str, list[str]] = {}
            with contextlib.suppress(OSError, ValueError):
                for name in sorted(os.listdir(folder)):
                    if not name.isascii():
                        names.setdefault(unicodedata.normalize("NFC", name), []).append(name)
            self.listed[folder] = names
        return self.listed[folder]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # the name is longer than the system allows
        return False
