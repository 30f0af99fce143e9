"""A chat as Gemma's turns: who speaks, what stands in a turn, and which of it counts in the loss.

Sources: the chat templates in the published `tokenizer_config.json` of Gemma 1, 2 and 3. The texts of a turn are
stripped and stand one behind another; a system's text stands in front of the first user's turn, with a blank line
between them. The template of Gemma 1 and 2 refuses a system's message; here it goes to the place that Gemma 3 has for
it. For images `processing_gemma3.py` of transformers: each stands between two blank lines and in its own brackets.
"""

from collections.abc import Sequence
from typing import NamedTuple

from palitune.data import encode
from palitune.data.encode import Encoded
from palitune.data.example import Content, Example, Image, Message, Part
from palitune.data.vocabulary import Vocabulary
from palitune.errors import BadDataError

BLANK_LINE = "\n\n"  # between a system's text and the user's, and between a text and what is asked about it
ROLES = {"user": "user", "assistant": "model"}  # as a turn names them
ALL, LAST = "all", "last"  # assistant's turns that the loss counts


class Pieces(NamedTuple):
    """The tokens that turns are made of.

    Attributes:
      begin, end: of a turn.
      around_image: before and behind an image; None where the model takes none.
    """

    vocabulary: Vocabulary
    begin: int
    end: int
    around_image: tuple[int, int] | None


class Turn(NamedTuple):
    """One side's turn as tokens, with the newline behind it.

    Attributes:
      answer: where in the tokens the answer of an assistant begins and ends, with the token that ends it.
      weight: what each token of the answer counts in the loss.
      places: how many of the tokens come before each image.
    """

    tokens: list[int]
    answer: tuple[int, int] | None
    weight: float
    images: tuple[Image, ...]
    places: tuple[int, ...]


def is_chat(example: Example) -> bool:
    """Whether an example has more than one message."""
    return len(example.messages) > 1


def is_answered(example: Example) -> bool:
    """Whether an example is a chat that ends with an assistant's turn, which is what the model is asked for."""
    return is_chat(example) and example.messages[-1].role == "assistant"


def asked(messages: Sequence[Message]) -> tuple[Message, ...]:
    """A chat without the assistant's last turn, if it ends with one."""
    return tuple(messages[:-1] if messages and messages[-1].role == "assistant" else messages)


def require(example: Example) -> None:
    """Raises BadDataError for messages in another order than system, user, assistant, user …, and for empty ones."""
    spoken = list(enumerate(example.messages, 1))
    if spoken[0][1].role == "system":
        _require_text(spoken.pop(0)[1], 1, example.where)
    before = "assistant"
    for number, message in spoken:
        if message.role == "system":
            raise _wrong(f"message {number} is the system's, which can only be the first", example.where)
        if message.role == before:
            is_first = number == spoken[0][0]
            why = "and a chat begins with the user" if is_first else "and so is the one before it"
            raise _wrong(f"message {number} is the {message.role}'s, {why}", example.where)
        if message.role == "assistant":
            _require_text(message, number, example.where)
        if not any(type(part) is Image or _text(part).strip() for part in message.parts):
            raise _wrong(f"message {number}, the {message.role}'s, is empty", example.where)
        before = message.role


def _wrong(what: str, where: str) -> BadDataError:
    return BadDataError(what, where=where, hint="The user and the assistant take turns; join what one of them says")


def _require_text(message: Message, number: int, where: str) -> None:
    if any(type(part) is Image for part in message.parts):
        raise BadDataError(f"message {number}, the {message.role}'s, has an image: only the user's can", where=where)


def _text(part: Part) -> str:
    return part if isinstance(part, str) else part.text if isinstance(part, Content) else ""


def prompt(pieces: Pieces, messages: Sequence[Message]) -> Encoded:
    """A chat up to the beginning of the assistant's next turn; nothing of it counts in the loss."""
    turns = turns_of(pieces, asked(messages))
    return _joined(pieces, turns, opening(pieces), 0)


def answered(pieces: Pieces, messages: Sequence[Message], loss_on: str, where: str) -> Encoded:
    """A chat that ends with an assistant's turn, with the loss on the tokens of assistant's turns and on their ends.

    Args:
      loss_on: `ALL` turns or the `LAST`; each counts as much as its message's weight.
      where: of the example, for a message about it.

    Raises:
      BadDataError: no turn counts.
    """
    turns = turns_of(pieces, messages)
    spoken = [number for number, turn in enumerate(turns) if turn.answer]
    first = spoken[-1] if loss_on == LAST else 0
    if not any(turns[number].weight > 0 for number in spoken if number >= first):
        what = "the last turn has weight 0" if loss_on == LAST else "all of the assistant's turns have weight 0"
        raise BadDataError(f"nothing can be learned from this chat: {what}", where=where)
    turns[-1] = _without_newline(turns[-1])
    return _joined(pieces, turns, [], first, counts=True)


def shortened(pieces: Pieces, messages: Sequence[Message], longest: int, longest_prompt: int) -> tuple[Message, ...]:
    """A chat without as many of its oldest turns as are too much; what the system says and the last turns stay.

    A question goes with its answer.

    Args:
      longest: tokens of the whole chat.
      longest_prompt: tokens of what comes before the last answer.
    """
    is_system = messages[0].role == "system"
    system, rest = list(messages[:is_system]), list(messages[is_system:])
    while len(rest) > 2:  # the last question with its answer, or two questions with one answer between them
        turns = turns_of(pieces, [*system, *rest])
        # A chat ends with its last answer, without the newline that stands behind a turn.
        last = len(_without_newline(turns[-1]).tokens)
        before = 1 + sum(len(turn.tokens) for turn in turns[:-1])
        whole = before + last
        of_prompt = (before if turns[-1].answer else whole) + len(opening(pieces))
        if whole <= longest and of_prompt <= longest_prompt:
            break
        # As many as are too much by their own length; a system's text moves on to the turn behind them.
        surplus, dropped = max(whole - longest, of_prompt - longest_prompt), 0
        while surplus > 0 and dropped + 2 < len(rest):
            surplus -= sum(len(turn.tokens) for turn in turns[dropped : dropped + 2])
            dropped += 2
        rest = rest[dropped:]
    return (*system, *rest)


def _without_newline(turn: Turn) -> Turn:
    """An assistant's turn up to the token that ends it; another as it is."""
    return turn._replace(tokens=turn.tokens[: turn.answer[1]]) if turn.answer else turn


def opening(pieces: Pieces) -> list[int]:
    """The tokens with which an assistant's turn begins."""
    return [pieces.begin, *pieces.vocabulary.encode(f"{ROLES['assistant']}\n")]


def turns_of(pieces: Pieces, messages: Sequence[Message]) -> list[Turn]:
    """The turns of a chat that `require` accepts; a system's text is in front of the first."""
    system, spoken = "", list(messages)
    if spoken and spoken[0].role == "system":
        # As it is written: the published template does not strip it.
        system = "".join(map(_text, spoken.pop(0).parts))
    turns = []
    for message in spoken:
        turns.append(_turn(pieces, message, system + BLANK_LINE if system.strip() else ""))
        system = ""
    return turns


def _turn(pieces: Pieces, message: Message, before: str) -> Turn:
    """One turn, with a text in front of what the message says."""
    vocabulary = pieces.vocabulary
    tokens, places = [pieces.begin], []
    text, images = f"{ROLES[message.role]}\n", tuple(part for part in message.parts if type(part) is Image)
    if message.role == "assistant":
        tokens += vocabulary.encode(text)
        begins = len(tokens)
        tokens += [*vocabulary.encode(_joined_texts(message.parts)), pieces.end]
        answer = begins, len(tokens)
        return Turn([*tokens, *vocabulary.encode("\n")], answer, message.weight, (), ())
    text += before
    rest = list(message.parts)
    for _ in images:
        assert pieces.around_image
        number = next(number for number, part in enumerate(rest) if type(part) is Image)
        tokens += [*vocabulary.encode(text + _joined_texts(rest[:number]) + BLANK_LINE), pieces.around_image[0]]
        places.append(len(tokens))
        tokens.append(pieces.around_image[1])
        text, rest = BLANK_LINE, rest[number + 1 :]
    tokens += [*vocabulary.encode(text + _joined_texts(rest)), pieces.end, *vocabulary.encode("\n")]
    return Turn(tokens, None, 0.0, images, tuple(places))


def _joined_texts(parts: Sequence[Part]) -> str:
    """Texts one behind another, each stripped; a blank line is on either side of one that something is asked about."""
    joined, was_content = "", False
    for part in parts:
        text, is_content = _text(part).strip(), type(part) is Content
        if text:
            joined += BLANK_LINE + text if joined and (is_content or was_content) else text
            was_content = is_content
    return joined


def _joined(pieces: Pieces, turns: Sequence[Turn], end: list[int], first: int, *, counts: bool = False) -> Encoded:
    """All turns behind the token that begins a text; answers count in the loss from turn number `first` on."""
    tokens = [pieces.vocabulary.bos]
    places: list[int] = []
    images: list[Image] = []
    marks: list[tuple[int, int, float]] = []
    for number, turn in enumerate(turns):
        if counts and turn.answer and number >= first:
            marks.append((len(tokens) + turn.answer[0], len(tokens) + turn.answer[1], turn.weight))
        places += [len(tokens) + place for place in turn.places]
        images += turn.images
        tokens += turn.tokens
    made = encode.causal([*tokens, *end], tuple(images), tuple(places))
    for start, stop, weight in marks:
        made.loss_weights[start:stop] = weight
    return made
