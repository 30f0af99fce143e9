"""Shards of a file of answers: which records they have, and what is refused where they are put together."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from hypothesis import given
from hypothesis import strategies as st

from palitune.config.sharding import Shard, ShardOf, ShardSettings
from palitune.data import answer_shards, answer_source
from palitune.data.answer_shards import Deal, Facts
from palitune.data.prediction import MadeWith
from palitune.errors import (
    BadDataError,
    MissingInputError,
    OutputExistsError,
    PalituneError,
    ResumableError,
    UsageError,
)
from palitune.run.gathering import gather

MADE = json.loads(json.dumps(MadeWith(("yes", "no"), model="one")._asdict()))


@given(st.integers(0, 300), st.integers(1, 9), st.integers(1, 9))
def test_every_record_has_one_shard(records: int, of: int, block: int) -> None:
    deals = [Deal(Shard(number, of), block) for number in range(1, of + 1)]
    for number in range(records):
        assert sum(deal.has(number) for deal in deals) == 1
    for deal in deals:
        own = [number for number in range(records) if deal.has(number)]
        assert deal.count(records) == len(own)
        assert [deal.nth(place) for place in range(len(own))] == own


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0/4", "0/4 is none of the shards 1/4 to 4/4: they count from 1"),
        ("5/4", "5/4 is none of the shards 1/4 to 4/4"),
        ("1/0", "1/0 has 0 shards"),
        ("1/10001", "1 to 10,000 are possible"),
        ("3", "'3' is not I/N, such as 3/64"),
        ("-1/4", "'-1/4' is not I/N"),
        ("/", "'/' is not I/N"),
    ],
)
def test_what_is_no_shard(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ShardOf().parse(text)


def test_a_shard_is_a_setting() -> None:
    assert ShardOf().parse("3/64") == (3, 64)
    assert ShardSettings(shard=(2, 2)).shard == Shard(2, 2)
    with pytest.raises(UsageError, match="shard: 3/2 is none of"):
        ShardSettings(shard=(3, 2))


def test_names_sort_as_their_numbers() -> None:
    names = [answer_shards.path_of(Path("a/out.tsv"), Shard(number, 10)).name for number in (1, 2, 10)]
    assert names == ["out.01-of-10.tsv", "out.02-of-10.tsv", "out.10-of-10.tsv"] == sorted(names)


class Answers:
    """Shards of answers to records, of which some are left out."""

    def __init__(self, folder: Path, records: int = 11, of: int = 3, block: int = 2, left_out: tuple[int, ...] = ()):
        self.out, self.data, self.of = folder / "out.tsv", folder / "in.txt", of
        self.data.write_text("".join(f"{number}\n" for number in range(records)))
        self.whole = b"".join(b"%d\n" % number for number in range(records) if number not in left_out)
        for number in range(1, of + 1):
            facts = Facts(Shard(number, of), block, answer_shards.sha256(self.data), MADE)
            own = [one for one in range(records) if facts.deal.has(one)]
            answer_shards.begin(self.path(number), facts, has_answers=False)
            if lines := b"".join(b"%d\n" % one for one in own if one not in left_out):
                self.path(number).write_bytes(lines)
            answer_shards.finish(self.path(number), facts, records, [one for one in own if one in left_out])

    def path(self, number: int) -> Path:
        return answer_shards.path_of(self.out, Shard(number, self.of))

    def facts(self, number: int) -> Facts:
        found = answer_shards.read(self.path(number))
        assert found is not None
        return found

    def change(self, number: int, **values: object) -> None:
        facts = self.facts(number)
        for name, value in values.items():
            setattr(facts, name, value)
        facts.write(self.path(number))

    def refused(self, kind: type[PalituneError], said: str, **options: bool) -> None:
        """Gathering ends with this, and leaves nothing behind."""
        before = self.out.read_bytes() if self.out.exists() else None
        with pytest.raises(kind, match=said):
            gather(self.out, **options)
        assert (self.out.read_bytes() if self.out.exists() else None) == before
        assert not list(self.out.parent.glob(".out.tsv.*"))


@pytest.mark.parametrize("records", [0, 1, 2, 6, 7, 11, 12])
@pytest.mark.parametrize(("of", "block"), [(1, 1), (3, 2), (9, 1), (2, 5)])
def test_what_is_gathered_is_in_order(tmp_path: Path, records: int, of: int, block: int) -> None:
    made = Answers(tmp_path, records, of, block, left_out=(3, 4, 6))
    gather(made.out, made.data, quiet=True)
    assert made.out.read_bytes() == made.whole
    known = answer_source.read(made.out)
    assert known is not None
    assert (known.model, known.labels) == ("one", ("yes", "no"))


def test_lines_longer_than_a_piece(tmp_path: Path) -> None:
    made = Answers(tmp_path, 2, 2, 1)
    lines = [character * 200_000 + b"\n" for character in (b"a", b"b")]
    for number, line in enumerate(lines, 1):
        made.path(number).write_bytes(line)
        made.change(number, answers=answer_shards.sha256(made.path(number)))
    gather(made.out)
    assert made.out.read_bytes() == b"".join(lines)


def test_what_is_not_gathered(tmp_path: Path) -> None:
    made = Answers(tmp_path)
    made.out.write_text("precious")
    made.refused(OutputExistsError, "this file exists. --overwrite replaces it")
    made.change(2, records=None, answers=None)
    made.refused(ResumableError, "1 of 3 shards are not finished: 2/3", overwrite=True)
    made.change(2, records=12)
    made.refused(BadDataError, "this has counted other records than out.1-of-3.tsv", overwrite=True)
    made.change(2, records=11, answers=answer_shards.sha256(made.path(2)))
    made.change(3, source="0" * 64)
    made.refused(BadDataError, "3-of-3.tsv: these are answers to other records than out.1-of-3.tsv", overwrite=True)
    made.change(3, source=made.facts(1).source, block=3)
    made.refused(BadDataError, "-b is 3, and 2 in out.1-of-3.tsv", overwrite=True)
    made.change(3, block=2, made={**MADE, "mark": "x", "prompt": "y"})
    both = "the model's weights are others than in out.1-of-3.tsv; prompt is 'y', and '' in out.1-of-3.tsv. Use"
    made.refused(BadDataError, both, overwrite=True)
    made.change(3, made=MADE, left_out=[0])
    made.refused(BadDataError, "records of another shard are left out", overwrite=True)
    made.change(3, left_out=[4, 4])
    made.refused(BadDataError, "records of another shard are left out", overwrite=True)
    made.change(3, left_out=[4])
    made.refused(BadDataError, "the answers have changed since", overwrite=True)
    made.change(3, left_out=[])
    gather(made.out, overwrite=True)
    assert made.out.read_bytes() == made.whole


def test_changed_answers_are_refused(tmp_path: Path) -> None:
    made = Answers(tmp_path)
    before = made.path(2).read_bytes()
    for content in (before.replace(b"2\n", b"4\n"), before + b"9\n", before[:-1], before[:-2], before + b"9", b""):
        made.path(2).write_bytes(content)
        made.refused(BadDataError, "2-of-3.tsv: (the answers have changed|answers are missing)")
    made.path(2).write_bytes(before)
    made.data.write_text("other")
    with pytest.raises(BadDataError, match=r"no answers to .*in\.txt as it is now"):
        gather(made.out, made.data)
    with pytest.raises(MissingInputError, match="no such file"):
        gather(made.out, tmp_path / "never")
    gather(made.out)
    assert made.out.read_bytes() == made.whole


def test_shards_that_are_not_there(tmp_path: Path) -> None:
    made = Answers(tmp_path)
    copy = answer_shards.beside(made.path(3))
    for number in (1, 3):
        answer_shards.beside(made.path(number)).rename(tmp_path / f"aside{number}")
    made.refused(MissingInputError, "2 of 3 shards are missing: out.1-of-3.tsv, out.3-of-3.tsv")
    (tmp_path / "aside1").rename(answer_shards.beside(made.path(1)))
    copy.write_bytes(answer_shards.beside(made.path(2)).read_bytes())
    made.refused(BadDataError, "3-of-3.tsv: this is shard 2/3 under another name")
    for content in ("", "[]", "{}", '{"version": 1}', '{"version": 1, "shard": [3, 3]}', "[" * 100_000):
        copy.write_text(content)
        made.refused(BadDataError, "3-of-3.tsv.shard.json: this tells nothing of a shard")
    copy.write_text('{"version": 2}')
    made.refused(BadDataError, "of another version of palitune")
    (tmp_path / "aside3").rename(copy)
    (tmp_path / "elsewhere").mkdir()
    Answers(tmp_path / "elsewhere", of=2)
    for path in (tmp_path / "elsewhere").glob("out.*"):
        path.rename(tmp_path / path.name)
    made.refused(BadDataError, "there are shards of 2 and of 3")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInputError, match="there is no shard of these answers"):
        gather(tmp_path / "empty/out.tsv")


@pytest.mark.parametrize(
    "damage",
    [
        {"made": {}},
        {"made": []},
        {"labels": 5},
        {"threshold": "high"},
        {"threshold": 10**309},
        {"thresholds": [[1]]},
        {"records": 10**30},
        {"records": -1},
        {"records": True},
        {"block": 0},
        {"left_out": ["1"]},
        {"left_out": {"a": 1}},
    ],
    ids=str,
)
def test_facts_that_are_damaged_everywhere_change_nothing(tmp_path: Path, damage: dict[str, Any]) -> None:
    """All shards agree, and what was at their output before stays there."""
    made = Answers(tmp_path)
    for number in (1, 2, 3):
        side = answer_shards.beside(made.path(number))
        facts = json.loads(side.read_text())
        where = facts if set(damage) <= set(facts) else facts["made"]
        side.write_text(json.dumps(facts | damage if where is facts else {**facts, "made": where | damage}))
    made.refused(BadDataError, "this tells nothing of a shard")


def test_shards_with_a_model(workspace: Path, run: Run) -> None:
    """Images that cannot be used, several answers of a batch, and a shard that is continued amid a block."""
    lines = (workspace / "dataset/data.jsonl").read_text().splitlines()
    lines = [*lines[:5], '{"image": "gone.png", "suffix": "yes"}', *lines[5:9], '{"image": "gone.png"}', *lines[9:19]]
    (workspace / "dataset/some.jsonl").write_text("".join(f"{line}\n" for line in lines))

    def answered(*options: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        command = ("palitune", "inference", "-m", "tiny", "-d", "dataset/some.jsonl", "-b", "3", "--jsonl")
        done = run(*command, "--on-bad-image", "skip", *options, cwd=workspace)
        assert done.returncode == code, done.stderr
        return done

    whole = answered().stdout
    assert len(whole.splitlines()) == 19
    assert "--shard needs --resume OUT" in answered("--shard", "1/3", code=2).stderr
    for number in (1, 2, 3):
        answered("--resume", "out.jsonl", "--shard", f"{number}/3")
    second = workspace / "out.2-of-3.jsonl"
    sound, lines_of = second.read_bytes(), second.read_bytes().splitlines(keepends=True)
    for count, rest in ((1, b'{"ima'), (3, b""), (len(lines_of), b"")):
        second.write_bytes(b"".join(lines_of[:count]) + rest)
        answered("--resume", "out.jsonl", "--shard", "2/3")
        assert second.read_bytes() == sound
    said = answered("--resume", "out.jsonl", "--shard", "2/3", "--prompt", "another?", code=65).stderr
    assert "and 'another?' in what is asked now. Use" in said
    second.unlink()
    for options, what in (
        (("--shard", "2/3", "--prompt", "another?"), "prompt is 'another?', and "),
        (("--shard", "2/4"), "there are shards of 3 already, and this is 2/4. Name another"),
        (("--shard", "1/3", "-b", "4"), "this shard has been begun with -b 3, and not 4. Use -b 3 for all shards"),
    ):
        assert what in answered("--resume", "out.jsonl", *options, code=65).stderr
    answered("--resume", "out.jsonl", "--shard", "2/3")
    assert second.read_bytes() == sound
    done = run("palitune", "gather", "out.jsonl", cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert "19 answers of 3 shards, each record has one; 2 records are left out" in done.stderr
    assert (workspace / "out.jsonl").read_text() == whole
    answer_shards.beside(second).unlink()
    said = answered("--resume", "out.jsonl", "--shard", "2/3", code=65).stderr
    assert "these answers are of no shard that is known" in said
    done = run("palitune", "gather", "out.jsonl", "--overwrite", cwd=workspace)
    assert (done.returncode, done.stderr.count("\n")) == (66, 1)
    assert (workspace / "out.jsonl").read_text() == whole
