"""Demo data for many classes: tweets in Japanese and English, each answered by one of 25 emoji.

Several of the emoji are sequences of code points (with a variation selector, a skin tone, or joined by U+200D), and one
is the beginning of another. A tweet that speaks of two things is answered by the emoji of the second.
"""

import functools
from typing import NamedTuple

import numpy as np

from palitune.data.demo.sentences import ENGLISH, JAPANESE, LANGUAGES, capitalised, new, pick, shared_out

EACH = 10  # tweets for each emoji, by default
SELECTOR, JOINER = "\N{VARIATION SELECTOR-16}", "\N{ZERO WIDTH JOINER}"
LIGHT, MEDIUM = "\N{EMOJI MODIFIER FITZPATRICK TYPE-1-2}", "\N{EMOJI MODIFIER FITZPATRICK TYPE-4}"
HEART = "\N{HEAVY BLACK HEART}" + SELECTOR
SECOND = 0.12  # share of tweets that speak of something else first


class Topic(NamedTuple):
    """What a tweet is about.

    Attributes:
      emoji: answers it.
      japanese, english: what is said about it.
    """

    emoji: str
    japanese: tuple[str, ...]
    english: tuple[str, ...]

    def clauses(self, language: str) -> tuple[str, ...]:
        """What is said about it in one of the languages."""
        return self.japanese if language == JAPANESE else self.english


TOPICS = {
    "birthday": Topic(
        "\N{BIRTHDAY CAKE}",
        ("誕生日おめでとう", "誕生日のケーキを買った", "二十歳になった", "ろうそくを消した"),
        ("happy birthday", "we bought a birthday cake", "I turned twenty", "she blew out the candles"),
    ),
    "coffee": Topic(
        "\N{HOT BEVERAGE}",
        ("コーヒーを飲んだ", "カフェで一休み", "コーヒー豆を買った", "ラテを頼んだ"),
        ("a cup of coffee", "a break in the cafe", "I bought coffee beans", "one more latte"),
    ),
    "ramen": Topic(
        "\N{STEAMING BOWL}",
        ("ラーメンを食べた", "麺を大盛りにした", "味噌ラーメンの店に行った", "スープまで飲んだ"),
        ("I had ramen", "extra noodles", "the ramen shop by the station", "noodles in hot soup"),
    ),
    "cooking": Topic(
        f"\N{WOMAN}{JOINER}\N{COOKING}",
        ("夕食を作った", "新しい料理を覚えた", "母と料理した", "卵を焼いた"),
        ("I cooked dinner", "I learned a new recipe", "cooking with my mother", "I fried some eggs"),
    ),
    "sun": Topic(
        f"\N{BLACK SUN WITH RAYS}{SELECTOR}",
        ("いい天気だ", "空が青い", "日焼けした", "朝から晴れている"),
        ("what lovely weather", "the sky is blue", "I got a tan", "sunshine all day"),
    ),
    "rain": Topic(
        "\N{UMBRELLA WITH RAIN DROPS}",
        ("雨が降ってきた", "傘を忘れた", "梅雨に入った", "靴がびしょぬれだ"),
        ("it started to rain", "I forgot my umbrella", "the rainy season", "my shoes are wet"),
    ),
    "snow": Topic(
        f"\N{SNOWFLAKE}{SELECTOR}",
        ("雪が積もった", "初雪だ", "スキーに行った", "雪だるまを作った"),
        ("everything is white with snow", "the first snow", "we went skiing", "we built a snowman"),
    ),
    "blossom": Topic(
        "\N{CHERRY BLOSSOM}",
        ("桜が咲いた", "花見をした", "春が来た", "桜の写真を撮った"),
        ("the cherry trees bloom", "a picnic under the blossoms", "spring is here", "a photo of cherry blossoms"),
    ),
    "plane": Topic(
        f"\N{AIRPLANE}{SELECTOR}",
        ("空港に着いた", "飛行機に乗る", "海外旅行に行く", "機内食を食べた"),
        ("I am at the airport", "we board the plane", "a trip abroad", "the flight is on time"),
    ),
    "football": Topic(
        "\N{SOCCER BALL}",
        ("サッカーの試合に勝った", "ゴールを決めた", "サッカー部に入った", "日本代表を応援した"),
        ("we won the football match", "I scored a goal", "football practice", "we cheered for our team"),
    ),
    "games": Topic(
        "\N{VIDEO GAME}",
        ("ゲームを始めた", "最後のボスを倒した", "一日中ゲームをした", "レベルが上がった"),
        ("I started a new game", "I beat the last boss", "video games all day", "I reached the next level"),
    ),
    "music": Topic(
        "\N{MUSICAL NOTE}",
        ("新曲を聴いた", "ライブに行った", "ギターを弾いた", "カラオケで歌った"),
        ("I listen to the new song", "at the concert", "I played the guitar", "singing karaoke"),
    ),
    "books": Topic(
        "\N{BOOKS}",
        ("図書館で勉強した", "小説を読み終えた", "試験の勉強をした", "本を三冊借りた"),
        ("studying in the library", "I finished the novel", "I study for the exam", "I borrowed three books"),
    ),
    "computer": Topic(
        f"\N{ADULT}{JOINER}\N{PERSONAL COMPUTER}",
        ("プログラムを書いた", "バグを直した", "コードを読んだ", "家で仕事をした"),
        ("I wrote a program", "I fixed the bug", "I read the code", "working from home"),
    ),
    "sleep": Topic(
        "\N{SLEEPING FACE}",
        ("眠い", "もう寝る", "昼寝した", "布団から出られない"),
        ("I am so sleepy", "time for bed", "I took a nap", "I cannot get out of bed"),
    ),
    "tears": Topic(
        "\N{CRYING FACE}",
        ("涙が出た", "振られた", "財布をなくした", "悲しい知らせが来た"),
        ("I cried", "she left me", "I lost my wallet", "such sad news"),
    ),
    "anger": Topic(
        "\N{POUTING FACE}",
        ("腹が立つ", "許せない", "約束を破られた", "もう我慢できない"),
        ("I am furious", "this is unfair", "he broke his promise", "I have had enough"),
    ),
    "laughter": Topic(
        "\N{FACE WITH TEARS OF JOY}",
        ("笑いが止まらない", "爆笑した", "冗談がうますぎる", "お腹が痛いほど笑った"),
        ("I cannot stop laughing", "that joke was great", "we laughed so hard", "the funniest thing ever"),
    ),
    "love": Topic(
        HEART,
        ("大好きだよ", "愛している", "ずっと一緒にいたい", "彼女と手をつないだ"),
        ("I love you", "you mean so much to me", "together for ever", "holding hands with him"),
    ),
    "passion": Topic(
        f"{HEART}{JOINER}\N{FIRE}",
        ("胸が燃える", "情熱が止まらない", "燃えるような恋だ", "心に火がついた"),
        ("my heart is on fire", "burning with passion", "so passionate", "a burning heart"),
    ),
    "family": Topic(
        f"\N{MAN}{JOINER}\N{WOMAN}{JOINER}\N{GIRL}",
        ("家族で出かけた", "両親が来た", "娘が生まれた", "親子三人で遊んだ"),
        ("a day with the family", "my parents came", "our daughter was born", "with my wife and daughter"),
    ),
    "cat": Topic(
        "\N{CAT FACE}",
        ("猫が膝に乗った", "子猫を拾った", "猫カフェに行った", "うちの猫が鳴いた"),
        ("the cat sat on my lap", "we found a kitten", "at the cat cafe", "my cat says meow"),
    ),
    "thanks": Topic(
        f"\N{PERSON WITH FOLDED HANDS}{MEDIUM}",
        ("ありがとうございます", "感謝しかない", "お世話になりました", "手伝ってくれて助かった"),
        ("thank you so much", "I am grateful", "thanks for everything", "thanks for your help"),
    ),
    "goodbye": Topic(
        f"\N{WAVING HAND SIGN}{LIGHT}",
        ("また明日", "さようなら", "そろそろ帰る", "ばいばい"),
        ("see you tomorrow", "goodbye everyone", "I am leaving now", "bye bye"),
    ),
    "gym": Topic(
        f"\N{FLEXED BICEPS}{MEDIUM}",
        ("ジムに行った", "筋トレを続けた", "腕立て伏せを百回した", "体を鍛えた"),
        ("at the gym", "I lift weights", "a hundred push-ups", "training every day"),
    ),
}
OPENERS = {
    JAPANESE: ("", "", "今日、", "今朝、", "さっき、", "やっと", "ついに", "日曜日、"),
    ENGLISH: ("", "", "today: ", "this morning: ", "just now: ", "finally, ", "at last, ", "sunday: "),
}
ENDS = {JAPANESE: ("", "。", "！", "〜", "…"), ENGLISH: ("", ".", "!", "!!", "...")}  # noqa: RUF001
TURNS = {JAPANESE: ("。でも", "。それより", "。そして"), ENGLISH: (", but ", ". and then, ", ". anyway, ")}


def tweet(topic: str, rng: np.random.Generator, language: str | None = None) -> str:
    """A tweet about a topic, in one of the two languages."""
    language = language or pick(LANGUAGES, rng)
    text = pick(OPENERS[language], rng)
    if rng.random() < SECOND:
        other = pick([name for name in TOPICS if name != topic], rng)
        text += pick(TOPICS[other].clauses(language), rng) + pick(TURNS[language], rng)
    text += pick(TOPICS[topic].clauses(language), rng) + pick(ENDS[language], rng)
    return capitalised(text) if rng.random() < 0.5 else text


def draw(count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """`count` times `(tweet, emoji)`, of all emoji the same number if `count` is a multiple of theirs."""
    topics = [str(topic) for topic in rng.permutation(shared_out(count, dict.fromkeys(TOPICS, 1 / len(TOPICS))))]
    seen: set[str] = set()
    return [(new(functools.partial(tweet, topic, rng), seen), TOPICS[topic].emoji) for topic in topics]
