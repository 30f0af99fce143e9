"""The pretraining tasks of the tiny models, about drawn advertisements: captions, open questions, yes/no questions, and
whether made-up laws allow an advertisement.

No yes/no question and no law is ever about a cross, and none uses the words of the demo's prompt: the demo's rule is
left for fine-tuning to teach.
"""

from collections.abc import Callable

import numpy as np

from palitune.data.demo.drawing import BACKGROUNDS, COLOURS, PRODUCTS, Scene

ASKED_BADGES = ("star", "circle", "heart", "triangle")
YES_NO_FORMS = (
    "is there {}?",
    "does this picture show {}?",
    "is {} in this image?",
    "can you see {} here?",
    "answer yes or no: {}",
    "Is there {} on this picture?",
    "Does this advertisement have {}, yes or no?",
    "Is this an image of {}?",
    "based on what you see, is there {}?",
)
# Each made-up law forbids or demands one thing; which one, only its name tells.
LAW_FORMS = (
    "Is this image {} by the law of {}?",
    "Is this picture {} under the {} code?",
    "is this advertisement {} according to the rules of {}?",
    "Under the law of {1}, is this {0}?",
)
LAW_WORDS = ("allowed", "fine", "acceptable", "correct")
CAPTION_PROMPTS = ("caption en", "describe this picture", "what does this image show?")
# Words for the tokenizer alone, so that an ordinary sentence is not spelled letter by letter.
ORDINARY_TEXT = (
    "Is this image appropriate based on Federal Food, Drug, and Cosmetic Act?",
    "Is this advertisement allowed, yes or no?",
    "Does the image comply with the rules for advertising food and cosmetics?",
    "OK or NG? appropriate or inappropriate? allowed or not allowed?",
)


def caption(scene: Scene) -> str:
    """Returns a caption that names product, badge and background."""
    badge = "" if scene.badge == "none" else f" and a {scene.badge_colour} {scene.badge}"
    return f"a {scene.product_colour} {scene.product}{badge} on a {scene.background} background"


def open_question(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """Returns a question and its answer of one word."""
    questions = [
        ("what is the product?", scene.product),
        ("what colour is the product?", scene.product_colour),
        ("what colour is the background?", scene.background),
        ("what shape is the badge?", scene.badge),
        ("what colour is the badge?", "none" if scene.badge == "none" else scene.badge_colour),
    ]
    return questions[rng.integers(len(questions))]


def _other(value: str, values: tuple[str, ...], rng: np.random.Generator) -> str:
    rest = [v for v in values if v != value]
    return rest[rng.integers(len(rest))]


def yes_no_question(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """Returns a question and its answer, which is yes as often as no."""
    truth = bool(rng.random() < 0.5)
    colours, backgrounds = tuple(COLOURS), tuple(BACKGROUNDS)

    def pick(value: str, values: tuple[str, ...]) -> str:
        return value if truth else _other(value, values, rng)

    subjects: list[Callable[[], str]] = [
        lambda: f"a {pick(scene.product, PRODUCTS)}",
        lambda: f"a {pick(scene.product_colour, colours)} product",
        lambda: f"a {pick(scene.background, backgrounds)} background",
    ]
    if scene.badge in ASKED_BADGES or not truth:
        subjects += [lambda: f"a {pick(scene.badge, ASKED_BADGES)}"] * 2
    if scene.badge != "none":
        subjects.append(lambda: f"a {pick(scene.badge_colour, colours)} badge")
    if (scene.badge != "none") == truth:
        subjects.append(lambda: "a badge")
    subject = subjects[rng.integers(len(subjects))]()
    form = YES_NO_FORMS[rng.integers(len(YES_NO_FORMS))]
    return form.format(subject), "yes" if truth else "no"


def _laws() -> dict[str, tuple[str, str, bool]]:
    """Name: (field of a scene, its value, whether the law demands it; else it forbids it).

    Laws are mostly about the shape of the badge, so that the model attends to it when asked about a new law.
    """
    subjects = [("badge", badge) for badge in ASKED_BADGES] * 3
    subjects += [("product", product) for product in PRODUCTS]
    subjects += [("badge_colour", colour) for colour in COLOURS]
    first, second = ("Al", "Bo", "Ce", "Du", "Fa", "Gi", "Ho", "Ka"), ("bar", "din", "fel", "gor", "mun", "ra", "tos")
    names = [a + b for b in second for a in first]
    both = [(*subject, demanded) for subject in subjects for demanded in (False, True)]
    return dict(zip(names, both, strict=False))


LAWS = _laws()


def law_question(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """Returns a question about a made-up law and its answer, yes as often as no, for laws that forbid or demand."""
    truth, demanded = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    fitting = [
        name
        for name, (field, value, demands) in LAWS.items()
        if demands == demanded and ((getattr(scene, field) == value) == demands) == truth and _applies(scene, field)
    ]
    form = LAW_FORMS[rng.integers(len(LAW_FORMS))]
    word = LAW_WORDS[rng.integers(len(LAW_WORDS))]
    return form.format(word, fitting[rng.integers(len(fitting))]), "yes" if truth else "no"


def _applies(scene: Scene, field: str) -> bool:
    return field != "badge_colour" or scene.badge != "none"


def pretraining_task(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """Returns (prefix, suffix): in three cases of ten a caption or an open question, else a yes/no question."""
    kind = rng.random()
    if kind < 0.15:
        return CAPTION_PROMPTS[rng.integers(len(CAPTION_PROMPTS))], caption(scene)
    if kind < 0.3:
        return open_question(scene, rng)
    if kind < 0.6:
        return yes_no_question(scene, rng)
    return law_question(scene, rng)
