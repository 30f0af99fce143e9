"""Labels of other programs as text: of any JSON value, and of several people who have to agree."""

from collections import Counter
from collections.abc import Mapping

from palitune.data.formats.options import Fields, Options, own_keys
from palitune.errors import listed

NO_VALUES = ("", "nan", "<na>", "#n/a", "null")  # what tables say where there is nothing


def label_text(value: object) -> str | None:
    """Returns a label of any JSON type as text; None if it is empty, or not a single label."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list) and len(value) == 1:
        return label_text(value[0])
    return value if isinstance(value, str) and value.strip().lower() not in NO_VALUES else None


def agreed_label(values: list[str], what: str, where: str, options: Options, hint: str = "") -> str | None:
    """Returns the label on which several people agree, or with `majority` the most frequent; None if it is lost.

    Args:
      what: the kind of loss, for the message.
    """
    counts = Counter(value.strip() for value in values).most_common()
    if len(counts) == 1:
        return values[0]
    said = listed([f"{count} {value[:40]}" for value, count in counts])
    if not options.majority:
        more = "--majority takes the most frequent one"
        options.lose(what, where, said, f"{hint}; {more}" if hint else more)
        return None
    if counts[0][1] == counts[1][1]:
        options.lose("no answer is the most frequent", where, said)
        return None
    return counts[0][0]


def with_rest(fields: Fields, rest: Mapping[str, object], where: str, options: Options) -> Fields:
    """Returns `fields` with the other keys of the source; a key that has another meaning in an example is lost."""
    own = own_keys(fields) if "text" not in fields else (*own_keys(fields), "text")
    for key, value in rest.items():
        if key not in own:
            fields[key] = value
        elif value not in ("", None):
            hint = "Give it another name first"
            options.lose(f'another "{key}" has no place in a record', where, str(value)[:80], hint)
    return fields
