"""Texts that know what they are made of, written down and read again."""

import copy
import json
import pickle

import pytest

from palitune.sentence import Sentence, listed, recalled

INNER = Sentence("%(count)d of %(share).2f %%", count=3, share=0.125)
OUTER = Sentence('%(seen)s: "%(label)s", %(rate)g', seen=INNER, label="100% {x} %(y)s", rate=0.03)


def test_a_sentence_is_its_text() -> None:
    assert OUTER == '3 of 0.12 %: "100% {x} %(y)s", 0.03'
    assert json.dumps({"what": OUTER}) == json.dumps({"what": str.__str__(OUTER)})
    assert {OUTER: 1}['3 of 0.12 %: "100% {x} %(y)s", 0.03'] == 1


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_knows_as_much(again: object) -> None:
    made = again(OUTER)  # type: ignore[operator]
    assert (made, made.template, made.values) == (OUTER, OUTER.template, OUTER.values)
    assert made.values["seen"].values == {"count": 3, "share": 0.125}


def test_what_was_written_down_is_recalled() -> None:
    found = recalled(str.__str__(OUTER), json.loads(json.dumps(OUTER.as_json())))
    assert isinstance(found, Sentence)
    assert (found, found.template) == (OUTER, OUTER.template)
    assert isinstance(found.values["seen"], Sentence)


HOSTILE = [
    None,
    "x",
    [],
    {},
    {"template": "a"},
    {"template": "a", "values": []},
    {"template": 7, "values": {}},
    {"template": "%(x)s", "values": {}},
    {"template": "%(x)s", "values": {"x": "b"}},  # another text
    {"template": "%(x)d", "values": {"x": "a"}},
    {"template": "%(x)d", "values": {"x": float("inf")}},
    {"template": "%(x)999999999d", "values": {"x": 1}},
    {"template": "%(x).999999999f", "values": {"x": 1.0}},
    {"template": "%(x)*d", "values": {"x": 1}},
    {"template": "%s", "values": {"x": 1}},
    {"template": "a%", "values": {}},
    {"template": "%(x)s" * 900, "values": {"x": "a"}},
    {"template": "%(x)s" * 100, "values": {"x": "a" * 100_000}},
    {"template": "%(x)s", "values": {"x": {"template": "%(y)999999999d", "values": {"y": 1}}}},
    {"template": "a", "values": {"template": 1}, "more": 2},
]


@pytest.mark.parametrize("content", HOSTILE[:-1], ids=range(len(HOSTILE) - 1))
def test_what_is_no_sentence_is_a_text(content: object) -> None:
    found = recalled("a", content)
    assert found == "a"
    assert not isinstance(found, Sentence)


def test_much_that_is_nested() -> None:
    content: object = {"template": "a", "values": {}}
    for _ in range(100_000):
        content = {"template": "%(x)s", "values": {"x": content}}
    assert recalled("b", content) == "b"


def test_lists_are_those_of_messages() -> None:
    from palitune import errors

    for count in (1, 2, 5, 6, 1_200):
        items = [str(number) for number in range(count)]
        assert listed(items) == errors.listed(items)
