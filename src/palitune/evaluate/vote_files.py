"""Files of votes, as the page of `palitune ab` saves them, read and held to the page that they are of."""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune import console
from palitune.data.formats.json_lines import STRICT
from palitune.errors import BadDataError, UsageError
from palitune.evaluate.blinding import CHOICES, FORMAT, VERSION, Ballot
from palitune.storage import files

MOST_BYTES = 16 << 20  # of a file; one of 10,000 votes has 600,000
MOST_NAME = 200  # characters of a voter's name
SHOWN = 40  # characters of what is wrong, in messages
PAGE_SAVES = "The page of palitune ab saves such files"


class Votes(NamedTuple):
    """What one person voted.

    Attributes:
      file: as typed.
      saved: when, in UTC: "2026-07-01T12:00:00.000Z".
      choices: of records' ids, one of `CHOICES` each.
    """

    file: str
    ballot: Ballot
    voter: str
    saved: str
    choices: Mapping[str, str]

    @property
    def person(self) -> str:
        """The voter's name as names are compared."""
        return unicodedata.normalize("NFKC", " ".join(self.voter.split())).casefold()


def read_all(names: Sequence[str], quiet: bool = False) -> list[Votes]:
    """The votes of each voter, in the order of the files; of several files of one voter the newest counts.

    Args:
      quiet: do not say on stderr what does not count.

    Raises:
      UsageError: a file is named twice.
      MissingInputError: there is no such file.
      BadDataError: a file is no file of votes, or of another page than the first, or nobody has voted.
    """
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{twice[0]} is named twice")
    found: dict[str, Votes] = {}
    first = None
    for name in names:
        votes = read(Path(name))
        first = first or votes
        if votes.ballot != first.ballot:
            what = f"these votes were given on another page than those in {first.file}"
            raise BadDataError(what, where=name, hint="Count the votes of each page on its own")
        earlier = found.get(votes.person)
        found[votes.person] = votes if earlier is None else _newer(earlier, votes, quiet)
    for one in found.values():
        if not one.choices and not quiet:
            console.note(f"{one.file}: {one.voter} has not voted yet")
    counted = [one for one in found.values() if one.choices]
    if not counted:
        raise BadDataError("there are no votes here", where=names[0], hint="Vote on the page, and save the votes")
    return counted


def _newer(one: Votes, other: Votes, quiet: bool) -> Votes:
    """The newer of two files of one voter. Raises BadDataError: they are of the same time, and differ."""
    if one.saved == other.saved and one.choices != other.choices:
        what = f"{other.voter} has other votes in {one.file}, and both were saved at the same time"
        raise BadDataError(what, where=other.file, hint="Name only one of them")
    older, newer = sorted((one, other), key=lambda votes: votes.saved)
    if not quiet:
        said = f"{older.file} ({len(older.choices)} votes) is left out: {older.voter} has saved {newer.file}"
        console.note(f"{said} ({len(newer.choices)} votes) later" if older.saved != newer.saved else f"{said} as well")
    return newer


def read(path: Path) -> Votes:
    """The votes of a file.

    Raises:
      MissingInputError: there is no such file.
      BadDataError: it is no file of votes, is damaged, or has a vote that its page does not have.
    """
    try:
        content = json.loads(files.read(path, MOST_BYTES).decode("utf-8-sig"), **STRICT)
    except OSError as error:
        raise files.unreadable(error, path, "file") from None
    except (ValueError, RecursionError) as error:
        detail = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0][:100]
        raise BadDataError(f"not a file of votes ({detail})", where=str(path), hint=PAGE_SAVES) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BadDataError("not a file of votes", where=str(path), hint=PAGE_SAVES)
    if content.get("version") != VERSION:
        what = f"votes of version {_short(content.get('version'))}, and this palitune reads {VERSION}"
        raise BadDataError(what, where=str(path), hint="Count them with the palitune that made the page")
    ballot = _ballot(content, path)
    saved, voter = content.get("saved"), content.get("voter")
    if not isinstance(voter, str) or not voter.strip() or len(voter) > MOST_NAME:
        raise BadDataError("the file does not say who voted", where=str(path), hint='It is the key "voter"')
    if not isinstance(saved, str) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", saved):
        raise BadDataError("the file does not say when it was saved", where=str(path), hint=PAGE_SAVES)
    return Votes(str(path), ballot, voter, saved, _choices(content, ballot, path))


def _ballot(content: Mapping[str, object], path: Path) -> Ballot:
    """The page that votes are of. Raises BadDataError: seed and records are not those that the page had."""
    seed, records = content.get("seed"), content.get("records")
    if type(seed) is int and isinstance(records, list) and all(isinstance(one, str) for one in records):
        ballot = Ballot(seed, tuple(records))
        if len(set(records)) == len(records) and content.get("page") == ballot.page:
            return ballot
    what = "the seed or the records are not those of the page, so its answers cannot be told apart"
    raise BadDataError(what, where=str(path), hint="The file has changed since it was saved: save the votes again")


def _choices(content: Mapping[str, object], ballot: Ballot, path: Path) -> dict[str, str]:
    """The votes, in the page's order. Raises BadDataError: one is of no record of the page, or is no vote."""
    votes = content.get("votes")
    if not isinstance(votes, dict):
        raise BadDataError("the file has no votes", where=str(path), hint=PAGE_SAVES)
    known = set(ballot.records)
    for record, choice in votes.items():
        if record not in known:
            what = f"a vote for {_short(record)}, which is no record of the page"
            raise BadDataError(what, where=str(path), hint="The file has changed since it was saved")
        if choice not in CHOICES:
            what = f"the vote for {record} is {_short(choice)}; votes are {', '.join(CHOICES)}"
            raise BadDataError(what, where=str(path), hint="The file has changed since it was saved")
    return {record: votes[record] for record in ballot.records if record in votes}


def _short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:SHOWN]
