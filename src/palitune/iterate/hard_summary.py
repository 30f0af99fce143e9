"""What the page about a loop over hard examples shows, of the steps that were taken."""

from palitune.evaluate import conclusion, loss_curve
from palitune.evaluate.answer_files import Answers
from palitune.evaluate.outcomes import Booleans
from palitune.evaluate.report.loop_page import CandidateRow, LoopSummary
from palitune.iterate import loop_summary
from palitune.iterate.hard_examples import COPIED, HardExamples, key_of
from palitune.iterate.loop import MOST_FREQUENT, paired
from palitune.run.folder import RunFolder
from palitune.sentence import Sentence

ONCE = Sentence("learning once from all training records")


def of(loop: HardExamples) -> LoopSummary:
    """The summary of a loop that has come to its end."""
    steps, best = loop.steps, loop.best()
    last, first = loop.answers(best.number), loop.answers(0)
    before, after = paired(first, last)
    baselines: dict[str, Booleans] = {MOST_FREQUENT: conclusion.most_frequent(last)}
    if best.number:
        baselines[ONCE] = before
    run = RunFolder(steps.target(key_of(best.number)))
    rows = [
        CandidateRow(
            one.number,
            ONCE
            if one.number == 0
            else Sentence("round %(number)d, from %(count)d hard examples", number=one.number, count=one.kept),
            [one.loss],
            one.accuracy,
            one.number == best.number,
        )
        for one in loop.rounds()
    ]
    kept = Sentence("Hard examples did not help: learning once is kept.")
    if best.number:
        kept = Sentence("Round %(number)d is kept: its validation loss is the lowest.", number=best.number)
    why = steps.folder.events[COPIED]
    return loop_summary.described(
        steps,
        conclusion.conclude(after, baselines),
        Sentence("%(kept)s %(why)s", kept=kept, why=loop.why or str(why["why"])),
        after=last.outcomes if isinstance(last, Answers) else None,
        before=first.outcomes if isinstance(first, Answers) and isinstance(last, Answers) and best.number else None,
        curve=loss_curve.read(run.metrics),
        candidates=rows,
        doubted=loop_summary.doubted(last, loop_summary.examples(str(steps.records.valid), steps)),
    )
