"""What lint has found, as text for a terminal and as JSON."""

from collections import Counter

from palitune.data.checks.example_checks import LEVELS, Finding
from palitune.data.checks.label_tables import label_table, labels_of
from palitune.data.checks.lint import LintReport
from palitune.errors import NAMED, printable


def as_text(report: LintReport, everything: bool) -> str:
    """The labels by file, the findings by kind, and what the numbers of records allow to be known.

    Args:
      everything: name every finding, and not the first few of a kind.
    """
    lines = [label_table({str(one.path): [example for _, example in one.entries] for one in report.files}), ""]
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in report.findings:
        groups.setdefault((finding.level, finding.check), []).append(finding)
    for (level, check), findings in groups.items():
        lines.append(f"{level}: {check} ({len(findings)})")
        if check == "missing picture" and len(findings) > NAMED:
            lines.append("  -i FOLDER names the folder that images' names are relative to")
        shown = findings if everything else findings[:NAMED]
        lines += [f"  {printable(f'{finding.where}: {finding.what}')}" for finding in shown]
        if len(shown) < len(findings):
            lines.append(f"  and {len(findings) - len(shown)} more; --all names them")
    if report.tokens and any(one.entries for one in report.files):
        lines.append(f"tokens: prompts up to {report.tokens['prompt']}, answers up to {report.tokens['answer']}")
    lines += report.expectations
    counts = [(report.count(level), level) for level in LEVELS]
    lines.append(", ".join(f"{count} {level}{'s' * (count != 1)}" for count, level in counts))
    return "\n".join(lines)


def as_json(report: LintReport) -> dict[str, object]:
    """Everything in a report as JSON has it."""
    files = [
        {
            "file": str(one.path),
            "records": len(one.entries),
            "labels": dict(Counter(label for _, example in one.entries for label in labels_of(example)).most_common()),
        }
        for one in report.files
    ]
    findings = [{key: value for key, value in one._asdict().items() if value != ()} for one in report.findings]
    return {
        "files": files,
        "findings": findings,
        "verdicts": report.expectations,
        "tokens": report.tokens,
        **{f"{level}s": report.count(level) for level in LEVELS},
    }
