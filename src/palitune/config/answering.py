"""Settings of how a model's scores become answers."""

import dataclasses

from palitune.config.settings import Settings, setting
from palitune.config.value_kinds import PROBABILITY, Flag, Kind, Prompt
from palitune.errors import UsageError
from palitune.labels import LABELS, plain_set


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
            raise ValueError(f"{text!r} are not two or more different labels with commas between them")
        return tuple(Prompt().parse(name) for name in names)

    def typed(self, option: str, value: tuple[str, ...]) -> list[str]:
        return [option, ",".join(value)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnsweringSettings(Settings):
    """How scores become answers."""

    labels: tuple[str, ...] = setting(
        LABELS,
        Labels(),
        "what an answer is one of; the first of two is the positive one",
        metavar="A,B",
        shown=",".join(LABELS),
    )
    decode: bool = setting(
        False,
        Flag(),
        "let the model write freely instead of scoring the labels; what is not a label is wrong, and listed",
    )
    threshold: float | None = setting(
        None,
        PROBABILITY,
        "answer with the first label from this probability on",
        metavar="P",
        shown="what `palitune threshold` stored with the model; 0.5",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None and (self.decode or len(self.labels) > 2):
            other = "--decode" if self.decode else "more than two --labels"
            raise UsageError(f"--threshold has no effect with {other}: leave one out")
