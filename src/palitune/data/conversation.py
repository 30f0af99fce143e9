"""What has been said in a conversation, and the next question as an example."""

import collections
from pathlib import Path

from palitune.data.example import Example, Image, Message, Part


class Conversation:
    """What a model is told with each question: the system's text, an image, and the latest questions and answers."""

    def __init__(self, system: str | None = None, image: str | None = None, history: int = 0) -> None:
        """Args:
        history: questions with their answers that are told again.
        """
        self.system = Message("system", (system,)) if system else None
        self.image = Image(image, Path(image)) if image else None
        self.said: collections.deque[tuple[str, str]] = collections.deque(maxlen=history)

    def asked(self, question: str, where: str) -> Example:
        """The next question as an example; the image is in front of the first question that is told."""
        messages = [] if self.system is None else [self.system]
        for number, (earlier, answer) in enumerate(self.said):
            messages += [self._question(earlier, number == 0), Message("assistant", (answer,))]
        messages.append(self._question(question, not self.said))
        return Example(tuple(messages), where=where)

    def _question(self, text: str, is_first: bool) -> Message:
        image: tuple[Part, ...] = (self.image,) if self.image and is_first else ()
        return Message("user", (*image, text))

    def answered(self, question: str, answer: str) -> None:
        """Keeps a question with its answer; without an answer there is nothing to keep."""
        if answer.strip():
            self.said.append((question, answer))
