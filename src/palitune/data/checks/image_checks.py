"""What lint finds about images: missing and unusable ones, unusual ones, and near-duplicates."""

import collections
import contextlib
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from palitune.data.checks import near_duplicates
from palitune.data.checks.example_checks import Finding
from palitune.data.checks.linted_file import LintedFile, finding_of
from palitune.data.example import Example
from palitune.data.image_folders import ImageFolders
from palitune.data.images import decoder
from palitune.data.images.container import media_type
from palitune.data.images.decoder import Decoding, ImageFacts
from palitune.errors import MissingInputError, PalituneError, listed

TINY = 64  # pixels; a shorter side has less to show than the four by four patches of the smallest model
HUGE = 24_000_000  # pixels; such an image takes longer to decode than the model takes for it
MOST_COMPARED = 100_000  # images above which near-duplicates are not looked for
EXTENSIONS = {"JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "PNG": (".png", ".apng")}


class Inspection(NamedTuple):
    """What decoding an image has shown.

    Attributes:
      facts: what its file says.
      digest: SHA-256 of the pixels, equal for copies.
      perceptual_hash: uint64[4], close for near-duplicates.
    """

    facts: ImageFacts
    digest: bytes
    perceptual_hash: near_duplicates.Hashes


def inspect(path: Path, where: str, how: Decoding) -> Inspection:
    """Decodes an image. Raises as `decoder.decode`."""
    with decoder.opened(path, where, how) as (facts, image):
        return Inspection(facts, image.digest(), near_duplicates.perceptual_hash(image.reduced()))


def check_images(
    file: LintedFile,
    inspected: Mapping[Path, Inspection | PalituneError],
    how: Decoding,
    folders: ImageFolders,
    repaired: dict[tuple[Path, str], str],
) -> Iterator[Finding]:
    """Yields findings about the images of a file, each image once.

    Args:
      inspected: every image, or its error if it cannot be used.
      folders: where the images of the file are.
      repaired: takes the right name of a missing image, if it is clear, by file and wrong name.
    """
    told: set[Path] = set()
    listed: dict[Path, dict[str, list[str]]] = {}
    for _, example in file.entries:
        found = inspected.get(example.image.path) if example.images else None
        if found is None or example.image.path in told:
            continue
        told.add(example.image.path)
        if isinstance(found, MissingInputError) and (other := _meant(example, folders, listed)):
            repaired[file.path, example.image.name] = other
            yield Finding(
                "error", "missing picture", example.where, f"no such image: {example.image.path}; there is {other}"
            )
        elif isinstance(found, PalituneError):
            yield finding_of(found, example.where)._replace(where=example.where)
        else:
            for level, check, what in _of_facts(found.facts, example.image.path, how):
                yield Finding(level, check, example.where, f"{example.image.name}: {what}")


def _meant(example: Example, folders: ImageFolders, listed: dict[Path, dict[str, list[str]]]) -> str | None:
    """Returns the only image in the folder whose name differs in nothing but case or extension, or None.

    Args:
      listed: the names in the folders so far, by their stems.
    """
    named = Path(example.image.name.replace("\\", "/"))
    near: list[str] = []
    for folder in folders.folders:
        place = folder / named.parent
        if place not in listed:
            listed[place] = _by_stem(place)
        near += [name for name in listed[place].get(_plain(named.name), []) if _is_image(place / name)]
    return str(Path(example.image.name).with_name(near[0])) if len(near) == 1 else None


def _is_image(path: Path) -> bool:
    """Returns whether a file is an image by its first bytes: a data file may have the stem of a missing image."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return media_type(file.read(16)) is not None
    return False


def _by_stem(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with contextlib.suppress(OSError, ValueError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file() and entry.name.isprintable():  # a line cannot hold other names
                found.setdefault(_plain(entry.name), []).append(entry.name)
    return found


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", Path(name).stem).lower()


def _of_facts(facts: ImageFacts, path: Path, how: Decoding) -> Iterator[tuple[str, str, str]]:
    if min(facts.width, facts.height) < TINY:
        yield "warning", "tiny", f"{facts.width} x {facts.height} pixels"
    if facts.width * facts.height > HUGE:
        yield "note", "huge", f"{facts.width} x {facts.height} pixels take long to decode"
    usual = EXTENSIONS.get(facts.format, (f".{facts.format.lower()}",))
    if path.suffix.lower() not in usual:
        yield "warning", "extension", f"this is {facts.format} by its content"
    if facts.frames > 1:
        shown = decoder.frame_index(facts.frames, how.frames)
        yield "note", "animated", f"{facts.frames} frames, of which frame {shown} counts (--frames)"
    if facts.rotated:
        yield "note", "rotated", "it is turned upright, as its EXIF rotation says"
    if facts.alpha:
        yield "note", "alpha", "what is transparent becomes white"
    if facts.mode not in ("RGB", "L", "P", "1", "RGBA", "LA", "PA"):
        yield "note", "colours", f"{facts.mode} is converted to RGB"
    for remark in facts.remarks:
        yield "note", "metadata", remark


def check_near_duplicates(files: Sequence[LintedFile], inspections: Mapping[Path, Inspection]) -> Iterator[Finding]:
    """Yields findings about near-duplicates, also in other files or with other labels.

    There is one for each group, because the frames of a video make too many pairs.
    """
    shown: dict[bytes, tuple[Path, Example]] = {}
    for file in files:
        for _, example in file.entries:
            if example.images and example.image.path in inspections:
                shown.setdefault(inspections[example.image.path].digest, (file.path, example))
    if len(shown) > MOST_COMPARED:
        what = f"{len(shown):,} images are too many to search for near-duplicates; {MOST_COMPARED:,} are compared"
        yield Finding("note", "alike", str(files[0].path), what)
    elif shown:
        hashes = np.stack([inspections[example.image.path].perceptual_hash for _, example in shown.values()])
        groups = collections.defaultdict(list)
        members = near_duplicates.components(len(shown), near_duplicates.near_pairs(hashes)).tolist()
        for number, found in zip(members, shown.values(), strict=True):
            groups[number].append(found)
        for group in groups.values():
            if len(group) > 1:
                yield from _of_group(group)


def _of_group(group: Sequence[tuple[Path, Example]]) -> Iterator[Finding]:
    """Yields the findings about one group of near-duplicates."""
    home, first = group[0]

    def told(level: str, check: str, other: Example, what: str) -> Finding:
        rest = [example for _, example in group[1:] if example is not other]
        tail = f"; {len(rest)} more look like them: {listed([example.image.name for example in rest])}" if rest else ""
        text = f"{other.image.name} looks like {first.image.name} in {first.where}{what}{tail}"
        return Finding(level, check, other.where, text, tuple(example.where for example in (first, *rest)))

    elsewhere = next((example for path, example in group if path != home), None)
    if elsewhere is not None:
        yield told("warning", "near leak", elsewhere, ", which is in another file")
    others = (one for path, one in group if path == home and one.prompt == first.prompt and one.label != first.label)
    different = next(others, None)
    if different is not None:
        yield told("warning", "alike", different, f', and is "{different.label}" where that is "{first.label}"')
    if elsewhere is None and different is None:
        yield told("note", "alike", group[1][1], "")
