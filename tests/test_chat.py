"""`palitune chat`: through a shell, in a pipe and at a terminal."""

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY, Once, Run

from palitune import text_tables
from palitune.config.chat import ChatConfig
from palitune.data.conversation import Conversation
from palitune.data.example import Image, Message
from palitune.errors import UsageError

pytestmark = pytest.mark.quick_programs

QUESTIONS = "Is there a cross?\nwhat is it?\n\nand \t this?\n"
Chat = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run: Run, once: Once) -> Path:
    """A folder with drawn advertisements, and adapters that have learned a little of them on `tiny3`."""

    def make(folder: Path) -> None:
        learn = ("learn", "-d", "d/data.jsonl", "-m", "tiny3", "-w", "tuned", "--method", "lora", "--examples", "16")
        for command in (("demo-data", "--count", "12", "-o", "d"), (*learn, "-b", "4", "-r", "0.05")):
            done = run("palitune", *command, cwd=folder)
            assert done.returncode == 0, done.stderr

    return shutil.copytree(once("chat", make), tmp_path_factory.mktemp("chats") / "folder")


@pytest.fixture(scope="module")
def chat(run: Run, folder: Path) -> Chat:
    def chat(*options: str, said: str = QUESTIONS) -> "subprocess.CompletedProcess[str]":
        return run("palitune", "chat", *options, cwd=folder, stdin=said)

    return chat


def lines(done: "subprocess.CompletedProcess[str]") -> list[list[str]]:
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.split("\n")[:-1]]


def test_a_line_for_a_line(chat: Chat) -> None:
    """Each question is asked alone, so its answer is the same wherever it stands; blank lines are no questions."""
    options = ("-m", "tiny3", "--max-new-tokens", "6", "--quiet")
    found = lines(chat(*options))
    assert len(found) == 3
    assert all(len(fields) == 1 for fields in found)
    assert lines(chat(*options, said="".join(reversed(QUESTIONS.splitlines(keepends=True))))) == found[::-1]


def test_what_is_drawn_depends_on_the_seed(chat: Chat) -> None:
    options = ("-m", "tiny3", "--max-new-tokens", "12", "--quiet", "--temperature", "4", "--top-p", "0.99")
    first, same, other = (chat(*options, "--seed", seed).stdout for seed in ("1", "1", "2"))
    assert first == same != other
    assert first.count("\n") == 3  # line ends of an answer are escaped
    assert not re.search(r"[\r\t]", first)
    # One question draws other tokens than the next.
    assert len(set(chat(*options, said="x\n" * 4).stdout.splitlines())) > 1


def test_the_base_beside(chat: Chat) -> None:
    options = ("--max-new-tokens", "4", "--quiet")
    both = lines(chat("-m", "tuned", "--base", *options))
    tuned, base = lines(chat("-m", "tuned", *options)), lines(chat("-m", "tiny3", *options))
    assert both == [[*one, *other] for one, other in zip(tuned, base, strict=True)]
    done = chat("-m", "tiny3", "--base")
    assert (done.returncode, done.stdout) == (2, "")
    assert "tiny3 is a whole model" in done.stderr


def test_labels(chat: Chat, folder: Path) -> None:
    image = "d/images/" + os.listdir(folder / "d/images")[0]
    for options in (("-m", "tiny3"), ("-m", "tiny", "--image", image)):
        for label, yes, no in lines(chat(*options, "--labels", "yes,no", "--quiet")):
            assert abs(float(yes) + float(no) - 1) < 2e-6
            assert label == ("yes" if float(yes) >= 0.5 else "no")
    done = lines(chat("-m", "tuned", "--base", "--labels", "a cross,a bottle,neither", "--quiet", said="what?\n"))
    assert [len(fields) for fields in done] == [8]
    assert done[0][0] in ("a cross", "a bottle", "neither")


def test_an_image_and_what_was_said_before(chat: Chat, folder: Path) -> None:
    image = "d/images/" + os.listdir(folder / "d/images")[0]
    told = ("-m", "tiny3", "--image", image, "--history", "2", "--system", "be brief", "--max-new-tokens", "4")
    assert len(lines(chat(*told))) == 3
    long = chat(*told, said=f"{'a long question ' * 60}\n" * 3)
    assert len(lines(long)) == 3
    assert long.stderr.count("what was said first is no longer told") == 1


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["-m", "tiny"], 2, "this model answers questions about an image. --image FILE names one"),
        (["-m", "tiny3", "--image", "none.png"], 66, "none.png: no such image"),
        (["-m", "tiny3", "--image", "d/data.jsonl"], 65, "--image: "),
        (["-m", "tiny3", "--top-k", "5"], 2, "--top-k is for answers that are drawn: add --temperature 1"),
        (["-m", "tiny3", "--seed", "5"], 2, "--seed is for answers that are drawn"),
        (["-m", "tiny3", "--labels", "a,b", "--temperature", "1"], 2, "--temperature has no effect with --labels"),
        (["-m", "tiny3", "--labels", "a,b", "--history", "1"], 2, "--history has no effect with --labels"),
        (["-m", "tiny3", "--top-p", "0"], 2, "0 is not above 0, 1 at most"),
        (["-m", "nothing"], 66, "no checkpoint nothing"),
    ],
)
def test_what_cannot_be(options: list[str], code: int, message: str, chat: Chat) -> None:
    done = chat(*options, "--quiet")
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_lines_that_are_no_questions(chat: Chat) -> None:
    done = chat("-m", "tiny3", "--max-new-tokens", "2", "--quiet", said=f"fine?\n{'x ' * 3000}\nnever asked\n")
    assert done.returncode == 65
    assert done.stdout.count("\n") == 1
    assert re.search(r"stdin:2: a prompt of [\d,]+ tokens \(5,999 characters\); 1,024 are allowed", done.stderr)
    model_of_one_question = chat("-m", "tiny", "--image", "none.png", "--system", "x", "--quiet")
    assert model_of_one_question.returncode == 66


class Terminal:
    """A process at a terminal of its own."""

    def __init__(self, command: list[str], cwd: Path, environment: dict[str, str]) -> None:
        self.leader, follower = pty.openpty()
        self.process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
        )
        os.close(follower)
        self.said = ""

    def until(self, text: str, seconds: float = 240) -> str:
        """What it says up to and with a text."""
        deadline = time.monotonic() + seconds
        while text not in self.said:
            ready, _, _ = select.select([self.leader], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{text!r} was not said: {self.said!r}"
            with contextlib.suppress(OSError):
                part = os.read(self.leader, 4096)
                assert part, f"{text!r} was not said: {self.said!r}"
                self.said += part.decode("utf-8", "replace")
        head, _, self.said = self.said.partition(text)
        return head + text

    def type(self, text: str) -> None:
        os.write(self.leader, text.encode())


@pytest.fixture
def terminal(folder: Path, quick_environment: dict[str, str]) -> Iterator[Terminal]:
    command = ["palitune", "chat", "-m", "tuned", "--base", "--max-new-tokens", "4"]
    made = Terminal(command, folder, {**quick_environment, "COLUMNS": "60"})
    yield made
    made.process.kill()
    made.process.wait()
    os.close(made.leader)


def test_at_a_terminal(terminal: Terminal) -> None:
    assert "Ctrl-C ends an answer, Ctrl-D the chat" in terminal.until("> ")
    terminal.type("Is there a cross?\n")
    answer = terminal.until("> ")
    assert re.search(r"tuned +\| tiny3", answer), answer
    terminal.type("\n")
    terminal.until("> ")
    terminal.type("x " * 1500 + "\n")
    assert "tokens" in terminal.until("are allowed")
    terminal.until("> ")
    terminal.type("\x04")
    assert terminal.process.wait(60) == 0


def test_an_answer_is_ended_and_the_chat_goes_on(folder: Path, quick_environment: dict[str, str]) -> None:
    command = ["palitune", "chat", "-m", "tiny3", "--temperature", "100", "--max-new-tokens", "8192", "--quiet"]
    one = Terminal(command, folder, quick_environment)
    try:
        one.until("> ")
        one.type("say a lot\n")
        one.until("say a lot\r\n")
        one.until("a")  # it has begun
        os.kill(one.process.pid, signal.SIGINT)
        one.until("\r\n> ")  # what is drawn from all tokens may have the prompt's characters too
        # Where there is no answer to end, it ends the chat. One that comes between the prompt's drawing and readline's
        # waiting is seen with the next key, so it is pressed again, as a person would.
        for _ in range(60):
            os.kill(one.process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.process.wait(1)
                break
        assert one.process.returncode == 130
    finally:
        one.process.kill()
        one.process.wait()
        os.close(one.leader)


def test_the_stage(run: Run) -> None:
    done = run(str(REPOSITORY / "playground/06-chat.py"), "--help", cwd=REPOSITORY)
    assert done.returncode == 0
    assert "--repetition-penalty" in done.stdout
    assert "--allow-outside" not in done.stdout


def test_what_is_told() -> None:
    talk = Conversation("be kind", "a.png", 2)
    image, system = Image("a.png", Path("a.png")), Message("system", ("be kind",))
    assert talk.asked("one", "here").messages == (system, Message("user", (image, "one")))
    talk.answered("one", " \n")  # nothing was said
    talk.answered("two", "2")
    talk.answered("three", "3")
    talk.answered("four", "4")
    asked = talk.asked("five", "here")
    assert asked.where == "here"
    assert asked.messages == (
        system,
        Message("user", (image, "three")),
        Message("assistant", ("3",)),
        Message("user", ("four",)),
        Message("assistant", ("4",)),
        Message("user", ("five",)),
    )
    alone = Conversation()
    alone.answered("one", "1")
    assert alone.asked("two", "").messages == (Message("user", ("two",)),)


def test_settings() -> None:
    assert ChatConfig.of({"temperature": 1, "top_k": 3}).top_k == 3
    with pytest.raises(UsageError, match="--top-p is for answers that are drawn"):
        ChatConfig(top_p=0.5)


def test_texts_side_by_side() -> None:
    answers = "a few short words", "\u65e5\u672c\u8a9e\u306e\u7b54\u3048"
    found = text_tables.side_by_side(("one", "two"), answers, 21)
    rows = [("a few", answers[1][:4]), ("short", answers[1][4:]), ("words", "")]
    assert found == [f"{one:8}  | {other}".rstrip() for one, other in [("one", "two"), *rows]]
    assert text_tables.wrapped("abcdefghij kl\n\nm", 4) == ["abcd", "efgh", "ij", "kl", "", "m"]


def test_chats_are_learned_and_evaluated(tmp_path: Path, run: Run) -> None:
    """From lines of messages to answers: turns that are left out are counted, and nothing is a matrix of yes and no."""

    def turn(role: str, content: str, **more: int) -> dict[str, object]:
        return {"role": role, "content": content, **more}

    def chat_of(number: int) -> list[dict[str, object]]:
        old = [turn("user", f"old question {number}"), turn("assistant", "old answer " * 3, weight=number % 2)]
        return [turn("system", "be kind"), *old, turn("user", f"and {number}?"), turn("assistant", f"it is {number}")]

    records = [{"messages": chat_of(number)} for number in range(4)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    learn = ("learn", "-d", "chats.jsonl", "-m", "tinytext", "-w", "chats", "--examples", "8", "-b", "4")
    done = run("palitune", *learn, "--loss-on", "last", "--max-length", "40", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "chats.jsonl: 4 chats are longer than 40 tokens: the oldest turns are left out, 8 together" in done.stderr
    assert len(re.findall(r"^  token accuracy: [\d.]+\n  loss: [\d.]+$", done.stdout, re.MULTILINE)) == 2
    table = (tmp_path / "checkpoints/chats.run/metrics.csv").read_text().splitlines()
    assert all(name in table[0] for name in ("valid_loss", "valid_mean_token_accuracy"))
    done = run("palitune", "validate", "-m", "chats", "chats.jsonl", "--max-new-tokens", "4", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = [line.split(":")[0].strip() for line in done.stdout.splitlines()]
    assert names == ["Result", "right=0 wrong=4", "accuracy", "token accuracy", "loss", "chrF", "BLEU", "ROUGE-L"]
    done = run("palitune", "validate", "-m", "tiny", "chats.jsonl", "--quiet", cwd=tmp_path)
    assert done.returncode == 65
    assert "PaliGemma takes one message of the user, and this example has 5 messages" in done.stderr
