"""What lint finds about the lengths of prompts and answers, in tokens."""

from collections.abc import Sequence

from palitune.data import templates
from palitune.data.checks.example_checks import Finding
from palitune.data.checks.linted_file import LintedFile
from palitune.data.templates import Template
from palitune.errors import PalituneError

LONG_PROMPT = 128  # tokens, the length of prompts with which PaliGemma at 224 pixels was pretrained


def check_tokens(
    files: Sequence[LintedFile], template: Template | None, prompt: str, longest_answer: int | None
) -> tuple[dict[str, int], list[Finding]]:
    """Returns the most tokens of a prompt and of an answer, and findings about those that are too long.

    Args:
      template: without one, nothing is checked.
      prompt: the prompt of examples that have none.
      longest_answer: the number of tokens that decoding writes.
    """
    if template is None:
        return {}, []
    findings = []
    most = {"prompt": 0, "answer": 0}
    for file in files:
        for _, example in file.entries:
            try:
                text = templates.encoded(template, example, prompt)
            except PalituneError as error:
                findings.append(Finding("error", "long prompt", example.where, error.what))
                continue
            asked = text.prompt_length
            answer = len(text.tokens) - asked - 1  # without the token that ends it
            most = {"prompt": max(most["prompt"], asked), "answer": max(most["answer"], answer)}
            if asked > LONG_PROMPT:
                what = (
                    f"a prompt of {asked} tokens; PaliGemma was trained with {LONG_PROMPT}, and longer ones take memory"
                )
                findings.append(Finding("warning", "long prompt", example.where, what))
            if longest_answer is not None and answer > longest_answer:
                what = f"an answer of {answer} tokens counts as wrong: evaluation decodes {longest_answer} at most"
                findings.append(Finding("warning", "long answer", example.where, what))
    return most, findings
