"""Options that several commands share, so that they mean the same everywhere. Imports nothing heavy."""

import argparse
import math

from palitune.data.records import LONGEST

DTYPES = ("auto", "float32", "bfloat16")


LARGEST = 10**9


def positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    if value > LARGEST:
        raise argparse.ArgumentTypeError(f"{text} is more than {LARGEST}")
    return value


def prompt(text: str) -> str:
    if len(text) > LONGEST:
        raise argparse.ArgumentTypeError(f"{len(text)} characters, {LONGEST} are allowed")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("not UTF-8 text") from None
    return text


def seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {2**32 - 1}")
    return value


def positive_float(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, and how it is run."""
    text = "a path, a bare name in checkpoints/, or a downloaded model's name (default: the latest downloaded)"
    parser.add_argument("-m", "--model", metavar="NAME", help=text)
    parser.add_argument("--tokenizer", metavar="FILE", help="SentencePiece model, if palitune does not know which")
    text = "of the computation (auto: bfloat16 on a GPU, float32 on a CPU)"
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help=text)


def add_records(parser: argparse.ArgumentParser) -> None:
    """How records are turned into questions."""
    text = "the question where a record's prefix is empty (default: the model's own)"
    parser.add_argument("--prompt", type=prompt, metavar="TEXT", help=text)
    text = "folder that image names are relative to (default: the data file's, or the one above)"
    parser.add_argument("-i", "--images", metavar="FOLDER", help=text)
