"""The format "messages": chats as hosted fine-tuning takes them, a question with an image or a text and its answer.

https://platform.openai.com/docs/guides/vision-fine-tuning
"""

import base64
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from palitune.data.formats import chat_examples, json_lines, source_labels, text_files
from palitune.data.formats.json_lines import to_json
from palitune.data.formats.options import Fields, Found, Options, lose_rest
from palitune.data.image_folders import ImageFolders
from palitune.data.images.container import media_type
from palitune.errors import BadDataError

SYSTEM = ("system", "developer")
KNOWN = ("role", "content", "name", "weight")  # keys of a message that may say something
WHOLE = "a chat is more than one question and its answer"
HINT = "palitune learns one question about one image, and one answer"


class Turn(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str
    shown: int  # images so far


class Chat(NamedTuple):
    """A chat that an example can hold; without an image, one that stays a chat may have several turns."""

    system: str
    images: list[str]
    turns: list[Turn]


class _LostError(Exception):
    """Why a chat cannot be carried over: a kind and a detail."""


def read(path: Path, options: Options) -> Found:
    """Yields the examples. Raises MissingInputError or BadDataError if the file cannot be read."""
    for where, line in text_files.read_lines(path, options):
        try:
            value = json_lines.parse_object(line, where)
        except BadDataError as error:
            options.lose("a line is no chat", where, error.what)
            continue
        given = value.pop("messages", None)
        if not isinstance(given, list):
            options.lose('the line has no list "messages"', where)
            continue
        tools = [key for key in ("tools", "functions") if value.pop(key, None)]
        value.pop("parallel_tool_calls", None)
        try:
            of_text = not (value.get("images") or any(map(_shows, given)))
            chat = _chat(given, of_text, may_rest=of_text and not options.turns)
            if tools:
                raise _LostError("a chat has tools", ", ".join(tools))
            if of_text and not options.turns and (chat.system or len(chat.turns) > 1 or any(map(_weighs, given))):
                yield where, _whole({"messages": given} | value, where)
                continue
            if len(chat.turns) > 1 and not options.turns:
                raise _LostError(WHOLE, f"{len(chat.turns)} questions and answers")
            if not chat.turns[0].shown and not of_text:
                raise _LostError("a question comes before the image", chat.turns[0].question[:80])
        except _LostError as lost:
            what, detail = lost.args
            hint = "--turns makes a record of each, without what was said before" if what == WHOLE else HINT
            options.lose(what, where, detail, hint)
            continue
        yield from ((where, fields) for fields in _examples(chat, value, where, options))


def _examples(chat: Chat, rest: Fields, where: str, options: Options) -> Iterator[Fields]:
    if chat.system:
        hint = 'Learning does not read it: put it into "prefix" if it is to be asked'
        options.remark('a system text is kept under the key "system"', where, chat.system[:80], hint)
        rest = rest | {"system": chat.system}
    image = chat.images[0] if chat.images else None
    if image is None:
        pass
    elif image.startswith("file://"):
        image = urllib.parse.unquote(image.removeprefix("file://").partition("?")[0])
    elif image.startswith(("http://", "https://")):
        options.lose("the image is on the network", where, image[:200], "Download it, and put its file's name there")
        return
    for turn in chat.turns:
        fields: Fields = {"prefix": turn.question, "suffix": turn.answer} | ({"image": image} if image else {})
        yield source_labels.with_rest(fields, rest, where, options)


def _shows(message: object) -> bool:
    """Whether a message has parts other than texts."""
    content = message.get("content") if isinstance(message, dict) else None
    parts = content if isinstance(content, list) else []
    return any(isinstance(part, dict) and _image_part(part) is not None for part in parts)


def _weighs(message: object) -> bool:
    return isinstance(message, dict) and message.get("weight") == 0


def _whole(fields: Fields, where: str) -> Fields:
    """A chat as it is. Raises _LostError: learning does not read it."""
    try:
        chat_examples.of_fields(fields, where)
    except BadDataError as error:
        raise _LostError("a line is no chat", error.what) from None
    return fields


def _chat(messages: list[object], of_text: bool, may_rest: bool) -> Chat:
    """Returns a chat. Raises _LostError if an example cannot hold it.

    Args:
      of_text: it is about no image.
      may_rest: answers may have the weight 0.
    """
    system: list[str] = []
    images: list[str] = []
    texts: list[str] = []
    turns: list[Turn] = []
    waiting = False
    for message in messages:
        role, spoken, shown = _message(message, may_rest)
        images += shown
        if role in SYSTEM:
            system += spoken
        elif role == "user":
            texts += spoken
            waiting = True
        elif not waiting:
            raise _LostError("an answer has no question before it", "")
        else:
            answer = "".join(spoken)
            if not answer.strip():
                raise _LostError("an answer is empty", "")
            turns.append(Turn("\n".join(texts), answer, len(images)))
            texts, waiting = [], False
    if len(images) != (not of_text) or not turns:
        what = "a chat has not one image and an answer"
        raise _LostError(what, f"{len(images)} images and {len(turns)} answers")
    if waiting:
        raise _LostError("a chat ends with a question", "\n".join(texts)[:80])
    return Chat("\n".join(system), images, turns)


def _message(message: object, may_rest: bool) -> tuple[str, list[str], list[str]]:
    """Returns role, texts and images of a message. Raises _LostError if an example cannot hold it."""
    fields: Fields = message if isinstance(message, dict) else {}
    role, content = fields.get("role"), fields.get("content")
    if role in ("tool", "function") or (
        role == "assistant" and (fields.get("tool_calls") or "function_call" in fields)
    ):
        raise _LostError("a chat calls tools", "")
    if role not in (*SYSTEM, "user", "assistant"):
        raise _LostError("a message needs a role: system, user or assistant", repr(role)[:80])
    other = [key for key, value in fields.items() if key not in KNOWN and value not in (None, [], "", False)]
    if other:
        raise _LostError("a message has keys that a record has no place for", ", ".join(other)[:80])
    if fields.get("weight") == 0 and not may_rest:
        raise _LostError("an answer is not to be learned (weight 0)", "")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise _LostError("a message needs text or parts as its content", "")
    texts: list[str] = []
    images: list[str] = []
    for part in parts:
        image = _image_part(part)
        if image is not None:
            images.append(image)
        elif part.get("type", "text") == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            raise _LostError("a message has parts that are neither text nor image", str(part.get("type"))[:80])
    return role, texts, images


def _image_part(part: Fields) -> str | None:
    if part.get("type", "image_url") not in ("image_url", "image", "input_image"):
        return None
    value = part.get("image_url", part.get("image"))
    if isinstance(value, dict):
        value = value.get("url")
    return value if isinstance(value, str) else None


def line(fields: Fields, url: str | None) -> Fields:
    """Returns an example as a chat about the image at a URL, or about its text alone."""
    system = [{"role": "system", "content": fields["system"]}] if fields.get("system") else []
    asked = [{"type": "text", "text": fields["prefix"]}] if fields.get("prefix") else []
    said = [fields[key] for key in ("text", "prefix") if fields.get(key)]
    return {
        "messages": [
            *system,
            {
                "role": "user",
                "content": "\n\n".join(said)
                if url is None
                else [*asked, {"type": "image_url", "image_url": {"url": url}}],
            },
            {"role": "assistant", "content": fields["suffix"]},
        ]
    }


def write(found: Found, options: Options, embed: ImageFolders | None) -> Iterator[str]:
    """Yields each example as a line; `embed` says where the images are that are put into it."""
    for where, fields in found:
        if "labels" in fields and "suffix" not in fields:
            options.lose("messages has no room for several labels", where)
            continue
        lose_rest(fields, "messages", ("prefix", "system"), where, options)
        if "suffix" not in fields:
            yield f"{to_json({'messages': fields['messages']})}\n"
            continue
        system = fields.get("system")
        if not isinstance(system, (str, type(None))):
            options.lose("messages has no room for other keys", where, "system")
            continue
        url: str | None = fields.get("image")
        if url is not None and embed is not None:
            url = _embedded(embed, url, where, options)
            if url is None:
                continue
        yield f"{to_json(line(fields, url))}\n"


def _embedded(images: ImageFolders, name: str, where: str, options: Options) -> str | None:
    path = images.locate(name, where)
    if not path.is_file():
        options.lose("no such image", where, str(path), "-i names the folder that images are in", missing=True)
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        options.lose("an image cannot be read", where, f"{path}: {error.strerror}", missing=True)
        return None
    kind = media_type(content)
    if kind is None:
        options.lose("an image is of a kind that palitune does not read", where, str(path))
        return None
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
