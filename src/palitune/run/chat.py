"""A conversation with a model: questions and answers on a terminal, or a line for each line in a pipe."""

import contextlib
import itertools
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

from palitune import console, streams, text_tables, workspace
from palitune.config.chat import ChatConfig
from palitune.data.conversation import Conversation
from palitune.data.example import Example
from palitune.data.formats.lines import STDIN, Lines
from palitune.data.long_chats import Shortener
from palitune.data.prediction import Prediction
from palitune.errors import BadDataError, PalituneError, UsageError
from palitune.infer.loading import announce
from palitune.infer.speaker import Pair, Speaker, open_speakers

ASKING = "> "
ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def chat(config: ChatConfig, quiet: bool = False) -> None:
    """Answers what the user types, or each line of standard input by a line.

    Raises:
      MissingInputError, BadDataError, ConfigurationError: the model or the image cannot be used, or a line of a pipe.
      UsageError: the model has no base, takes no chats, or needs an image.
    """
    source = workspace.checkpoint_to_read(config.model)
    pair = open_speakers(source, config, quiet)
    _require_place(pair.tuned, config)
    if not quiet:
        announce(pair.tuned.model)
    talk = Talk(pair, config, quiet)
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        talk.at_terminal()
    else:
        talk.in_pipe()


def _require_place(speaker: Speaker, config: ChatConfig) -> None:
    """Raises UsageError for what the model's template has no place for, before anything is asked."""
    probe = Conversation(config.system, config.image, config.history)
    if config.history:
        probe.answered("?", "?")
    try:
        speaker.model.template.prompt(probe.asked("?", ""), "")
    except BadDataError as error:
        if config.image is None and speaker.model.sizes.img is not None and "takes one image" in error.what:
            raise UsageError("this model answers questions about an image", hint="--image FILE names one") from None
        if config.system or config.history:
            hint = "It may be a model of one question at a time: leave --system and --history out"
            raise UsageError(error.what, hint=hint) from None
        raise UsageError(error.what) from None


class Talk:
    """Questions and answers.

    Attributes:
      count: questions so far.
    """

    def __init__(self, pair: Pair, config: ChatConfig, quiet: bool) -> None:
        self.pair, self.config, self.quiet = pair, config, quiet
        # Each model is told its own answers.
        self.conversations = [Conversation(config.system, config.image, config.history) for _ in pair.speakers]
        self.shortener = Shortener(pair.tuned.model.template)
        self.count = 0

    def at_terminal(self) -> None:
        """Asks for questions until the input ends; what is wrong with one of them is said, and the next is asked."""
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 (it edits what is typed)
        if not self.quiet:
            console.note("Ctrl-C ends an answer, Ctrl-D the chat")
        while True:
            try:
                question = input(ASKING)
            except EOFError:
                print()
                return
            if not question.strip():
                continue
            with Interruption() as interruption:
                try:
                    self._show(question, interruption)
                except PalituneError as error:
                    console.note(str(error))

    def _show(self, question: str, interruption: "Interruption") -> None:
        """Answers on a terminal: one model's as it is written, two models' side by side."""
        if self.config.labels is not None:
            answers = [_in_words(one) for one in self._choices(question, "the question")]
        elif self.pair.base is None:
            for piece in self._written(0, question, "the question", interruption):
                print(piece, end="", flush=True)
            print()
            answers = []
        else:
            numbers = range(len(self.pair.speakers))
            answers = ["".join(self._written(number, question, "the question", interruption)) for number in numbers]
        if len(answers) == 2:
            heads = [speaker.model.path.stem for speaker in self.pair.speakers]
            print("\n".join(text_tables.side_by_side(heads, answers, console.width())))
        elif answers:
            print(answers[0])
        self.count += 1

    def in_pipe(self) -> None:
        """A line of standard output for each line of standard input that has text.

        Line ends and tabs of an answer are escaped; with a base or with labels there are several fields.
        """
        lines = Lines(STDIN)
        for line in lines:
            where, question = lines.text(line)
            if self.config.labels is not None:
                fields = list(itertools.chain.from_iterable(map(_fields, self._choices(question, where))))
            else:
                numbers = range(len(self.pair.speakers))
                fields = ["".join(self._written(number, question, where, None)) for number in numbers]
            streams.line("\t".join(field.translate(ESCAPES) for field in fields))
            self.count += 1

    def _written(self, number: int, question: str, where: str, interruption: "Interruption | None") -> Iterator[str]:
        """The pieces of one model's answer, which it is told again with the next question."""
        conversation, said = self.conversations[number], []
        for piece in self.pair.speakers[number].texts(self._asked(number, question, where), self.config, self.count):
            said.append(piece)
            yield piece
            if interruption is not None and interruption.wanted:
                break
        conversation.answered(question, "".join(said))

    def _choices(self, question: str, where: str) -> list[Prediction]:
        example = self._asked(0, question, where)
        return [speaker.choice(example, self.config.labels or ()) for speaker in self.pair.speakers]

    def _asked(self, number: int, question: str, where: str) -> Example:
        """A question with what was said before, as much of it as the model takes; the first time it is less is said."""
        before = self.shortener.turns
        (example,) = self.shortener([self.conversations[number].asked(question, where)])
        if self.shortener.turns and not before and not self.quiet:
            console.note(f"{where}: what was said first is no longer told: the model takes no more")
        return example


def _fields(one: Prediction) -> list[str]:
    """An answer, and the probability of each label."""
    return [one.text, *(f"{p:.6f}" for p in one.probabilities or ())]


def _in_words(one: Prediction) -> str:
    """An answer with the probability of each label, the likeliest first."""
    labels = one.made.labels if one.made is not None else None
    pairs = sorted(zip(labels or (), one.probabilities or (), strict=True), key=lambda pair: -pair[1])
    return f"{one.text}  ({', '.join(f'{label} {p:.4f}' for label, p in pairs)})"


class Interruption:
    """While it is entered, a first Ctrl-C only sets `wanted`; a second one does what the first would have done."""

    def __init__(self) -> None:
        self.wanted = False
        self.before: Callable[[int, FrameType | None], object] | int | None = None

    def __enter__(self) -> "Interruption":
        self.before = signal.signal(signal.SIGINT, self._receive)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        signal.signal(signal.SIGINT, self.before)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.wanted and callable(self.before):
            self.before(number, frame)
        self.wanted = True
