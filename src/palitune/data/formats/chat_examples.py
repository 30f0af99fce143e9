"""Chats as lines of JSON, `{"messages": [{"role": "user", "content": …}, …]}`, as hosted fine-tuning takes them.

https://platform.openai.com/docs/guides/supervised-fine-tuning, and Hugging Face's `images` beside {"type": "image"} or
ms-swift's `<image>` (https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html).
"""

import urllib.parse
from pathlib import Path

from palitune.data.example import Example, Image, Message, Part, Role, Target
from palitune.data.formats import chat_images
from palitune.data.formats.json_lines import Fields
from palitune.data.formats.lines import LONGEST, LONGEST_CONTENT
from palitune.errors import BadDataError

ROLES: dict[object, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
TEXT, IMAGE = ("text", "input_text"), ("image", "image_url", "input_image")
MOST = 1_000  # messages, and images, of one chat
TAG = "<image>"  # in a user's text: where the next one of the column is shown
UNSUPPORTED = "Leave these chats out: palitune learns texts and images"


def of_fields(fields: Fields, where: str, labelled: bool = True, download: bool = False) -> Example:
    """The example of a chat: its last assistant's turn is the answer, and each one is learned by its weight.

    Images that are embedded go into files in the cache, and the object names these then.

    Args:
      labelled: the last message has to be an answer.
      download: images may be on the network.

    Raises:
      BadDataError: it is no chat, or has what palitune does not learn: tools, audio.
    """
    given = fields["messages"]
    if not isinstance(given, list) or not 0 < len(given) <= MOST:
        raise BadDataError(f'"messages" must be a list of 1 to {MOST:,} messages', where=where)
    if tools := [key for key in ("tools", "functions") if fields.get(key)]:
        raise BadDataError(f"{tools[0]} are not supported", where=where, hint=UNSUPPORTED)
    images = _Images(fields.get("images"), where, download)
    images.find_tags(given)
    messages = tuple(_message(one, images, where) for one in given)
    images.require_used()
    if not any(one.role == "user" for one in messages):
        raise BadDataError("the chat has no message of the user", where=where)
    last = messages[-1]
    answer = last.text if last.role == "assistant" else None
    if labelled and answer is None:
        what = f"the chat ends with a message of the {last.role}, and has no answer to it"
        raise BadDataError(what, where=where, hint="Leave the last message out")
    if labelled and not any(one.weight for one in messages if one.role == "assistant"):
        raise BadDataError("no answer of the chat is to be learned: each has the weight 0", where=where)
    return Example(messages, (Target("", None, answer),), where, fields)


def _message(message: object, images: "_Images", where: str) -> Message:
    fields: Fields = message if isinstance(message, dict) else {}
    role = fields.get("role")
    if role in ("tool", "function") or fields.get("tool_calls") or fields.get("function_call"):
        raise BadDataError("tool calls are not supported", where=where, hint=UNSUPPORTED)
    if fields.get("audio"):
        raise BadDataError("audio is not supported", where=where, hint=UNSUPPORTED)
    if not isinstance(role, str) or role not in ROLES:
        raise BadDataError(f"a message has the role {role!r:.40}; it is system, user or assistant", where=where)
    content = fields.get("content")
    given = images.parted(content, role) if isinstance(content, str) else content
    if not isinstance(given, list):
        raise BadDataError(f"a message of the {role} needs a text or parts as its content", where=where)
    parts = tuple(_part(one, images, where) for one in given)
    if not any(isinstance(part, Image) or part for part in parts):
        raise BadDataError(f"a message of the {role} is empty", where=where)
    if ROLES[role] != "user" and any(isinstance(part, Image) for part in parts):
        raise BadDataError(f"a message of the {role} has an image; those of the user may", where=where)
    weight = fields.get("weight", 1)
    if weight not in (0, 1) and weight is not None:
        raise BadDataError(f"the weight of a message is {weight!r:.40}; it is 0 or 1", where=where)
    return Message(ROLES[role], parts, 1.0 if weight is None else float(weight))


def _part(part: object, images: "_Images", where: str) -> Part:
    fields: Fields = part if isinstance(part, dict) else {"type": "text", "text": part}
    kind = fields.get("type") or ("image_url" if "image_url" in fields else "text")
    if kind in TEXT:
        text = fields.get("text")
        if not isinstance(text, str):
            raise BadDataError(f"a text of a message is {type(text).__name__} and no text", where=where)
        if len(text) > LONGEST_CONTENT:
            raise BadDataError(f"a text has {len(text):,} characters, {LONGEST_CONTENT:,} are allowed", where=where)
        if "\0" in text:
            raise BadDataError("a text has a NUL character", where=where)
        return text
    if kind in IMAGE:
        return images.of_part(fields)
    raise BadDataError(f"parts of the type {kind!r:.40} are not supported", where=where, hint=UNSUPPORTED)


class _Images:
    """The images of a chat: of parts that name one, and of a column `images` in the order of parts that do not."""

    def __init__(self, column: object, where: str, download: bool) -> None:
        if column is not None and not isinstance(column, list):
            column = [column]
        self.is_given = column is not None
        self.column: list[object] = column or []  # whose embedded images get the names of their files
        self.where, self.download = where, download
        self.used = self.count = 0
        self.has_tags = False

    def find_tags(self, messages: list[object]) -> None:
        """Whether texts of the user say where images of the column are shown, as they do where no parts do.

        Raises:
          BadDataError: not as many as there are images.
        """
        found = [one for one in messages if isinstance(one, dict)]
        contents = [one.get("content") for one in found]
        parts = [part for one in contents if isinstance(one, list) for part in one if isinstance(part, dict)]
        said = [one["content"] for one in found if one.get("role") == "user" and isinstance(one.get("content"), str)]
        tags = sum(text.count(TAG) for text in said)
        self.has_tags = (
            self.is_given and tags > 0 and not any(part.get("type") in IMAGE or "image_url" in part for part in parts)
        )
        if self.has_tags and tags != len(self.column):
            what = f'texts of the user have {tags} {TAG}, and "images" has {len(self.column)}'
            raise BadDataError(what, where=self.where, hint=f"Put one {TAG} where each image is shown")

    def parted(self, text: str, role: str) -> list[Fields]:
        """A message's text as parts, with an image in the place of each tag."""
        if role != "user" or not self.has_tags:
            return [{"type": "text", "text": text}]
        first, *rest = text.split(TAG)
        parts: list[Fields] = [{"type": "text", "text": first}] if first else []
        for one in rest:
            parts += [{"type": "image"}, *([{"type": "text", "text": one}] if one else [])]
        return parts

    def of_part(self, part: Fields) -> Image:
        """The image of a part. Raises BadDataError: it names none, and there is none left in the column."""
        self.count += 1
        if self.count > MOST:
            raise BadDataError(f"more than {MOST:,} images", where=self.where)
        for key in ("image_url", "image", "url", "path"):
            if part.get(key) is not None:
                return self._named(part, key)
        if self.used == len(self.column):
            what = f'there are more parts of the type "image" than "images", of which there are {len(self.column)}'
            raise BadDataError(what, where=self.where)
        self.used += 1
        holder: Fields = {"image": self.column[self.used - 1]}
        found = self._named(holder, "image")
        self.column[self.used - 1] = holder["image"]
        return found

    def require_used(self) -> None:
        """Raises BadDataError: there are more images than parts that show one."""
        if self.used < len(self.column):
            what = f'"images" has {len(self.column)}, and {self.used} parts of the type "image" show them'
            raise BadDataError(what, where=self.where, hint='Put {"type": "image"} or <image> where each is shown')

    def _named(self, holder: Fields, key: str) -> Image:
        """An image by its address, or by the name of its file; one that was embedded is named by its file then."""
        if isinstance(inner := holder[key], dict):
            name = next((one for one in ("url", "path") if inner.get(one) is not None), None)
            if name is None:
                raise BadDataError("an image has neither a url nor a path", where=self.where)
            return self._named(inner, name)
        if not isinstance(inner, str) or not inner.strip() or "\0" in inner:
            raise BadDataError("an image is named by no text", where=self.where)
        if inner.startswith("data:"):
            path = chat_images.embedded(inner, self.where)
            holder[key] = str(path)
            return Image(path.name, path)
        if len(inner) > LONGEST:
            raise BadDataError(f"an image's name has {len(inner):,} characters", where=self.where)
        if inner.startswith(("http://", "https://")):
            return Image(inner, chat_images.downloaded(inner, self.where, self.download))
        if inner.startswith("file://"):
            return Image(urllib.parse.unquote(inner.removeprefix("file://").partition("?")[0]))
        kept = chat_images.kept(inner)
        return Image(inner) if kept is None else Image(Path(inner).name, kept)
