"""Hosted fine-tuning's chats: a question with a picture, and its answer, one a line.

https://platform.openai.com/docs/guides/vision-fine-tuning
"""

import base64
import binascii
import hashlib
import json
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palitune import files
from palitune.data import foreign
from palitune.data.foreign import Fields, Options
from palitune.errors import BadDataError, UsageError


def read(path: Path, options: Options) -> Iterator[Fields]:
    """The records. Raises MissingInputError or BadDataError: it cannot be read, or a line is something else."""
    for number, line in enumerate(foreign.text(path).split("\n"), 1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise BadDataError("broken JSON", where=where) from None
        messages = value.get("messages") if isinstance(value, dict) else None
        if not isinstance(messages, list):
            raise BadDataError('the line has no list "messages"', where=where)
        yield _record(messages, options, where)


def _record(messages: list[Any], options: Options, where: str) -> Fields:
    images: list[str] = []
    texts: list[str] = []
    answer = None
    for message in messages:
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise BadDataError("a message needs a role, and text or parts as its content", where=where)
        spoken = [part["text"] for part in parts if isinstance(part.get("text"), str)]
        if role == "assistant":
            answer = "".join(spoken)
        elif role == "user":
            texts += spoken
        images += [image for part in parts if (image := _image_part(part)) is not None]
    if answer is None or not answer.strip() or len(images) != 1:
        what = f"{len(images)} pictures and {'an' if answer else 'no'} answer, where one of each makes a record"
        raise BadDataError(what, where=where)
    return {"prefix": "\n".join(texts).strip(), "suffix": answer.strip(), "image": _saved(images[0], options, where)}


def _image_part(part: Fields) -> str | None:
    value = part.get("image_url", part.get("image"))
    if isinstance(value, dict):
        value = value.get("url")
    return value if isinstance(value, str) else None


def _saved(image: str, options: Options, where: str) -> str:
    """The file of a picture that is given by address; embedded ones are written out."""
    if image.startswith("file://"):
        return urllib.parse.unquote(image.removeprefix("file://").partition("?")[0])
    if re.match(r"https?://", image):
        hint = "Download it, and put its file's name there"
        raise BadDataError("the picture is on the network", where=where, hint=hint)
    if not image.startswith("data:"):
        return image
    if options.pictures is None:
        raise UsageError("pictures are embedded: say with --pictures FOLDER where they go", where=where)
    head, _, content = image.partition(",")
    try:
        raw = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise BadDataError("the embedded picture is no base64", where=where) from None
    kind = re.match(r"data:image/([a-z]+)", head)
    extension = {"jpeg": "jpg"}.get(kind[1], kind[1]) if kind else "img"
    name = f"{hashlib.sha256(raw).hexdigest()[:16]}.{extension}"
    if not (options.pictures / name).exists():
        files.write(options.pictures / name, raw)
    return name
