"""What lint finds about the lengths of prompts and answers, in tokens."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from palitune.data import templates
from palitune.data.checks.example_checks import Finding
from palitune.data.checks.linted_file import LintedFile
from palitune.data.encode import Encoded
from palitune.data.templates import PaliGemma, Template
from palitune.errors import PalituneError
from palitune.labels import are_text

LONG_PROMPT = 128  # tokens, the length of prompts with which PaliGemma at 224 pixels was pretrained


def check_tokens(
    files: Sequence[LintedFile],
    template: Template | None,
    prompt: str,
    longest_answer: int | None,
    longest_text: int | None = None,
) -> tuple[dict[str, int], list[Finding]]:
    """Returns the most tokens of a prompt and of an answer, and findings about those that are too long.

    Args:
      template: without one, nothing is checked.
      prompt: the prompt of examples that have none.
      longest_answer: the number of tokens that decoding writes.
      longest_text: the same of free text, as in chats.
    """
    if template is None:
        return {}, []
    findings = []
    most = {"prompt": 0, "answer": 0}
    for file in files:
        free = are_text(Counter(example.label for _, example in file.entries if example.target.choices is None))
        for _, example in file.entries:
            try:
                text = templates.encoded(template, example, prompt)
            except PalituneError as error:
                findings.append(Finding("error", "long prompt", example.where, error.what))
                continue
            asked, answer = _lengths(text)
            most = {"prompt": max(most["prompt"], asked), "answer": max(most["answer"], answer)}
            if asked > LONG_PROMPT and isinstance(template, PaliGemma):
                what = (
                    f"a prompt of {asked} tokens; PaliGemma was trained with {LONG_PROMPT}, and longer ones take memory"
                )
                findings.append(Finding("warning", "long prompt", example.where, what))
            longest = longest_text if free or len(example.messages) > 1 else longest_answer
            if longest is not None and answer > longest:
                what = f"an answer of {answer} tokens counts as wrong: evaluation decodes {longest} at most"
                findings.append(Finding("warning", "long answer", example.where, what))
    return most, findings


def _lengths(text: Encoded) -> tuple[int, int]:
    """The most tokens before an answer that is learned, and of one: of a chat's turns, or of several questions."""
    answers = text.answers
    if not answers:
        return len(text.tokens), 0
    before: list[int] = text.order[np.array([places[0] for places in answers])].tolist()
    return max(before), max(map(len, answers)) - 1  # without the token that ends it
