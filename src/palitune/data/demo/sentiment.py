"""Demo data for sentiment: reviews in Japanese and English under the labels 1, 0 and -1.

No word tells the label alone. A negation turns it round, of two clauses the second counts, and a quality that somebody
else claims, or that the writer does not know yet, is no opinion of the writer's.
"""

import functools
from typing import NamedTuple

import numpy as np

from palitune.data.demo.sentences import ENGLISH, JAPANESE, LANGUAGES, capitalised, fill, new, pick, shared_out

POSITIVE, NORMAL, NEGATIVE = "1", "0", "-1"
SHARES = {POSITIVE: 0.4, NORMAL: 1 / 3, NEGATIVE: 4 / 15}
FAULTS = 1 / 100  # share of lines that are a copy of an earlier one, and of lines whose label is wrong


class Domain(NamedTuple):
    """What reviews of one kind are about, and what is said of it.

    Attributes:
      subjects: what is reviewed.
      good: qualities that the writer likes.
      bad: qualities that the writer does not like.
      facts: sentences without an opinion.
    """

    subjects: tuple[str, ...]
    good: tuple[str, ...]
    bad: tuple[str, ...]
    facts: tuple[str, ...]


DOMAINS = {
    JAPANESE: (
        Domain(
            ("ラーメン", "カレー", "ケーキ", "コーヒー", "定食", "パン"),
            ("おいしい", "新鮮だ", "いい香りだ"),
            ("まずい", "しょっぱい", "ぬるい"),
            ("{when}、駅前で{subject}を注文した。", "{subject}は八百円だ。", "{subject}の写真を撮った。"),
        ),
        Domain(
            ("部屋", "ホテル", "風呂", "ベッド", "朝食の会場"),
            ("きれいだ", "静かだ", "広い", "快適だ"),
            ("汚い", "うるさい", "狭い", "寒い"),
            ("{when}、{subject}を予約した。", "{subject}は三階にある。", "{subject}の写真を撮った。"),
        ),
        Domain(
            ("このアプリ", "この電話", "このカメラ", "このかばん", "この椅子"),
            ("便利だ", "使いやすい", "丈夫だ", "軽い"),
            ("不便だ", "壊れやすい", "重い", "遅い"),
            ("{when}、{subject}を買った。", "{subject}は兄のものだ。", "{subject}の色は青だ。"),
        ),
        Domain(
            ("この映画", "この本", "この番組", "この漫画", "この歌"),
            ("面白い", "感動的だ", "楽しい"),
            ("退屈だ", "つまらない", "分かりにくい"),
            ("{when}、{subject}を借りた。", "{subject}は去年のものだ。", "{subject}の題名を忘れた。"),
        ),
        Domain(
            ("店員", "配達の人", "受付", "電話の対応", "説明"),
            ("親切だ", "丁寧だ", "明るい"),
            ("失礼だ", "冷たい", "雑だ"),
            ("{when}、{subject}を待った。", "{subject}は午前十時からだ。", "{subject}は二回目だ。"),
        ),
    ),
    ENGLISH: (
        Domain(
            ("the soup", "the curry", "the cake", "the coffee", "the lunch", "the bread"),
            ("delicious", "fresh", "tasty"),
            ("awful", "salty", "stale"),
            ("I ordered {subject} {when}.", "{subject} costs eight dollars.", "I took a photo of {subject}."),
        ),
        Domain(
            ("the room", "the hotel", "the bath", "the bed", "the breakfast room"),
            ("clean", "quiet", "spacious", "comfortable"),
            ("dirty", "noisy", "tiny", "cold"),
            ("I booked {subject} {when}.", "{subject} is on the third floor.", "I took a photo of {subject}."),
        ),
        Domain(
            ("this app", "this phone", "this camera", "this bag", "this chair"),
            ("useful", "handy", "sturdy", "light"),
            ("useless", "fragile", "heavy", "slow"),
            ("I bought {subject} {when}.", "{subject} belongs to my brother.", "the colour of {subject} is blue."),
        ),
        Domain(
            ("this film", "this book", "this show", "this comic", "this song"),
            ("exciting", "moving", "funny"),
            ("boring", "dull", "confusing"),
            ("I borrowed {subject} {when}.", "{subject} is from last year.", "I forgot the title of {subject}."),
        ),
        Domain(
            ("the staff", "the driver", "the reception", "the support", "the guide"),
            ("friendly", "polite", "helpful"),
            ("rude", "unhelpful", "careless"),
            ("I waited for {subject} {when}.", "{subject} starts at ten.", "I met {subject} for the second time."),
        ),
    ),
}
WORDS = {
    JAPANESE: {
        "when": ("昨日", "今朝", "先週", "日曜日", "夏休みに"),
        "much": ("", "とても", "本当に", "かなり", "思ったより"),
        "little": ("", "あまり", "全然", "思ったほど"),
    },
    ENGLISH: {
        "when": ("yesterday", "this morning", "last week", "on Sunday", "in summer"),
        "much": ("", "very ", "really ", "quite ", "surprisingly "),
        "little": ("not ", "not very ", "not at all ", "hardly "),
    },
}
SO_SO = {
    JAPANESE: ("{subject}は普通だ。", "{subject}は可もなく不可もない。", "{subject}はまあまあというところだ。"),
    ENGLISH: ("{subject} is average.", "{subject} is neither good nor bad.", "{subject} is all right, nothing more."),
}
OF_OTHERS = {
    JAPANESE: ("{subject}が{bare}かどうかは、まだ分からない。", "{subject}は{quality}と友達が言っていた。"),
    ENGLISH: (
        "I do not know yet whether {subject} is {quality}.",
        "my friend says that {subject} is {quality}.",
    ),
}
CONTRAST = {
    JAPANESE: ("{first}が、{second}。", "{first}けれど、{second}。"),
    ENGLISH: ("{first}, but {second}.", "although {first}, {second}."),
}


def negated(quality: str) -> str:
    """A Japanese quality in the negative."""
    return quality[:-1] + "ではない" if quality.endswith("だ") else quality[:-1] + "くない"


def clause(language: str, domain: Domain, good: bool, rng: np.random.Generator) -> str:
    """A clause of praise or of complaint: in two of five cases by a negation of its opposite."""
    negative = rng.random() < 0.4
    quality = pick(domain.good if good != negative else domain.bad, rng)
    subject, words = pick(domain.subjects, rng), WORDS[language]
    how = pick(words["little" if negative else "much"], rng)
    if language == ENGLISH:
        return f"{subject} is {how}{quality}"
    return f"{subject}は{how}{negated(quality) if negative else quality}"


def _opinion(language: str, domain: Domain, good: bool, rng: np.random.Generator) -> str:
    last = clause(language, domain, good, rng)
    if rng.random() < 0.75:
        return last + ("。" if language == JAPANESE else ".")
    first = clause(language, domain, not good, rng)
    return pick(CONTRAST[language], rng).format(first=first, second=last)


def _no_opinion(language: str, domain: Domain, rng: np.random.Generator) -> str:
    kind = rng.random()
    forms = domain.facts if kind < 0.5 else SO_SO[language] if kind < 0.65 else OF_OTHERS[language]
    quality = pick((*domain.good, *domain.bad), rng)
    words = {"subject": domain.subjects, "quality": (quality,), "bare": (quality.removesuffix("だ"),)}
    return fill(pick(forms, rng), {**WORDS[language], **words}, rng)


def review(label: str, rng: np.random.Generator, language: str | None = None) -> str:
    """A review that has a label, in one of the two languages."""
    language = language or pick(LANGUAGES, rng)
    domain = pick(DOMAINS[language], rng)
    if label == NORMAL:
        return capitalised(_no_opinion(language, domain, rng))
    return capitalised(_opinion(language, domain, label == POSITIVE, rng))


class Reviews(NamedTuple):
    """Drawn reviews, and what has been planted among them.

    Attributes:
      records: `(text, label)`.
      copies: the records, from 0, that are a copy of an earlier one.
      mislabelled: the records, from 0, whose label is wrong.
    """

    records: list[tuple[str, str]]
    copies: list[int]
    mislabelled: list[int]


def draw(count: int, rng: np.random.Generator) -> Reviews:
    """`count` reviews, one in a hundred of them a copy, and one in a hundred with a wrong label."""
    labels = [str(label) for label in rng.permutation(shared_out(count, SHARES))]
    seen: set[str] = set()
    records = [(new(functools.partial(review, label, rng), seen), label) for label in labels]
    faults = round(count * FAULTS)
    chosen = [int(place) for place in rng.permutation(np.arange(1, count))[: 2 * faults]]
    copies, mislabelled = sorted(chosen[:faults]), sorted(chosen[faults:])
    for place in mislabelled:
        text, label = records[place]
        records[place] = text, pick([other for other in SHARES if other != label], rng)
    whole = [place for place in range(count) if place not in set(chosen)]
    for place in copies:
        records[place] = records[pick([other for other in whole if other < place] or [0], rng)]
    return Reviews(records, copies, mislabelled)
