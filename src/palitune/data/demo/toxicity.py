"""Demo data for several labels at once: posts in Japanese and English, each label of which is yes or no.

Most posts are none of these, some are several, the rarest label is on 4 % of them. Words that tell a label also stand
in harmless posts. Some labels are missing: it is unknown whether the post is that. The posts are mild on purpose.
"""

import functools
from collections.abc import Collection

import numpy as np

from palitune.data.demo.sentences import ENGLISH, JAPANESE, LANGUAGES, capitalised, fill, new, pick, shared_out

OBSCENE, VIOLENT, INSULT, PERSONAL = LABELS = ("obscene", "violent", "insult", "personal")
QUESTIONS = {
    OBSCENE: "Is this text indecent?",
    VIOLENT: "Does this text threaten somebody with violence?",
    INSULT: "Does this text insult somebody?",
    PERSONAL: "Does this text give away where somebody lives or how to reach them?",
}
Combination = tuple[str, ...]
SHARES: dict[Combination, float] = {
    (): 0.72,
    (INSULT,): 0.09,
    (PERSONAL,): 0.08,
    (VIOLENT,): 0.035,
    (VIOLENT, INSULT): 0.03,
    (OBSCENE,): 0.02,
    (OBSCENE, INSULT): 0.015,
    (OBSCENE, PERSONAL): 0.005,
    (VIOLENT, INSULT, PERSONAL): 0.005,
}
UNKNOWN = 0.02  # share of labels that are missing
CLAUSES = {
    JAPANESE: {
        OBSCENE: (
            "おしりを見せろ",
            "{who}の風呂をのぞきたい",
            "{who}の裸の写真を送れ",
            "下着の色を教えろ",
            "{who}の下着をのぞいた",
        ),
        VIOLENT: (
            "{who}を殴ってやる",
            "{when}{who}を蹴るぞ",
            "{who}の家を燃やすぞ",
            "{who}をぶっ飛ばす",
            "夜道で{who}を襲う",
        ),
        INSULT: (
            "{who}は本当にばかだ",
            "{who}は役立たずだ",
            "{who}の顔は見苦しい",
            "この間抜けめ",
            "{who}はうそつきのくずだ",
        ),
        PERSONAL: (
            "{who}の電話番号は{number}だ",
            "{who}の住所は{place}の{house}だ",
            "{who}は{place}の{house}に住んでいる",
            "{who}の携帯は{number}",
        ),
    },
    ENGLISH: {
        OBSCENE: (
            "show me your bottom",
            "I want to peep at {who} in the bath",
            "send me naked photos of {who}",
            "tell me the colour of your underwear",
            "I peeped at the underwear of {who}",
        ),
        VIOLENT: (
            "I will punch {who}",
            "I am going to kick {who} {when}",
            "I will burn down the house of {who}",
            "I will beat up {who}",
            "{who} will be attacked {when}",
        ),
        INSULT: (
            "{who} is really stupid",
            "{who} is good for nothing",
            "the face of {who} is ugly",
            "you are such an idiot",
            "{who} is a liar and a creep",
        ),
        PERSONAL: (
            "the phone number of {who} is {number}",
            "the address of {who} is {house} {place}",
            "{who} lives at {house} {place}",
            "call {who} at {number}",
        ),
    },
}
HARMLESS = {
    JAPANESE: (
        "{when}は{who}と{place}に行く",
        "{who}の誕生日は{when}だ",
        "{who}の新しい写真がいい",
        "{who}に電話した",
        "風呂に入って寝る",
        "ばかだと言ってはいけない",
        "誰も殴ってはいけない",
        "サッカーでボールを蹴った",
        "家を建てた",
        "店の電話番号は{number}だ",
        "下着を洗濯した",
        "{who}は本当に親切だ",
        "{place}で火事があった",
        "うそではない",
        "顔を洗った",
        "裸足で歩いた",
    ),
    ENGLISH: (
        "I go to {place} with {who} {when}",
        "the birthday of {who} is {when}",
        "I like the new photos of {who}",
        "I called {who}",
        "a hot bath and then to bed",
        "nobody should be called stupid",
        "it is wrong to punch anybody",
        "I kick the ball",
        "they build a house in {place}",
        "the phone number of the shop is {number}",
        "I washed my underwear",
        "{who} is really kind",
        "there was a fire in {place}",
        "that is not a lie",
        "I wash my face",
        "the colour of your shirt is nice",
    ),
}
WORDS = {
    JAPANESE: {
        "who": ("田中", "鈴木さん", "あいつ", "お前", "隣の人", "店長"),
        "when": ("明日", "今夜", "日曜日", "来週"),
        "place": ("駅前", "公園通り", "大阪", "川沿い"),
    },
    ENGLISH: {
        "who": ("Tanaka", "Mary", "that guy", "my neighbour", "the manager", "your brother"),
        "when": ("tomorrow", "tonight", "on Sunday", "next week"),
        "place": ("Park Street", "Station Road", "Osaka", "River Lane"),
    },
}
JOINS = {JAPANESE: "。", ENGLISH: ". "}
ENDS = {JAPANESE: ("。", "！", ""), ENGLISH: (".", "!", "")}  # noqa: RUF001
Record = dict[str, str]  # the text, and for each label 1, 0, or nothing where it is unknown


def post(labels: Collection[str], rng: np.random.Generator, language: str | None = None) -> str:
    """A post that has these labels and no others, in one of the two languages: up to three clauses in any order."""
    language = language or pick(LANGUAGES, rng)
    forms = [pick(CLAUSES[language][label], rng) for label in LABELS if label in labels]
    harmless = int(rng.integers(0 if forms else 1, max(2, 4 - len(forms))))
    forms += [pick(HARMLESS[language], rng) for _ in range(harmless)]
    words = {
        **WORDS[language],
        "number": ["090-" + "".join(map(str, rng.integers(0, 10, 4)))],
        "house": [str(int(rng.integers(1, 100))) + ("番地" if language == JAPANESE else "")],
    }
    clauses = [capitalised(fill(str(form), words, rng)) for form in rng.permutation(forms)]
    return JOINS[language].join(clauses) + pick(ENDS[language], rng)


def draw(count: int, rng: np.random.Generator) -> list[Record]:
    """`count` posts with their labels, of which one in fifty is missing."""
    combinations = shared_out(count, SHARES)
    seen: set[str] = set()
    records = []
    for place in rng.permutation(count):
        labels = combinations[int(place)]
        text = new(functools.partial(post, labels, rng), seen)
        known = rng.random(len(LABELS)) >= UNKNOWN
        values = {name: str(int(name in labels)) if there else "" for name, there in zip(LABELS, known, strict=True)}
        records.append({"text": text, **values})
    return records
