"""Hints for error messages: what to do about a line that is not an example, and a folder that is not a file."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from palitune.data.formats.json_lines import JOINED, RECORD
from palitune.data.invisible_characters import is_address, shown
from palitune.errors import listed
from palitune.labels import LABELS, plain

TSV = "A line is image, tab, label; or what inference writes: image, correct, p_yes, label, answer"
CONVERT = (
    "palitune convert FILE > NEW.jsonl reads tables with commas, and other JSON; --text-column, --image-column and "
    "--label-column name the columns of a table"
)
YES_OR_NO = (
    "--labels OK,NG takes other labels than yes and no, and --map OK=yes NG=no gives labels such as OK and NG these "
    "names"
)
MOST_KEYS = 8  # of a record, named in a message
PLAYGROUND = Path("playground")
KINDS = (".jsonl", ".tsv", ".csv", ".json")
# The second column of answers, as inference writes it and as spreadsheets of other languages save it, in capitals.
CORRECT_CELLS = frozenset(
    {"", "TRUE", "FALSE", "WAHR", "FALSCH", "VRAI", "FAUX", "VERDADERO", "FALSO", "VERO", "VERDADEIRO"}
    | {"WAAR", "ONWAAR", "PRAWDA", "FAŁSZ", "ИСТИНА", "ЛОЖЬ"}
)
# Labels that mean yes and no in other programs.
RENAMED = {
    one: pair for pair in ("true=yes false=no", "1=yes 0=no", "1.0=yes 0.0=no") for one in re.split("[= ]", pair)
}
# Labels that are numbers in data about what people think of something.
SENTIMENT = {"1": "positive", "0": "normal", "-1": "negative"}


def of_keys(fields: Mapping[str, object]) -> str:
    """Returns a hint for an example without a key that it needs."""
    keys = ", ".join(shown(name) for name in list(fields)[:MOST_KEYS]) or "none"
    more = f" and {len(fields) - MOST_KEYS} more" if len(fields) > MOST_KEYS else ""
    return f"Its keys are {keys}{more}. palitune convert FILE reads other names"


def of_value(key: str, value: object) -> str:
    """Returns a hint for a value that is not text."""
    if key != "suffix":
        return RECORD
    renamed = of_label(json.dumps(value)) if isinstance(value, (bool, int, float)) else None
    return f"Labels are texts: {renamed}" if renamed else f"Labels are texts. {RECORD}"


def of_long_value(key: str, value: str) -> str | None:
    """Returns a hint for a text that is too long."""
    return "Write the image into a file, and name that" if key == "image" and is_address(value) else None


def of_folder(folder: Path) -> str:
    """Returns a hint for a folder where a data file is expected."""
    try:
        inside = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in KINDS)
    except OSError:
        inside = []
    if not inside:
        return "Name a file; palitune convert FOLDER reads a folder of images for each label"
    return f"Name a file in it. There are: {listed(inside)}"


def of_missing(path: Path) -> str | None:
    """Returns a hint for a file or folder that does not exist here, but in the folder of the stages."""
    try:
        inside = not path.is_absolute() and (PLAYGROUND / path).exists()
    except OSError:  # a name that is too long by now
        return None
    return f"It is in {PLAYGROUND}/, where the stages are run: cd {PLAYGROUND}" if inside else None


def of_label(label: str) -> str | None:
    """Returns a hint for a label that is neither yes nor no, but may mean one of them."""
    pair = RENAMED.get(plain(label).lower())
    return f"--map {pair} gives them names" if pair and plain(label) not in ("yes", "no") else None


def of_labels(labels: Collection[str]) -> str | None:
    """Returns the option that gives labels names that say what they mean; None where they do, or nobody knows."""
    found = {plain(label) for label in labels}
    if "-1" in found and len(found) > 1 and found <= SENTIMENT.keys():
        return f"--map {' '.join(f'{label}={name}' for label, name in SENTIMENT.items() if label in found)}"
    pairs = {RENAMED.get(label.lower()) for label in found - set(LABELS)}
    if len(found) < 2 or len(pairs) != 1 or None in pairs:
        return None
    meant = dict(one.split("=") for one in str(pairs.pop()).split())
    written = [one for name in meant for one in labels if plain(one).lower() == name]
    return f"--map {' '.join(f'{one}={meant[plain(one).lower()]}' for one in written)}"


def of_columns(columns: Sequence[str]) -> str:
    """Returns a hint for a line whose number of columns is neither 2 nor 5."""
    if any("\ufeff" in column for column in columns):
        return f"{JOINED} There is a byte-order mark (BOM) in it"
    if len(columns) in (3, 6) and columns[0].isdigit():
        return f"The first column is a number, as pandas writes without index=False. {TSV}"
    if len(columns) > 1:
        return TSV
    cells = re.split("[,;]", columns[0], maxsplit=2)
    if len(cells) > 2 and cells[1].strip().upper() in CORRECT_CELLS - {""}:
        return f"Save it with tabs between the columns. {TSV}"
    return CONVERT if len(cells) > 1 or columns[0].lstrip().startswith("[") else TSV
