"""What people's votes say, as lines for a terminal and as JSON."""

from palitune.evaluate.blinding import FIRST, SECOND
from palitune.evaluate.comparison import NOISE, REAL
from palitune.evaluate.metrics import Figure
from palitune.evaluate.preference import KINDS, SIGN, Preference, VoterCounts
from palitune.text_tables import aligned

LEAST = 1e-4  # p-value below which it is only said that it is smaller
SIGNIFICANCE: dict[str, str] = {REAL: "more than chance", NOISE: "which may be chance"}


def lines(found: Preference) -> list[str]:
    """The conclusion, the votes of each voter, and how far voters agree."""
    rows = [
        ["voter", "votes", FIRST, SECOND, "both good", "neither", f"{SECOND} of decided", "95 %", "left of decided"]
    ]
    rows += [_row(one) for one in found.voters]
    which = f"{FIRST} is the first file that the page was made of, {SECOND} the second"
    told = [conclusion(found), f"{which}; {found.voted} of {found.records} records have votes", "", *aligned(rows)]
    if len(found.voters) > 1:
        told += ["", _agreement(found)]
    if found.test != SIGN:
        told.append(f"Several votes are on one record: the interval is a {found.interval}, the test a {found.test}.")
    return told


def conclusion(found: Preference) -> str:
    """What the votes say, in one sentence."""
    first, second = found.counts[:2]
    if found.share.value is None:
        return f"Nobody prefers one of both: all {sum(found.counts)} votes are for both or for neither."
    voters = f" by {len(found.voters)} voters" if len(found.voters) > 1 else ""
    votes = f"{found.decided} decided vote{'s' if found.decided > 1 else ''}{voters}"
    if found.preferred is None:
        return (
            f"{FIRST} and {SECOND} are preferred equally often, in {first} of {votes} each ({_interval(found.share)})."
        )
    count, share = (second, found.share) if found.preferred == SECOND else (first, mirrored(found.share))
    chance = f"{SIGNIFICANCE[found.significance]} ({_p(found.p_value)})"
    return f"{found.preferred} is preferred in {count} of {votes} ({_interval(share)}), {chance}."


def mirrored(share: Figure) -> Figure:
    """The share of the first file, with its interval, by that of the second."""
    if share.value is None or share.low is None or share.high is None:
        return Figure(None)
    return Figure(1 - share.value, 1 - share.high, 1 - share.low)


def _interval(share: Figure) -> str:
    return f"{_percent(share.value)}, 95 % interval {_between(share)}"


def _between(share: Figure) -> str:
    if share.low is None or share.high is None:
        return ""
    return f"{100 * share.low:.0f} to {_percent(share.high)}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _p(value: float) -> str:
    return f"p < {LEAST:.4f}" if value < LEAST else f"p = {value:.1g}" if value < 0.01 else f"p = {value:.2g}"


def _row(one: VoterCounts) -> list[str]:
    left = _percent(one.left / one.decided) if one.decided else "-"
    counts = list(map(str, one.counts))
    return [one.voter, str(sum(one.counts)), *counts, _percent(one.share.value), _between(one.share), left]


def _agreement(found: Preference) -> str:
    one = found.agreement
    if not one.pairs:
        return "Agreement: no record has the votes of two voters."
    share = f"{one.equal} of {one.pairs} pairs of votes on one record ({_percent(one.equal / one.pairs)})"
    known = "not defined: all are the same" if one.alpha is None else f"{one.alpha:.2f} (1 is full, 0 as by chance)"
    return f"Agreement on {FIRST}, {SECOND} or a tie: {share}; Krippendorff's alpha {known}."


def as_json(found: Preference) -> dict[str, object]:
    """Everything that votes say, as JSON has it."""
    shares = (FIRST, mirrored(found.share)), (SECOND, found.share)
    return {
        "conclusion": conclusion(found),
        "preferred": found.preferred,
        "significance": found.significance,
        "p_value": found.p_value,
        "test": found.test,
        "shares": {name: share._asdict() for name, share in shares},
        "interval": found.interval,
        "votes": dict(zip(KINDS, found.counts, strict=True)),
        "decided": found.decided,
        "records": found.records,
        "voted": found.voted,
        "page": found.page,
        "seed": found.seed,
        "voters": [
            {"voter": one.voter, "file": one.file, "votes": dict(zip(KINDS, one.counts, strict=True))}
            | {"left": one.left, "share": one.share._asdict()}
            for one in found.voters
        ],
        "agreement": found.agreement._asdict(),
    }
