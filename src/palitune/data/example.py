"""What a model is asked and what is right: messages and targets; an image with a label is the simplest case."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from palitune.config.run_config import PROMPT

Role = Literal["system", "user", "assistant"]
NOWHERE = Path()
NO_FIELDS: Mapping[str, object] = {}  # shared, and never changed
UNCOUNTED = -1


class Image(NamedTuple):
    """A reference to an image.

    Attributes:
      name: as the data names it.
      path: its file, once it has been looked for; `NOWHERE` before.
    """

    name: str
    path: Path = NOWHERE


class Content(NamedTuple):
    """A text that a question is about, as an image is; the question is a text beside it."""

    text: str


Part = str | Image | Content


class Message(NamedTuple):
    """What one side says.

    Attributes:
      parts: texts, images and what a question is about, in order.
      weight: of an assistant's turn, how much it counts in the loss.
    """

    role: Role
    parts: tuple[Part, ...]
    weight: float = 1.0

    @property
    def text(self) -> str:
        """All of its texts together, without images and without what they are about."""
        return "".join(part for part in self.parts if type(part) is str)

    @property
    def contents(self) -> tuple[str, ...]:
        """The texts that it is about."""
        return tuple(part.text for part in self.parts if type(part) is Content)


class Target(NamedTuple):
    """What the model is asked for, and what is right.

    Attributes:
      name: tells several targets of one example apart; empty where there is only one.
      choices: what the answer is one of; None is free text, or what the one who asks allows.
      answer: the right answer; None where it is unknown.
      question: asked for this target alone; empty where the example's own prompt asks for it.
    """

    name: str = ""
    choices: tuple[str, ...] | None = None
    answer: str | None = None
    question: str = ""


UNKNOWN = Target()
REMEMBERED = 1024  # targets, which most examples share
_targets: dict[str, tuple[Target]] = {"": (UNKNOWN,)}


def targets_of(label: str) -> tuple[Target]:
    """The targets of an example of one label; of an empty one it is unknown what is right."""
    found = _targets.get(label)
    if found is None:
        found = (Target("", None, label),)
        if len(_targets) < REMEMBERED:
            _targets[label] = found
    return found


class Example(NamedTuple):
    """Messages, and what is asked of the model about them.

    Attributes:
      messages: a chat has several, an image with a prompt is one of the user.
      targets: at least one; the last assistant's turn of a chat may be one too.
      where: `file:line`, for messages about it.
      fields: everything that a line of JSON has, unknown keys too; empty for other formats.
      number: of the record among those of its file, from 0; `UNCOUNTED` where nobody has counted them.
    """

    messages: tuple[Message, ...]
    targets: tuple[Target, ...] = (UNKNOWN,)
    where: str = ""
    fields: Mapping[str, object] = NO_FIELDS
    number: int = UNCOUNTED

    @classmethod
    def of(
        cls,
        image: str | Path | None = None,
        prompt: str = "",
        label: str | None = None,
        *,
        text: str = "",
        choices: tuple[str, ...] | None = None,
        where: str = "",
        fields: Mapping[str, object] = NO_FIELDS,
    ) -> "Example":
        """The simplest case: an image (a file's path) or a text asked about, a prompt and a label, each optional."""
        parts: tuple[Part, ...] = () if image is None else (Image(str(image), Path(image)),)
        if text:
            parts = (*parts, Content(text))
        if prompt:
            parts = (*parts, prompt)
        target = UNKNOWN if choices is None and not label else Target("", choices, label or None)
        return cls((Message("user", parts),), (target,), where or str(image or "an example"), fields)

    @property
    def images(self) -> tuple[Image, ...]:
        """Every image of every message, in order."""
        return tuple(part for message in self.messages for part in message.parts if type(part) is Image)

    @property
    def image(self) -> Image:
        """The first image. Raises ValueError where there is none."""
        for message in self.messages:
            for part in message.parts:
                if type(part) is Image:
                    return part
        raise ValueError(f"{self.where}: the example has no image")

    @property
    def prompt(self) -> str:
        """The text of the user's last message; empty where the model's own prompt is to be asked."""
        for message in reversed(self.messages):
            if message.role == "user":
                return message.text
        return ""

    @property
    def contents(self) -> tuple[str, ...]:
        """The texts that the user's last message is about."""
        for message in reversed(self.messages):
            if message.role == "user":
                return message.contents
        return ()

    @property
    def subject(self) -> str:
        """What a line names the example by: its first image, or else the text that it is about, or else its prompt."""
        for message in self.messages:
            for part in message.parts:
                if type(part) is Image:
                    return part.name
        return "\n\n".join(self.contents) or self.prompt

    @property
    def key(self) -> tuple[str, str]:
        """What two examples have in common that ask the same of the same."""
        return self.subject, self.prompt

    @property
    def about(self) -> Hashable:
        """Equal for examples about the same: the files of their images, their texts, and what was said before."""
        if len(self.messages) > 1:
            return self.messages[:-1] if self.messages[-1].role == "assistant" else self.messages
        shown = [part for part in self.messages[0].parts if type(part) is not str] if self.messages else []
        if len(shown) == 1 and type(shown[0]) is Image:
            return shown[0].path
        return tuple(part.path if isinstance(part, Image) else part for part in shown) or self.prompt

    def asked(self, default: str) -> str:
        """Its first target's question, or its own, or the default; a text is not asked the built-in one of images."""
        return self.targets[0].question or self.prompt or ("" if default == PROMPT and not self.images else default)

    def only(self, target: Target) -> "Example":
        """The same example with one of its targets, or with another."""
        return self if self.targets == (target,) else self._replace(targets=(target,))

    @property
    def target(self) -> Target:
        """The first target."""
        return self.targets[0]

    @property
    def label(self) -> str:
        """The right answer to the first target; empty where it is unknown."""
        return self.targets[0].answer or ""

    def with_prompt(self, prompt: str) -> "Example":
        """The same example with another text in the user's last message, behind what it is about."""
        for number in reversed(range(len(self.messages))):
            message = self.messages[number]
            if message.role == "user":
                about = tuple(part for part in message.parts if type(part) is not str)
                changed = message._replace(parts=(*about, prompt) if prompt else about)
                return self._replace(messages=(*self.messages[:number], changed, *self.messages[number + 1 :]))
        raise ValueError(f"{self.where}: the example has no message of the user")

    def with_image(self, name: str | None = None, path: Path | None = None) -> "Example":
        """The same example with another name or file for its first image."""
        for number, message in enumerate(self.messages):
            for place, part in enumerate(message.parts):
                if type(part) is Image:
                    image = Image(part.name if name is None else name, part.path if path is None else path)
                    parts = (*message.parts[:place], image, *message.parts[place + 1 :])
                    changed = message._replace(parts=parts)
                    messages = (*self.messages[:number], changed, *self.messages[number + 1 :])
                    return self._replace(messages=messages)
        raise ValueError(f"{self.where}: the example has no image")


def simple(name: str, prompt: str, label: str, where: str, fields: Mapping[str, object] = NO_FIELDS) -> Example:
    """One image whose file has not been looked for, a prompt and a label, both of which may be empty.

    It is called once a line, and quicker than the constructors of the named tuples are.
    """
    image = _new(Image, (name, NOWHERE))
    message = _new(Message, ("user", (image, prompt) if prompt else (image,), 1.0))
    targets = _targets.get(label) or targets_of(label)
    return _new(Example, ((message,), targets, where, fields, UNCOUNTED))


def simple_text(text: str, prompt: str, label: str, where: str, fields: Mapping[str, object] = NO_FIELDS) -> Example:
    """A text that is asked about, a prompt and a label, each of which may be empty, and text or prompt is there."""
    content = (Content(text),) if text else ()
    message = Message("user", (*content, prompt) if prompt else content)
    return Example((message,), _targets.get(label) or targets_of(label), where, fields)


_new = tuple.__new__
