"""The format "vqa": VQA v2 questions, with answers in the same or another file (https://visualqa.org/download.html)."""

from pathlib import Path

from palitune.data.formats import coco, json_documents, source_labels
from palitune.data.formats.options import Fields, Found, Lists, Options
from palitune.errors import BadDataError

OF_QUESTIONS = frozenset(("question_id", "image_id", "question", "image"))
OF_ANSWERS = frozenset(("question_id", "image_id", "multiple_choice_answer", "answer", "answers", coco.MORE))
Number = str | int


def read(path: Path, options: Options) -> Found:
    """Yields the questions with their answers. Raises MissingInputError or BadDataError if a file cannot be read."""
    found = json_documents.read_lists(path, options, "questions")
    if options.annotations is None and "annotations" not in found:
        raise BadDataError("the answers are in another file", where=str(path), hint="Name it with --annotations")
    where = options.annotations or path
    given = json_documents.read_lists(where, options, "annotations")
    annotations: dict[Number, list[tuple[str, Fields]]] = {}
    for place, entry in json_documents.entries(given, "annotations", where, "question_id"):
        annotations.setdefault(entry["question_id"], []).append((place, entry))
    images: dict[Number, Fields] = {}
    if isinstance(found.get("images"), list):
        images = json_documents.by_number(found, "images", path, "id", "file_name")
    part = found.get("data_subtype", "train2014")
    asked: set[Number] = set()
    for place, entry in json_documents.entries(found, "questions", path, "question_id", "question"):
        number = entry["question_id"]
        if number in asked:
            options.lose("a question's number is there twice", place, f"question {number}")
            continue
        asked.add(number)
        image = _image(entry, images, part, place, options)
        answer = _answer(annotations.get(number, []), number, place, options)
        if image is None or answer is None:
            continue
        label, rest = answer
        rest |= {key: value for key, value in entry.items() if key not in OF_QUESTIONS}
        fields: Fields = {"prefix": str(entry["question"]), "suffix": label, "image": image}
        yield place, source_labels.with_rest(fields, rest, place, options)
    for number, several in annotations.items():
        if number not in asked:
            options.lose("an answer has no question", several[0][0], f"question {number}")


def _image(entry: Fields, images: dict[Number, Fields], part: object, where: str, options: Options) -> str | None:
    number = entry.get("image_id")
    if isinstance(number, (str, int)) and number in images:
        return str(images[number]["file_name"])
    if isinstance(entry.get("image"), str):
        return str(entry["image"])
    if images or not isinstance(number, (str, int)) or isinstance(number, bool) or not isinstance(part, str):
        options.lose("a question is about an image that is not there", where, f"image {number}"[:80])
        return None
    return f"COCO_{part}_{str(number).zfill(12)}.jpg"


def _answer(
    annotations: list[tuple[str, Fields]], number: Number, where: str, options: Options
) -> tuple[str, Fields] | None:
    """Returns the answer and its other keys: the answer that the format chooses, or the one on which all agree."""
    if not annotations:
        options.lose("a question has no answer", where, f"question {number}")
        return None
    said: list[str] = []
    rest: Fields = {}
    for place, entry in annotations:
        labels = _said(entry, place, options)
        if not labels:
            options.lose("a question has no answer", place, f"question {number}")
            return None
        said += labels
        rest |= {key: value for key, value in entry.items() if key not in OF_ANSWERS} | coco.more(entry)
    answer = source_labels.agreed_label(said, "people answered a question differently", where, options)
    return None if answer is None else (answer, rest)


def _said(entry: Fields, where: str, options: Options) -> list[str]:
    several = entry.get("answers")
    several = several if isinstance(several, list) else []
    answers = [source_labels.label_text(one.get("answer") if isinstance(one, dict) else one) for one in several]
    heard = [answer for answer in answers if answer is not None]
    for key in ("multiple_choice_answer", "answer"):
        chosen = source_labels.label_text(entry.get(key))
        if chosen is not None:
            if any(answer != chosen for answer in heard):
                options.remark(f"where people answer differently, the format's {key} is taken", where)
            return [chosen]
    return heard


def write(found: list[tuple[str, Fields]]) -> Lists:
    """Returns the lists of a file of questions and answers."""
    numbers, images = coco.numbered(found)
    asked = (
        {"question_id": number, "image_id": numbers[one["image"]], "question": one.get("prefix") or ""}
        for number, (_, one) in enumerate(found, 1)
    )
    answered = (
        {"question_id": number, "image_id": numbers[one["image"]], "multiple_choice_answer": one["suffix"]}
        | coco.rest_of(one)
        for number, (_, one) in enumerate(found, 1)
    )
    return {"images": images, "questions": asked, "annotations": answered}
