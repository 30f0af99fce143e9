"""Lint: everything in data files that would spoil a run, found before the device is used."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.data.checks import linted_file
from palitune.data.checks.example_checks import LEVELS, Finding, check_examples, expectations, thing_of
from palitune.data.checks.image_checks import Inspection, check_images, check_near_duplicates, inspect
from palitune.data.checks.linted_file import LintedFile
from palitune.data.checks.token_checks import check_tokens
from palitune.data.example import Example
from palitune.data.image_folders import ImageFolders
from palitune.data.images import decoder
from palitune.data.images.decoder import Decoding
from palitune.data.images.loader import prefetch
from palitune.data.split import subset_names
from palitune.data.templates import Template
from palitune.errors import PalituneError

Inspected = Inspection | PalituneError  # an image, or why it cannot be used
Progress = Callable[[Iterable[Inspected], int], Iterable[Inspected]]


class LintReport(NamedTuple):
    """What lint has found.

    Attributes:
      files: the files and their examples.
      findings: what the user should know, errors first.
      expectations: sentences on what a model can show on this data.
      tokens: the most tokens of a prompt and of an answer; empty without a tokenizer.
      repaired: for a missing image, by file and wrong name, the name that was meant.
      unusable: the images that are missing or damaged.
      identity: returns a key that is equal for examples with the same image.
    """

    files: list[LintedFile]
    findings: list[Finding]
    expectations: list[str]
    tokens: dict[str, int]
    repaired: dict[tuple[Path, str], str]
    unusable: set[Path]
    identity: Callable[[Example], Hashable]

    def count(self, level: str) -> int:
        """Returns the number of findings of a level."""
        return sum(finding.level == level for finding in self.findings)


def _without_progress(items: Iterable[Inspected], count: int) -> Iterable[Inspected]:
    return items


def lint(
    paths: Sequence[Path],
    folders_of: Callable[[Path], ImageFolders],
    how: Decoding = decoder.DEFAULT,
    template: Template | None = None,
    prompt: str = "",
    longest_answer: int | None = None,
    longest_text: int | None = None,
    progress: Progress = _without_progress,
) -> LintReport:
    """Checks every line, image and text of some files, which are taken as the subsets of one split.

    Args:
      folders_of: returns where the images of a file are.
      prompt: the prompt of examples that have none.
      longest_answer: the number of tokens that decoding writes.
      longest_text: the same of free text.
      progress: takes the images while they are decoded, and their number, and shows how many are done.

    Raises:
      MissingInputError: one of the files does not exist.
    """
    findings: list[Finding] = []
    subsets = subset_names.of(paths)
    files = [linted_file.read(path, folders_of(path), findings)._replace(subset=subsets[path]) for path in paths]
    inspected = _inspected(files, how, progress)
    repaired: dict[tuple[Path, str], str] = {}
    for file in files:
        findings += check_images(file, inspected, how, folders_of(file.path), repaired)
    inspections = {path: found for path, found in inspected.items() if isinstance(found, Inspection)}

    def identity(example: Example) -> Hashable:
        thing = thing_of(example)
        found = inspections.get(thing) if isinstance(thing, Path) else None
        return found.digest if found else thing

    examples = {file.path: [entry.example for entry in file.entries] for file in files}
    findings += check_examples(examples, identity)
    findings += check_near_duplicates(files, inspections)
    tokens, of_tokens = check_tokens(files, template, prompt, longest_answer, longest_text)
    findings += of_tokens
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    unusable = set(inspected) - set(inspections)
    expected = expectations(examples, lambda path: subsets[path] == subset_names.TRAIN)
    return LintReport(files, findings, expected, tokens, repaired, unusable, identity)


def _inspected(files: Sequence[LintedFile], how: Decoding, progress: Progress) -> dict[Path, Inspected]:
    """Decodes every image once, in threads."""
    different = {example.image.path: example for file in files for _, example in file.entries if example.images}

    def of_example(example: Example) -> Inspection:
        return inspect(example.image.path, example.where, how)

    found: Iterator[Inspected] = prefetch(of_example, different.values())
    return dict(zip(different, progress(found, len(different)), strict=True))
