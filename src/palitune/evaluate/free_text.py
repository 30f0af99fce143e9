"""What free text is worth beside what it should have been: overlaps of words and characters, and whether it is JSON.

The figures are those of sacrebleu and rouge-score, and a schema is held by jsonschema: `pip install 'palitune[text]'`.
"""

import importlib
import importlib.util
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from palitune.errors import BadDataError, ConfigurationError, MissingInputError
from palitune.evaluate.confusion import is_right
from palitune.storage import files

INSTALL = "Install it: pip install 'palitune[text]'"
LIBRARIES = ("sacrebleu", "rouge_score")
MOST_BYTES = 1 << 20  # of a schema
# Kana, and characters that Japanese and Chinese write without blanks between words.
KANA = re.compile("[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f]")
WITHOUT_BLANKS = re.compile("[\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uff66-\uff9f]")
SHARE = 0.2  # of the characters, from which on a text counts as one of these
Check = Callable[[object], bool]


class FreeText(NamedTuple):
    """Figures of answers beside the right ones; those of a library that is not installed are None.

    Attributes:
      total: answers.
      exact: share of answers that are the right one but for blanks and Unicode's two ways of writing a character.
      chrf: 0 to 100, of character n-grams (https://aclanthology.org/W15-3049).
      bleu: 0 to 100, of word n-grams of all answers together (https://aclanthology.org/P02-1040).
      tokenizer: of `bleu`, sacrebleu's name for it.
      rouge_l: 0 to 1, mean F-measure of the longest common subsequence (https://aclanthology.org/W04-1013).
      unit: what `rouge_l` counts, words or characters.
      json: share of answers that are JSON; None where the right ones are not and no schema was given.
      valid: share of answers that meet the schema; None without one.
    """

    total: int
    exact: float
    chrf: float | None = None
    bleu: float | None = None
    tokenizer: str = ""
    rouge_l: float | None = None
    unit: str = ""
    json: float | None = None
    valid: float | None = None

    def lines(self) -> list[str]:
        """The figures as lines of a result block, without the share of right answers, which the block has."""
        found = []
        if self.chrf is not None:
            found.append(f"  chrF: {self.chrf:.2f}")
        if self.bleu is not None:
            found.append(f"  BLEU: {self.bleu:.2f} (tokenizer {self.tokenizer})")
        if self.rouge_l is not None:
            found.append(f"  ROUGE-L: {self.rouge_l:.4f} (of {self.unit})")
        if self.json is not None:
            found.append(f"  JSON: {self.json:.4f}")
        if self.valid is not None:
            found.append(f"  meets the schema: {self.valid:.4f}")
        return found


def measure(answers: Sequence[str], right: Sequence[str], schema: Check | None = None) -> FreeText:
    """Figures of answers, of which there is at least one, beside the right ones.

    Args:
      schema: whether a value meets it, as `read_schema` makes it.
    """
    count = len(answers)
    values = [_parsed(answer) for answer in answers]
    found = FreeText(count, sum(map(is_right, answers, right)) / count)
    if schema is not None or all(isinstance(_parsed(one), (dict, list)) for one in right):
        found = found._replace(json=sum(value is not NO_JSON for value in values) / count)
    if schema is not None:
        found = found._replace(valid=sum(value is not NO_JSON and schema(value) for value in values) / count)
    if missing():
        return found
    tokenizer, unit = tokenizer_of(right), unit_of(right)
    return found._replace(
        chrf=_chrf(answers, right),
        bleu=_bleu(answers, right, tokenizer),
        tokenizer=tokenizer,
        rouge_l=_rouge(answers, right, unit),
        unit=unit,
    )


def missing() -> list[str]:
    """The libraries that are not installed."""
    return [name for name in LIBRARIES if importlib.util.find_spec(name) is None]


def _share(pattern: re.Pattern[str], texts: Sequence[str]) -> float:
    together = "".join("".join(text.split()) for text in texts)
    return len(pattern.findall(together)) / max(1, len(together))


def tokenizer_of(texts: Sequence[str]) -> str:
    """Sacrebleu's tokenizer for texts: of Japanese MeCab where it is installed, else characters; of Chinese its own."""
    if _share(WITHOUT_BLANKS, texts) < SHARE:
        return "13a"
    if not _share(KANA, texts):
        return "zh"
    return "ja-mecab" if all(map(importlib.util.find_spec, ("MeCab", "ipadic"))) else "char"


def unit_of(texts: Sequence[str]) -> str:
    """What a common subsequence of texts is counted in."""
    return "words" if _share(WITHOUT_BLANKS, texts) < SHARE else "characters"


def _chrf(answers: Sequence[str], right: Sequence[str]) -> float:
    chrf = importlib.import_module("sacrebleu.metrics").CHRF()
    return float(chrf.corpus_score(list(answers), [list(right)]).score)


def _bleu(answers: Sequence[str], right: Sequence[str], tokenizer: str) -> float:
    bleu = importlib.import_module("sacrebleu.metrics").BLEU(tokenize=tokenizer)
    return float(bleu.corpus_score(list(answers), [list(right)]).score)


class _Units:
    """Splits texts into words or characters."""

    def __init__(self, unit: str) -> None:
        self.pattern = re.compile(r"\w+" if unit == "words" else r"\S")

    def tokenize(self, text: str) -> list[str]:
        return self.pattern.findall(text.lower())


def _rouge(answers: Sequence[str], right: Sequence[str], unit: str) -> float:
    scorer = importlib.import_module("rouge_score.rouge_scorer").RougeScorer(["rougeL"], tokenizer=_Units(unit))
    scores = [scorer.score(one, other)["rougeL"].fmeasure for one, other in zip(right, answers, strict=True)]
    return float(sum(scores) / len(scores))


NO_JSON = object()


def _parsed(text: str) -> object:
    """The value of a text that is JSON, else `NO_JSON`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return NO_JSON


def read_schema(name: str) -> Check:
    """Whether a value meets a JSON schema in a file; one that refers to other places than itself is refused.

    Raises:
      MissingInputError: there is no such file.
      BadDataError: it is no schema.
      ConfigurationError: jsonschema is not installed.
    """
    try:
        schema = json.loads(files.read(Path(name), MOST_BYTES))
    except FileNotFoundError:
        raise MissingInputError("no such file", where=name, hint="--json-schema names a JSON schema") from None
    except OSError as error:
        raise MissingInputError(f"cannot be read: {error.strerror}", where=name) from None
    except (ValueError, RecursionError) as error:
        raise BadDataError(f"not JSON ({error})", where=name) from None
    if importlib.util.find_spec("jsonschema") is None:
        raise ConfigurationError("--json-schema needs jsonschema, which is not installed", hint=INSTALL)
    jsonschema, referencing = importlib.import_module("jsonschema"), importlib.import_module("referencing")
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
        validator = kind(schema, registry=referencing.Registry())  # which fetches nothing
        validator.is_valid(None)
    except (jsonschema.SchemaError, AttributeError, TypeError, RecursionError) as error:
        what = " ".join(str(getattr(error, "message", error)).split())[:200]
        raise BadDataError(f"not a JSON schema ({what})", where=name) from None

    def meets(value: object) -> bool:
        try:
            return bool(validator.is_valid(value))
        except referencing.exceptions.Unresolvable as error:
            what = f"it refers to {str(error.ref)[:100]}, and only what is in the file itself is looked for"
            raise BadDataError(what, where=name) from None
        except RecursionError:
            return False

    return meets
