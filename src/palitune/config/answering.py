"""Settings of how a model's scores become answers."""

import dataclasses
from collections.abc import Sequence

from palitune.config.settings import Settings, setting
from palitune.config.value_kinds import PROBABILITY, File, Flag, Kind, Prompt, Whole, words
from palitune.errors import UsageError
from palitune.labels import LABELS, plain, plain_set


class Labels(Kind[tuple[str, ...]]):
    """Two or more different labels, with commas between them."""

    def describe(self) -> str:
        return "labels"

    def parse(self, text: str) -> tuple[str, ...]:
        return self.check(text.split(","))

    def check(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
            raise ValueError(f"{value!r} is not a list of labels")
        names = [name.strip() for name in value]
        names = [name.lower() if name.lower() in LABELS else name for name in names]  # as data files are read
        if len(names) < 2 or not all(names) or len(plain_set(names)) < len(names):
            text = ",".join(value)
            same = f": {both[0]!r} and {both[1]!r} are the same" if (both := _same(names)) else ""
            raise ValueError(f"{text[:200]!r} are not two or more different labels with commas between them{same}")
        return tuple(Prompt().parse(name) for name in names)

    def typed(self, option: str, value: tuple[str, ...]) -> list[str]:
        return words(option, ",".join(value))


def _same(names: Sequence[str]) -> tuple[str, str] | None:
    """The first two names that are written otherwise and are the same label; None where there are none."""
    seen: dict[str, str] = {}
    for name in names:
        if name and seen.setdefault(plain(name), name) != name:
            return seen[plain(name)], name
    return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelSettings(Settings):
    """What an answer is one of."""

    labels: tuple[str, ...] | None = setting(
        None,
        Labels(),
        "what an answer is one of; the first of two is the positive one",
        metavar="A,B",
        shown="the model's own, or those that are learned from; yes,no",
    )
    labels_from: str | None = setting(None, File(), "a file with one of the labels on each line", metavar="FILE")
    positive: str | None = setting(
        None,
        Prompt(),
        "the label that counts as yes, against all others: in precision and recall, thresholds, p_yes and filters",
        metavar="LABEL",
        shown="default: the first of two",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels is not None and self.labels_from is not None:
            raise UsageError("--labels and --labels-from both name the labels: leave one out")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnsweringSettings(LabelSettings):
    """How scores become answers."""

    decode: bool = setting(
        False,
        Flag(),
        "let the model write freely instead of scoring the labels; what is not a label is wrong, and listed",
    )
    max_new_tokens: int | None = setting(
        None,
        Whole(1, 8192),
        "the most tokens of an answer that is written freely, which is cut there",
        metavar="N",
        shown="8 where there are labels, 256 of free text",
    )
    threshold: float | None = setting(
        None,
        PROBABILITY,
        "answer with the first label, or the --positive one, from this probability on",
        metavar="P",
        shown="what `palitune threshold` stored with the model; 0.5",
    )

    min_p: float | None = setting(
        None,
        PROBABILITY,
        "the answer is unsure where it is less likely than this",
        metavar="P",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_p is not None and self.decode:
            raise UsageError("--min-p has no effect with --decode: leave one out")
        if self.threshold is not None and (self.decode or (len(self.labels or ()) > 2 and self.positive is None)):
            other = "--decode" if self.decode else "more than two --labels"
            hint = None if self.decode else "--positive LABEL says which of them it is for"
            raise UsageError(f"--threshold has no effect with {other}: leave one out", hint=hint)
