"""A run's folder read as it is, from as few bytes as tell. Imports nothing heavy: a list reads hundreds of them."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from palitune.confidence_interval import Figure
from palitune.errors import BadDataError, PalituneError, printable
from palitune.evaluate import count_figures
from palitune.evaluate.past_run import FAILED, FINISHED, RUNNING, STOPPED, DataFile, PastRun, Worth
from palitune.evaluate.report import result_block
from palitune.run import cost, evaluation_log
from palitune.run.evaluation_log import count, number
from palitune.run.folder import COMBINED, EVALUATED, MOST, OUT_OF_FOLD, UNTRAINED, RunFolder, read_config
from palitune.sentence import Sentence
from palitune.storage import files, locks

ENOUGH, ALL = 64 << 10, 16 << 20  # bytes of the metrics that are read, and where more are needed
BEST, BLOCK = b'"best": true', f'"event": "{EVALUATED}"'.encode()  # of lines of the metrics
FOLDS, TOGETHER = (f'"event": "{name}"'.encode() for name in (OUT_OF_FOLD, COMBINED))
MOST_BLOCKS = 8 << 20  # bytes of the result blocks
# Settings that say where files are and how fast it goes, and not what is learned; and those with a name of their own.
LEFT_OUT = ("allow_download", "allow_outside", "features", "allocator", "images", "max_pixels")
ANOTHER = "made by another version of palitune"
RIGHT = re.compile(r"  right=(\d{1,9}) wrong=(\d{1,9})")
TOLD = re.compile(r"  (token accuracy|loss): (\d+(?:\.\d+)?(?:e[-+]\d+)?)")


class Told(NamedTuple):
    """What the metrics of a run tell.

    Attributes:
      event: how it ended; empty where it did not.
      winner: the trial that was kept, from 0.
      settings: of that trial, what it has other than the first.
      best: the row of the evaluation whose weights were kept.
      evaluated: rows with the figures of a set, by whether they are from before learning.
      out_of_fold: the row of what the folds of a run came to.
      combined: the row of what several trials are worth together.
    """

    event: str = ""
    winner: int = 0
    settings: Mapping[str, object] = {}
    best: Mapping[str, object] = {}
    evaluated: Mapping[bool, Mapping[str, object]] = {}
    out_of_fold: Mapping[str, object] = {}
    combined: Mapping[str, object] = {}


def read(folder: Path, name: str) -> PastRun:
    """The run of a folder.

    Args:
      name: of its checkpoint, as `-m` takes it.

    Raises:
      BadDataError: it is damaged, of another version, of something else, or has nothing to show yet.
    """
    where = RunFolder(folder.with_suffix(".npz"))
    holder = locks.holder(where.lock)
    content, changed = _configuration(where, holder)
    end = told(where.metrics)
    ended: dict[str, Sentence] = {FINISHED: FINISHED, FAILED: FAILED}
    state = RUNNING if holder else ended.get(end.event, STOPPED)
    sets = tuple(map(data_file, content["data"].values()))
    folds = in_folds(content)
    after, before = _worth(where, end, (folds or sets[-1]).name if sets else "", folds is not None)
    spent, options = cost.read(where.cost), content["options"]
    own = {key: value for key, value in options.items() if key not in content["config"] and key not in LEFT_OUT}
    settings = {key: value for key, value in own.items() if value not in (None, False, "", [])}
    settings |= {**content["config"], **end.settings}
    if end.combined and "seed" in content["config"]:  # it has no seed of its own
        settings["seed"] = content["config"]["seed"]
    return PastRun(
        name=name,
        folder=folder,
        began=changed if spent.began is None else spent.began,
        state=state,
        settings={key: _finite(value) for key, value in settings.items()},
        sets=sets,
        in_folds=folds,
        base=_text(content["base"].get("name")),
        base_hash=_text(content["base"].get("hash")),
        after=after,
        before=before,
        step=_count(end.best.get("step")),
        epoch=_number(end.best.get("epoch")),
        evaluations=evaluation_log.read(where.evaluations),
        seconds=spent.seconds,
        planned=spent.planned,
        taken=spent.taken,
        answers=where.answers_there,
        metrics=where.metrics,
        winner=end.winner,
        has_checkpoint=where.target.is_file(),
    )


def _configuration(where: RunFolder, holder: str | None) -> tuple[dict[str, Any], float]:
    """The content of config.json, and when it was written. Raises BadDataError, by which kinds are told apart."""
    place = str(where.path)
    try:
        return read_config(where.config), where.config.stat().st_mtime
    except (PalituneError, OSError) as error:
        if not os.path.lexists(where.config):
            if holder:
                raise BadDataError(f"at work: {holder}; there is nothing to show yet", where=place) from None
            raise BadDataError("no run: there is no config.json", where=place) from None
        reason = error.what if isinstance(error, PalituneError) else error.strerror or str(error)
    try:
        content = json.loads(files.read(where.config, MOST))
        version = content.get("palitune")
    except (OSError, ValueError, AttributeError, RecursionError):
        version = None
    if isinstance(version, str):
        raise BadDataError(f"{ANOTHER} ({printable(version[:20])}), whose config.json is another", where=place)
    raise BadDataError(f"damaged: {reason}", where=place)


def told(metrics: Path) -> Told:
    """What the end of the metrics tells, or where that is not enough more of them. Raises BadDataError."""
    first, last = b"", b""
    try:
        with files.open_to_read(metrics) as file:
            size = os.fstat(file.fileno()).st_size
            for most in (ENOUGH, ALL):
                if size > most and not first:
                    first = file.read(ENOUGH)
                file.seek(max(0, size - most))
                last = file.read(most)
                found = _of_rows(first, last if size <= most else last.partition(b"\n")[2])
                if size <= most or (found.best and (BLOCK not in first or False in found.evaluated)):
                    break
    except FileNotFoundError:
        return Told()
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadDataError(f"damaged: metrics.jsonl cannot be read ({reason})", where=str(metrics.parent)) from None
    lines = last.splitlines()[-2:]
    if lines and not any(map(_row, lines)):  # the last one may be half-written
        raise BadDataError("damaged: metrics.jsonl has no metrics", where=str(metrics.parent))
    return found


def out_of_fold(metrics: Path) -> dict[str, Any]:
    """What a run in folds wrote down of its answers out of fold: step, loss, right and total; else nothing."""
    try:
        with files.open_to_read(metrics) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - ENOUGH))
            last = file.read()
    except OSError:
        return {}
    rows = (_row(line) for line in _lines_with(last, b'"event": "out_of_fold"'))
    return next(rows, {})


def _of_rows(first: bytes, last: bytes) -> Told:
    """What the first and the last lines of the metrics tell."""
    end = _row(last.rstrip(b"\n").rpartition(b"\n")[2])
    event, settings = _text(end.get("event")), end.get("settings")
    winner = max(0, (_count(end.get("winner")) or 1) - 1)
    kept = (_row(line) for line in _lines_with(last, BEST))
    best = next((row for row in kept if row and (event != FINISHED or row.get("trial") == winner + 1)), {})
    figures = [_row(line) for part in (last, first) for line in _lines_with(part, BLOCK)]
    evaluated = {row.get("label") == UNTRAINED: row for row in reversed(figures) if row}
    folds, together = (next(filter(None, map(_row, _lines_with(last, mark))), {}) for mark in (FOLDS, TOGETHER))
    return Told(event, winner, settings if isinstance(settings, dict) else {}, best, evaluated, folds, together)


def _lines_with(content: bytes, mark: bytes) -> Iterator[bytes]:
    """The lines that a mark is in, the last one first."""
    place = content.rfind(mark)
    while place >= 0:
        start = content.rfind(b"\n", 0, place) + 1
        end = content.find(b"\n", place)
        yield content[start : end if end >= 0 else len(content)]
        place = content.rfind(mark, 0, start)


def _worth(where: RunFolder, told: Told, name: str, is_in_folds: bool) -> tuple[Worth, Worth]:
    """What the model is worth on the records of a name that it was evaluated on, after learning and before."""
    found = {}
    blocks = _blocks(where.blocks, printable(name))
    for is_before in (False, True):
        own = [block for label, block in blocks if (label == UNTRAINED) == is_before]
        one = of_block(own[-1]) if own else Worth()
        row = told.evaluated.get(is_before)
        if row is not None and one.counts is None:
            try:
                told_worth = evaluation_log.worth(row)
            except ValueError:
                told_worth = Worth()
            # An accuracy that was counted has Wilson's interval here, as that of two classes does.
            one = told_worth._replace(figures={**told_worth.figures, **one.figures}, block=one.block)
        found[is_before] = one
    # The loss of what was learned from all records in the end is that of records that it has learned from.
    trained = told.out_of_fold.get("token_loss") if is_in_folds else told.best.get("valid_loss")
    loss = _number(told.combined.get("loss", trained))
    if loss is not None:
        after = found[False]
        found[False] = after._replace(figures={**after.figures, "loss": Figure(loss)})
    return found[False], found[True]


def _blocks(path: Path, name: str) -> list[tuple[str, str]]:
    """(label, block) of every result block about a file of this name."""
    try:
        text = files.read(path, MOST_BLOCKS).decode("utf-8", "replace")
    except (OSError, ValueError):
        return []
    found = []
    for part in re.split(r"^(?=Result: )", text, flags=re.MULTILINE):
        head = result_block.HEAD.fullmatch(part.partition("\n")[0])
        if head and Path(head["path"]).name == name:
            found.append((head["label"] or "", part.rstrip("\n")))
    return found


def of_block(block: str) -> Worth:
    """What a result block tells; the block itself is kept where it is no confusion matrix of two classes."""
    if read := result_block.read_blocks(block):
        counts = read[0].confusion
        total = counts.tp + counts.tn + counts.fp + counts.fn
        return Worth(count_figures.of_counts(counts), counts, total)
    figures, records = {}, None
    if counted := RIGHT.search(block):
        right, wrong = map(int, counted.groups())
        records = right + wrong
        figures["accuracy"] = count_figures.share(right, records)
    for title, value in TOLD.findall(block):
        figures[evaluation_log.name_of(title)] = Figure(float(value))
    return Worth(figures, None, records, block)


def in_folds(content: Mapping[str, Any]) -> DataFile | None:
    """The records that a run in folds was evaluated on, as config.json has them; None of any other run."""
    folds = content.get("folds")
    return data_file(folds) if isinstance(folds, dict) and isinstance(folds.get("file"), str) else None


def data_file(content: Mapping[str, object]) -> DataFile:
    """A file as config.json has it."""
    sha256, images = _text(content.get("sha256")), _text(content.get("pictures"))
    return DataFile(_text(content.get("file")), _count(content.get("records")), sha256, images)


def _row(line: bytes) -> dict[str, object]:
    """A line of the metrics; empty where it is something else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    try:
        return count(value)
    except ValueError:
        return None


def _number(value: object) -> float | None:
    try:
        return number(value)
    except ValueError:
        return None


def _finite(value: object) -> object:
    """A value that JSON can hold: what JSON has no number for as a text."""
    return str(value) if isinstance(value, float) and _number(value) is None else value
