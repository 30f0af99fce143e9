"""The exercises that the tiny text model is pretrained on, about the same kinds of texts as the demo data of text.

They are related to what the demo data is about, and are other tasks. The labels of the demo are never an answer to a
question about a text, and made-up codes put two of them together: a code forbids what is violent or an insult, and no
question tells the two apart. Tweets are answered by the name of their topic, and by signs in which no emoji of the demo
is. Chats are about a library and a station. What is said in the demo's shop only comes as sentences that are to be
completed, and the demo's labels and emoji only come as words that are to be repeated.
"""

import itertools
import re
from collections.abc import Callable, Sequence

import numpy as np

from palitune.data.demo import chat, emoji, sentiment, toxicity
from palitune.data.demo.pretraining_tasks import LAWS
from palitune.data.demo.sentences import ENGLISH, JAPANESE, LANGUAGES, pick
from palitune.data.demo.text_talks import THINGS, number, talk
from palitune.data.example import Example

YES, NO = "yes", "no"
WORD = re.compile(r"[ァ-ヶー]{2,}|[一-龠]{2,}|[A-Za-z]{4,}")
# What a review says, by the demo's label for it, in words that are not the demo's.
OPINIONS = {sentiment.POSITIVE: "again", sentiment.NORMAL: "who knows", sentiment.NEGATIVE: "never"}
OPINION_QUESTIONS = {
    JAPANESE: ("この人はまた来ますか。", "もう一度選ぶでしょうか。"),
    ENGLISH: ("would the writer come again?", "again or never?"),
}
MENTION_QUESTIONS = {
    JAPANESE: ("「{word}」という言葉はありますか。", "{word}は出てきますか。"),
    ENGLISH: ("does it say {word}?", "is the word {word} in it?"),
}
TOPIC_QUESTIONS = {
    JAPANESE: ("何の話ですか。", "話題は何ですか。"),
    ENGLISH: ("what is it about?", "name the topic"),
}
ABOUT_QUESTIONS = {
    JAPANESE: ("{topic}の話ですか。", "話題は{topic}ですか。"),
    ENGLISH: ("is it about {topic}?", "is {topic} the topic?"),
}
CODE_QUESTIONS = {
    JAPANESE: ("{code}の規則では問題ないですか。", "{code}の規則に合いますか。"),
    ENGLISH: ("is this text fine by the {code} code?", "does this text keep the {code} code?"),
}
SIGN_QUESTIONS = {
    JAPANESE: ("{system}の印は何ですか。", "{system}の印で書いてください。"),
    ENGLISH: ("what is it in {system} signs?", "write it in {system} signs"),
}
SAYING = {JAPANESE: "「{word}」と言ってください。", ENGLISH: "say {word}"}
REPEATING = {JAPANESE: "くり返し: ", ENGLISH: "repeat: "}
GOING_ON = {JAPANESE: "続き: ", ENGLISH: "go on: "}
JAPANESE_TOPICS = dict(
    zip(
        emoji.TOPICS,
        (
            *(
                "誕生日",
                "コーヒー",
                "ラーメン",
                "料理",
                "太陽",
                "雨",
                "雪",
                "桜",
                "飛行機",
                "サッカー",
                "ゲーム",
                "音楽",
            ),
            *("本", "コンピューター", "眠り", "涙", "怒り", "笑い", "愛", "情熱", "家族", "猫", "お礼", "別れ", "運動"),
        ),
        strict=True,
    )
)
DOMAINS = ("food", "lodging", "things", "stories", "service")  # in the order of the reviews'
SIGNS = "🍎🍌🍇🥕🧀🚲🚀🚢🌙⭐🌲🍀🐶🐸🦊🐼🐝🐟🎈🎁🔑⏰📌🧲🪁🏺🧵🪑🎺🥁🧩🪙"
SYSTEMS = ("Tosgi", "Munka", "Feldu", "Rafa")
BYTES = ((0x4E00, 0x9FA0), (0x1F300, 0x1F5FF), (0x3B1, 0x3C9), (0xC0, 0xFF))  # characters that have no piece


def _asked(text: str, questions: Sequence[str], answer: str, rng: np.random.Generator, **words: str) -> Example:
    return Example.of(None, pick(questions, rng).format(**words), answer, text=text)


def _truth(rng: np.random.Generator) -> bool:
    return bool(rng.random() < 0.5)


def _any_text(rng: np.random.Generator, language: str) -> str:
    kind = int(rng.integers(3))
    if kind == 0:
        return sentiment.review(pick(tuple(sentiment.SHARES), rng), rng, language)
    if kind == 1:
        return emoji.tweet(pick(tuple(emoji.TOPICS), rng), rng, language)
    return toxicity.post(_flags(rng), rng, language)


def _flags(rng: np.random.Generator) -> list[str]:
    """Labels of a post: none, one, two or three of them."""
    count = int(rng.choice(4, p=(0.3, 0.45, 0.2, 0.05)))
    return [str(name) for name in rng.choice(toxicity.LABELS, count, replace=False)]


def mention(rng: np.random.Generator, language: str) -> Example:
    """Whether a word is in a text."""
    text, truth = _any_text(rng, language), _truth(rng)
    other = text if truth else _any_text(rng, language)
    words = [word for word in WORD.findall(other) if (word.lower() in text.lower()) == truth]
    if not words:
        return mention(rng, language)
    return _asked(text, MENTION_QUESTIONS[language], YES if truth else NO, rng, word=pick(words, rng).lower())


def opinion(rng: np.random.Generator, language: str) -> Example:
    """Whether the writer of a review would come again; without a question, what the review is about too."""
    label = pick(tuple(sentiment.SHARES), rng)
    text = sentiment.review(label, rng, language)
    if _truth(rng):
        return _asked(text, OPINION_QUESTIONS[language], OPINIONS[label], rng)
    return Example.of(None, "", OPINIONS[label], text=text)


def topic(rng: np.random.Generator, language: str) -> Example:
    """The topic of a tweet in a word of either language, or whether it is a certain one."""
    name, kind = pick(tuple(emoji.TOPICS), rng), rng.random()
    text, asked = emoji.tweet(name, rng, language), pick(LANGUAGES, rng)
    named = JAPANESE_TOPICS if asked == JAPANESE else {one: one for one in emoji.TOPICS}
    if kind < 0.3:
        return Example.of(None, "", name, text=text)
    if kind < 0.7:
        return _asked(text, TOPIC_QUESTIONS[asked], named[name], rng)
    truth = _truth(rng)
    other = name if truth else pick([one for one in emoji.TOPICS if one != name], rng)
    return _asked(text, ABOUT_QUESTIONS[asked], YES if truth else NO, rng, topic=named[other])


def _codes() -> dict[str, tuple[str, frozenset[str], bool]]:
    """Name: (kind of text, what the code is about, whether it demands that; else it forbids it)."""
    pairs = [("post", frozenset(pair)) for pair in itertools.combinations(toxicity.LABELS, 2)]
    pairs += [("review", frozenset(pair)) for pair in itertools.combinations(sentiment.SHARES, 2)]
    names = list(emoji.TOPICS)
    pairs += [("tweet", frozenset(names[start::5])) for start in range(5)]
    both = [(kind, about, demanded) for kind, about in pairs for demanded in (False, True)]
    return dict(zip(LAWS, both, strict=False))


CODES = _codes()


def code(rng: np.random.Generator, language: str) -> Example:
    """Whether a text is fine by a made-up code, which forbids or demands one of two things or more."""
    name = pick(tuple(CODES), rng)
    kind, about, demanded = CODES[name]
    truth = _truth(rng)
    inside = truth == demanded  # whether the text is one of those that the code is about
    if kind == "review":
        label = pick([one for one in sentiment.SHARES if (one in about) == inside], rng)
        text = sentiment.review(label, rng, language)
    elif kind == "tweet":
        text = emoji.tweet(pick([one for one in emoji.TOPICS if (one in about) == inside], rng), rng, language)
    else:
        flags = _flags(rng)
        while bool(about.intersection(flags)) != inside:
            flags = _flags(rng)
        text = toxicity.post(flags, rng, language)
    return _asked(text, CODE_QUESTIONS[pick(LANGUAGES, rng)], YES if truth else NO, rng, code=name)


def _signs() -> dict[str, dict[str, str]]:
    """System: topic: its sign, one to three code points."""
    rng = np.random.default_rng(0)
    joints = ("", emoji.JOINER, emoji.SELECTOR, emoji.LIGHT, emoji.MEDIUM)
    return {
        system: {
            name: "".join(pick(SIGNS, rng) + pick(joints, rng) for _ in range(int(rng.integers(1, 3))))
            for name in emoji.TOPICS
        }
        for system in SYSTEMS
    }


MEANINGS = _signs()


def sign(rng: np.random.Generator, language: str) -> Example:
    """The topic of a tweet in made-up signs."""
    name, system = pick(tuple(emoji.TOPICS), rng), pick(SYSTEMS, rng)
    text, questions = emoji.tweet(name, rng, language), SIGN_QUESTIONS[pick(LANGUAGES, rng)]
    return _asked(text, questions, MEANINGS[system][name], rng, system=system)


def vocabulary() -> tuple[str, ...]:
    """Words that are repeated: those of the texts and the demo's labels, and emoji."""
    words = {*toxicity.LABELS, "positive", "normal", "negative", "1", "0", "-1", *OPINIONS.values(), *DOMAINS}
    words |= {*emoji.TOPICS, *JAPANESE_TOPICS.values(), *(one.emoji for one in emoji.TOPICS.values()), *SIGNS}
    for language in LANGUAGES:
        words |= {*chat.PRODUCTS[language], *THINGS[language]["thing"], YES, NO}
        for domain in sentiment.DOMAINS[language]:
            words |= {*domain.subjects, *domain.good, *domain.bad}
    return tuple(sorted(words))


def repetition(rng: np.random.Generator, language: str) -> Example:
    """Words, numbers, emoji and characters that have no piece, to be said again."""
    said = []
    for _ in range(int(rng.integers(1, 6))):
        kind = rng.random()
        if kind < 0.65:
            said.append(pick(WORDS, rng))
        elif kind < 0.85:
            said.append(number(rng))
        else:
            said.append("".join(chr(int(rng.integers(*pick(BYTES, rng)))) for _ in range(int(rng.integers(1, 3)))))
    text = " ".join(said)
    return Example.of(None, REPEATING[language] + text, text)


def saying(rng: np.random.Generator, language: str) -> Example:
    """A word to be said whatever the text is."""
    word = pick(WORDS, rng)
    return _asked(_any_text(rng, language), [SAYING[language]], word, rng, word=word)


def continuation(rng: np.random.Generator, language: str) -> Example:
    """The end of a sentence of which the beginning is given, as the customers and the support of a shop say them."""
    turns = chat.chat(rng, language)["messages"]
    sentence = str(pick(turns[1:], rng)["content"])
    places = [place for place in range(1, len(sentence)) if language == JAPANESE or sentence[place] == " "]
    if not places:
        return continuation(rng, language)
    place = pick(places, rng)
    return Example.of(None, GOING_ON[language] + sentence[:place], sentence[place:].strip())


WORDS = vocabulary()
Exercise = Callable[[np.random.Generator, str], Example]
SHARES: dict[Exercise, float] = {
    mention: 0.09,
    opinion: 0.15,
    topic: 0.14,
    code: 0.25,
    sign: 0.1,
    saying: 0.03,
    repetition: 0.08,
    continuation: 0.08,
    talk: 0.08,
}


def exercise(rng: np.random.Generator) -> Example:
    """One exercise of any kind, in either language."""
    kinds = tuple(SHARES)
    return kinds[int(rng.choice(len(kinds), p=tuple(SHARES.values())))](rng, pick(LANGUAGES, rng))


def lines(rng: np.random.Generator) -> list[str]:
    """Texts for the tokenizer: an exercise without characters that are to have no piece, and texts of the demo."""
    kind = pick([one for one in SHARES if one is not repetition], rng)
    one, language = kind(rng, pick(LANGUAGES, rng)), pick(LANGUAGES, rng)
    told = [text for message in one.messages for text in (message.text, *message.contents) if text]
    shop = [str(turn["content"]) for turn in chat.chat(rng, language)["messages"]]
    asked = pick(tuple(toxicity.QUESTIONS.values()), rng)
    return [*told, *filter(None, [one.label]), *shop, asked, pick(WORDS, rng), REPEATING[language]]
