"""Which of two models' answers people prefer: the page to vote on, and the tally of the votes."""

import base64
import hashlib
import html.parser
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browser
import numpy as np
import pytest
from conftest import Run
from scipy import stats

from palitune.data.demo import demo_data
from palitune.errors import BadDataError
from palitune.evaluate import blinding, preference, vote_files
from palitune.evaluate.blinding import Ballot
from palitune.evaluate.report import preference_text
from palitune.evaluate.vote_files import Votes

Record = dict[str, Any]
FIRST, SECOND = "alpha-model", "beta-model"  # the files' names, which no page may tell
BAD = "</script><script>alert(1)</script>\u2028\"'<!--"


class Parts(html.parser.HTMLParser):
    """What a page would fetch, its scripts, and what of it can be read."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self.text = ""
        self.inside = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "data")]
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.text += data


def parts_of(path: Path) -> Parts:
    parts = Parts()
    parts.feed(path.read_text("utf-8"))
    return parts


def content_of(path: Path) -> Any:
    """What the page's script reads."""
    content, _ = parts_of(path).scripts
    return json.loads(content)


def jsonl(path: Path, rows: list[Record]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def free_text(folder: Path, count: int = 8, same: int = 0) -> None:
    """Two files of free answers without labels, which say which they are; the last ones are the same."""
    for file in (FIRST, SECOND):
        rows: list[Record] = [
            {"text": f"letter {i}", "prefix": "Answer it.", "answer": f"{file[:-6]} {i}", "p_yes": None}
            for i in range(count - same)
        ]
        rows += [{"text": f"letter {i}", "answer": "the same", "p_yes": None} for i in range(same)]
        jsonl(folder / f"{file}.jsonl", rows)


def says(record: Record, side: str) -> str:
    """What a record of `free_text` has on a side: alpha or beta."""
    return str(record[side][0][1].split()[0])


def voted(page: Path, voter: str, choose: Callable[[int, Record], str | None], second: int = 0) -> Path:
    """A file of votes as the page's script writes it; who chooses nothing has not voted."""
    content = content_of(page)
    choices = {one["id"]: choose(number, one) for number, one in enumerate(content["records"])}
    votes = {
        "voter": voter,
        "saved": f"2026-07-01T12:00:{second:02d}.000Z",
        "records": list(choices),
        "votes": {record: choice for record, choice in choices.items() if choice},
    }
    path = page.with_name(f"votes-{voter}-{second}.json")
    path.write_text(json.dumps({key: content[key] for key in ("format", "version", "page", "seed")} | votes))
    return path


def for_beta(number: int, record: Record) -> str:
    """A vote for the second file."""
    return "left" if says(record, "left") == "beta" else "right"


def made(run: Run, folder: Path, *options: str, files: tuple[str, ...] = (f"{FIRST}.jsonl", f"{SECOND}.jsonl")) -> Path:
    done = run("palitune", "ab", *files, "-o", "page.html", "--overwrite", *options, cwd=folder)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return folder / "page.html"


def tally(run: Run, folder: Path, *files: Path) -> Any:
    done = run("palitune", "ab", "tally", *(file.name for file in files), "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_page_of_images_needs_nothing_else_and_names_no_file(run: Run, tmp_path: Path) -> None:
    records = demo_data.make(tmp_path, 12)
    for file, wrong in ((FIRST, 3), (SECOND, 4)):
        rows = []
        for number, record in enumerate(records):
            answer = {"yes": "no", "no": "yes"}[record["suffix"]] if number % wrong == 0 else record["suffix"]
            rows.append(f"{record['image']}\t{answer == record['suffix']}\t0.5\t{record['suffix']}\t{answer}\n")
        (tmp_path / f"{file}.tsv").write_text("".join(rows))
    done = run("palitune", "ab", f"{FIRST}.tsv", f"{SECOND}.tsv", "-o", "page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wrote page.html: 5 of 5 examples that were answered differently" in done.stderr
    assert "7 examples are left out: both answers are the same" in done.stderr
    parts, content = parts_of(tmp_path / "page.html"), content_of(tmp_path / "page.html")
    assert all(address.startswith("data:") for address in parts.addresses)
    assert "url(" not in (text := (tmp_path / "page.html").read_text())
    allowed = base64.b64encode(hashlib.sha256(parts.scripts[1].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'\"" in text
    for name in (FIRST, SECOND, *(record["image"] for record in records), str(tmp_path)):
        assert name not in text
    assert len(content["images"]) == len(content["records"]) == 5
    assert all(image.startswith("data:image/jpeg;base64,") for image in content["images"])
    assert {(one["left"][0][1], one["right"][0][1]) for one in content["records"]} <= {("yes", "no"), ("no", "yes")}
    again = run("palitune", "ab", f"{FIRST}.tsv", f"{SECOND}.tsv", "-o", "page.html", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (73, "")
    (tmp_path / records[3]["image"]).unlink()
    done = run("palitune", "ab", f"{FIRST}.tsv", f"{SECOND}.tsv", "-o", "fewer.html", cwd=tmp_path)
    assert "1 examples are left out: their image cannot be read" in done.stderr
    assert len(content_of(tmp_path / "fewer.html")["records"]) == 4
    done = run("palitune", "ab", f"{FIRST}.tsv", f"{SECOND}.tsv", "-o", "none.html", "-i", "gone", cwd=tmp_path)
    assert done.returncode == 66
    assert "no image is found. -i FOLDER names their folder" in done.stderr
    assert not (tmp_path / "none.html").exists()


def test_the_seed_tells_sides_and_order(run: Run, tmp_path: Path) -> None:
    free_text(tmp_path, 40, same=4)
    page = made(run, tmp_path)
    first = page.read_bytes()
    shuffled = (tmp_path / f"{FIRST}.jsonl").read_text().splitlines(keepends=True)[::-1]
    (tmp_path / f"{FIRST}.jsonl").write_text("".join(shuffled))
    assert made(run, tmp_path).read_bytes() == first  # whatever the order in the files
    content = content_of(page)
    assert [one["turns"][0]["about"] for one in content["records"]] != [[f"letter {i}"] for i in range(36)]
    other = content_of(made(run, tmp_path, "--seed", "7"))
    places = [{one["id"]: says(one, "left") for one in each["records"]} for each in (content, other)]
    assert set(places[0]) == set(places[1])
    assert places[0] != places[1]
    assert [*places[0]] != [*places[1]]
    assert content["page"] != other["page"]
    for each, seed in zip(places, (0, 7), strict=True):
        assert each == {one: "alpha" if blinding.first_is_left(seed, one) else "beta" for one in each}
    few = content_of(made(run, tmp_path, "--most", "10"))
    assert [one["id"] for one in few["records"]] == [*places[0]][:10]
    done = run(
        "palitune", "ab", f"{FIRST}.jsonl", f"{SECOND}.jsonl", "-o", "few.html", "--most", "10", "--quiet", cwd=tmp_path
    )
    assert done.stderr == ""


def test_a_page_in_japanese_is_the_same_ballot(run: Run, tmp_path: Path) -> None:
    """Votes on pages in several languages are counted together."""
    free_text(tmp_path, 6)
    english = content_of(made(run, tmp_path))
    page = made(run, tmp_path, "--lang", "ja")
    assert content_of(page) == english
    assert '<html lang="ja">' in page.read_text("utf-8")
    assert "どちらの回答が良いですか?" in parts_of(page).text
    for lang, voter in (("en", "Ann"), ("ja", "Bea")):
        voted(made(run, tmp_path, "--lang", lang), voter, for_beta)
    found = tally(run, tmp_path, *sorted(tmp_path.glob("votes-*.json")))
    assert (found["votes"]["B"], len(found["voters"])) == (12, 2)


def test_sides_are_even_and_stay_what_they_were() -> None:
    """Votes are counted by a later version too: these sides must never change."""
    ids = [f"{number:020x}" for number in range(4000)]
    for seed in (0, 1, 2**32 - 1):
        assert abs(sum(blinding.first_is_left(seed, one) for one in ids) / len(ids) - 0.5) < 0.03
    assert [blinding.first_is_left(0, one) for one in ids[:24]] == [
        bool(int(bit)) for bit in "000100101001101010111011"
    ]
    assert Ballot(3, ("a", "b")).page == "b9d4e86d9345dc23008fbb9c798eaf9d7942c1de757cef3da417ecf5a3579e5b"


def test_free_text_cannot_become_markup_or_script(run: Run, tmp_path: Path) -> None:
    for file, answer in ((FIRST, BAD), (SECOND, "a\n\nb\t\x1b[31m\u202e")):
        row = {"text": BAD, "prefix": f"{BAD}?", "answer": answer, "p_yes": None}
        jsonl(tmp_path / f"{file}.jsonl", [row, row])
    page = made(run, tmp_path)
    assert page.read_bytes().count(b"<script") == 2
    assert b"\xe2\x80\xa8" not in page.read_bytes()
    (record,) = content_of(page)["records"]  # the second one is the same
    shown = BAD.replace("\u2028", "\n")
    assert record["turns"] == [{"role": "user", "images": [], "about": [shown], "text": f"{shown}?"}]
    assert sorted([record["left"][0][1], record["right"][0][1]]) == sorted([shown, "a\n\nb   \\x1b[31m\\u202e"])


def test_of_several_labels_those_that_differ_are_voted_on(run: Run, tmp_path: Path) -> None:
    for file, said in ((FIRST, ("yes", "no", "no")), (SECOND, ("no", "no", "yes"))):
        names = ("rude", "spam", "threat")
        rows = [
            {"text": f"post {i}", "labels": {"rude": "yes", "spam": "no", "threat": None},
             "p_yes": dict.fromkeys(names, 0.5), "answer": dict(zip(names, said if i else ("no",) * 3, strict=True))}
            for i in range(3)
        ]  # fmt: skip
        jsonl(tmp_path / f"{file}.jsonl", rows)
    lines = (tmp_path / f"{FIRST}.jsonl").read_text()
    done = run("palitune", "ab", "-", f"{SECOND}.jsonl", "-o", "stdin.html", cwd=tmp_path, stdin=lines)
    assert "1 examples are left out: both answers are the same" in done.stderr
    assert (tmp_path / "stdin.html").read_bytes() == made(run, tmp_path).read_bytes()
    for one in content_of(tmp_path / "page.html")["records"]:
        assert one["same"] == [["spam", "no"]]
        sides = [one["left"], one["right"]]
        assert sorted(sides) == [[["rude", "no"], ["threat", "yes"]], [["rude", "yes"], ["threat", "no"]]]
    other = (tmp_path / f"{SECOND}.jsonl").read_text().replace("threat", "insult")
    (tmp_path / "other.jsonl").write_text(other)
    done = run("palitune", "ab", f"{FIRST}.jsonl", "other.jsonl", "-o", "x.html", cwd=tmp_path)
    assert done.returncode == 65
    assert f"the labels are rude, spam, insult here and rude, spam, threat in {FIRST}.jsonl" in done.stderr


def test_a_chat_is_shown_without_the_right_answer(run: Run, tmp_path: Path) -> None:
    """Chats that end with the same question are told apart by what was said before."""
    for file in (FIRST, SECOND):
        rows = []
        for order in ("shoes", "hats"):
            turns = [("system", "Be kind."), ("user", f"My {order} broke."), ("assistant", "I am sorry."),
                     ("user", "What now?"), ("assistant", "THE RIGHT ONE")]  # fmt: skip
            messages = [{"role": role, "content": text} for role, text in turns]
            rows.append({"messages": messages, "answer": f"{file[:-6]} on {order}", "p_yes": None})
        jsonl(tmp_path / f"{file}.jsonl", rows if file == FIRST else rows[::-1])
    page = made(run, tmp_path)
    assert "RIGHT ONE" not in page.read_text()
    for one in content_of(page)["records"]:
        assert [turn["role"] for turn in one["turns"]] == ["system", "user", "assistant", "user"]
        thing = one["turns"][1]["text"].split()[1]
        assert {one["left"][0][1], one["right"][0][1]} == {f"alpha on {thing}", f"beta on {thing}"}


def test_votes_of_one_person(run: Run, tmp_path: Path) -> None:
    """31 of 40 for B: figures that are known by hand, whichever sides the answers were on."""
    free_text(tmp_path, 50)
    page = made(run, tmp_path, "--seed", "5")

    def choose(number: int, record: Record) -> str | None:
        if number >= 40:
            return {0: "both", 1: "neither", 2: "neither"}.get(number - 40)
        right = for_beta(number, record)
        return right if number < 31 else {"left": "right", "right": "left"}[right]

    file = voted(page, "Ann", choose)
    page.unlink()  # which the tally does not need, nor the answers
    done = run("palitune", "ab", "tally", file.name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    expected = (
        "B is preferred in 31 of 40 decided votes (78 %, 95 % interval 62 to 88 %), more than chance (p = 0.0007)."
    )
    assert lines[0] == expected
    assert lines[1].endswith("43 of 50 records have votes")
    assert re.fullmatch(r"Ann +43 +9 +31 +1 +2 +78 % +62 to 88 % +\d+ %", lines[4])
    found = tally(run, tmp_path, file)
    test = stats.binomtest(31, 40)
    interval = test.proportion_ci(method="wilson")
    assert found["conclusion"] == expected
    assert found["p_value"] == pytest.approx(test.pvalue, rel=1e-12)
    assert found["shares"]["B"] == pytest.approx({"value": 31 / 40, "low": interval.low, "high": interval.high})
    assert found["shares"]["A"] == pytest.approx({"value": 9 / 40, "low": 1 - interval.high, "high": 1 - interval.low})
    assert (found["votes"], found["interval"], found["test"]) == (
        {"A": 9, "B": 31, "both": 1, "neither": 2},
        "Wilson",
        "sign test",
    )
    assert found["agreement"] == {"records": 0, "pairs": 0, "equal": 0, "alpha": None}


def test_several_voters_are_not_as_many_records(run: Run, tmp_path: Path) -> None:
    """Three people who vote the same know no more than one: neither interval nor p-value becomes smaller."""
    free_text(tmp_path, 40)
    page = made(run, tmp_path)

    def choose(number: int, record: Record) -> str:
        return for_beta(number, record) if number % 3 else {"left": "right", "right": "left"}[for_beta(0, record)]

    files = [voted(page, voter, choose) for voter in ("Ann", "Bea", "Cem")]
    one, three = tally(run, tmp_path, files[0]), tally(run, tmp_path, *files)
    assert (three["interval"], three["test"]) == ("bootstrap over records", "sign-flip test over records")
    assert three["decided"] == 3 * one["decided"] == 120
    assert three["p_value"] == pytest.approx(one["p_value"], rel=1e-9)
    widths = [found["shares"]["B"]["high"] - found["shares"]["B"]["low"] for found in (one, three)]
    assert widths[1] > 0.9 * widths[0]
    assert three["agreement"] == {"records": 40, "pairs": 120, "equal": 120, "alpha": 1.0}
    printed = run("palitune", "ab", "tally", *(file.name for file in files), cwd=tmp_path).stdout
    assert "decided votes by 3 voters" in printed
    assert "Krippendorff's alpha 1.00" in printed
    assert "the interval is a bootstrap over records, the test a sign-flip test over records" in printed


def votes_of(*rows: str) -> list[Votes]:
    """Voters whose choices are letters: A, B, = (both), - (neither), and a blank where one did not vote."""
    ids = tuple(f"{number:020x}" for number in range(max(map(len, rows))))
    sides = {"A": ("right", "left"), "B": ("left", "right"), "=": ("both",) * 2, "-": ("neither",) * 2}
    return [
        Votes(f"{number}.json", Ballot(0, ids), f"voter {number}", "", {
            one: sides[letter][blinding.first_is_left(0, one)]
            for one, letter in zip(ids, row, strict=False) if letter != " "
        })
        for number, row in enumerate(rows)
    ]  # fmt: skip


def test_the_interval_is_that_of_records_drawn_with_their_votes() -> None:
    found = preference.tally(votes_of("BBBBBBAAAB= BBBAB", "BBABBBAABB=BBBAAB", "B BBA ABAB-ABBBBB"))
    assert found.counts == (13, 32, 2, 1)
    second = np.array([3, 2, 2, 3, 2, 2, 0, 1, 1, 3, 0, 1, 3, 3, 2, 1, 3])
    decided = np.array([3, 2, 3, 3, 3, 2, 3, 3, 3, 3, 0, 2, 3, 3, 3, 3, 3])

    def share(b: np.ndarray, n: np.ndarray, axis: int) -> np.ndarray:
        return b.sum(axis) / n.sum(axis)

    pairs = second[decided > 0], decided[decided > 0]
    drawn = stats.bootstrap(pairs, share, paired=True, method="percentile", rng=np.random.default_rng(0))
    low, high = drawn.confidence_interval
    assert found.share.value == second.sum() / decided.sum()
    assert (found.share.low, found.share.high) == pytest.approx((low, high), abs=0.02)
    # Where all draws agree, a bootstrap says nothing: then it is Wilson's, of as many votes as records.
    ci = stats.binomtest(6, 6).proportion_ci(method="wilson")
    every = preference.tally(votes_of("BBBBBB", "BBBB=B")).share
    assert (every.low, every.high) == pytest.approx((ci.low, ci.high))
    assert preference.tally(votes_of("AABB", "BBAA")).share.low == pytest.approx(0.15, abs=0.005)


@pytest.mark.parametrize("balance", [[3, -1, 2, 2, 0, -1, 1], [1] * 9 + [-1] * 2, [2, 2, -2], [0, 0], [5]])
def test_the_sign_flip_test_is_exact(balance: list[int]) -> None:
    """Held to all choices of signs, counted one by one; and of single votes it is the sign test."""
    values = np.array(balance)
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(values))).reshape(len(values), -1)
    expected = (np.abs(values @ signs) >= abs(values.sum())).mean()
    assert preference.sign_flip(values) == pytest.approx(expected, rel=1e-12)
    assert preference.sign_flip(-values) == pytest.approx(expected, rel=1e-12)
    if set(balance) <= {-1, 1}:
        assert expected == pytest.approx(stats.binomtest(balance.count(1), len(balance)).pvalue)


def test_agreement_is_that_of_published_figures() -> None:
    """Four people about twelve things that not all have seen: in "Computing Krippendorff's Alpha-Reliability", 2011."""
    rows = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    values = np.array([[sum(row[place] == value for row in rows) for value in "12345"] for place in range(12)])
    assert preference.krippendorff(values) == pytest.approx(0.743, abs=0.0005)


def test_agreement_of_two_voters_is_scotts_pi_for_few_votes() -> None:
    """alpha = 1 - (1 - pi) (n - 1) / n for n votes of two people, none of which is missing."""
    rng = np.random.default_rng(0)
    first = rng.choice(list("ABB=-"), 60)
    second = np.where(rng.random(60) < 0.6, first, rng.choice(list("AB="), 60))
    found = preference.tally(votes_of("".join(first), "".join(second))).agreement
    plain = [np.where(np.isin(one, ["=", "-"]), "tie", one) for one in (first, second)]
    same = float((plain[0] == plain[1]).mean())
    shares = [float((np.concatenate(plain) == value).mean()) for value in ("A", "B", "tie")]
    by_chance = sum(share**2 for share in shares)
    pi = (same - by_chance) / (1 - by_chance)
    assert found.alpha == pytest.approx(1 - (1 - pi) * 119 / 120)
    assert (found.records, found.pairs, found.equal) == (60, 60, round(60 * same))


def test_agreement_that_is_not_defined() -> None:
    assert preference.tally(votes_of("BBB", "BBB")).agreement == (3, 3, 3, None)
    assert preference.tally(votes_of("AB  ", "  BA")).agreement == (0, 0, 0, None)
    apart = preference.tally(votes_of("AB  ", "  BA"))
    assert (apart.interval, apart.test) == ("Wilson", "sign test")  # no record has two votes


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("AABB", "A and B are preferred equally often, in 2 of 4 decided votes each (50 %, 95 % interval 15 to 85 %)."),
        ("=--=", "Nobody prefers one of both: all 4 votes are for both or for neither."),
        ("A", "A is preferred in 1 of 1 decided vote (100 %, 95 % interval 21 to 100 %), which may be chance (p = 1)."),
        (
            "AAAB",
            "A is preferred in 3 of 4 decided votes (75 %, 95 % interval 30 to 95 %), which may be chance (p = 0.62).",
        ),
        (
            "BBBBBBBBBBBBBBBBBBBB",
            "B is preferred in 20 of 20 decided votes (100 %, 95 % interval 84 to 100 %), more than chance"
            " (p < 0.0001).",
        ),
    ],
)
def test_what_is_said_of_votes(row: str, says: str) -> None:
    assert preference_text.conclusion(preference.tally(votes_of(row))) == says


@pytest.fixture(scope="module")
def page(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of eight letters. Who writes beside it takes a name of his own."""
    folder = tmp_path_factory.mktemp("page")
    free_text(folder, 8)
    return made(run, folder)


def test_of_one_voter_the_newest_file_counts(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The name tells people apart, however they have written it."""
    old = voted(page, "Ann B", lambda number, _: "left" if number < 6 else None, second=1)
    new = voted(page, " ann  b", lambda number, _: "right", second=2)
    for order in ((old, new), (new, old)):
        (found,) = vote_files.read_all(list(map(str, order)))
        assert set(found.choices.values()) == {"right"}
        said = capsys.readouterr().err
        assert f"{old} (6 votes) is left out: Ann B has saved {new} (8 votes) later" in said
    assert len(vote_files.read_all([str(old), str(new)], quiet=True)) == 1
    assert capsys.readouterr().err == ""
    copied = old.with_name("copied.json")
    copied.write_bytes(b"\xef\xbb\xbf" + old.read_bytes())  # as some editors save it
    assert len(vote_files.read_all([str(old), str(copied)])) == 1
    assert "has saved" in capsys.readouterr().err
    copied.write_text(old.read_text().replace('"left"', '"both"', 1))
    with pytest.raises(BadDataError, match="both were saved at the same time"):
        vote_files.read_all([str(old), str(copied)])


Change = Callable[[Record], object]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda votes: votes["votes"].update({"f" * 20: "left"}), f'a vote for "{"f" * 20}", which is no record'),
        (lambda votes: votes["votes"].update({votes["records"][2]: "A"}), 'is "A"; votes are left, right,'),
        (lambda votes: votes["votes"].update({votes["records"][2]: ["left"]}), 'is ["left"]; votes are'),
        (lambda votes: votes["votes"].update({votes["records"][2]: None}), "is null; votes are"),
        (lambda votes: votes.update(votes=[]), "the file has no votes"),
        (lambda votes: votes.update(seed=1), "the seed or the records are not those of the page"),
        (lambda votes: votes.update(seed="0"), "the seed or the records are not those of the page"),
        (lambda votes: votes["records"].pop(), "the seed or the records are not those of the page"),
        (lambda votes: votes["records"].reverse(), "the seed or the records are not those of the page"),
        (lambda votes: votes.update(records=[[]]), "the seed or the records are not those of the page"),
        (lambda votes: votes.update(version=2), "votes of version 2, and this palitune reads 1"),
        (lambda votes: votes.update(format="other"), "not a file of votes"),
        (lambda votes: votes.update(voter=" "), "the file does not say who voted"),
        (lambda votes: votes.update(voter=3), "the file does not say who voted"),
        (lambda votes: votes.update(saved="yesterday"), "the file does not say when it was saved"),
        (lambda votes: votes.update(votes={}), "there are no votes here"),
    ],
)  # fmt: skip
def test_votes_that_are_not_the_pages(page: Path, change: Change, says: str, tmp_path: Path) -> None:
    votes = json.loads(voted(page, "Dan", for_beta).read_text())
    change(votes)
    path = tmp_path / "votes.json"
    path.write_text(json.dumps(votes))
    with pytest.raises(BadDataError, match=re.escape(says)) as found:
        vote_files.read_all([str(path)])
    assert found.value.where == str(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[]", b"null", b"{", b'{"a": 1, "a": 2}', b"[" * 100_000, b'{"seed": NaN}', b"\0" * 100],
    ids=repr,
)  # fmt: skip
def test_damaged_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "votes.json").write_bytes(content)
    with pytest.raises(BadDataError, match="not a file of votes"):
        vote_files.read(tmp_path / "votes.json")


def test_votes_of_different_pages(run: Run, page: Path, tmp_path: Path) -> None:
    """Of the same examples and answers under another seed, or the other way round, too."""
    ours = voted(page, "Ann", for_beta)
    free_text(tmp_path, 8)
    others = [made(run, tmp_path, "--seed", "1"), made(run, tmp_path, files=(f"{SECOND}.jsonl", f"{FIRST}.jsonl"))]
    for number, other in enumerate(others):
        theirs = voted(other, "Bea", for_beta, second=number)
        done = run("palitune", "ab", "tally", str(ours), str(theirs), cwd=tmp_path)
        assert (done.returncode, done.stdout) == (65, "")
        assert done.stderr.count("\n") == 1
        assert f"{theirs}: these votes were given on another page than those in {ours}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "required"),
        (["a.tsv"], 2, "a page takes two files of answers and -o HTML"),
        (["a.tsv", "b.tsv"], 2, "a page takes two files of answers and -o HTML"),
        (["-", "-", "-o", "x.html"], 2, "standard input can be one of the files only"),
        (["a.tsv", "b.tsv", "-o", "x.html", "--json"], 2, "--json is an option of palitune ab tally"),
        (["a.tsv", "b.tsv", "-o", "a.tsv", "--overwrite"], 2, "a.tsv is read too"),
        (["a.tsv", "gone.tsv", "-o", "x.html"], 66, "gone.tsv: no such file"),
        (["a.tsv", "other.tsv", "-o", "x.html"], 65, "other.tsv: no image is also in a.tsv"),
        (["a.tsv", "data.tsv", "-o", "x.html"], 65, "no answer here"),
        (["a.tsv", "relabelled.tsv", "-o", "x.html"], 65, 'the label of a.png is "no" here and "yes" at a.tsv:1'),
        (["a.tsv", "a.tsv", "-o", "x.html"], 65, "all 1 answers are the same in both files"),
        (["tally"], 2, "name files of votes"),
        (["tally", "v.json", "--seed", "3"], 2, "--seed is an option of palitune ab A B"),
        (["tally", "v.json", "v.json"], 2, "v.json is named twice"),
        (["tally", "gone.json"], 66, "gone.json: no such file"),
        (["tally", "."], 65, ".: this is not a file"),
        (["tally", "a.tsv"], 65, "a.tsv: not a file of votes"),
    ],
)
def test_what_cannot_be_done(arguments: list[str], code: int, says: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a.png\tTrue\t0.9\tyes\tyes\n")
    (tmp_path / "b.tsv").write_text("a.png\tFalse\t0.1\tyes\tno\n")
    (tmp_path / "other.tsv").write_text("b.png\tTrue\t0.9\tyes\tyes\n")
    (tmp_path / "relabelled.tsv").write_text("a.png\tTrue\t0.9\tno\tyes\n")
    (tmp_path / "data.tsv").write_text("a.png\tyes\n")
    done = run("palitune", "ab", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert says in done.stderr.splitlines()[-1]
    assert not (tmp_path / "x.html").exists()


def test_a_voters_name_cannot_reach_the_terminal(run: Run, page: Path) -> None:
    path = voted(page, "x", for_beta)
    path.write_text(path.read_text().replace('"x"', json.dumps("\x1b]0;t\x07Ann\u202e")))
    done = run("palitune", "ab", "tally", path.name, cwd=page.parent)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "\\x1b]0;t\\x07Ann" in done.stdout


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[browser.Page, Path]]:
    """A browser, and the folder of its downloads."""
    program = browser.program()
    if program is None:
        pytest.skip("no browser here")
    folder = tmp_path_factory.mktemp("browser")
    with browser.opened(program, folder) as opened:
        yield opened, folder


def test_people_vote_in_a_browser(run: Run, tab: tuple[browser.Page, Path], tmp_path: Path) -> None:
    """With the mouse and by keys; what is undone, reloaded and saved before the end is what the tally counts."""
    opened, folder = tab
    free_text(tmp_path, 6)
    page = made(run, tmp_path)
    records = content_of(page)["records"]
    opened.resize(1280)
    opened.open(page.as_uri())
    shown = opened.run("document.body.innerText")
    assert "There are 6 examples" in shown
    opened.click("#name")
    opened.type("Åsa  O'Hara/2")
    opened.click("#who button")
    expected: dict[str, str] = {}

    def progress() -> str:
        return str(opened.run("document.getElementById('done').textContent"))

    for key, choice in (("1", "left"), ("ArrowRight", "right"), ("3", "both"), ("u", ""), ("4", "neither")):
        record = records[len(expected)]
        if choice:
            assert opened.run("document.getElementById('left').innerText") == record["left"][0][1]
            assert opened.run("document.getElementById('right').innerText") == record["right"][0][1]
            assert opened.run("document.querySelector('.about').innerText") == record["turns"][0]["about"][0]
        opened.press(key)
        expected |= {record["id"]: choice} if choice else {}
        if not choice:
            expected.popitem()
        assert progress() == f"{len(expected)} of 6"
    assert list(expected.values()) == ["left", "right", "neither"]
    opened.open(page.as_uri())  # nothing is lost
    assert progress() == "3 of 6"
    opened.click(".top .save")
    early = json.loads(browser.downloaded(folder / "votes-Åsa-O-Hara-2.json"))
    assert early["votes"] == expected
    assert "3 votes are saved as votes-Åsa-O-Hara-2.json" in opened.run("document.body.innerText")
    for number in (3, 4, 5):
        choice = for_beta(number, records[number])
        opened.click(f'[data-choice="{choice}"]')
        expected[records[number]["id"]] = choice
    opened.click(".top #undo")
    opened.click(f'[data-choice="{choice}"]', count=2)  # the second click of a double click is no vote
    assert progress() == "5 of 6"
    opened.click(f'[data-choice="{choice}"]')
    assert progress() == "6 of 6"
    assert "Every example has your vote" in opened.run("document.body.innerText")
    opened.press("1")  # there is nothing left to vote on
    opened.click("#copy summary")
    text = tmp_path / "copied.json"
    text.write_text(opened.run("document.getElementById('text').value"))
    assert json.loads(text.read_text())["votes"] == expected
    found = tally(run, tmp_path, text)
    assert [one["voter"] for one in found["voters"]] == ["Åsa O'Hara/2"]
    wanted = [blinding.preferred(0, record, choice) for record, choice in expected.items()]
    assert found["votes"] == {kind: wanted.count(kind) for kind in ("A", "B", "both", "neither")}
    assert wanted[3:] == ["B", "B", "B"]
    opened.click("#other")
    opened.tell("Page.addScriptToEvaluateOnNewDocument", source="Storage.prototype.setItem = () => { throw Error(); };")
    assert "keeps nothing" not in opened.run("document.body.innerText")
    opened.open(page.as_uri())  # as in a browser that keeps nothing
    assert "This browser keeps nothing" in opened.run("document.body.innerText")
    opened.click("#other")
    opened.click("#name")
    opened.type("Bo")
    opened.click("#who button")
    assert progress() == "0 of 6"
    assert opened.complaints == []


def test_a_page_fits_a_phone(run: Run, tab: tuple[browser.Page, Path], tmp_path: Path) -> None:
    """Long words and answers do not widen it; answers that are long stand above each other there, and beside else."""
    opened, _ = tab
    rows = {FIRST: "w" * 400, SECOND: "多分" * 200}
    for file, answer in rows.items():
        jsonl(tmp_path / f"{file}.jsonl", [{"text": "x" * 300 + BAD, "answer": f"{answer}{BAD}", "p_yes": None}])
    page = made(run, tmp_path)
    for width, sides in ((390, "Upper"), (1280, "Left")):
        opened.resize(width)
        opened.open(page.as_uri())
        if opened.run("!document.getElementById('start').hidden"):
            opened.run("document.getElementById('name').value = 'Ann'")
            opened.click("#who button")
        assert opened.run("document.documentElement.scrollWidth") <= width
        left, right = (
            opened.run(f"(({{x, y}}) => [x, y])(document.getElementById('{side}').getBoundingClientRect())")
            for side in ("left", "right")
        )
        assert (left[0] == right[0]) == (width == 390)
        assert (left[1] == right[1]) == (width == 1280)
        assert sides in opened.run("document.querySelector('[data-choice=left]').innerText")
        assert BAD.replace("\u2028", "\n") in opened.run("document.getElementById('left').innerText")
        buttons = opened.run(
            "[...document.querySelectorAll('nav button')].map((one) => one.getBoundingClientRect().right)"
        )
        assert max(buttons) <= width
    assert opened.complaints == []
