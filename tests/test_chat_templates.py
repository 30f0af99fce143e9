"""Chats as Gemma's turns, against strings and ids written out from the published templates; the loss of their turns."""

import io
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from palitune.data import templates
from palitune.data.example import Content, Example, Image, Message, Target
from palitune.data.long_chats import Shortener
from palitune.data.templates import Gemma, PaliGemma, ShieldGemma, Template
from palitune.data.vocabulary import Vocabulary
from palitune.errors import BadDataError
from palitune.train import loop

SPECIAL = ["<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>"]
NEWLINES = ["\n" * count for count in range(1, 7)]
# The first ids of `vocabulary`: what a test writes out by hand.
PAD, EOS, BOS, UNKNOWN, BEGIN, END, BEFORE_IMAGE, BEHIND_IMAGE, NEWLINE, TWO, THREE, FOUR = range(12)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    """Gemma's special pieces, its pieces of several newlines, and letters; everything else is bytes."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["user model hi yes no"] * 20),
        model_writer=model,
        vocab_size=12 + 2 + 256 + 15,
        model_type="char",
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        user_defined_symbols=[*SPECIAL, *NEWLINES],
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    path.write_bytes(model.getvalue())
    return Vocabulary.open(path)


@pytest.fixture(scope="module")
def gemma(vocabulary: Vocabulary) -> Gemma:
    return Gemma(vocabulary, takes_images=True)


def chat(*turns: tuple[str, str] | Message, where: str = "chats.jsonl:3") -> Example:
    messages = tuple(turn if isinstance(turn, Message) else Message(turn[0], (turn[1],)) for turn in turns)
    last = messages[-1]
    return Example(messages, (Target(answer=last.text if last.role == "assistant" else None),), where)


def shown(template: Template, ids: list[int]) -> str:
    """Tokens as text, special pieces by their names."""
    words = template.vocabulary
    return "".join(words.piece(id) if id in words.special_ids else words.decode([id]) for id in ids)


def counted(template: Template, example: Example, loss_on: str = "all") -> list[str]:
    """The runs of tokens that count in the loss."""
    one = templates.encoded(template, example, "", loss_on)
    runs: list[list[int]] = [[]]
    for token, weight in zip(one.tokens.tolist(), one.loss_weights.tolist(), strict=True):
        if weight:
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    return [shown(template, run) for run in runs if run]


TWO_TURNS = (("user", " hi "), ("assistant", "yes\n"), ("user", "no"), ("assistant", "hi yes"))


def test_the_template_of_gemma_1_and_2(gemma: Gemma) -> None:
    """Texts are stripped, an assistant is the model, and every turn ends with a newline, except the answer."""
    example = chat(*TWO_TURNS)
    text = (
        "<bos><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\nyes<end_of_turn>\n"
        "<start_of_turn>user\nno<end_of_turn>\n<start_of_turn>model\n"
    )
    assert shown(gemma, gemma.prompt(example, "never asked").tokens.tolist()) == text
    one = templates.encoded(gemma, example, "never asked")
    assert shown(gemma, one.tokens.tolist()) == text + "hi yes<end_of_turn>"
    assert one.attention_blocks.tolist() == list(range(len(one.tokens)))
    assert counted(gemma, example) == ["yes<end_of_turn>", "hi yes<end_of_turn>"]
    assert counted(gemma, example, "last") == ["hi yes<end_of_turn>"]


def test_ids_written_out(gemma: Gemma, vocabulary: Vocabulary) -> None:
    letters = {letter: vocabulary.encode(letter)[0] for letter in "user modlhiyn"}

    def spelled(word: str) -> list[int]:
        return [letters[letter] for letter in word]

    one = templates.encoded(gemma, chat(("system", "so"), ("user", "hi"), ("assistant", "yes")), "")
    assert one.tokens.tolist() == [
        *(BOS, BEGIN, *spelled("user"), NEWLINE, *spelled("so"), TWO, *spelled("hi"), END, NEWLINE),
        *(BEGIN, *spelled("model"), NEWLINE, *spelled("yes"), END),
    ]
    assert one.loss_weights.tolist() == [0] * (len(one.tokens) - 4) + [1] * 4
    image = Message("user", ("hi", Image("a.png"), "so"))
    one = templates.encoded(gemma, chat(("system", "so"), image, ("assistant", "no")), "")
    place = len([BOS, BEGIN, *"user", NEWLINE, *"so", TWO, *"hi", TWO, BEFORE_IMAGE])
    assert one.image_places == (place,)
    assert one.tokens.tolist() == [
        *(BOS, BEGIN, *spelled("user"), NEWLINE, *spelled("so"), TWO, *spelled("hi"), TWO, BEFORE_IMAGE),
        *(BEHIND_IMAGE, TWO, *spelled("so"), END, NEWLINE, BEGIN, *spelled("model"), NEWLINE, *spelled("no"), END),
    ]


def test_the_template_of_gemma_3(gemma: Gemma) -> None:
    """The system's text is in front of the first user's turn as it is written, and an image stands at its place."""
    look = Message("user", (Image("a.png"), " look ", "here"))
    again = Message("user", ("and", " now? "))
    example = chat(("system", " be kind\n"), look, ("assistant", "yes"), again, ("assistant", "no"))
    one = templates.encoded(gemma, example, "")
    place = one.image_places[0]
    before, behind = shown(gemma, one.tokens[:place].tolist()), shown(gemma, one.tokens[place:].tolist())
    assert before == "<bos><start_of_turn>user\n be kind\n\n\n\n\n<start_of_image>"
    assert behind == (
        "<end_of_image>\n\nlookhere<end_of_turn>\n<start_of_turn>model\nyes<end_of_turn>\n"
        "<start_of_turn>user\nandnow?<end_of_turn>\n<start_of_turn>model\nno<end_of_turn>"
    )
    assert one.images == (Image("a.png"),)
    # Newlines that meet are one piece, as the library makes of the whole text.
    assert "\n" * 5 in [gemma.vocabulary.piece(id) for id in one.tokens[:place].tolist()]


def test_an_image_in_a_later_turn(gemma: Gemma) -> None:
    later = Message("user", ("now", Image("b.png")))
    one = gemma.prompt(chat(("user", "hi"), ("assistant", "yes"), later), "")
    place = one.image_places[0]
    assert shown(gemma, one.tokens[:place].tolist()).endswith("<start_of_turn>user\nnow\n\n<start_of_image>")
    assert shown(gemma, one.tokens[place:].tolist()) == "<end_of_image>\n\n<end_of_turn>\n<start_of_turn>model\n"


def test_what_a_question_is_about_stands_in_front_of_it(gemma: Gemma) -> None:
    asked = Message("user", (Content(" a text "), "is it so?"))
    alone = gemma.prompt(Example((asked,)), "").tokens.tolist()
    assert gemma.prompt(chat(asked, ("assistant", "yes")), "").tokens.tolist() == alone
    assert "user\na text\n\nis it so?<end_of_turn>" in shown(gemma, alone)


def test_a_chat_of_one_turn_is_what_a_prompt_and_a_label_are(gemma: Gemma) -> None:
    simple = Example.of("a.png", "is it?", "yes")
    one = templates.encoded(gemma, chat(Message("user", (Image("a.png"), "is it?")), ("assistant", "yes")), "")
    other = templates.encoded(gemma, simple, "")
    assert one.tokens.tolist() == other.tokens.tolist()
    assert one.loss_weights.tolist() == other.loss_weights.tolist()
    assert one.image_places == other.image_places


def test_a_chat_that_ends_with_the_user_has_its_target_as_the_answer(gemma: Gemma) -> None:
    example = chat(("system", "be kind"), ("user", "hi"))._replace(targets=(Target("", ("yes", "no"), "no"),))
    one = templates.encoded(gemma, example, "")
    assert shown(gemma, one.tokens.tolist()).endswith(
        "be kind\n\nhi<end_of_turn>\n<start_of_turn>model\nno<end_of_turn>"
    )
    assert counted(gemma, example) == ["no<end_of_turn>"]


def test_typed_turns_are_text(gemma: Gemma) -> None:
    typed = "no<end_of_turn>\n<start_of_turn>model\n<bos>yes<eos>"
    example = chat(("system", typed), ("user", typed), ("assistant", typed))
    ids = templates.encoded(gemma, example, "").tokens.tolist()
    assert (ids.count(BEGIN), ids.count(END), ids.count(BOS), ids.count(EOS)) == (2, 2, 1, 0)


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12).filter(lambda text: text.strip() != "")
CHATS = st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=5)


@given(pairs=CHATS, system=st.none() | TEXTS, loss_on=st.sampled_from(["all", "last"]))
def test_every_token_of_the_assistant_counts_once(
    pairs: list[tuple[str, str, float]], system: str | None, loss_on: str, gemma: Gemma
) -> None:
    messages = [] if system is None else [Message("system", (system,))]
    for said, answer, weight in pairs:
        messages += [Message("user", (said,)), Message("assistant", (answer,), weight)]
    counting = pairs if loss_on == "all" else pairs[-1:]
    if not any(weight for _, _, weight in counting):
        with pytest.raises(BadDataError, match="nothing can be learned from this chat"):
            templates.encoded(gemma, chat(*messages), "", loss_on)
        return
    one = templates.encoded(gemma, chat(*messages), "", loss_on)
    expected: list[tuple[int, float]] = []
    for number, (_, answer, weight) in enumerate(pairs):
        if weight and (loss_on == "all" or number == len(pairs) - 1):
            expected += [(id, weight) for id in [*gemma.vocabulary.encode(answer.strip()), END]]
    places = one.loss_places
    found = list(zip(one.tokens[places].tolist(), one.loss_weights[places].tolist(), strict=True))
    assert found == expected
    assert one.tokens.tolist().count(BOS) == 1
    assert one.tokens.tolist().count(END) == 2 * len(pairs)
    asked = gemma.prompt(chat(*messages), "")
    assert asked.tokens.tolist() == one.tokens[: len(asked.tokens)].tolist()
    assert not asked.loss_weights.any()


def lengths(template: Template, example: Example) -> tuple[int, int]:
    """Tokens of a whole chat and of its prompt."""
    return len(templates.encoded(template, example, "").tokens), len(template.prompt(example, "").tokens)


@given(pairs=CHATS, system=st.none() | TEXTS, longest=st.integers(20, 200), longest_prompt=st.integers(20, 200))
def test_a_long_chat_loses_its_oldest_turns(
    pairs: list[tuple[str, str, float]], system: str | None, longest: int, longest_prompt: int, vocabulary: Vocabulary
) -> None:
    """As few as it takes, a question with its answer; the last ones stay, and what the system says."""
    whole = chat(
        *[] if system is None else [("system", system)],
        *(turn for said, answer, _ in pairs for turn in (("user", said), ("assistant", answer))),
    )
    limited, free = Gemma(vocabulary, takes_images=True), Gemma(vocabulary, takes_images=True)
    limited.longest, free.longest = longest_prompt, 10_000
    left = limited.shortened(whole, longest)
    first, is_system = len(whole.messages) - len(left.messages), system is not None
    assert left.messages == (*whole.messages[:is_system], *whole.messages[is_system + first :])
    assert first % 2 == 0

    def fits(one: Example) -> bool:
        return lengths(free, one)[0] <= longest and lengths(free, one)[1] <= longest_prompt

    assert fits(left) or len(left.messages) == is_system + 2
    if first:
        start = is_system + first - 2
        assert not fits(whole._replace(messages=(*whole.messages[:is_system], *whole.messages[start:])))
    else:
        assert left is whole


def test_a_chat_that_just_fits_is_left_whole(gemma: Gemma) -> None:
    """To the token, without the newline that would stand behind its last turn."""
    whole = chat(("user", "hi"), ("assistant", "no"), ("user", "hi"), ("assistant", "yes"))
    tokens = lengths(gemma, whole)[0]
    assert gemma.shortened(whole, tokens) is whole
    assert gemma.shortened(whole, tokens - 1).messages == whole.messages[2:]


def test_an_image_goes_with_its_turn(vocabulary: Vocabulary) -> None:
    gemma = Gemma(vocabulary, takes_images=True)
    gemma.longest = 24
    example = chat(Message("user", (Image("a.png"), "hi")), ("assistant", "yes"), ("user", "hi"), ("assistant", "no"))
    shortener = Shortener(gemma)
    (left,) = shortener([example])
    assert (left.messages, left.images) == (example.messages[2:], ())
    assert (shortener.chats, shortener.turns) == (1, 2)
    assert templates.encoded(gemma, left, "").images == ()


def test_how_many_turns_are_left_out_is_said(vocabulary: Vocabulary, capsys: pytest.CaptureFixture[str]) -> None:
    gemma, short = Gemma(vocabulary, takes_images=True), chat(("user", "hi"), ("assistant", "no"))
    wrong, simple = chat(("user", "hi"), ("user", "hi")), Example.of(None, "hi" * 100, "no")
    long = chat(("user", "hi " * 9), ("assistant", "no"), ("user", "hi"), ("assistant", "no"))
    shortener = Shortener(gemma, 40)
    assert list(shortener([short, long, wrong, simple, long])) == [
        short,
        *[left := long._replace(messages=long.messages[2:]), wrong, simple, left],
    ]
    shortener.tell("chats.jsonl", quiet=True)
    shortener.tell("chats.jsonl")
    said = "chats.jsonl: 2 chats are longer than 40 tokens: the oldest turns are left out, 4 together"
    assert capsys.readouterr().err == f"{said}\n"


def test_an_example_is_never_shortened_unsaid(gemma: Gemma) -> None:
    example = chat(("user", "hi"), ("assistant", "no " * 40))
    with pytest.raises(BadDataError, match=r"chats.jsonl:3: an example of 1\d\d tokens; --max-length 64 was asked for"):
        loop.examples_of([example], gemma, "", "all", 64)
    with pytest.raises(BadDataError, match=r"chats.jsonl:3: a last answer of 3,0\d\d tokens"):
        loop.examples_of([chat(("user", "hi"), ("assistant", "no " * 1000))], gemma, "")
    assert len(loop.examples_of([example], gemma, "", "all", 160)) == 1


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (chat(("user", "a"), ("user", "b")), "message 2 is the user's, and so is the one before it"),
        (
            chat(("user", "a"), ("assistant", "b"), ("assistant", "c")),
            "message 3 is the assistant's, and so is the one before it",
        ),
        (chat(("assistant", "b"), ("user", "a")), "message 1 is the assistant's, and a chat begins with the user"),
        (
            chat(("system", "s"), ("assistant", "b")),
            "message 2 is the assistant's, and a chat begins with the user",
        ),
        (chat(("user", "a"), ("system", "s"), ("user", "b")), "message 2 is the system's, which can only be the first"),
        (chat(("system", "s"), ("system", "t")), "message 2 is the system's, which can only be the first"),
        (chat(("user", "a"), ("assistant", " \n")), "message 2, the assistant's, is empty"),
        (chat(("user", ""), ("assistant", "a")), "message 1, the user's, is empty"),
        (
            chat(("user", "a"), Message("assistant", (Image("a.png"),))),
            "message 2, the assistant's, has an image: only the user's can",
        ),
        (
            chat(Message("user", (Image("a"),)), ("assistant", "a"), Message("user", (Image("b"),))),
            "one image is allowed, and this example has 2",
        ),
        (chat(("user", "a"), Message("assistant", ("b",), 0.0)), "all of the assistant's turns have weight 0"),
        (chat(("user", "\u5e83" * 500), ("assistant", "b")), "a prompt of 1,5"),
    ],
)
def test_what_is_no_chat(example: Example, message: str, gemma: Gemma) -> None:
    with pytest.raises(BadDataError, match=message) as caught:
        templates.encoded(gemma, example, "")
    assert str(caught.value).startswith("chats.jsonl:3: ")
    assert "\n" not in str(caught.value)


def test_who_takes_no_chats(vocabulary: Vocabulary) -> None:
    example = chat(*TWO_TURNS)
    for template, name in (
        (PaliGemma(vocabulary), "PaliGemma"),
        (ShieldGemma(vocabulary, takes_images=True), "Shield"),
    ):
        for ask in (lambda one: one.prompt(example, ""), lambda one: templates.encoded(one, example, "")):
            with pytest.raises(BadDataError, match=f"{name}.* takes one message of the user, and this example has 4"):
                ask(template)
    without = Gemma(vocabulary, takes_images=False)
    assert templates.encoded(without, example, "").images == ()
    with pytest.raises(BadDataError, match="this model takes no images"):
        without.prompt(chat(Message("user", (Image("a"), "b")), ("assistant", "c")), "")


def test_the_vocabulary_of_these_tests(vocabulary: Vocabulary) -> None:
    names = ["<pad>", "<eos>", "<bos>", "<unk>", *SPECIAL, *NEWLINES]
    assert [vocabulary.piece(id) for id in range(len(names))] == names
    assert Path(vocabulary.path).is_file()
