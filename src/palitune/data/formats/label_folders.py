"""The format "folders": a folder of images for each label; and other folders, of subsets or data files."""

import os
import re
import shlex
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from palitune.data import file_signatures
from palitune.data.formats.options import Fields, Found, Options, lose_rest
from palitune.data.image_folders import ImageFolders
from palitune.data.images.container import media_type
from palitune.data.split.subset_names import said_by
from palitune.errors import BadDataError, MissingInputError, OutputExistsError, StorageError, listed

IMAGES = (".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib")
# Names of images that palitune does not read, and of videos; the rest is told by content.
OTHERS = re.compile(
    r"\.(heic|heif|avif|tiff?|svg|psd|ico|jxl|jp2|j2k|dng|cr[23]|nef|arw|raf|orf|rw2|tga|pcx|p[bgpn]m|exr|hdr|eps|xcf"
    r"|mp4|mov|avi|mkv|webm|m4v|wmv|mpg|mpeg)$",
    re.I,
)
RUBBISH = re.compile(
    r"\.|(__macosx|thumbs\.db|ehthumbs\.db|desktop\.ini|@eadir|\$recycle\.bin|system volume information|lost\+found"
    r"|icon\r)$",
    re.I,
)
PARTS = re.compile(r"(train|training|valid|val|validation|test|testing|dev|eval)([-_ ]?(set|data|images))?$", re.I)
DATA = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
LONGEST_NAME = 200  # bytes of a folder's name
NO_NAME = re.compile(r'^$|[/\\\0-\x1f<>:"|?*]')  # labels that cannot name a folder on every system
SIDECARS = (".txt", ".caption", ".json", ".xml")  # of an image of the same name


def is_rubbish(name: str) -> bool:
    """Returns whether a file is hidden, or is one that systems and programs leave in folders."""
    return RUBBISH.match(name) is not None


def has_known_name(path: Path) -> bool:
    """Returns whether the extension is one of an image that palitune reads."""
    return path.suffix.lower() in IMAGES


def is_image(path: Path) -> bool:
    """Returns whether `read` takes a file for an image."""
    return has_known_name(path) or _sniffed(path) == "image"


def _shown(path: Path) -> str:
    """Returns a path for messages, with bytes that are not UTF-8 as shells write them."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(one for one in path.iterdir() if not is_rubbish(one.name) and one.is_dir())
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _data_files(path: Path) -> list[Path]:
    found = [one for one in path.iterdir() if one.suffix.lower() in DATA and not is_rubbish(one.name)]
    return sorted(one for one in found if one.is_file() and one.stat().st_size)


def _has_images(path: Path, deep: bool = True) -> bool:
    """Returns whether a folder has an image, by its name, or by its content if it has no extension."""
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not is_rubbish(name)] if deep else []
        paths = (Path(folder, name) for name in names if not is_rubbish(name))
        if any(has_known_name(one) or (not one.suffix and _sniffed(one) == "image") for one in paths):
            return True
    return False


def source_of(path: Path) -> Path:
    """Returns what to read for a folder: the folder itself, or the only data file in it.

    Raises:
      BadDataError: it has several subsets or several data files; the hint has the commands that read each of them.
    """
    folders = [one for one in _folders(path) if _has_images(one) or _data_files(one)]
    parts = [one for one in folders if PARTS.match(one.name) or (said_by(one.name) and _inner(one))]
    nested = [one for one in parts if _data_files(one) or any(_has_images(inner) for inner in _folders(one))]
    if parts and (len(parts) == len([one for one in folders if _has_images(one)] or folders) or len(nested) > 1):
        readable = [file for one in parts for file in _data_files(one) or ([one] if one in nested else [])]
        what = f"these folders are parts of a data set and no labels: {', '.join(one.name for one in parts)}"
        hint = "Their images have no labels; if the parts' names are the labels, --from folders takes them"
        raise BadDataError(what, where=str(path), hint=_commands(readable) if readable else hint)
    _require_labels(path, folders)
    files_here = _data_files(path)
    labels = [one for one in folders if _has_images(one)]
    if files_here and len(labels) < 2:
        if len(files_here) == 1:
            return files_here[0]
        raise BadDataError("there are several files of records", where=str(path), hint=_commands(files_here))
    if len(labels) == 1 and not _has_images(labels[0], deep=False):
        inner = [one for one in _folders(labels[0]) if _has_images(one)]
        if len(inner) > 1:
            what = f"all images are in folders below {labels[0].name}"
            hint = f"{_commands([labels[0]])}, or name the one label that you mean with --from folders"
            raise BadDataError(what, where=str(path), hint=hint)
    return path


def _inner(folder: Path) -> set[str]:
    """Returns the names of the folders with images in a folder without images of its own, in lower case."""
    if _has_images(folder, deep=False):
        return set()
    return {one.name.casefold() for one in _folders(folder) if _has_images(one)}


def _require_labels(path: Path, folders: Sequence[Path]) -> None:
    """Raises BadDataError if folders look like subsets, folds or months, because each has the same inner folders."""
    inner = [_inner(one) for one in folders]
    if len(folders) > 1 and all(inner) and len(set.union(*inner)) > 1 and set.intersection(*inner):
        same = listed(sorted(set.intersection(*inner)))
        what = f"each of {listed([one.name for one in folders])} has folders of images named {same}"
        hint = f"{_commands(folders)}; if the outer names are the labels, --from folders takes them"
        raise BadDataError(f"which folders are the labels cannot be told: {what}", where=str(path), hint=hint)


def _commands(sources: Sequence[Path]) -> str:
    typed = [f"palitune convert {shlex.quote(str(one))}" for one in sources]
    return f"Convert each: {listed(typed, '; ')}" if len(sources) > 1 else f"Convert it: {typed[0]}"


def read(path: Path, options: Options) -> Found:
    """Yields the images of each label's folder, at any depth.

    Raises:
      MissingInputError, BadDataError: it is not a folder, cannot be read, or has no images in folders.
    """
    if not path.is_dir():
        raise BadDataError("not a folder", where=str(path))
    count = 0
    for one in sorted(path.iterdir()):
        if not one.is_dir() and not is_rubbish(one.name):
            _left_out(one, one.name, options, "an image is in no label's folder")
    for folder in _folders(path):
        before = count
        files = sorted(_files(folder, options))
        images = {file.with_suffix("") for file in files if has_known_name(file)}
        for file in files:
            name = file.relative_to(path).as_posix()
            if not has_known_name(file) and _sniffed(file) != "image":
                beside = file.suffix.lower() in SIDECARS and file.with_suffix("") in images
                _left_out(file, name, options, "", beside)
                continue
            if not file.is_file():
                options.lose("what has an image's name is not a file, or a link to nothing", _shown(file))
                continue
            count += 1
            if _encodable(name, file, options):
                yield name, {"prefix": "", "suffix": folder.name, "image": name}
        if count == before:
            options.remark("folders without an image are left out", _shown(folder))
    if not count and not (options.losses and options.losses.count and not options.losses.drop):
        hint = f"It needs a folder for each label, with files {', '.join(IMAGES)}"
        raise BadDataError("no images in folders here", where=str(path), hint=hint)


def _encodable(name: str, file: Path, options: Options) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        raw = os.fsencode(name)
        try:
            detail = f"in Shift-JIS it would be {raw.decode('cp932')}"
        except UnicodeDecodeError:
            detail = ""
        hint = "Rename such files, for example: convmv -r -f cp932 -t utf-8 --notest FOLDER"
        options.lose("a file's name is not UTF-8", _shown(file), detail, hint)
        return False
    return True


def _files(folder: Path, options: Options) -> Iterator[Path]:
    """Yields all files below a folder, without rubbish; links to folders are not followed."""

    def unreadable(error: OSError) -> None:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=str(error.filename)) from None

    for here, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not is_rubbish(name)]
        for name in folders:
            if os.path.islink(os.path.join(here, name)):
                options.lose("a link to a folder is not followed", _shown(Path(here, name)))
        for name in names:
            if is_rubbish(name):
                if has_known_name(Path(name)) and not name.startswith("._"):
                    options.remark("hidden files are left out", _shown(Path(here, name)))
                continue
            yield Path(here, name)


def _left_out(file: Path, name: str, options: Options, as_image: str, beside: bool = False) -> None:
    """Counts a file that is not an example: as a loss if it is an image or belongs to one."""
    kind = _sniffed(file)
    if kind == "image" and as_image:
        options.lose(as_image, _shown(file), hint="Put it into a folder that is named by its label")
    elif kind == "other":
        hint = "Convert it to JPEG or PNG first"
        options.lose("an image or video is of a kind that palitune does not read", _shown(file), hint=hint)
    elif beside:
        options.lose("a file that belongs to an image has no place in a record", _shown(file))
    else:
        options.remark("files that are not images are left out", _shown(file))


def _sniffed(file: Path) -> str:
    """Returns "image" by the content of a file, "other" for other images and videos, and "" for the rest."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return ""
        with file.open("rb") as opened:
            head = opened.read(file_signatures.HEAD)
    except OSError:
        return "image" if has_known_name(file) else ""  # whoever reads it says what is wrong
    if media_type(head) and file_signatures.recognised(head) is not None:
        return "image"
    found = file_signatures.recognised(head)
    if found is not None and re.search(r"image|photo|video|drawing", found.what):
        return "other"
    if has_known_name(file):
        return "image"
    return "other" if OTHERS.search(file.name) else ""


def write(
    found: Found, target: Path, images: ImageFolders, options: Options, check: Callable[[], None] = lambda: None
) -> int:
    """Copies images into folders named by their labels, all or none. Returns their number.

    Args:
      check: called before the folder appears; what it raises keeps it from that.

    Raises:
      OutputExistsError: `target` is there.
      StorageError: it cannot be written.
    """
    if target.exists():
        raise OutputExistsError("this folder exists", where=str(target), hint="Name another one with -o")
    copied: dict[Path, Path] = {}
    try:
        fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror}", where=str(target)) from None
    try:
        fresh.chmod(0o755)
        for where, fields in found:
            lose_rest(fields, "folders", (), where, options)
            place = _place(fields, where, images, options)
            if place is None:
                continue
            path, inside = place
            copy = fresh / inside
            if copy in copied:
                same = copied[copy] == path
                what = "an image is there twice, and a folder holds it once" if same else "two images have one name"
                options.lose(what, where, inside)
                continue
            copied[copy] = path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        check()
        if not copied:
            raise BadDataError("no image is left", where=str(target))
        fresh.rename(target)
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror}", where=str(target)) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return len(copied)


def _place(fields: Fields, where: str, images: ImageFolders, options: Options) -> tuple[Path, str] | None:
    """Returns the file of an image and its new place; None if it has none."""
    label, name = fields["suffix"], fields["image"]
    base = Path(name.replace("\\", "/")).name
    if NO_NAME.search(label) or is_rubbish(label) or len(label.encode()) > LONGEST_NAME:
        options.lose("a label cannot be a folder's name", where, repr(label[:40]), "Folders are for classes")
        return None
    path = images.locate(name, where)
    if not path.is_file():
        options.lose("no such image", where, str(path), "-i names the folder that images are in", missing=True)
        return None
    if is_rubbish(base) or not is_image(path):
        options.lose("a file would not be taken for an image", where, str(path))
        return None
    return path, f"{label}/{base}"
