"""Everything about data that spoils a run, found before the device is touched."""

import collections
import contextlib
import os
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from palitune.data.checks import near_duplicates
from palitune.data.checks.findings import LEVELS, Finding, of_records, verdicts
from palitune.data.example import Example
from palitune.data.example_files import Reader
from palitune.data.formats import error_hints
from palitune.data.formats.json_lines import RECORD
from palitune.data.formats.lines import Line
from palitune.data.image_folders import HINT as OUTSIDE
from palitune.data.image_folders import ImageFolders
from palitune.data.images import decoder
from palitune.data.images.container import media_type
from palitune.data.images.decoder import Decoding, ImageFacts
from palitune.data.images.loader import prefetch
from palitune.data.split import subset_names
from palitune.data.tokens import Tokenizer
from palitune.errors import BadDataError, MissingInputError, PalituneError, listed

TINY = 64  # pixels: shorter sides have less to show than the smallest model's four patches by four
HUGE = 24_000_000  # pixels: a picture that takes longer to decode than the model to look at it
MOST_COMPARED = 100_000  # pictures up to which those that look alike are looked for
LONG_PROMPT = 128  # tokens, which PaliGemma at 224 pixels was pretrained with
USUAL = (
    RECORD,
    error_hints.TSV,
    OUTSIDE,
    "Formats are",
    "Images are looked for",
    "Replace the file",
)  # say nothing new
EXTENSIONS = {"JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "PNG": (".png", ".apng")}


class Look(NamedTuple):
    """What was seen of a picture."""

    facts: ImageFacts
    digest: bytes  # of its pixels
    perceptual_hash: near_duplicates.Hashes


class Entry(NamedTuple):
    """A line that is a record."""

    line: Line
    record: Example


class Set(NamedTuple):
    """A file and its records; broken lines are among the findings."""

    path: Path
    kind: str
    entries: list[Entry]
    broken: int = 0  # lines that are no records
    part: str | None = None  # one of part_names.PARTS, where it can be told


class Report(NamedTuple):
    """What was found.

    Attributes:
      repaired: image names that do not exist, and what they may have meant.
      unusable: pictures that are missing or damaged.
      identity: equal for records that show the same picture.
    """

    sets: list[Set]
    findings: list[Finding]
    verdicts: list[str]
    tokens: dict[str, int]
    repaired: dict[tuple[Path, str], str]
    unusable: set[Path]
    identity: Callable[[Example], Hashable]

    def count(self, level: str) -> int:
        return sum(finding.level == level for finding in self.findings)


def lint(
    paths: Sequence[Path],
    folders_of: Callable[[Path], ImageFolders],
    how: Decoding = decoder.DEFAULT,
    tokenizer: Tokenizer | None = None,
    prompt: str = "",
    longest_answer: int | None = None,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, count: items,
) -> Report:
    """Looks at every line and every picture of some files, which are taken as parts of one split.

    Args:
      folders_of: where the pictures of a file are.
      prompt: asked where a record's prefix is empty.
      longest_answer: tokens that decoding writes.
      progress: shows how far it is.

    Raises:
      MissingInputError: a file is not there.
    """
    findings: list[Finding] = []
    parts = subset_names.of(paths)
    sets = [_read(path, folders_of(path), findings)._replace(part=parts[path]) for path in paths]
    different = {record.image.path: record for one in sets for _, record in one.entries}
    looked = prefetch(lambda record: look(record.image.path, record.where, how), different.values())
    seen = dict(zip(different, progress(looked, len(different)), strict=True))
    repaired: dict[tuple[Path, str], str] = {}
    for one in sets:
        findings += _of_pictures(one, seen, how, folders_of(one.path), repaired)
    looks = {path: found for path, found in seen.items() if isinstance(found, Look)}

    def identity(record: Example) -> Hashable:
        found = looks.get(record.image.path)
        return found.digest if found else record.image.path

    records = {one.path: [entry.record for entry in one.entries] for one in sets}
    findings += of_records(records, identity)
    findings += _near(sets, looks)
    tokens, of_tokens = _tokens(sets, tokenizer, prompt, longest_answer)
    findings += of_tokens
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    unusable = {path for path, found in seen.items() if not isinstance(found, Look)}
    judged = verdicts(records, lambda path: parts[path] == subset_names.TRAIN)
    return Report(sets, findings, judged, tokens, repaired, unusable, identity)


def look(path: Path, where: str, how: Decoding) -> Look:
    """Raises what `images.decode` raises."""
    with decoder.opened(path, where, how) as (facts, image):
        return Look(facts, image.digest(), near_duplicates.perceptual_hash(image.reduced()))


def _read(path: Path, folders: ImageFolders, findings: list[Finding]) -> Set:
    reader = Reader(path)
    entries: list[Entry] = []
    located: dict[str, Path] = {}  # by name: many lines may share one image, and a path takes more than its line
    total = 0
    try:
        for line in reader:
            total += 1
            try:
                record = reader.example(line)
                if record.image.name not in located:
                    located[record.image.name] = folders.locate(record.image.name, record.where)
                entries.append(Entry(line, record.with_image(path=located[record.image.name])))
            except BadDataError as error:
                findings.append(_of_error(error, f"{path}:{line[0]}"))
    except BadDataError as error:
        findings.append(_of_error(error, str(path)))
    return Set(path, reader.kind or "jsonl", entries, total - len(entries))


def _of_error(error: PalituneError, where: str) -> Finding:
    check = "missing picture" if isinstance(error, MissingInputError) else "unusable"
    advice = f". {error.hint}" if error.hint and not any(usual in error.hint for usual in USUAL) else ""
    return Finding("error", check, error.where or where, error.what + advice)


def _of_pictures(
    one: Set,
    seen: Mapping[Path, Any],
    how: Decoding,
    folders: ImageFolders,
    repaired: dict[tuple[Path, str], str],
) -> Iterator[Finding]:
    told: set[Path] = set()
    listed: dict[Path, dict[str, list[str]]] = {}
    for _, record in one.entries:
        found = seen.get(record.image.path)
        if found is None or record.image.path in told:
            continue
        told.add(record.image.path)
        if isinstance(found, MissingInputError) and (other := _meant(record, folders, listed)):
            repaired[one.path, record.image.name] = other
            yield Finding(
                "error", "missing picture", record.where, f"no such image: {record.image.path}; there is {other}"
            )
        elif isinstance(found, PalituneError):
            yield _of_error(found, record.where)._replace(where=record.where)
        else:
            for level, check, what in _of_facts(found.facts, record.image.path, how):
                yield Finding(level, check, record.where, f"{record.image.name}: {what}")


def _meant(record: Example, folders: ImageFolders, listed: dict[Path, dict[str, list[str]]]) -> str | None:
    """The only picture in its folder that differs in case or extension alone.

    Args:
      listed: the names in folders that have been looked into, by their stems.
    """
    named = Path(record.image.name.replace("\\", "/"))
    near: list[str] = []
    for folder in folders.folders:
        place = folder / named.parent
        if place not in listed:
            listed[place] = _by_stem(place)
        near += [name for name in listed[place].get(_plain(named.name), []) if _is_image(place / name)]
    return str(Path(record.image.name).with_name(near[0])) if len(near) == 1 else None


def _is_image(path: Path) -> bool:
    """Whether a file is one by its first bytes: data beside images may share a stem with one that is missing."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return media_type(file.read(16)) is not None
    return False


def _by_stem(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with contextlib.suppress(OSError, ValueError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file() and entry.name.isprintable():  # others no line can hold
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


def _near(sets: Sequence[Set], looks: Mapping[Path, Look]) -> Iterator[Finding]:
    """Pictures that look alike: with other labels, or in other files. By groups: of frames of a video, pairs are too
    many to name.
    """
    shown: dict[bytes, tuple[Path, Example]] = {}
    for one in sets:
        for _, record in one.entries:
            if record.image.path in looks:
                shown.setdefault(looks[record.image.path].digest, (one.path, record))
    if len(shown) > MOST_COMPARED:
        what = f"{len(shown):,} pictures are too many to look for those that are alike; {MOST_COMPARED:,} are compared"
        yield Finding("note", "alike", str(sets[0].path), what)
    elif shown:
        hashes = np.stack([looks[record.image.path].perceptual_hash for _, record in shown.values()])
        groups = collections.defaultdict(list)
        members = near_duplicates.components(len(shown), near_duplicates.near_pairs(hashes)).tolist()
        for number, found in zip(members, shown.values(), strict=True):
            groups[number].append(found)
        for group in groups.values():
            if len(group) > 1:
                yield from _of_group(group)


def _of_group(group: Sequence[tuple[Path, Example]]) -> Iterator[Finding]:
    """What is to be said of pictures of which each looks like another."""
    home, first = group[0]

    def told(level: str, check: str, other: Example, what: str) -> Finding:
        rest = [record for _, record in group[1:] if record is not other]
        tail = f"; {len(rest)} more look like them: {listed([record.image.name for record in rest])}" if rest else ""
        text = f"{other.image.name} looks like {first.image.name} in {first.where}{what}{tail}"
        return Finding(level, check, other.where, text, tuple(record.where for record in (first, *rest)))

    elsewhere = next((record for path, record in group if path != home), None)
    if elsewhere is not None:
        yield told("warning", "near leak", elsewhere, ", which is in another file")
    others = (one for path, one in group if path == home and one.prompt == first.prompt and one.label != first.label)
    different = next(others, None)
    if different is not None:
        yield told("warning", "alike", different, f', and is "{different.label}" where that is "{first.label}"')
    if elsewhere is None and different is None:
        yield told("note", "alike", group[1][1], "")


def _tokens(
    sets: Sequence[Set], tokenizer: Tokenizer | None, prompt: str, longest_answer: int | None
) -> tuple[dict[str, int], list[Finding]]:
    """The most tokens of prompts and answers, and those that are too many."""
    if tokenizer is None:
        return {}, []
    findings = []
    most = {"prompt": 0, "answer": 0}
    for one in sets:
        for _, record in one.entries:
            try:
                text = tokenizer.example(record.prompt or prompt, record.label)
            except PalituneError as error:
                findings.append(Finding("error", "long prompt", record.where, error.what))
                continue
            asked, answer = text.suffix_start, len(text.ids) - text.suffix_start - 1  # the last one ends it
            most = {"prompt": max(most["prompt"], asked), "answer": max(most["answer"], answer)}
            if asked > LONG_PROMPT:
                what = (
                    f"a prompt of {asked} tokens; PaliGemma was trained with {LONG_PROMPT}, and longer ones take memory"
                )
                findings.append(Finding("warning", "long prompt", record.where, what))
            if longest_answer is not None and answer > longest_answer:
                what = f"an answer of {answer} tokens, of which judging writes {longest_answer}: it will count as wrong"
                findings.append(Finding("warning", "long answer", record.where, what))
    return most, findings
