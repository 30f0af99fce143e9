"""Settings of a conversation with a model: what it is told, and how its answers are written."""

import dataclasses
from typing import ClassVar

from palitune.config.answering import Labels
from palitune.config.model import ImageSettings, ModelSettings
from palitune.config.settings import Settings, setting
from palitune.config.value_kinds import COUNT, SEED, File, Flag, Number, Prompt, Whole
from palitune.errors import UsageError

MOST_NEW_TOKENS = 256
DRAWING = ("top_p", "top_k", "seed")  # without an effect where the likeliest token is taken


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversationSettings(Settings):
    """What is said before and beside what the user types."""

    TITLE: ClassVar[str | None] = "the conversation"

    system: str | None = setting(None, Prompt(), "what stands in front of the first question", metavar="TEXT")
    image: str | None = setting(None, File(), "an image that every question is about", metavar="FILE")
    history: int = setting(
        0, COUNT, "questions with their answers that the model is told again with the next question", metavar="N"
    )
    base: bool = setting(False, Flag(), "show the answers of the model's base beside its own, in two columns")
    labels: tuple[str, ...] | None = setting(
        None, Labels(), "answer with one of these, and tell the probability of each", metavar="A,B"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels is not None and self.history:
            raise UsageError("--history has no effect with --labels, which asks each question alone: leave one out")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingSettings(Settings):
    """How answers are written."""

    TITLE: ClassVar[str | None] = "answers"

    temperature: float = setting(
        0.0,
        Number(0, 100, "from 0 to 100"),
        "draw tokens, the more evenly the higher it is; at 0 the likeliest is taken",
        metavar="T",
    )
    top_p: float = setting(
        1.0,
        Number(0, 1, "above 0, 1 at most", reaches_lowest=False),
        "draw from the likeliest tokens that have this probability together",
        metavar="P",
        shown="1: from all",
    )
    top_k: int = setting(0, COUNT, "draw from so many of the likeliest tokens", metavar="N", shown="0: from all")
    repetition_penalty: float = setting(
        1.0,
        Number(0.01, 100, "from 0.01 to 100"),
        "make tokens less likely that were there before, in the question too",
        metavar="X",
        shown="1: none",
    )
    max_new_tokens: int = setting(
        MOST_NEW_TOKENS, Whole(1, 8192), "the most tokens of an answer, which is cut there", metavar="N"
    )
    seed: int = setting(0, SEED, "another seed draws other answers", metavar="N")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in DRAWING:
            if name in self.given and not self.temperature:
                raise UsageError(f"--{name.replace('_', '-')} is for answers that are drawn: add --temperature 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChatConfig(ModelSettings, ImageSettings, ConversationSettings, SamplingSettings):
    """A conversation: with which model, about what, and how it answers.

    Raises:
      UsageError: a setting has no such value, or settings contradict each other.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        written = [name for name in ("temperature", "repetition_penalty", "max_new_tokens") if name in self.given]
        if self.labels is not None and written:
            option = f"--{written[0].replace('_', '-')}"
            raise UsageError(f"{option} has no effect with --labels, which writes nothing: leave one out")
