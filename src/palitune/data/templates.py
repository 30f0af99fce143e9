"""Templates turn an example into tokens: PaliGemma's prefix and suffix, Gemma's turns, ShieldGemma 2's policies.

A prompt is what comes before the answer; the answer is the first target's, and a token that ends it.
"""

import abc
import functools
import sys
from collections.abc import Iterable, Iterator, Sequence

from palitune.data import chat_turns, encode
from palitune.data.chat_turns import ALL, BLANK_LINE
from palitune.data.encode import Encoded
from palitune.data.example import Example
from palitune.data.vocabulary import BOS, EOS, Vocabulary
from palitune.errors import BadDataError, ConfigurationError
from palitune.models import spec

LONGEST_PROMPT = 1024  # tokens: attention's memory grows with the square of these and the image's, 256 at 224 pixels
REMEMBERED = 4096  # prompts, which most examples share
SEPARATOR = "\n"  # between PaliGemma's prefix and suffix
# Pieces that the published vocabulary has beside Gemma's, by which PaliGemma's tokenizer is recognised.
PUBLISHED_PIECES, PUBLISHED_VOCABULARY = ("<loc0000>", "<seg000>"), 257_152
BEGIN_OF_TURN, END_OF_TURN = "<start_of_turn>", "<end_of_turn>"
BEGIN_OF_IMAGE, END_OF_IMAGE = "<start_of_image>", "<end_of_image>"
# Source: figure 2 of ShieldGemma 2's technical report, the instruction that it was trained with, behind the image
# (arXiv 2504.01081). What is asked takes the place of the policy.
SHIELDGEMMA_PROMPT = """You are a policy expert trying to help determine whether a generated or real image is in \
violation of the safety policy below. Your decision must very clearly follow the specific language used in the safety \
policy and should not include any interpretation outside of the safety policy.

<BEGIN_SAFETY_POLICY>
{policy}
</END_SAFETY_POLICY>

Does the image violate the above policy? Your Answer must start with 'Yes' or 'No'."""


class Template(abc.ABC):
    """What turns examples into tokens for one model.

    Attributes:
      vocabulary: the model's.
      end: the token that ends an answer.
      longest: the most tokens of a prompt, and of what is written behind it.
    """

    vocabulary: Vocabulary
    end: int
    longest: int = LONGEST_PROMPT

    @abc.abstractmethod
    def require(self, example: Example) -> None:
        """Raises BadDataError for an example that the template has no place for."""

    @abc.abstractmethod
    def prompt(self, example: Example, default: str) -> Encoded:
        """The prompt of an example.

        Args:
          default: takes the place of an empty one.

        Raises:
          BadDataError: it is too long, or as `require`.
        """

    def answer(self, label: str) -> list[int]:
        """The tokens of an answer, without the one that ends it."""
        return self.vocabulary.encode(label)

    def check_length(self, tokens: int, text: str, where: str, what: str = "prompt") -> None:
        """Raises BadDataError for more than `longest` tokens of a text."""
        if tokens > self.longest:
            said = f"a {what} of {tokens:,} tokens ({len(text):,} characters); {self.longest:,} are allowed"
            raise BadDataError(said, where=where, hint="Ask in fewer words, or learn with a larger --max-length")

    def shortened(self, example: Example, longest: int | None = None) -> Example:
        """A chat without the oldest of its turns, where its prompt has more than `longest` tokens; others as they are.

        Args:
          longest: tokens of the whole chat, with its last answer; None is any number.
        """
        return example

    def chat(self, example: Example, loss_on: str) -> Encoded:
        """A chat that ends with an assistant's turn, with the loss on `ALL` or the `LAST` of them.

        Raises:
          BadDataError: as `require`; no turn counts; or the template has no turns.
        """
        self.require(example)
        raise BadDataError("this model takes no chats", where=example.where)


class SharedBeginning(Template):
    """A template whose tokens do not see what comes behind: several questions can have one beginning in common."""

    @abc.abstractmethod
    def beginning(self, example: Example) -> Encoded:
        """What all questions about an example have in front of them. Raises as `prompt`."""

    @abc.abstractmethod
    def asked(self, question: str, where: str) -> Encoded:
        """A question up to its answer, to stand behind a beginning. Raises as `prompt`."""


def encoded(template: Template, example: Example, default: str, loss_on: str = ALL) -> Encoded:
    """An example's prompt, and the answer to its target with the token that ends it. Raises as `prompt`.

    Several targets, which `separated` leaves together, are branches; without those whose answer is unknown.

    Args:
      loss_on: of a chat, the assistant's turns that count in the loss.
    """
    if chat_turns.is_answered(example):
        return template.chat(example, loss_on)
    if len(example.targets) == 1:
        return template.prompt(example, default).answered([*template.answer(example.label), template.end])
    if not isinstance(template, SharedBeginning):
        raise BadDataError("this model is asked one question at a time", where=example.where)
    questions = []
    for target in example.targets:
        if target.answer is not None:
            asked = template.asked(example.only(target).asked(default), example.where)
            questions.append(asked.answered([*template.answer(target.answer), template.end]))
    return encode.branched(template.beginning(example), questions)


def separated(template: Template, examples: Iterable[Example]) -> Iterator[Example]:
    """Examples as `encoded` takes them: with a single target each where the template computes nothing once for several.

    One of several targets is left out where none of them has a known answer.
    """
    for example in examples:
        known = [one for one in example.targets if one.answer is not None]
        if len(example.targets) == 1 or (known and isinstance(template, SharedBeginning)):
            yield example
        else:
            yield from (example.only(one) for one in known)


def written(template: Template, ids: Sequence[int]) -> str:
    """The text of generated tokens up to the one that ends an answer."""
    found = list(ids)
    return template.vocabulary.decode(found[: found.index(template.end)] if template.end in found else found)


def about(example: Example, question: str) -> str:
    """The text of a prompt: what the example is about, then a blank line and the question.

    What it is about comes first, so that several questions about it have their beginning in common.
    """
    return BLANK_LINE.join(filter(None, (*(content.strip() for content in example.contents), question)))


def _require_question(example: Example, model: str) -> None:
    messages = len(example.messages)
    if messages != 1 or example.messages[0].role != "user":
        what = f"{model} takes one message of the user, and this example has {messages} messages"
        raise BadDataError(what, where=example.where)
    _require_target(example)


def _require_target(example: Example) -> None:
    if not example.targets:
        raise BadDataError("the example has no target, so nothing is asked", where=example.where)


class PaliGemma(Template):
    """One image in front, a prefix and a newline that see each other, then the answer."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Raises ConfigurationError where a token is missing that every example has."""
        self.vocabulary = vocabulary
        self._tokens = functools.lru_cache(REMEMBERED)(self._of_text)
        missing = [name for name in (BOS, EOS) if not vocabulary.has(name)]
        separator = vocabulary.encode(SEPARATOR)
        # Some tokenizers take it for a blank, which is written as this.
        known = separator and vocabulary.unknown not in separator
        if not known or not all(vocabulary.piece(id).strip("\u2581") for id in separator):
            missing.append("the newline")
        if vocabulary.size >= PUBLISHED_VOCABULARY:
            missing += [piece for piece in PUBLISHED_PIECES if not vocabulary.has(piece)]
        if missing:
            what = f"this tokenizer has no token for {', '.join(missing)}, which PaliGemma needs"
            raise ConfigurationError(what, where=str(vocabulary.path), hint="Name the model's own with --tokenizer")
        self.end = vocabulary.eos

    def require(self, example: Example) -> None:
        """Raises BadDataError for chats, and for any but one image."""
        _require_question(example, "PaliGemma")
        if (images := len(example.images)) != 1:
            what = f"PaliGemma takes one image, and this example has {images or 'none'}"
            hint = None if images else "Texts alone are for a Gemma: -m names one"
            raise BadDataError(what, where=example.where, hint=hint)

    def prompt(self, example: Example, default: str) -> Encoded:
        """As `Template.prompt`."""
        self.require(example)
        text = about(example, example.asked(default))
        tokens = self._tokens(text)
        self.check_length(len(tokens), text, example.where)
        return encode.prefix(tokens, example.images)

    def _of_text(self, text: str) -> list[int]:
        return [self.vocabulary.bos, *self.vocabulary.encode(text), *self.vocabulary.encode(SEPARATOR)]


class Gemma(SharedBeginning):
    """A turn of the user, in which images can stand, and a turn of the model, which is the answer; chats have more.

    Source: the chat template in the published `tokenizer_config.json`, and for images `processing_gemma3.py` of
    transformers: each stands between two blank lines and in its own brackets.
    """

    def __init__(self, vocabulary: Vocabulary, *, takes_images: bool) -> None:
        """Raises ConfigurationError where the vocabulary has no turns, or none of what brackets an image."""
        self.vocabulary, self.takes_images = vocabulary, takes_images
        self._tokens = functools.lru_cache(REMEMBERED)(self._of_text)
        self.begin, self.end = vocabulary.special(BEGIN_OF_TURN), vocabulary.special(END_OF_TURN)
        around = None
        if takes_images:
            self.before_image, self.behind_image = map(vocabulary.special, (BEGIN_OF_IMAGE, END_OF_IMAGE))
            around = self.before_image, self.behind_image
        self.pieces = chat_turns.Pieces(vocabulary, self.begin, self.end, around)

    def require(self, example: Example) -> None:
        """Raises BadDataError for a chat whose sides do not take turns, and for images where the model takes none."""
        if chat_turns.is_chat(example):
            chat_turns.require(example)
            _require_target(example)
        else:
            _require_question(example, "a Gemma")
        if example.images and not self.takes_images:
            hint = "-m names a model that takes images"
            raise BadDataError("this model takes no images, and the example has one", where=example.where, hint=hint)
        if len(example.images) > 1:
            what = f"one image is allowed, and this example has {len(example.images)}"
            raise BadDataError(what, where=example.where)

    def question(self, text: str) -> str:
        """What stands in the user's turn for the prompt of an example."""
        return text.strip()

    def prompt(self, example: Example, default: str) -> Encoded:
        """As `Template.prompt`."""
        self.require(example)
        if chat_turns.is_chat(example):
            found = chat_turns.prompt(self.pieces, example.messages)
            said = "".join(message.text for message in example.messages)
            self.check_length(len(found.tokens), said, example.where)
            return found
        text = about(example, self.question(example.asked(default)))
        tokens, places = self._tokens(text, len(example.images))
        self.check_length(len(tokens), text, example.where)
        return encode.causal(tokens, example.images, places)

    def chat(self, example: Example, loss_on: str) -> Encoded:
        """As `Template.chat`."""
        asked = len(self.prompt(example, "").tokens)  # which says what is wrong with it
        found = chat_turns.answered(self.pieces, example.messages, loss_on, example.where)
        self.check_length(len(found.tokens) - asked, example.label, example.where, "last answer")
        return found

    def shortened(self, example: Example, longest: int | None = None) -> Example:
        """As `Template.shortened`."""
        if not chat_turns.is_chat(example):
            return example
        self.require(example)
        any_length = longest or sys.maxsize
        messages = chat_turns.shortened(self.pieces, example.messages, any_length, self.longest)
        return example if len(messages) == len(example.messages) else example._replace(messages=messages)

    def beginning(self, example: Example) -> Encoded:
        """As `SharedBeginning.beginning`."""
        self.require(example)
        text = about(example, "")
        tokens, places = self._opening(text, len(example.images))
        self.check_length(len(tokens), text, example.where)
        return encode.causal(tokens, example.images, places)

    def asked(self, question: str, where: str) -> Encoded:
        """As `SharedBeginning.asked`."""
        text = self.question(question)
        tokens = [*self.vocabulary.encode(BLANK_LINE + text), *self._closing]
        self.check_length(len(tokens), text, where)
        return encode.causal(tokens)

    def _of_text(self, text: str, images: int) -> tuple[list[int], tuple[int, ...]]:
        """Tokens of a prompt, and how many of them come before each image."""
        tokens, places = self._opening(text, images)
        return [*tokens, *self._closing], places

    def _opening(self, text: str, images: int) -> tuple[list[int], tuple[int, ...]]:
        """Tokens of a user's turn without its end, and how many of them come before each image."""
        tokens, places = [self.vocabulary.bos, self.begin], []
        before = "user\n"
        for _ in range(images):
            tokens += [*self.vocabulary.encode(f"{before}\n\n"), self.before_image]
            places.append(len(tokens))
            tokens.append(self.behind_image)
            before = BLANK_LINE
        if text or before != BLANK_LINE:
            tokens += self.vocabulary.encode(before + text)
        return tokens, tuple(places)

    @functools.cached_property
    def _closing(self) -> list[int]:
        """The end of the user's turn, and the beginning of the model's."""
        return [self.end, *self.vocabulary.encode("\n"), self.begin, *self.vocabulary.encode("model\n")]


class ShieldGemma(Gemma):
    """Gemma 3's turns around a policy, which is what an example asks; yes says that the image violates it."""

    def require(self, example: Example) -> None:
        """Raises BadDataError for chats too: the model was trained with one policy at a time."""
        _require_question(example, "ShieldGemma")
        super().require(example)

    def question(self, text: str) -> str:
        """The instruction with a policy in it."""
        return SHIELDGEMMA_PROMPT.format(policy=text.strip())

    def answer(self, label: str) -> list[int]:
        """The tokens of `Yes` and `No`, which the model has learned, for the labels yes and no."""
        return self.vocabulary.encode(label.capitalize() if label in ("yes", "no") else label)


def make(name: str, vocabulary: Vocabulary, *, takes_images: bool) -> Template:
    """The template of a `ModelSpec` by its name.

    Raises:
      ConfigurationError: the vocabulary lacks a piece that the template needs.
    """
    if name == spec.PALIGEMMA:
        return PaliGemma(vocabulary)
    kind = {spec.GEMMA: Gemma, spec.SHIELDGEMMA: ShieldGemma}[name]
    return kind(vocabulary, takes_images=takes_images)
