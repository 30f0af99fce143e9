"""Settings that a loop tries: the recipe first, then others at random, or those of a file."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune import randomness
from palitune.config.learning import EXAMPLES, LearningSettings, PassSettings
from palitune.config.model import PromptSettings
from palitune.config.run_config import RunConfig, SeedSettings
from palitune.config.settings import settings_of
from palitune.data.dataset_files import require_data
from palitune.errors import BadDataError
from palitune.method import METHODS
from palitune.run.sweep import SHORT
from palitune.storage import files

TRIED = ("attention", "lora")  # methods that a card which holds the one holds the other with
RATES = 4.0  # a learning rate is at most so many times the method's, and at least a part of it as small
LENGTHS = (0.5, 1.0, 2.0)  # of a pass, against the recipe's
AUGMENT = ("crop", "color")  # what leaves writing in images readable
RARE = 0.35  # share of a label's records below which balance may help
MOST = 1 << 20  # bytes of a file of candidates


class Space(NamedTuple):
    """What may differ between candidates.

    Attributes:
      config: of the recipe.
      prompts: questions that are worth trying.
      has_images: whether augmentation means something.
      rarest: the share of the rarest label.
    """

    config: RunConfig
    prompts: Sequence[str] = ()
    has_images: bool = True
    rarest: float = 0.5


def candidate(space: Space, number: int, seed: int) -> dict[str, object]:
    """The settings, by name, that a candidate has other than the recipe, which is number 0.

    Number 1 is the other method with its own recipe, where the method is open. Others are drawn at random, which covers
    more values of each setting than a grid (Bergstra and Bengio, Random search for hyper-parameter optimization, 2012).
    """
    if number == 0:
        return {}
    config, given = space.config, space.config.given
    rng = randomness.generator(seed, "candidate", number)
    is_open = "method" not in given and "optimizer" not in given
    methods = list(dict.fromkeys((config.method, *TRIED))) if is_open else [config.method]
    if number < len(methods):
        return {"method": methods[number]}
    changes: dict[str, object] = {}
    method = str(rng.choice(methods))
    if method != config.method:
        changes["method"] = method
    if "learning_rate" not in given:
        rate = METHODS[method].learning_rate * RATES ** float(rng.uniform(-1, 1))
        changes["learning_rate"] = float(f"{rate:.2g}")
    length = float(rng.choice(LENGTHS))
    if length != 1.0 and not given & {"examples", "epochs"}:
        changes["examples"] = int(EXAMPLES * length)
    if space.has_images and "augment" not in given and rng.random() < 0.25:
        changes["augment"] = AUGMENT
    if space.rarest < RARE and "balance" not in given:
        balance = str(rng.choice(["none", "weights", "sample"]))
        changes |= {"balance": balance} if balance != "none" else {}
    if space.prompts:
        prompt = int(rng.integers(len(space.prompts) + 1))
        changes |= {"prompt": space.prompts[prompt]} if prompt < len(space.prompts) else {}
    return changes


def read(path: str) -> list[dict[str, object]]:
    """The candidates of a file, a line for each; the recipe comes before them.

    Raises:
      MissingInputError: there is no such file.
      BadDataError: a line has something other than settings of learning and their values.
    """
    require_data(path)
    known = {
        one.option[2:]: one
        for group in (LearningSettings, PassSettings, PromptSettings, SeedSettings)
        for one in settings_of(group)
    }
    try:
        lines = files.read(Path(path), MOST).decode("utf-8-sig").splitlines()
    except (OSError, ValueError):
        raise BadDataError("this cannot be read as text", where=path, hint="A line is: learning-rate=0.01") from None
    found: list[dict[str, object]] = []
    for number, line in enumerate(lines, 1):
        try:
            words = shlex.split(line, comments=True)
            changes: dict[str, object] = {}
            for word in words:
                name, equals, value = word.partition("=")
                one = known.get(SHORT.get(name, name.replace("_", "-")))
                if one is None or not equals:
                    raise ValueError(f"{word!r} is no setting of learning with a value")
                changes[one.name] = one.details.kind.parse(value)
        except ValueError as error:
            raise BadDataError(str(error), where=f"{path}:{number}", hint="A line is: learning-rate=0.01") from None
        found += [changes] if changes else []
    if not found:
        raise BadDataError("there are no settings here", where=path, hint="A line is: learning-rate=0.01")
    return found


def work_of(config: RunConfig, changes: Mapping[str, object]) -> float:
    """How long a candidate takes against the recipe, roughly: by the examples that it shows, and how.

    Augmented images go through the image encoder every time, which costs as much again as the language model.
    """
    examples = float(str(changes.get("examples", config.examples or EXAMPLES))) / (config.examples or EXAMPLES)
    return 0.3 + 0.7 * examples * (2.0 if changes.get("augment") else 1.0)
