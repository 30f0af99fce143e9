"""Configurations in JSON that come from outside, read within bounds."""

import json
from pathlib import Path

from palitune.checkpoint.tensor_file import check_json, unique
from palitune.errors import BadDataError, MissingInputError
from palitune.storage import files

MOST = 4 << 20  # bytes; published configurations have 2,000


def read_object(path: Path, kind: str, hint: str) -> dict[str, object]:
    """The JSON object in a file.

    Args:
      kind: what the file should be, for errors, such as "a config.json of a model".
      hint: what to do where there is no such file.

    Raises:
      MissingInputError: it is not there, or cannot be read.
      BadDataError: it is something else, too large, or has a name twice.
    """
    try:
        content = files.read(path, MOST)
        check_json(content)
        found = json.loads(content.decode(), object_pairs_hook=unique)
        if not isinstance(found, dict):
            raise ValueError("it is no object")
    except FileNotFoundError:
        raise MissingInputError(f"there is no {path.name}", where=str(path.parent), hint=hint) from None
    except OSError as error:
        raise files.unreadable(error, path, "configuration") from None
    except (ValueError, RecursionError) as error:
        what = f"not {kind} ({str(error)[:100]})"
        raise BadDataError(what, where=str(path), hint="Download it again") from None
    return found
