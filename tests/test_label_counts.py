"""Counts of yes and no, and fewer lines in proportion."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from conftest import Run
from hypothesis import given, settings
from hypothesis import strategies as st

from palitune.data.checks import label_counts, thinning
from palitune.data.checks.label_counts import Table
from palitune.errors import BadDataError


def table(values: "np.ndarray") -> Table:
    count, columns = values.shape
    lines, names = [b"x\n"] * count, [f"c{i}" for i in range(columns)]
    return Table(b"", lines, names, values.astype(np.int8), Path("d"), [*range(1, count + 1)])


def test_columns_are_found(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text('{"text":"a","toxic":"yes","rude":true}\n{"text":"b","toxic":"no","rude":false}\n')
    found = label_counts.read(path, None)
    assert (found.names, found.values.tolist()) == (["toxic", "rude"], [[1, 1], [0, 0]])
    path.write_text("id,toxic,rude\n1,0,1\n2,1,0\n3,maybe,0\n")
    assert label_counts.read(path, None).names == ["rude"]
    assert label_counts.read(path, ["toxic"]).values.tolist() == [[0], [1], [-1]]
    path.write_text("a.jpg\tTrue\t0.9\tyes\tyes\n")
    assert (label_counts.read(path, None).names, label_counts.read(path, None).values.tolist()) == (["label"], [[1]])
    path.write_text("a.jpg\tyes\tno\n")
    assert label_counts.read(path, None).names == ["2", "3"]
    with pytest.raises(BadDataError, match="no column none; there are 1, 2, 3"):
        label_counts.read(path, ["none"])
    path.write_text("a.jpg\tcat\n")
    with pytest.raises(BadDataError, match="no column says yes or no"):
        label_counts.read(path, None)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=2), min_size=1, max_size=60),
    st.floats(0.05, 0.95),
    st.booleans(),
)
def test_no_number_of_lines_without_yes_is_nearer(rows: list[list[int]], target: float, drop_yes: bool) -> None:
    values = np.array(rows)
    keep = thinning.thin(table(values), target, drop_yes, 0)
    has_yes = values.any(axis=1)
    if not drop_yes:
        assert keep[has_yes].all()
    counts, some = values[keep].sum(axis=0), int((keep & has_yes).sum())

    def distance(none: int) -> float:
        return float(np.abs((counts / (some + none) if some + none else counts * 0.0) - target).mean())

    chosen = int((keep & ~has_yes).sum())
    best = min(distance(none) for none in range(int((~has_yes).sum()) + 1))
    assert distance(chosen) == pytest.approx(best, abs=1e-9)


def test_seven_columns_come_near_the_target() -> None:
    rng = np.random.default_rng(0)
    values = (rng.random((20_000, 7)) < [0.1, 0.05, 0.05, 0.04, 0.03, 0.02, 0.01]).astype(int)
    keep = thinning.thin(table(values), 0.2, False, 0)
    assert keep[values.any(axis=1)].all()
    before, after = values.mean(axis=0), values[keep].mean(axis=0)
    assert np.abs(after - 0.2).mean() < np.abs(before - 0.2).mean() / 1.3
    some = [thinning.thin(table(values), 0.06, False, seed) for seed in (0, 0, 1)]
    assert np.array_equal(some[0], some[1])
    assert not np.array_equal(some[0], some[2])
    assert some[0].sum() == some[2].sum() < len(values)


def test_a_frequent_yes_goes_only_when_told() -> None:
    values = np.array([[1]] * 85 + [[0]] * 15)
    assert thinning.thin(table(values), 0.5, False, 0).sum() == 100
    keep = thinning.thin(table(values), 0.5, True, 0)
    assert (values[keep].sum(), keep.sum()) == (15, 30)


def test_what_is_neither_is_refused() -> None:
    with pytest.raises(BadDataError, match="neither yes nor no in c0") as caught:
        thinning.thin(table(np.array([[1], [-1]])), 0.5, False, 0)
    assert str(caught.value).startswith("d:2: ")


def test_tables_and_pipes(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,0\n\n0,1\n")
    assert label_counts.read(path, None).numbers == [2, 4]
    path.write_bytes(b'\xef\xbb\xbfname;ok\r\n"a;\r\nb";yes\r\nc;no\r\nd;no\r\n')
    done = run("palitune", "thin", "x.csv", "-o", "y.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "y.csv").read_bytes().startswith(b'\xef\xbb\xbfname;ok\r\n"a;\r\nb";yes\r\n')
    assert (tmp_path / "y.csv").read_bytes().count(b"no\r\n") == 1
    path.write_text("a,a\n1,0\n")
    with pytest.raises(BadDataError, match="two columns have the same name"):
        label_counts.read(path, None)
    done = run(
        "bash",
        "-c",
        "palitune stats <(echo) ; palitune stats --columns a, x.csv; palitune stats - - < x.csv",
        cwd=tmp_path,
    )
    told = done.stderr.splitlines()
    assert "Use - for standard input" in told[0]
    assert "is not a list of different names" in told[1]
    assert len(told) == 3


def test_the_commands(tmp_path: Path, run: Run) -> None:
    random.seed(0)
    lines = [json.dumps({"image": f"{i}.jpg", "suffix": "yes" if random.random() < 0.2 else "no"}) for i in range(200)]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    yes = sum('"yes"' in line for line in lines)
    done = run("palitune", "stats", "x.jsonl", "--json", cwd=tmp_path)
    assert json.loads(done.stdout) == {
        "file": "x.jsonl",
        "records": 200,
        "columns": {"suffix": {"yes": yes, "no": 200 - yes, "other": 0}},
    }
    assert f"suffix   {yes}  {200 - yes}      0" in run("palitune", "stats", "x.jsonl", cwd=tmp_path).stdout
    done = run("bash", "-c", "palitune thin - --target 0.5 < x.jsonl", cwd=tmp_path)
    kept = done.stdout.splitlines()
    assert len(kept) == 2 * yes
    assert [line for line in lines if line in set(kept)] == kept
    assert f"200 records -> {2 * yes} records" in done.stderr
    (tmp_path / "x.csv").write_text('image,label,note\na.jpg,yes,"x, y"\nb.jpg,no,\nc.jpg,no,\n')
    assert run("palitune", "thin", "x.csv", "-o", "y.csv", cwd=tmp_path).returncode == 0
    assert (tmp_path / "y.csv").read_text().startswith('image,label,note\na.jpg,yes,"x, y"\n')
    assert len((tmp_path / "y.csv").read_text().splitlines()) == 3
    assert run("palitune", "thin", "x.csv", "-o", "y.csv", cwd=tmp_path).returncode == 73


def read(path: Path, text: str, names: list[str] | None = None) -> tuple[list[str], list[list[int]]]:
    path.write_text(text, "utf-8")
    found = label_counts.read(path, names)
    return found.names, found.values.tolist()


def test_a_csv_without_a_header_is_not_taken_for_one(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for text in (
        "a.jpg,yes\nb.jpg,no\n",
        "1;x\n0;y\n",
        "a.png,cat\nb.png,dog\n",
        "sep=;\na.jpg;TRUE\n",
        "x,1.0\ny,0.0\n",
    ):
        with pytest.raises(BadDataError, match="the first line is a record and no header: it says") as caught:
            read(path, text)
        assert "image,label" in str(caught.value)
    assert read(path, "0,1\nno,a\nyes,b\n", ["0"]) == (["0"], [[0], [1]])


def test_what_spreadsheets_make_of_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    wanted = (["toxic"], [[1], [0]])
    assert read(path, "sep=;\r\nid;toxic\r\nx;TRUE\r\ny;FALSE\r\n") == wanted
    assert read(path, '"sep=,"\nid,toxic\nx,yes\ny,no\n') == wanted
    assert read(path, "id,toxic,,\nx,yes,,\ny,no,,\n,,,\n") == wanted
    assert read(path, "id,toxic\nx,yes,\ny,no,,\n") == wanted
    assert read(path, 'id, toxic\nx, "yes"\ny, no\n') == wanted
    assert read(path, "\ufeffid,toxic\nx,yes\n\ufeffy,no\n") == wanted
    with pytest.raises(BadDataError, match=r"a\.csv:3: the header is here once more"):
        read(path, "id,toxic\nx,yes\n\ufeffid,toxic\ny,no\n")
    path.write_text("sep=;\nid;toxic\nx;yes\ny;no\n")
    found = label_counts.read(path, None)
    assert (found.head, found.lines, found.numbers) == (b"sep=;\nid;toxic\n", [b"x;yes\n", b"y;no\n"], [3, 4])


def test_many_columns_take_no_longer_than_many_lines(tmp_path: Path) -> None:
    """A key of its own in every line: a search in all lines for all keys would take hours."""
    lines = [f'{{"k{number}":"yes","ok":"no"}}\n' for number in range(40_000)]
    assert read(tmp_path / "a", "".join(lines))[0] == ["ok"]


def test_labels_of_one_record_are_columns_and_unknown_ones_are_left_out(tmp_path: Path, run: Run) -> None:
    rng = random.Random(1)
    labels = [
        {"a": rng.random() < 0.1, "b": rng.random() < 0.2, "c": None if i % 2 else rng.random() < 0.05}
        for i in range(600)
    ]
    del labels[599]["c"]  # as unknown as None
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps({"text": f"{i}", "labels": one}) + "\n" for i, one in enumerate(labels)))
    found = label_counts.read(path, None)
    assert found.names == ["a", "b", "c"]
    assert (found.values[:, 2] == label_counts.MISSING).sum() == 300
    counted = json.loads(run("palitune", "stats", "x.jsonl", "--json", cwd=tmp_path).stdout)["columns"]["c"]
    assert (counted["other"], counted["yes"] + counted["no"]) == (300, 300)
    done = run("palitune", "thin", "x.jsonl", "--target", "a=0.2,b=0.4", "-o", "y.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kept = label_counts.read(tmp_path / "y.jsonl", ["a", "b"]).values
    yes = [sum(bool(one[name]) for one in labels) for name in ("a", "b")]
    assert (kept == 1).sum(axis=0).tolist() == yes
    assert np.abs((kept == 1).mean(axis=0) - [0.2, 0.4]).mean() < 0.05
    wrong = run("palitune", "thin", "x.jsonl", "--columns", "a", "--target", "a=0.2,b=0.3", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "different columns" in wrong.stderr
    assert run("palitune", "thin", "x.jsonl", "--target", "a=0.2,a=0.3", cwd=tmp_path).returncode == 2
    assert run("palitune", "thin", "x.jsonl", "--target", "a=2", cwd=tmp_path).returncode == 2


def test_shares_are_of_what_is_known() -> None:
    values = np.array([[1, -2]] * 10 + [[0, 1]] * 10 + [[0, -2]] * 50 + [[0, 0]] * 50)
    keep = thinning.thin(table(values), [0.2, 0.5], False, 0)
    kept = values[keep]
    assert (kept == 1).sum(axis=0).tolist() == [10, 10]
    shares = (kept == 1).sum(axis=0) / (kept != -2).sum(axis=0)
    assert np.abs(shares - [0.2, 0.5]).mean() < np.abs([10 / 120 - 0.2, 10 / 60 - 0.5]).mean()
