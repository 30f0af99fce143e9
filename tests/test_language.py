"""Pages and drawings in Japanese: every text has its translation, and none is left in English."""

import ast
import dataclasses
import html.parser
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest
from conftest import REPOSITORY, Run
from jinja2 import nodes
from jinja2.ext import extract_from_ast
from matplotlib.figure import Figure as Drawing
from matplotlib.text import Text
from PIL import Image
from test_vocabulary import JAPANESE

from palitune.confidence_interval import Figure
from palitune.config.model import FolderSettings
from palitune.data.example import Content, Example, Message, Target
from palitune.data.prediction import MadeWith, Prediction
from palitune.evaluate import (
    advice,
    comparison,
    conclusion,
    doubtful_labels,
    language,
    loss_curve,
    metrics,
    run_settings,
)
from palitune.evaluate.answer_pairs import AnswerPair
from palitune.evaluate.confusion import Confusion
from palitune.evaluate.failures import Counted, Failure, Failures, Pair
from palitune.evaluate.label_table import LabelTable
from palitune.evaluate.language import CATALOGUE, IN_ENGLISH, Language, language_of, of_environment
from palitune.evaluate.outcomes import Outcomes, outcomes_of
from palitune.evaluate.past_run import FINISHED, STATES, DataFile, FileEvaluation, PastRun, Worth
from palitune.evaluate.report import (
    curves,
    failures_page,
    loop_page,
    loss_drawing,
    page,
    plots,
    runs_page,
    several_curves,
    several_report,
    summary,
    text_report,
    vote_page,
)
from palitune.evaluate.report.summary import Learned
from palitune.evaluate.run_choice import Choice, Rival
from palitune.evaluate.run_facts import Answered, Facts, Lift
from palitune.evaluate.setting_effects import SIGNIFICANCES, Effect, ValueMean
from palitune.evaluate.several_answers import SeveralAnswers
from palitune.evaluate.threshold import Goal
from palitune.sentence import Sentence

SOURCE = REPOSITORY / "src" / "palitune"
TEMPLATES = sorted((SOURCE / "evaluate" / "report").glob("*.html"))
CODE = sorted(SOURCE.rglob("*.py"))
PASSED_ON = ("sentence.py", "evaluate/language.py")  # where a template comes from elsewhere
DRAWING = sorted(path for path in (SOURCE / "evaluate" / "report").glob("*.py") if "matplotlib" in path.read_text())
PLACE = re.compile(r"%\(\w+\)[+.\d]*[sdfg]|%%")
LATIN = re.compile(r"[A-Za-z_]{2,}")
# What Japanese engineers write in Latin letters, names in the data, and HTML.
TERMS = {"ROC", "AUC", "PR", "McNemar", "p_yes", "fp", "fn", "br", "code", "nbsp"}


def messages(template: Path) -> Iterator[str]:
    """The texts of a template; of one for one thing and for several, the latter."""
    for _, function, found in extract_from_ast(environment().parse(template.read_text("utf-8"))):
        texts = [one for one in (found if isinstance(found, tuple) else (found,)) if isinstance(one, str)]
        yield texts[1] if function == "ngettext" else texts[0]


def environment() -> jinja2.Environment:
    made = jinja2.Environment(extensions=["jinja2.ext.i18n"])
    made.newstyle_gettext = True  # type: ignore[attr-defined]
    return made


def sentences(code: Path) -> Iterator[str]:
    """The texts of a file of code: what `Sentence` and `say` are called with, which must be written there."""
    for node in ast.walk(ast.parse(code.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Sentence", "say"):
            first = node.args[0]
            if isinstance(first, ast.Name) and code.relative_to(SOURCE).as_posix() in PASSED_ON:
                continue
            for one in (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,):
                assert isinstance(one, ast.Constant), f"{code.name}:{one.lineno}: what is said here nothing can read"
                yield one.value


def test_every_text_is_translated_and_every_translation_is_used() -> None:
    used = {text for path in TEMPLATES for text in messages(path)} | {text for path in CODE for text in sentences(path)}
    known = language.read(CATALOGUE)
    lacking, unused = sorted(used - set(known)), sorted(set(known) - used)
    assert not lacking, f"{CATALOGUE.name} lacks these"
    assert not unused, f"{CATALOGUE.name} has these for nothing"


def test_a_text_is_translated_once() -> None:
    lines = [line for line in CATALOGUE.read_text("utf-8").splitlines() if re.match("[\"']", line)]
    assert len(lines) == len(language.read(CATALOGUE))


def test_translations_have_the_same_places_and_are_japanese() -> None:
    for english, japanese in language.read(CATALOGUE).items():
        assert sorted(PLACE.findall(english)) == sorted(PLACE.findall(japanese)), english
        assert "%" not in PLACE.sub("", english + japanese), english
        words = set(LATIN.findall(PLACE.sub("", japanese)))
        assert words <= TERMS, f"{japanese}: English is left"
        assert not [word for word in JAPANESE if re.search(word, japanese)], japanese


def test_templates_have_no_text_that_is_not_translated() -> None:
    for path in TEMPLATES:
        tree = environment().parse(path.read_text("utf-8"))
        literal = "".join(node.data for node in tree.find_all(nodes.TemplateData))
        literal = re.sub(r"<style>.*?(</style>|$)", "", literal, flags=re.DOTALL)
        named = " ".join(re.findall(r'\b(?:alt|title|placeholder|aria-label)="([^"]*)"', literal))
        found = LATIN.findall(re.sub(r"<[^>]*>", " ", literal) + named)
        assert set(found) <= {"palitune"}, f"{path.name}: put it between trans and endtrans"


def test_drawings_have_no_text_that_is_not_translated() -> None:
    """What is written into a drawing is said; a text in the code would be drawn in English in every language."""
    assert len(DRAWING) >= 4
    for path in DRAWING:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            drawn = [one.value for one in node.keywords if one.arg in ("title", "xlabel", "ylabel", "label")]
            drawn += node.args if re.fullmatch(r"set_[xy]?(title|label)|suptitle|text", node.func.attr) else []
            for one in drawn:
                parts = one.values if isinstance(one, ast.JoinedStr) else [one]
                texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
                assert not any(LATIN.search(text) for text in texts), f"{path.name}:{one.lineno}: say it"


# A language that marks all it says: what is left without a mark on a page or in a drawing can be said in no language.
class Marks(dict[str, str]):
    def get(self, english: str, default: object = None) -> str:  # type: ignore[override]
        return f"⟦{english}⟧"


MARKED = Language("ja", Marks())
MARK = re.compile(r"⟦[^⟦⟧]*⟧")


def unmarked(text: str) -> str:
    while (less := MARK.sub("", text)) != text:
        text = less
    return text


# What a person reads of an element's attributes; the page to vote on has texts for its script in some.
SHOWN = ("alt", "title", "data-text", "data-nothing", "data-system", "data-user", "data-assistant")


class Shown(html.parser.HTMLParser):
    """What a person reads of a page, beside what the program printed elsewhere and shows as it was."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.within: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.texts += [value or "" for name, value in attributes if name in SHOWN]
        if tag in ("style", "script", "pre", "code"):
            self.within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.within and tag == self.within[-1]:
            self.within.pop()

    def handle_data(self, text: str) -> None:
        if not self.within:
            self.texts.append(text)


def left_in_english(content: str) -> set[str]:
    """Words of a page that are not marked, of data that have no Latin letters."""
    return set(LATIN.findall(unmarked("".join(Shown(content).texts)))) - {"palitune", "p_yes", "yes", "no", "MB"}


CLASSES = {2: ("可", "不可"), 3: ("良", "並", "悪")}
TEXTS = ("朝は寒い。", "昼は暑い。", "夜は静かだ。", "駅は遠い。") * 6


def outcomes(count: int, shift: int = 1) -> Outcomes:
    """Answers to labels of so many classes, some of them wrong, and one that is no class."""
    classes = CLASSES[count]
    labels = [classes[i % count] for i in range(24)]
    answers = [classes[(i + (i % 5 == shift)) % count] for i in range(23)] + ["さあ"]
    p = [0.5 + i / 60 if answer == classes[0] or count > 2 else 0.5 - i / 60 for i, answer in enumerate(answers)]
    shares = None if count == 2 else np.array([[i + 1, 30 - i, 9.0] for i in range(24)]) / 40
    return metrics.outcomes_of(labels, answers, p, classes, shares=shares)


def examples(one: Outcomes, has_images: bool) -> list[Example]:
    if not has_images:
        return [
            Example.of(None, "?", label, text=text, where="記:1") for label, text in zip(one.labels, TEXTS, strict=True)
        ]
    return [Example.of(f"絵{i}", label=label, where=f"記:{i}") for i, label in enumerate(one.labels)]


HALF = {"可": 50, "不可": 50}
FACTS = Facts(100, [HALF], 400, 0.03, 0.03, validation=[Answered(HALF, HALF, 90)])
LIFTED = Answered(HALF, HALF, 90, "甲", Lift(0.2, 0.6, 0.9))
FALLING = [1.1, 0.9, 0.7, 0.5, 0.3]


def rows(valid: list[float], train: list[float], kept: int, epochs: float = 4.0) -> list[dict[str, object]]:
    place = {"trial": 1, "pass": 1, "attempt": 1, "learning_rate": 0.1}
    found: list[dict[str, object]] = []
    for i, loss in enumerate(valid):
        row = place | {"step": 10 * i, "valid_loss": loss, "epoch": epochs * i / (len(valid) - 1), "best": i == kept}
        found.append(row | ({"train_loss": train[i - 1]} if i else {}))
    return found


def every_advice() -> list[advice.Advice]:
    one_sided = FACTS._replace(classes=[{"可": 90, "不可": 10}], validation=[Answered(HALF, {"可": 100}, 50)])
    same = FACTS._replace(classes=[HALF, HALF], balance="weights",
                          validation=[Answered(HALF, {"可": 100}, 50, name) for name in "甲乙丙丁戊己"])  # fmt: skip
    poor = FACTS._replace(validation=[Answered(HALF, HALF, 40)])
    rare = Answered({"良": 40, "並": 40, "悪": 20}, {"良": 50, "並": 50}, 70)
    few = Answered({"可": 25, "不可": 25}, {"可": 25, "不可": 25}, 30)
    found = [
        advice.flat(curve([0.7] * 5, [0.7] * 4), FACTS._replace(learning_rate=0.0003)),
        advice.flat(curve([0.7] * 5, [0.7] * 4), FACTS),
        advice.never_fell(curve([0.6, 0.7, 0.8, 0.9, 1.0], [0.6, 0.4, 0.2, 0.1]), FACTS),
        advice.over_fitting(curve([1.1, 0.3, 0.31, 0.5, 0.8], [0.5, 0.2, 0.1, 0.05]), FACTS),
        advice.ended_early(curve([1.1, 0.5], [0.8], 0.5), FACTS._replace(shown=50)),
        advice.still_falling(curve(FALLING, FALLING[:4], kept=4), FACTS),
        advice.still_falling(curve(FALLING, FALLING[:4], kept=4), FACTS._replace(has_validation=False)),
        advice.one_answer(one_sided),
        advice.one_answer(same),
        advice.no_better_than_always(poor),
        advice.no_better_than_always(poor._replace(classes=[{"可": 90, "不可": 10}])),
        advice.no_better_than_always(poor._replace(validation=[Answered(HALF, HALF, 40, "甲")])),
        advice.own_thresholds(FACTS._replace(validation=[LIFTED] * 7)),
        advice.never_answered(FACTS._replace(validation=[rare])),
        advice.never_answered(FACTS._replace(validation=[rare], balance="weights")),
        advice.wide_interval(FACTS._replace(validation=[few])),
        advice.wide_interval(FACTS._replace(examples=20, classes=[{"可": 1, "不可": 10}], validation=[few])),
        advice.wide_interval(FACTS._replace(examples=20, classes=[{"可": 10, "不可": 10}], validation=[few])),
    ]
    assert None not in found
    return [one for one in found if one is not None]


def curve(valid: list[float], train: list[float], epochs: float = 4.0, kept: int = 1) -> advice.Curve:
    made = advice.curve_of(rows(valid, train, kept, epochs))
    assert made is not None
    return made


def learned(tmp_path: Path) -> Learned:
    """A run with all that can be said of one."""
    told = [(one.text, "palitune …") for one in every_advice()]
    metrics_file = tmp_path / "metrics.jsonl"
    metrics_file.write_text("".join(json.dumps(row) + "\n" for row in rows(FALLING, FALLING[:4], 2)))
    Image.new("RGB", (8, 8)).save(tmp_path / "loss.png")
    return Learned({Sentence("model"): "甲"}, {"seed": 1}, tmp_path / "loss.png", told, metrics_file)


def chosen(goal: Goal) -> str:
    return Sentence("%(goal)s on %(file)s, %(count)d records", goal=goal.words, file="記", count=9)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All texts of the drawings that are made, of which no file comes."""
    found: list[str] = []

    def save(drawing: Drawing, *arguments: object, **how: object) -> None:
        found.extend(text.get_text() for text in drawing.findobj(Text))

    monkeypatch.setattr(Drawing, "savefig", save)
    return found


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize(("count", "has_images"), [(2, True), (3, False)])
def test_nothing_of_a_report_is_left_in_english(count: int, has_images: bool, tmp_path: Path) -> None:
    one, before = outcomes(count), outcomes(count, shift=2)
    facts = {Sentence("threshold"): Sentence("%(threshold).4g (%(chosen)s)", threshold=0.5, chosen=chosen(Goal(0.9)))}
    records = examples(one, has_images)
    for most in (3, 60):
        made = summary.summarize("題", facts, records, one, before, 0.5, most, learned(tmp_path))
        content = page.html(made, curves.draw(one, made.figures, MARKED, 0.5, before), MARKED)
        assert left_in_english(content) == set()
        assert '<html lang="ja">' in content
    alone = summary.summarize("題", {}, records, one)
    assert left_in_english(page.html(alone, curves.draw(one, alone.figures, MARKED), MARKED)) == set()


def test_nothing_of_doubted_labels_is_left_in_english() -> None:
    records = examples(outcomes(2), has_images=True)
    p = np.array([[0.3 + i / 60, 0.7 - i / 60] for i in range(24)])
    doubts = doubtful_labels.ranked(records, p, CLASSES[2])
    made = doubtful_labels.summarize(doubts, "記", doubtful_labels.LINEAR_PROBE, 5)
    assert left_in_english(page.html(made, {}, MARKED)) == set()


@pytest.mark.parametrize(
    "answers",
    [(["可"] * 4, ["可"] * 4), (["可", "不可"] * 2, ["可"] * 4), (["可", "不可"] * 2, ["可", "さあ"] * 2), ([], [])],
)
def test_remarks_are_said(answers: tuple[list[str], list[str]]) -> None:
    one = metrics.outcomes_of(*answers, [None] * len(answers[0]), CLASSES[2])
    found = metrics.remarks(one)
    assert found
    assert all(unmarked(MARKED.text(line)) == "" for line in found)


@pytest.mark.parametrize("before", [[True] * 9 + [False] * 11, [True] * 18 + [False] * 2, [True] * 10 + [False] * 10])
@pytest.mark.parametrize("after", [[True] * 20, [False] * 20, [True] * 14 + [False] * 6, [True] * 6 + [False] * 14])
def test_warnings_are_said(before: list[bool], after: list[bool]) -> None:
    labels = ["可"] * 10 + ["不可"] * 10
    both = [
        metrics.outcomes_of(labels, ["可" if one else "不可" for one in said], [None] * 20, CLASSES[2])
        for said in (before, after)
    ]
    found = comparison.compare(*both)
    assert unmarked(MARKED.text(found.warning or Sentence("data"))) == ""
    assert unmarked(MARKED.text(found.significance)) == ""


def several(tmp_path: Path) -> tuple[SeveralAnswers, SeveralAnswers]:
    """Answers of two models to two labels, one of which is sometimes unknown."""
    rng = np.random.default_rng(0)
    truth = rng.integers(-1, 2, (30, 2)).astype(np.int8)
    both = []
    for wrong in (0.4, 0.1):
        said = (truth == 1) ^ (rng.random(truth.shape) < wrong)
        p = np.where(said, 0.8, 0.1) + rng.random(truth.shape) / 10
        table = LabelTable(("甲", "乙"), truth, said, p, np.array([0.5, 0.5]))
        groups = [(Example.of(None, "?", text=TEXTS[i % 24], where=f"記:{i}"), []) for i in range(30)]
        both.append(SeveralAnswers("記", groups, table, None))
    return both[0], both[1]


@pytest.mark.usefixtures("drawn")
def test_nothing_of_a_report_about_several_labels_is_left_in_english(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several_report, "language_of", lambda lang: MARKED)
    before, after = several(tmp_path)
    made = several_report.summarize_comparison(before, after, FolderSettings())
    several_report.write(tmp_path / "p.html", made, "ja", True)
    assert left_in_english((tmp_path / "p.html").read_text("utf-8")) == set()
    alone = several_report.summarize("題", {}, after, learned(tmp_path), most=1)
    several_report.write(tmp_path / "p.html", alone, "ja", True)
    assert left_in_english((tmp_path / "p.html").read_text("utf-8")) == set()


def test_nothing_of_failures_is_left_in_english() -> None:
    text = Example.of(None, "?", "可", text="長い" * 3000, where="記:1")
    image = Example.of("絵", label="可", where="記:2")
    found = [Failure("記", text, Pair("", "可", "不可"), 0.75), Failure("録", image, Pair("甲", "可", ""))]
    for files in ([Counted("記", 1, 4)], [Counted("記", 1, 4), Counted("録", 1, 4)]):
        several_failures = Failures(found[: len(files)], files, {one.pair: 1 for one in found[: len(files)]})
        assert left_in_english(failures_page.html(several_failures, MARKED)) == set()
    many = [found[0]._replace(pair=Pair("", "可", str(i))) for i in range(failures_page.MOST_PAIRS + 1)]
    more = Failures(many, [Counted("記", 600, 700)], {one.pair: 1 for one in many})
    assert left_in_english(failures_page.html(more, MARKED)) == set()
    assert left_in_english(failures_page.html(Failures([], [Counted("記", 0, 1)], {}), MARKED)) == set()


def past_runs(tmp_path: Path, count: int) -> list[PastRun]:
    """Runs of which one has everything that can be told of one, and another nothing that need not be."""
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(FALLING, FALLING[:4], 2)))
    counts, figures = Confusion(3, 3, 1, 1), {"accuracy": Figure(0.75, 0.4, 0.9), "loss": Figure(0.5)}
    sets = DataFile("学", 8, "1" * 64), DataFile("検", 8, "2" * 64)
    worth = Worth(figures, counts, 8)
    settings = {"labels": CLASSES[2], "率": 0.5}
    full = PastRun(
        *("甲", tmp_path / "0", 1e9, FINISHED, settings, sets, None, "元", "3" * 64, worth, worth, 9),
        evaluations=(FileEvaluation(2e9, DataFile("試", 8, "4" * 64), 0, worth),),
        seconds=60.0,
        planned=5_000_000,
        metrics=tmp_path / "metrics.jsonl",
        has_checkpoint=True,
    )
    nothing: dict[str, Any] = dict.fromkeys(("step", "seconds", "planned", "metrics")) | {"evaluations": ()}
    block, after = Worth(block="\n正"), Worth(figures, block="\n正")
    bare = dataclasses.replace(full, name="乙", settings={}, before=block, after=after, **nothing)
    made = [full] + [dataclasses.replace(bare, folder=tmp_path / str(i), began=1e9 + i) for i in range(1, count)]
    made += [dataclasses.replace(bare, folder=tmp_path / state, state=state, began=1e9) for state in STATES]
    return sorted(made, key=lambda one: one.began)


def effects() -> list[Effect]:
    """Everything that can be said of a setting."""
    values = [ValueMean("多", 2, 0.5, 0.4, 0.6), ValueMean("少", 1, 0.5, 0.5, 0.5)] * runs_page.MOST_VALUES
    every = [Effect("率", values, more, significance, [run_settings.TRAINING, *"甲乙丙丁戊己"], 4, 0.5)
             for significance in SIGNIFICANCES for more in ([], [run_settings.VALIDATION])]  # fmt: skip
    return [*every, every[-1]._replace(others=["甲"])]


def test_nothing_of_runs_is_left_in_english(tmp_path: Path, drawn: list[str]) -> None:
    runs = past_runs(tmp_path, runs_page.MOST_SHOWN + 2)
    full, bare, *_ = compared = runs[: runs_page.MOST_SHOWN + 2]
    undecided = Rival(bare, comparison.MCNEMAR, 0.5, False)
    apart = undecided._replace(test=comparison.BOOTSTRAP, is_apart=True)
    overlapping = undecided._replace(test="")
    choices = [
        Choice(full, "accuracy", [], None, None, 0),
        Choice(full, "accuracy", [undecided], 0.5, None, 2),
        Choice(bare, "accuracy", [apart], None, 0.1, 0),
        Choice(bare, "accuracy", [apart, apart], None, None, 2),
        Choice(full, "accuracy", [undecided, undecided], None, None, 0),
        Choice(full, "accuracy", [undecided, apart], 0.5, None, 0),
        Choice(full, "accuracy", [overlapping, overlapping], None, 0.1, 0),
        Choice(full, "accuracy", [undecided, overlapping], None, None, 0),
        Choice(full, "loss", [undecided], None, None, 0),
    ]
    changed = run_settings.since_the_one_before(runs)
    pages = [
        runs_page.RunsSummary(runs[:3], compared[: len(one.rivals) + 1], one, effects(), changed, one.elsewhere)
        for one in choices
    ]
    pages.append(runs_page.RunsSummary(runs * 20, compared, choices[1], [], changed, 0))
    for one in pages:
        content = runs_page.html(one, MARKED)
        assert left_in_english(content) == set()
    assert "⟦no 率⟧" in content
    assert set(LATIN.findall(unmarked("\n".join(drawn)))) == set()


@pytest.mark.parametrize("count", [1, 3])
def test_nothing_of_a_page_to_vote_on_is_left_in_english(count: int) -> None:
    pairs = [AnswerPair(Example.of(None, "?", text=TEXTS[i]), "", (("", "暑い"),), (("", ""),)) for i in range(count)]
    content = vote_page.html(vote_page.show(pairs, 0), MARKED)
    assert left_in_english(content) == set()
    assert 'data-text="⟦{done} of {all}⟧"' in content


@pytest.mark.usefixtures("drawn")
def test_nothing_of_free_text_is_left_in_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_report, "language_of", lambda lang: MARKED)
    asked = Example((Message("user", (Content("朝は?"),)),), (Target(answer="寒い"),), "記:1")
    said = [Prediction(asked, asked.target, answer, None, MadeWith(None)) for answer in ("暑い", "")]
    for predictions in (said, []):
        made = text_report.summarize("題", {}, ["Result: 記"], predictions, 2, learned=learned(tmp_path))
        text_report.write(tmp_path / "p.html", made, "ja", True)
        assert left_in_english((tmp_path / "p.html").read_text("utf-8")) == set()


def test_nothing_of_drawings_is_left_in_english(drawn: list[str], tmp_path: Path) -> None:
    for count in (2, 3):
        one = outcomes(count)
        figures = metrics.with_intervals(one)
        curves.draw(one, figures, MARKED, 0.5, outcomes(count, 2))
        curves.draw(one, {}, MARKED)
    many = [f"{i}" for i in range(70)]
    curves.draw(metrics.outcomes_of(many, many[::-1], [None] * 70, many), {}, MARKED)
    made = several_report.summarize("題", {}, several(tmp_path)[1])
    several_curves.draw(made.result, MARKED)
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    shots = [plots.SheetImage(tmp_path / "1.png", "可", "不可", "絵", 0.5, target) for target in ("", "甲")] * 30
    plots.sheet(tmp_path / "s.png", shots, MARKED)
    lost = {"trial": 1, "pass": 1, "attempt": 1, "step": 9, "event": "diverged"}
    for one in (rows(FALLING, FALLING[:4], 2), [row | {"as_good": True} for row in rows(FALLING, FALLING[:4], 2)]):
        without = [{name: value for name, value in row.items() if name != "epoch"} for row in one]
        for run in (one, [*one, lost], without, [*one, {**one[0], "trial": 2}], rows(FALLING, FALLING[:4], 4)):
            plots.losses_png(run, 0, MARKED)
    texts = "\n".join(drawn)
    assert texts.count("⟦") > 100
    assert set(LATIN.findall(unmarked(texts))) <= {"p_yes"}


def test_a_font_that_has_no_japanese_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter without a font is a warning of matplotlib's, which fails a test."""
    from palitune.evaluate.report import canvas

    fonts = canvas._fonts()[0], canvas._bundled()
    monkeypatch.setattr(canvas, "_fonts", lambda: fonts)
    japanese = language_of("ja")
    for count in (2, 3):
        labels = ["a", "b", "c"][:count]
        one = metrics.outcomes_of(labels * 8, [*(labels * 8)[1:], "b"], [0.3] * 8 * count, labels)
        for content in curves.draw(one, metrics.with_intervals(one), japanese, 0.5, one).values():
            assert content.startswith(b"\x89PNG")
    for kept in (2, 4):
        assert plots.losses_png(rows(FALLING, FALLING[:4], kept), 0, japanese) is not None
    assert canvas.reason() is None
    assert canvas.text("鬱") == r"\u9b31"
    assert canvas.reason() is not None


def test_the_font_has_every_letter() -> None:
    import japanese_font
    from fontTools.ttLib import TTFont
    from matplotlib import font_manager

    own = [TTFont(path).getBestCmap() for path in (japanese_font.BUNDLED, font_manager.findfont("DejaVu Sans"))]
    lost = {one for one in japanese_font.needed() if not any(ord(one) in letters for letters in own)}
    assert not lost, "make the font again: python tests/japanese_font.py NotoSansCJK-Regular.ttc"
    assert japanese_font.BUNDLED.stat().st_size < 150_000
    assert "SIL OPEN FONT LICENSE" in japanese_font.BUNDLED.with_suffix(".OFL.txt").read_text("utf-8")


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"LANG": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "ja"}, "ja"),
        ({"LC_ALL": "", "LC_MESSAGES": "ja_JP.eucJP", "LANG": "C"}, "ja"),
        ({"LC_ALL": "C", "LANG": "ja_JP.UTF-8"}, "en"),
        ({"LC_MESSAGES": "en_US.UTF-8", "LANG": "ja_JP.UTF-8"}, "en"),
        ({"LANG": "jam_JM"}, "en"),
        ({"LANGUAGE": "ja", "LC_CTYPE": "ja_JP.UTF-8"}, "en"),
        ({}, "en"),
    ],
)
def test_the_environment_s_language(variables: Mapping[str, str], code: str) -> None:
    assert of_environment(variables) == code


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers")
    for name, wrong in (("a", 3), ("b", 5)):
        lines = [
            f"{i}.png\t{i % wrong > 0}\t{0.5 + i / 50:.6f}\t{'yes' if i % wrong else 'no'}\tyes\n" for i in range(20)
        ]
        (folder / f"{name}.tsv").write_text("".join(lines))
    labels = [f"{i}.png\tTrue\t0.9\t{'yes' if i % 3 else 'no'}\t{'yes' if i % 3 else 'no'}\n" for i in range(20)]
    (folder / "b.tsv").write_text("".join(labels))
    return folder


def test_an_option_says_more_than_the_environment(run: Run, answers: Path) -> None:
    in_japan = {"LC_ALL": "", "LC_MESSAGES": "", "LANG": "ja_JP.UTF-8"}
    pages = {}
    for name, options, env in (
        ("en", [], {}),
        ("ja", [], in_japan),
        ("explicit", ["--lang", "en"], in_japan),
    ):
        done = run("palitune", "report", "a.tsv", "-o", f"{name}.html", *options, cwd=answers, env=env)
        assert done.returncode == 0, done.stderr
        content = (answers / f"{name}.html").read_text("utf-8")
        pages[name] = (content, (answers / f"{name}-confusion.png").read_bytes())
    assert pages["en"] == pages["explicit"]
    assert pages["en"][1] != pages["ja"][1]
    assert '<html lang="en">' in pages["en"][0]
    assert "正解率" in pages["ja"][0]
    assert "Hiragino Sans" in pages["ja"][0]
    assert "Hiragino Sans" not in pages["en"][0]


def test_a_terminal_shows_english(run: Run, answers: Path) -> None:
    japanese = {"LC_ALL": "ja_JP.UTF-8"}
    for command in (["compare", "a.tsv", "b.tsv"], ["report", "a.tsv", "--text"]):
        here, there = (run("palitune", *command, cwd=answers, env=env) for env in ({}, japanese))
        assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr)
    paged = ["compare", "a.tsv", "b.tsv", "-o", "compared.html", "--lang", "ja", "--quiet"]
    done = run("palitune", *paged, cwd=answers)
    assert done.stdout == run("palitune", "compare", "a.tsv", "b.tsv", cwd=answers).stdout
    assert "変更前後の比較" in (answers / "compared.html").read_text("utf-8")
    assert run("palitune", "failures", "a.tsv", "-o", "f.html", "--lang", "ja", cwd=answers).returncode == 0
    assert "誤答" in (answers / "f.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["report", "a.tsv", "--text", "--lang", "ja"], "-o is for the page, and so is --lang"),
        (["report", "a.tsv", "--lang", "de"], "invalid choice: 'de'"),
        (["compare", "a.tsv", "b.tsv", "--lang", "ja"], "and none is written"),
        (["failures", "a.tsv", "--lang", "ja"], "and none is written"),
        (["uncertain", "a.tsv", "--lang", "ja"], "and none is written"),
        (["learn", "-d", "a.tsv", "--lang", "ja"], "and none is written"),
        (["ab", "a.tsv", "b.tsv", "--lang", "ja"], "and none is written"),
        (["ab", "tally", "votes.json", "-o", "x.html", "--lang", "ja"], "is an option of palitune ab A B"),
    ],
)
def test_a_language_of_nothing_is_refused(arguments: list[str], says: str, run: Run, answers: Path) -> None:
    done = run("palitune", *arguments, cwd=answers)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert says in done.stderr


@pytest.mark.quick_programs
def test_a_run_in_japanese(run: Run, workspace: Path) -> None:
    """Its page and its drawing; and a page made later, with the advice that the run wrote down."""
    learn = ("palitune", "learn", "--examples", "8", "-w", "nihon", "--report", "--lang", "ja")
    done = run(*learn, cwd=workspace)
    assert done.returncode == 0, done.stderr
    folder = workspace / "checkpoints" / "nihon.run"
    content = (folder / "report.html").read_text("utf-8")
    assert "エポック数を増やすと改善する可能性があります。<br>次に試すコマンド: <code>palitune learn" in content
    assert "--lang ja" in content
    assert "advice: learning ended at epoch 0.4" in done.stderr
    validate = ("validate", "-m", "nihon", "dataset/set1/valid.jsonl", "--sheet", "s.png", "--report", "v.html")
    done = run("palitune", *validate, "--lang", "ja", cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert "に対する nihon の評価" in (workspace / "v.html").read_text("utf-8")
    before = loss_drawing.of_file(folder / "metrics.jsonl", IN_ENGLISH)
    assert before is not None
    assert (
        before
        != (folder / "loss.png").read_bytes()
        == loss_drawing.of_file(folder / "metrics.jsonl", language_of("ja"))
    )
    (workspace / "out.tsv").write_text("a.png\tTrue\t0.9\tyes\tyes\nb.png\tFalse\t0.8\tno\tyes\n")
    done = run("palitune", "report", "out.tsv", "-m", "nihon", "--lang", "ja", cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert "学習データを一巡する前に" in (workspace / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "x",
        "[]\n",
        '{"step": 1}\n',
        '{"trial": 1, "pass": 1, "attempt": 1, "step": "x", "valid_loss": 1.0}\n',
        '{"trial": 1, "pass": 1, "attempt": 1, "step": 1, "valid_loss": NaN}\n',
        '{"trial": 1, "pass": 1, "attempt": 1, "valid_loss": 1.0}\n',
        '{"event": "finished", "winner": -1}\n',
    ],
)
def test_losses_of_what_is_no_run(content: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(content)
    assert loss_drawing.of_file(tmp_path / "metrics.jsonl", language_of("ja")) is None
    (tmp_path / "link").symlink_to(tmp_path / "metrics.jsonl")
    assert loss_drawing.of_file(tmp_path / "link", language_of("ja")) is None
    assert loss_drawing.of_file(tmp_path, language_of("ja")) is None


def loop_summaries(tmp_path: Path) -> list[loop_page.LoopSummary]:
    """Summaries of loops that say everything that can be said."""
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(FALLING, FALLING[:4], 2)))
    curve = loss_curve.read(tmp_path / "metrics.jsonl")
    assert curve is not None
    right = np.arange(40) < 36
    others = {"甲": np.arange(40) < 20, "乙": np.arange(40) >= 2, "丙": right ^ (np.arange(40) < 3)}
    found = [conclusion.conclude(right, {name: others[name]}) for name in others]
    outcomes = outcomes_of(["甲", "乙"] * 4, ["甲"] * 8, [0.9] * 8, ("甲", "乙"))
    shown = [
        loop_page.Shown(Example.of("無", "?"), "甲", "乙", 0.5),
        loop_page.Shown(Example.of(None, "?", text="暑"), "", "甲", None),
    ]
    candidates = [
        loop_page.CandidateRow(1, "率 1", [0.5, 0.4], 0.9, True),
        loop_page.CandidateRow(0, "", [0.6, 0.5], 0.8, False),
        loop_page.CandidateRow(2, "率 2", [math.inf], None, False, "甲"),
    ]
    steps = [loop_page.StepRow("甲", "乙", 1.0), loop_page.StepRow("甲", "乙", 1.0, "丙")]
    whole = loop_page.LoopSummary(
        *("甲", "2026", "乙", 40, 60.0, 3, found[0], Sentence("It ended with the time."), "丙", steps, candidates),
        *(shown, outcomes, outcomes),
        folds=[curve, curve],
        following=shown,
        unlabelled="丁",
        test=("戊", Figure(0.5, 0.4, 0.6), 8),
    )
    bare = whole._replace(after=None, before=None, folds=(), curve=curve, following=(), test=None, doubted=())
    return [whole, bare, whole._replace(conclusion=found[1]), whole._replace(conclusion=found[2])]


def test_nothing_of_loops_is_left_in_english(tmp_path: Path, drawn: list[str]) -> None:
    for one in loop_summaries(tmp_path):
        content = loop_page.html(one, MARKED)
        assert left_in_english(content) == set()
    assert set(LATIN.findall(unmarked("\n".join(drawn)))) == set()
