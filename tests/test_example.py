"""Examples: the simplest case, and everything else that they can hold."""

from pathlib import Path

import pytest

from palitune.data.example import NOWHERE, UNKNOWN, Example, Image, Message, Target, simple


def test_the_simplest_case() -> None:
    one = Example.of("images/a.jpg", "Allowed?", "yes")
    assert one.messages == (Message("user", (Image("images/a.jpg", Path("images/a.jpg")), "Allowed?")),)
    assert one.targets == (Target("", None, "yes"),)
    assert (one.image.name, one.prompt, one.label, one.where) == ("images/a.jpg", "Allowed?", "yes", "images/a.jpg")
    bare = Example.of("a.jpg")
    assert (bare.prompt, bare.label, bare.target) == ("", "", UNKNOWN)


def test_a_line_is_the_simplest_case() -> None:
    for prompt, label in (("", ""), ("Allowed?", "no"), ("", "c d")):
        one = simple("a.jpg", prompt, label, "d:1", {"image": "a.jpg"})
        assert one == Example.of("a.jpg", prompt, label, where="d:1", fields={"image": "a.jpg"}).with_image(
            path=NOWHERE
        )
        assert isinstance(one, Example)
        assert isinstance(one.messages[0], Message)
        assert isinstance(one.image, Image)


def test_another_file_for_an_image() -> None:
    one = simple("a.jpg", "Allowed?", "yes", "d:1")
    found = one.with_image(path=Path("x/a.jpg"))
    assert found.image == Image("a.jpg", Path("x/a.jpg"))
    assert found.with_image("b.jpg", NOWHERE) == simple("b.jpg", "Allowed?", "yes", "d:1")
    with pytest.raises(ValueError, match="has no image"):
        Example.of(prompt="Allowed?").with_image("b.jpg")
    with pytest.raises(ValueError, match="has no image"):
        _ = Example.of(prompt="Allowed?").image


def test_several_targets_choices_and_free_text() -> None:
    targets = (
        Target("allowed", ("yes", "no"), "no"),
        Target("emoji", tuple("😀😡😢"), "😡"),
        Target("why", None, "It shows a cross."),
        Target("price", ("low", "high")),
    )
    one = Example(Example.of("a.jpg", "Look.").messages, targets, "d:1")
    assert [target.name for target in one.targets] == ["allowed", "emoji", "why", "price"]
    assert (one.target.answer, one.label) == ("no", "no")
    assert one.targets[3].answer is None


def test_a_chat_of_several_turns_and_images() -> None:
    chat = Example(
        (
            Message("system", ("Be short.",)),
            Message("user", (Image("a.jpg"), "What is this?")),
            Message("assistant", ("A cat.",)),
            Message("user", ("And ", Image("b.jpg"), "this?")),
        ),
        (Target("", None, "A dog."),),
    )
    assert [image.name for image in chat.images] == ["a.jpg", "b.jpg"]
    assert (chat.image.name, chat.prompt, chat.label) == ("a.jpg", "And this?", "A dog.")
    text = Example((Message("user", ("Hello",)), Message("assistant", ("Hi",))), (Target("", None, "Hi"),))
    assert text.images == ()
