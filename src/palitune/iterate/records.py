"""The records that a loop learns from and evaluates on: all of a data set but its test part, as one file."""

import collections
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.config.iterate_config import IterateConfig
from palitune.config.run_config import RunConfig
from palitune.data import dataset_files, label_sets
from palitune.data.example import Example
from palitune.data.formats.lines import KINDS
from palitune.data.image_folders import ImageFolders
from palitune.data.split import subset_names
from palitune.errors import UsageError
from palitune.iterate import loop_folder
from palitune.labels import plain
from palitune.storage import atomic_files, files

MOST = 1 << 30  # bytes of a part of a split
JOINED = (".jsonl", ".tsv")  # files that are whole when they are put behind each other


class Records(NamedTuple):
    """Records in one file.

    Attributes:
      file: as it is typed.
      images: the folder of their images, where that is not beside the file.
      examples: what is in it.
      sources: the files that it was put together from; none where it is itself the data.
      valid: the validation set, where a loop is not in folds.
      test: the part of a split that nothing is chosen by.
      labels: what answers are one of, where one label is asked for.
    """

    file: str
    images: str | None
    examples: Sequence[Example]
    sources: Sequence[Path] = ()
    test: Path | None = None
    valid: Path | None = None
    labels: Sequence[str] = ()

    @property
    def has_images(self) -> bool:
        """Whether all of them are about images."""
        return all(one.images for one in self.examples)

    @property
    def are_of_one_label(self) -> bool:
        """Whether each has one label, and not several."""
        return not any(one.target.name for one in self.examples)

    @property
    def rarest(self) -> float:
        """The share of the rarest label; of several labels, of the rarest yes or no."""
        counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        for target in (target for one in self.examples for target in one.targets if target.answer):
            counts[target.name][plain(target.answer or "")] += 1
        return min((min(one.values()) / one.total() for one in counts.values()), default=0.0)

    @property
    def settings(self) -> dict[str, object]:
        """Where a run finds them."""
        own: dict[str, object] = {"data": self.file}
        return own | ({"images": self.images} if self.images else {})

    @property
    def command(self) -> str:
        """What puts the parts of a split together."""
        return f"{shlex.join(['cat', *map(str, self.sources)])} > {shlex.quote(self.file)}"


def of(config: IterateConfig, folder: loop_folder.LoopFolder) -> Records:
    """The records of a loop.

    Raises:
      MissingInputError, BadDataError: a file is not there, or a line of it is not as it should be.
      UsageError: answers are free text, or a split has parts that cannot be put together.
    """
    sources, test = _sources(config.data)
    own = config.run()
    examples = [one for path in sources for one in dataset_files.load(path, own, labels=None)]
    found = _labels(config, examples)
    if len(sources) == 1:
        return Records(str(sources[0]), config.images, examples, (), test, labels=found)
    if {path.suffix for path in sources} not in ({one} for one in JOINED):
        hint = f"Put them into one: -d FILE. These are {', '.join(map(str, sources))}"
        raise UsageError(f"the parts of {config.data} cannot be put together as they are", hint=hint)
    path = folder.path / f"records{sources[0].suffix}"
    images = config.images or _images(examples, sources[0], own)
    return Records(loop_folder.typed(path), images, examples, sources, test, labels=found)


def in_two(config: IterateConfig) -> Records:
    """The records of a loop that is not in folds: a training set beside a validation set. Raises as `of`."""
    train, valid = dataset_files.data_files(config.data)
    if valid is None:
        hint = "palitune split -d FILE -n NAME parts it; -d NAME is the split"
        raise UsageError(f"--hard-examples needs a split, which {config.data} is not", hint=hint)
    own = config.run()
    examples = dataset_files.load(train, own, labels=None)
    images = config.images or _images(examples, train, own)
    return Records(str(train), images, examples, (), None, valid, _labels(config, examples))


def _labels(config: IterateConfig, examples: Sequence[Example]) -> tuple[str, ...]:
    """What answers are one of. Raises UsageError: they are free text."""
    found = label_sets.typed(config) or label_sets.of_examples(examples)
    if found is None:
        what = f"the answers in {config.data} are free text, and a loop compares probabilities of labels"
        raise UsageError(what, hint="--labels-from FILE names classes; learn --folds is for free text too")
    return found


def _sources(data: str) -> tuple[list[Path], Path | None]:
    """The files of a data set but for its test part, and that."""
    if Path(data).is_file():
        return [Path(data)], None
    parts = [path for path in dataset_files.data_files(data) if path is not None]
    test = subset_names.within(parts[0].parent, subset_names.TEST, KINDS)
    return parts, (test[0] if test else None)


def _images(examples: Sequence[Example], source: Path, config: RunConfig) -> str | None:
    """The one folder that has all images. Raises UsageError: there is none."""
    names = [image.name for one in examples for image in one.images]
    if not names:
        return None
    for folder in ImageFolders.of(source, config).folders:
        if all((folder / name).exists() for name in names):
            return loop_folder.typed(folder)
    raise UsageError(f"no one folder has all images of {source.parent}", hint="-i FOLDER names it")


def write(records: Records) -> None:
    """Puts the parts of a split together. Raises StorageError."""
    content = b"".join(part if part.endswith(b"\n") else part + b"\n" for part in map(_content, records.sources))
    atomic_files.write(Path(records.file), content)


def _content(path: Path) -> bytes:
    return files.read(path, MOST)


def marks(records: Records) -> dict[str, str]:
    """SHA-256 of what the loop learns from, by which it is seen that files have changed since."""
    import hashlib

    others = [path for path in (records.valid, records.test) if path is not None]
    paths = [*(records.sources or [Path(records.file)]), *others]
    return {str(path): hashlib.sha256(_content(path)).hexdigest() for path in paths}


def unchanged(records: Records, content: object) -> bool:
    """Whether files are what they were when the loop began."""
    return json.dumps(marks(records), sort_keys=True) == json.dumps(content, sort_keys=True)
