"""What is said of the best of several runs, and of how little that may mean."""

from palitune.errors import printable
from palitune.evaluate.past_run import FIGURES, LOWER
from palitune.evaluate.report.text import between, value
from palitune.evaluate.run_choice import Choice


def sentences(found: Choice) -> list[str]:
    """What the best run is, which others it cannot be told from, and what choosing it has to do with that."""
    best, on = found.best, found.best.evaluated_on
    figure, count = best.after.figures[found.by], len(found.rivals) + 1
    interval = f" (95 %: {between(figure.low, figure.high)})" if figure.low is not None else ""
    where = f"{on.file}, {best.after.records or on.records} records, {on.short}"
    told = [f"{best.name}: {FIGURES[found.by]} {value(figure.value)}{interval} on {where}"]
    if found.elsewhere:
        others = "1 run was" if found.elsewhere == 1 else f"{found.elsewhere} runs were"
        told.append(f"{others} evaluated on other records and cannot be compared: --data says on which")
    if not found.rivals:
        told.append("it is the only run with this figure on these records: there is nothing to compare it with")
    elif found.by in LOWER:
        told.append(
            f"the best of {count} runs: a loss has no interval here, so nothing tells how much of that is chance"
        )
    else:
        told += [_undecided(found), _optimism(found, count)]
    return [printable(one) for one in told if one]


def _undecided(found: Choice) -> str:
    by_test = sum(bool(one.test) for one in found.rivals)
    how = f"by {found.rivals[0].test}" if found.rivals[0].test else "because their intervals overlap"
    if 0 < by_test < len(found.rivals):
        how = f"by the test of {by_test} whose answers are kept, by overlapping intervals of the others"
    second, p_value = found.rivals[0].run, found.rivals[0].p_value
    against = "" if p_value is None else f"; against the next best, {second.name}, p = {p_value:.2g}"
    count = len(found.rivals)
    some = "any" if found.undecided == count else str(found.undecided)
    others = "the other run" if count == 1 else f"{some} of the {count} other runs"
    if not found.undecided:
        return f"it can be told from all {count} other runs" if count > 1 else "it can be told from the other run"
    return f"it cannot be told from {others}, {how}{against}"


def _optimism(found: Choice, count: int) -> str:
    chosen = f"it is the best of {count} runs by the records that it was chosen on"
    keep = "an evaluation on records that no run has seen tells more"
    if found.expected is not None:
        return f"{chosen}: on new ones expect {value(found.expected)}; {keep}"
    if found.luck is not None:
        return f"{chosen}: of {count} equally good runs the best would seem up to {found.luck:.2f} better; {keep}"
    return f"{chosen}, so that the figure is too good; {keep}"
