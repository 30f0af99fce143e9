"""Chats in a library and at a station, which the tiny text model is pretrained on; the demo's are about a shop."""

import numpy as np

from palitune.data.demo.sentences import ENGLISH, JAPANESE, fill, pick
from palitune.data.example import Example, Message

THINGS = {
    JAPANESE: {
        "colour": ("青い", "赤い", "白い", "黒い", "緑の", "古い", "小さい"),
        "thing": ("ランプ", "かばん", "時計", "椅子", "急須", "掃除機", "本棚", "毛布", "鏡", "傘", "帽子", "机", "靴"),
    },
    ENGLISH: {
        "colour": ("blue", "red", "white", "black", "green", "old", "small"),
        "thing": (
            *("lamp", "bag", "clock", "chair", "teapot", "vacuum", "shelf", "blanket", "mirror", "umbrella", "hat"),
            *("table", "shoe"),
        ),
    },
}
Said = tuple[tuple[str, ...], str, tuple[tuple[str, str], ...]]
TALKS: dict[str, tuple[Said, ...]] = {
    JAPANESE: (
        (
            ("{number}番の列車は遅れていますか。", "列車{number}はいつ出ますか。"),
            "列車{number}は一番線から出ます。",
            (
                ("次はありますか。", "はい、列車{number}の次は一時間後です。"),
                ("席はありますか。", "列車{number}は自由席です。"),
            ),
        ),
        (
            ("カード{number}をなくしました。", "{number}を止めてください。"),
            "カード{number}を止めました。",
            (("新しいのはいつですか。", "カード{number}の代わりは明日できます。"),),
        ),
        (
            ("{thing}を忘れました。", "{thing}を見ませんでしたか。"),
            "{thing}は忘れ物の窓口にあります。",
            (("いつまでですか。", "{thing}は一週間お預かりします。"),),
        ),
        (
            ("{thing}の本を借りたいです。", "{thing}の図鑑はありますか。"),
            "どうぞ、{thing}の本は二階の棚です。",
            (("いつ返しますか。", "{thing}の本は二週間後に返してください。"),),
        ),
        (("休みはいつですか。",), "休みは毎週月曜日です。", ()),
    ),
    ENGLISH: (
        (
            ("Is train {number} late?", "When does {number} leave?"),
            "Train {number} leaves from platform one.",
            (
                ("And the next one?", "Another follows train {number} in an hour."),
                ("A seat?", "Train {number} is free."),
            ),
        ),
        (
            ("I lost my card {number}.", "Please block {number}."),
            "Card {number} is blocked now.",
            (("When do I get a new one?", "A card in place of {number} is ready tomorrow."),),
        ),
        (
            ("I forgot my {thing}.", "Has anybody seen the {thing}?"),
            "The {thing} is in the lost property office.",
            (("For how long?", "We keep the {thing} for a week."),),
        ),
        (
            ("I would like a book on the {thing}.", "Is there a guide to the {thing}?"),
            "Here you are, the book on the {thing} is upstairs.",
            (("When do I bring it back?", "Please bring the book on the {thing} back in two weeks."),),
        ),
        (("When are you closed?",), "We are closed on Mondays.", ()),
    ),
}
ROLES = {
    JAPANESE: ("あなたは図書館の案内係です。", "あなたは駅の窓口です。"),
    ENGLISH: ("You help the readers of a library.", "You work at a station."),
}


def number(rng: np.random.Generator) -> str:
    """A number of three to six digits."""
    return "".join(map(str, rng.integers(0, 10, int(rng.integers(3, 7)))))


def talk(rng: np.random.Generator, language: str) -> Example:
    """A chat in a library or a station, whose answers repeat what was asked about."""
    asked, answer, further = pick(TALKS[language], rng)
    thing = fill("{colour}{thing}" if language == JAPANESE else "{colour} {thing}", THINGS[language], rng)
    words = {"number": [number(rng)], "thing": [thing if rng.random() < 0.5 else pick(THINGS[language]["thing"], rng)]}
    said = [(pick(asked, rng), answer)]
    said += [pick(further, rng) for _ in range(int(rng.integers(0, 3))) if further]
    messages = [Message("system", (pick(ROLES[language], rng),))] if rng.random() < 0.5 else []
    for question, right in said:
        messages += [
            Message("user", (fill(question, words, rng),)),
            Message("assistant", (fill(right, words, rng),)),
        ]
    return Example(tuple(messages))
