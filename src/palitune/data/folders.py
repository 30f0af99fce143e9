"""Where pictures are: names in a data file, looked for in folders that they may not leave."""

import re
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from palitune.data.characters import is_address
from palitune.errors import BadDataError

SHOWN = 200  # characters of a name
DOWNLOAD = "Download the images into a folder first (wget -i LIST), and write their files' names instead"
HINT = "--allow-outside takes pictures from anywhere"


class ImageFolders:
    """Folders in which pictures are looked for, in order."""

    def __init__(self, folders: Sequence[Path], allow_outside: bool = False) -> None:
        self.folders, self.allow_outside = list(folders), allow_outside
        self.real = [folder.resolve() for folder in folders]

    @classmethod
    def beside(cls, data: Path, allow_outside: bool = False) -> "ImageFolders":
        """The folder of a data file and the one above it, of a fold one more; for standard input the current one."""
        if str(data) == "-":
            return cls([Path()], allow_outside)
        above = list(data.resolve().parents)
        count = 3 if re.fullmatch(r"fold\d+", above[0].name) else 2
        return cls([data.parent, *above[1:count]], allow_outside)

    def locate(self, name: str, where: str) -> Path:
        """The file of a picture; one in the first folder if there is none anywhere.

        Raises:
          BadDataError: the name is absolute, climbs with `..`, is a link to somewhere else, or a URL.
        """
        if is_address(name):
            what = f"the image is a URL and no file: {name[:SHOWN]}"
            raise BadDataError(what, where=where, hint=DOWNLOAD)
        path = Path(name)
        if not self.allow_outside:
            windows = PureWindowsPath(name)
            if path.is_absolute() or windows.drive or windows.root:
                raise BadDataError(f"the image's path is absolute: {name}", where=where, hint=HINT)
            if ".." in windows.parts:
                raise BadDataError(f"the image's path climbs out of its folder: {name}", where=where, hint=HINT)
        found = self._existing(name)
        if found is None:
            # Named where it would be: in the first folder that has its folder.
            likely = (folder / name for folder in self.folders if self._has(folder / path.parent))
            return next(likely, self.folders[0] / name)
        if not self.allow_outside:
            real = found.resolve()
            if not any(real.is_relative_to(folder) for folder in self.real):
                raise BadDataError(f"the image is a link out of its folder: {name}", where=where, hint=HINT)
        return found

    def _has(self, folder: Path) -> bool:
        try:
            return folder.is_dir()
        except (OSError, ValueError):
            return False

    def _existing(self, name: str) -> Path | None:
        # Names that were written on Windows have the other slash.
        names = [name, name.replace("\\", "/")] if "\\" in name else [name]
        for folder in self.folders:
            for spelling in names:
                try:
                    if (folder / spelling).exists():
                        return folder / spelling
                except (OSError, ValueError):  # longer than the system allows
                    continue
        return None
