"""Demo data for chats: the support of a shop, in Japanese and English, as `messages`.

The assistant answers by fixed forms into which it copies the product or the number that was named, in the same turn or
in an earlier one. Some of its turns are bad answers; they have the weight 0, so that nothing is learned from them.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from palitune.data.demo.sentences import ENGLISH, JAPANESE, LANGUAGES, fill, pick

SEVERAL = 0.5  # share of chats that go on behind the first question
BAD = 0.06  # share of the assistant's turns that are bad answers
Turn = dict[str, str | int]
Chat = dict[str, list[Turn]]


class Exchange(NamedTuple):
    """What the user says and what the assistant answers.

    Attributes:
      asked: ways to say it; a product is `{product}`, a number `{number}`.
      answer: the only right answer.
      further: questions that go on from it, with their answers.
    """

    asked: tuple[str, ...]
    answer: str
    further: tuple[tuple[str, str], ...] = ()


EXCHANGES = {
    JAPANESE: (
        Exchange(
            ("注文{number}はどこですか。", "注文番号{number}がまだ届きません。", "{number}の状況を教えてください。"),
            "ご注文{number}は発送済みです。二日後に届きます。",
            (
                ("届く時間は選べますか。", "はい。ご注文{number}は午前か午後を選べます。"),
                ("送料はいくらですか。", "ご注文{number}の送料は無料です。"),
            ),
        ),
        Exchange(
            ("注文{number}を取り消してください。", "{number}をキャンセルしたいです。"),
            "ご注文{number}を取り消しました。",
            (("返金はいつですか。", "ご注文{number}の返金は五日以内です。"),),
        ),
        Exchange(
            ("{product}が壊れていました。", "届いた{product}が動きません。", "{product}に傷があります。"),
            "{product}の件、申し訳ございません。新しい{product}をお送りします。",
            (("古い方はどうしますか。", "古い{product}はそのまま処分してください。"),),
        ),
        Exchange(
            ("{product}はありますか。", "{product}の在庫を教えてください。", "{product}を探しています。"),
            "はい、{product}は在庫がございます。",
            (("取り置きできますか。", "はい、{product}を三日間お取り置きします。"),),
        ),
        Exchange(("営業時間を教えてください。", "何時まで開いていますか。"), "営業時間は午前九時から午後六時です。"),
    ),
    ENGLISH: (
        Exchange(
            ("Where is my order {number}?", "Order {number} has not come yet.", "What is the status of {number}?"),
            "Your order {number} has been sent. It arrives in two days.",
            (
                ("Can I choose the time?", "Yes, order {number} can come in the morning or in the afternoon."),
                ("What is the postage?", "The postage of order {number} is free."),
            ),
        ),
        Exchange(
            ("Please cancel order {number}.", "I want to cancel {number}."),
            "Your order {number} has been cancelled.",
            (("When do I get my money back?", "The money for order {number} comes within five days."),),
        ),
        Exchange(
            ("The {product} was broken.", "My new {product} does not work.", "There is a scratch on the {product}."),
            "I am sorry about the {product}. We will send you a new {product}.",
            (("What do I do with the old one?", "Please throw the old {product} away."),),
        ),
        Exchange(
            ("Do you have the {product}?", "Is the {product} in stock?", "I am looking for the {product}."),
            "Yes, the {product} is in stock.",
            (("Can you keep one for me?", "Yes, we will keep the {product} for three days."),),
        ),
        Exchange(("When are you open?", "What are your opening hours?"), "We are open from nine to six."),
    ),
}
PRODUCTS = {
    JAPANESE: ("青いランプ", "赤いかばん", "白い時計", "黒い椅子", "急須", "掃除機", "本棚", "毛布", "鏡", "傘"),
    ENGLISH: ("blue lamp", "red bag", "white clock", "black chair", "teapot", "vacuum", "shelf", "blanket", "mirror"),
}
SYSTEMS = {
    JAPANESE: ("あなたは雑貨店の窓口です。丁寧に答えてください。", "あなたは店の案内係です。短く答えてください。"),
    ENGLISH: ("You are the support of a small shop. Be polite.", "You answer the customers of a shop. Be brief."),
}
GREETINGS = {
    JAPANESE: (("こんにちは。", "もしもし。"), "こんにちは。ご用件をどうぞ。"),
    ENGLISH: (("Hello.", "Hi there."), "Hello, how can I help you?"),
}
THANKS = {
    JAPANESE: (("ありがとう。", "分かりました。"), "またのご利用をお待ちしております。"),
    ENGLISH: (("Thank you.", "All right."), "You are welcome. Have a nice day."),
}
BAD_ANSWERS = {
    JAPANESE: ("知りません。", "自分で調べてください。"),
    ENGLISH: ("No idea.", "Find it out yourself."),
}


def _said(role: str, content: str) -> Turn:
    return {"role": role, "content": content}


def _answered(language: str, content: str, rng: np.random.Generator) -> Turn:
    if rng.random() < BAD:
        return {**_said("assistant", pick(BAD_ANSWERS[language], rng)), "weight": 0}
    return _said("assistant", content)


def chat(rng: np.random.Generator, language: str | None = None) -> Chat:
    """One chat: a system turn, then one to four questions with their answers, the last of which is a right one."""
    language = language or pick(LANGUAGES, rng)
    exchange = pick(EXCHANGES[language], rng)
    words: Mapping[str, list[str]] = {
        "product": [pick(PRODUCTS[language], rng)],
        "number": ["".join(map(str, rng.integers(0, 10, 5)))],
    }
    said = [(pick(exchange.asked, rng), exchange.answer)]
    if rng.random() < SEVERAL:
        (greetings, greeting), (thanks, bye) = GREETINGS[language], THANKS[language]
        if rng.random() < 0.4:
            said.insert(0, (pick(greetings, rng), greeting))
        if exchange.further:
            said.append(pick(exchange.further, rng))
        if rng.random() < 0.5:
            said.append((pick(thanks, rng), bye))
    turns = [_said("system", pick(SYSTEMS[language], rng))]
    for place, (asked, answer) in enumerate(said):
        turns.append(_said("user", fill(asked, words, rng)))
        right = fill(answer, words, rng)
        turns.append(_said("assistant", right) if place == len(said) - 1 else _answered(language, right, rng))
    return {"messages": turns}


def draw(count: int, rng: np.random.Generator) -> list[Chat]:
    """`count` chats."""
    return [chat(rng) for _ in range(count)]
