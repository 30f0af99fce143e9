"""The format "coco": COCO captions, several for each image (https://cocodataset.org/#format-data)."""

from collections.abc import Iterable
from pathlib import Path

from palitune.data.formats import json_documents, source_labels
from palitune.data.formats.options import OWN, Fields, Found, Lists, Options
from palitune.errors import BadDataError

CAPTION = "caption en"  # what PaliGemma is asked for captions
# The format's own keys of an image and a caption. Other fields of an example are written under MORE.
OF_IMAGES = frozenset("id file_name width height license flickr_url coco_url date_captured url".split())  # noqa: SIM905
OF_CAPTIONS = frozenset(("id", "image_id", "caption", "prefix", "record"))
MORE = "record"


def read(path: Path, options: Options) -> Found:
    """Yields the captions. Raises MissingInputError or BadDataError if the file is another, or cannot be read."""
    found = json_documents.read_lists(path, options, "images", "annotations")
    images = json_documents.by_number(found, "images", path, "id", "file_name")
    given = [one for one in found["annotations"] if isinstance(one, dict)]
    if given and not any("caption" in one for one in given):
        keys = ", ".join(given[0])[:200]
        hint = "palitune learns captions and labels of whole images, and no boxes or masks"
        raise BadDataError(f"no annotation is a caption; they have {keys}", where=str(path), hint=hint)
    seen = set()
    for where, entry in json_documents.entries(found, "annotations", path, "image_id"):
        if "caption" not in entry:
            options.lose("an annotation is not a caption", where, ", ".join(entry)[:200])
            continue
        image = images.get(entry["image_id"])
        caption = source_labels.label_text(entry["caption"])
        if image is None or caption is None:
            what = "a caption is empty or no text" if image else "a caption is of an image that is not there"
            options.lose(what, where, f"image {entry['image_id']}")
            continue
        seen.add(entry["image_id"])
        fields: Fields = {"prefix": entry.get("prefix", CAPTION), "suffix": caption, "image": image["file_name"]}
        rest = {key: value for key, value in image.items() if key not in OF_IMAGES}
        rest |= {key: value for key, value in entry.items() if key not in OF_CAPTIONS} | more(entry)
        yield where, source_labels.with_rest(fields, rest, where, options)
    for number, image in images.items():
        if number not in seen:
            options.remark("images without a caption are left out", f"{path}: image {number}", str(image["file_name"]))


def more(entry: Fields) -> Fields:
    """Returns the fields that `write` has put under MORE."""
    found = entry.get(MORE)
    return found if isinstance(found, dict) else {} if found is None else {MORE: found}


def rest_of(fields: Fields) -> Fields:
    """Returns the fields for which the format has no key, under MORE."""
    rest = {key: value for key, value in fields.items() if key not in OWN}
    return {MORE: rest} if rest else {}


def numbered(found: list[tuple[str, Fields]]) -> tuple[dict[str, int], Iterable[Fields]]:
    """Returns the number of each image by its name, and the images."""
    names = dict.fromkeys(fields["image"] for _, fields in found)
    numbers = {name: number for number, name in enumerate(names, 1)}
    return numbers, ({"id": number, "file_name": name} for name, number in numbers.items())


def write(found: list[tuple[str, Fields]]) -> Lists:
    """Returns the lists of a captions file; a question is written only if it is not the usual one."""
    numbers, images = numbered(found)
    captions = (
        {"id": number, "image_id": numbers[one["image"]], "caption": one["suffix"]}
        | ({"prefix": one.get("prefix") or ""} if one.get("prefix") != CAPTION else {})
        | rest_of(one)
        for number, (_, one) in enumerate(found, 1)
    )
    return {"images": images, "annotations": captions}
