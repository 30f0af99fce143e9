"""What a run's losses and answers say, in sentences, and what to change in the next run.

Everything follows from the rows of a run's metrics and from counts of its examples; nothing else is read.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from palitune.confidence_interval import wilson_interval
from palitune.config.run_config import ENSEMBLE
from palitune.evaluate.loss_curve import Curve, curve_of
from palitune.evaluate.run_facts import Facts
from palitune.sentence import Sentence, listed

MOST = 3  # sentences about one run
EVALUATIONS = 3  # after learning has begun: fewer are no curve
FLAT = 0.95  # of an earlier loss: one that is higher than that has hardly changed
SLOW, LITTLE = 0.34, 0.6  # of the usual learning rate; and of an earlier loss, where the rate is as low as that
RISE, RISE_AT_LEAST = 1.1, 0.02  # times a loss, and beyond it, that is more than an evaluation's noise
SMALL = 0.05  # a loss below which there is nothing to gain
WIDE = 0.08  # half an accuracy's interval, from which on it is worth a sentence
FEW = 20  # examples of a class
RARE = 0.2  # share of the examples that are not of the most frequent class, below which accuracy says little
LOPSIDED = 0.6  # share of a label, from which on it is worth a try to count each the same
SEEN = 2  # validation examples of a class that is never answered
MOST_CLASSES = 64  # labels; of more it is free text
LIFT, RANKED = 0.1, 0.65  # of an F-measure that is worth a threshold; an area from which on probabilities rank well


class Advice(NamedTuple):
    """A sentence or two about a run.

    Attributes:
      kind: a word for what it is about.
      text: what was seen, and what that means.
      changes: settings of the run to try next, by name.
      check: or else the command to try: on the training data "suspect" or "lint", on validation answers "threshold".
    """

    kind: str
    text: Sentence
    changes: Mapping[str, object] = {}
    check: str = ""


def advise(rows: Sequence[Mapping[str, object]], facts: Facts, winner: int = 0) -> list[Advice]:
    """What there is to say of a run, the most important first, at most `MOST` things; often nothing.

    Args:
      rows: of the run's metrics.
      winner: the trial that was kept, from 0.
    """
    curve = curve_of(rows, winner)
    of_curve = None if curve is None or curve.last < 1 else _of_curve(curve, facts)
    kind = of_curve.kind if of_curve else ""
    same = one_answer(facts) if kind != "flat" else None  # what has learned nothing yet has answers of its own
    poor = None if same or kind in ("flat", "still falling") else no_better_than_always(facts) or never_answered(facts)
    again = None if same or kind in ("flat", "never fell") else restarted(rows, facts, winner)
    found = (of_curve, same, again) if kind == "still falling" else (same, of_curve, again)
    wide = None if same or poor else wide_interval(facts)
    worse = None if same else worse_together(facts)
    lifted = None if kind in ("flat", "still falling") else own_thresholds(facts)
    return [one for one in (*found, worse, lifted, poor, wide) if one is not None][:MOST]


def _of_curve(curve: Curve, facts: Facts) -> Advice | None:
    if curve.last < EVALUATIONS:
        return ended_early(curve, facts)
    for rule in (flat, never_fell, over_fitting, still_falling):
        if (found := rule(curve, facts)) is not None:
            return found
    return None


def flat(curve: Curve, facts: Facts) -> Advice | None:
    """Whether neither loss has changed much since the start; a low learning rate is suspected earlier."""
    is_slow = facts.usual_rate is not None and facts.learning_rate <= SLOW * facts.usual_rate
    least = LITTLE if is_slow else FLAT
    before, after = curve.train[1], curve.train[-1]
    if after < least * before or curve.valid[curve.lowest] < least * curve.valid[0] or after < SMALL:
        return None
    seen = Sentence("the training loss changed little, from %(before).3g to %(after).3g", before=before, after=after)
    if is_slow:
        text = Sentence("%(seen)s: the learning rate, %(rate)g, is too low", seen=seen, rate=facts.learning_rate)
        return Advice("flat", text, {"learning_rate": facts.usual_rate})
    return Advice("flat", _doubted(seen), check=_doubt(facts))


def never_fell(curve: Curve, facts: Facts) -> Advice | None:
    """Whether the validation loss was never below the one before learning, though the training loss fell."""
    before, after = curve.train[1], curve.train[-1]
    if not facts.has_validation or curve.valid[curve.lowest] < curve.valid[0] or after >= FLAT * before:
        return None
    text = Sentence(
        "the training loss fell from %(before).3g to %(after).3g, but the validation loss was never below the "
        "%(valid).3g before learning: what was learned holds for the training examples alone",
        before=before,
        after=after,
        valid=curve.valid[0],
    )
    return Advice("never fell", text, {"learning_rate": _rounded(facts.learning_rate / 3)})


def over_fitting(curve: Curve, facts: Facts) -> Advice | None:
    """Whether the validation loss rose behind what was kept, while the training loss fell."""
    lowest, kept, last = curve.lowest, max(1, curve.kept), curve.last
    level = max(curve.valid[lowest], curve.valid[kept])
    rose = curve.valid[last] > max(RISE * level, level + RISE_AT_LEAST)
    if not facts.has_validation or kept == last or not rose or curve.train[last] >= curve.train[kept]:
        return None
    text = Sentence(
        "over-fitting: the validation loss rose from epoch %(epoch)s on, from %(before).3g to %(after).3g, while the "
        "training loss fell; kept epoch %(kept)s. Fewer epochs, a lower learning rate or more examples may do better",
        epoch=_epoch(curve.epochs[lowest]),
        before=curve.valid[lowest],
        after=curve.valid[last],
        kept=_epoch(curve.epochs[kept]),
    )
    fewer = max(1, math.ceil(curve.epochs[kept] - 0.1))
    if fewer < round(facts.epochs):
        return Advice("over-fitting", text, {"epochs": fewer})
    return Advice("over-fitting", text, {"learning_rate": _rounded(facts.learning_rate / 3)})


def restarted(rows: Sequence[Mapping[str, object]], facts: Facts, winner: int) -> Advice | None:
    """Whether the first pass diverged before the attempt that was kept; from the third on it had a lower rate."""
    lost = [row for row in rows if row.get("event") == "diverged" and row.get("trial", 1) == winner + 1]
    count = sum(row.get("pass", 1) == 1 for row in lost)
    if not count:
        return None
    text = Sentence(
        "learning diverged once, and was restarted with another order of the examples: a lower learning rate is safer"
        if count == 1
        else "learning diverged %(count)d times before an attempt came to its end: a lower learning rate is safer",
        count=count,
    )
    rate = facts.learning_rate / 2 ** max(1, count - 1)  # that of the attempt that was kept, or below it
    return Advice("restarted", text, {"learning_rate": float(f"{rate:.2g}")})


def worse_together(facts: Facts) -> Advice | None:
    """Whether what several trials have become is worse than the best of them.

    Nothing is said of an ensemble: few records do not tell which trial is the best, and it depends on no single one.
    """
    one = facts.together
    if one is None or one.how == ENSEMBLE or one.loss < max(RISE * one.best, one.best + RISE_AT_LEAST):
        return None
    text = Sentence(
        "what %(trials)d trials have become together (%(how)s) has a validation loss of %(loss).3g, and the best of "
        "them alone has %(best).3g",
        **one._asdict(),
    )
    return Advice("worse together", text, {"combine": ENSEMBLE})


def ended_early(curve: Curve, facts: Facts) -> Advice | None:
    """Whether a run whose losses fell ended before each example had been shown once; it has too few evaluations."""
    if facts.epochs >= 1 or curve.valid[-1] > min(curve.valid) or curve.valid[-1] < SMALL or _is_done(facts):
        return None
    text = Sentence(
        "learning ended at epoch %(epoch)s, before each example had been shown once, and the loss was falling (from "
        "%(before).3g to %(after).3g): more epochs may do better",
        epoch=_epoch(facts.epochs),
        before=curve.valid[0],
        after=curve.valid[-1],
    )
    return Advice("still falling", text, {"epochs": 2})


def _is_done(facts: Facts) -> bool:
    """Whether every answer on the validation set is right."""
    return bool(facts.validation) and all(one.right == one.total for one in facts.validation)


def still_falling(curve: Curve, facts: Facts) -> Advice | None:
    """Whether the last evaluation is the best one, and clearly better than the last but two."""
    earlier, last = curve.last - 2, curve.last
    fell = curve.valid[last] < FLAT * curve.valid[earlier] and curve.train[last] < curve.train[earlier]
    if curve.lowest != last or not fell or curve.valid[last] < SMALL or _is_done(facts):
        return None
    text = Sentence(
        "both losses were still falling at the end (from %(before).3g to %(after).3g in the last two evaluations): "
        "more epochs may do better"
        if facts.has_validation
        else "the loss was still falling at the end (from %(before).3g to %(after).3g in the last two evaluations): "
        "more epochs may do better",
        before=curve.valid[earlier],
        after=curve.valid[last],
    )
    return Advice("still falling", text, {"epochs": max(1, math.ceil(2 * facts.epochs))})


def one_answer(facts: Facts) -> Advice | None:
    """Whether every answer is the same, though the labels are not: of one target, or of some of several."""
    same = [one for one in facts.validation if len(one.answers) == 1 and len(one.labels) > 1]
    if not same:
        return None
    answer = next(iter(same[0].answers))
    seen = Sentence('every answer on the validation set is "%(answer)s"', answer=answer)
    if same[0].target:
        names = listed([one.target for one in same])
        seen = Sentence(
            'every answer about %(names)s on the validation set is "%(answer)s"', names=names, answer=answer
        )
    if _counts_unlike(facts):
        return Advice("one answer", _balanced(seen), {"balance": "weights"})
    rate = facts.learning_rate / 3
    if facts.usual_rate is not None and facts.learning_rate < facts.usual_rate:
        rate = facts.usual_rate
    text = Sentence("%(seen)s: try another learning rate, or more examples", seen=seen)
    return Advice("one answer", text, {"learning_rate": _rounded(rate)})


def no_better_than_always(facts: Facts) -> Advice | None:
    """Whether always giving the most frequent label is right as often. Where others are rare, that is usual."""
    for one in facts.validation:
        label, share = _most(one.labels)
        if len(one.labels) > 1 and share <= 1 - RARE and one.right <= share * one.total:
            seen = Sentence(
                "the accuracy of %(target)s on the validation set, %(accuracy).2f, is no better than always answering "
                '"%(label)s" (%(share).2f)'
                if one.target
                else "the accuracy on the validation set, %(accuracy).2f, is no better than always answering "
                '"%(label)s" (%(share).2f)',
                target=one.target,
                accuracy=one.right / one.total,
                label=label,
                share=share,
            )
            if _counts_unlike(facts):
                return Advice("no better", _balanced(seen), {"balance": "weights"})
            return Advice("no better", _doubted(seen), check=_doubt(facts))
    return None


def own_thresholds(facts: Facts) -> Advice | None:
    """Which of several labels are ranked well by their probabilities, and found much better from other ones on."""
    gained = [
        (one.target, one.lift)
        for one in facts.validation
        if one.lift is not None and one.lift.area >= RANKED and one.lift.after >= one.lift.before + LIFT
    ]
    if not gained:
        return None
    gained.sort(key=lambda one: one[1].before - one[1].after)
    said = [
        Sentence("%(name)s from %(before).2f to %(after).2f", name=name, before=lift.before, after=lift.after)
        for name, lift in gained
    ]
    text = Sentence(
        "a threshold for each label raises the F-measure on the validation set: %(labels)s; what it gives on other "
        "examples is less",
        labels=listed(said),
    )
    return Advice("own thresholds", text, check="threshold")


def _balanced(seen: Sentence) -> Sentence:
    """What was seen, and that rare labels should count more."""
    return Sentence("%(seen)s: count each label the same", seen=seen)


def _doubted(seen: Sentence) -> Sentence:
    """What was seen, and that the labels may be the reason."""
    return Sentence("%(seen)s: the labels may not follow from what is shown, or be wrong", seen=seen)


def _doubt(facts: Facts) -> str:
    """The check that finds wrong labels: of images a quick one; of several labels and free text that of all data."""
    several = len(facts.classes) > 1 or any(one.target for one in facts.validation)
    if several or any(len(counts) > MOST_CLASSES for counts in facts.classes):
        return "lint"
    return "suspect" if facts.has_images else "suspect --learn"


def never_answered(facts: Facts) -> Advice | None:
    """Which of three or more labels are never an answer, though the validation set has them."""
    for one in facts.validation:
        never = [label for label, count in one.labels.items() if count >= SEEN and not one.answers.get(label)]
        if never and len(one.labels) > 2:
            seen = Sentence(
                "never answered: %(labels)s, %(count)d of %(total)d labels",
                labels=listed(never),
                count=len(never),
                total=len(one.labels),
            )
            if facts.balance == "none":
                text = Sentence("%(seen)s; count each label the same", seen=seen)
                return Advice("never answered", text, {"balance": "weights"})
            return Advice("never answered", Sentence("%(seen)s; more examples of them help", seen=seen), check="lint")
    return None


def wide_interval(facts: Facts) -> Advice | None:
    """How little a small validation set says."""
    right, total = sum(one.right for one in facts.validation), sum(one.total for one in facts.validation)
    if not total or len(facts.validation) > 1:
        return None
    low, high = wilson_interval(right, total)
    if (high - low) / 2 < WIDE:
        return None
    fewest = min((count for counts in facts.classes for count in counts.values()), default=0)
    seen = Sentence(
        "the accuracy of %(accuracy).2f on %(total)d validation examples has a 95 %% interval of ± %(half).0f %%, from "
        "%(low).2f to %(high).2f",
        accuracy=right / total,
        total=total,
        half=50 * (high - low),
        low=low,
        high=high,
    )
    if fewest <= FEW:
        seen = Sentence(
            "%(count)d examples a class: %(seen)s" if fewest > 1 else "%(count)d example a class: %(seen)s",
            count=fewest,
            seen=seen,
        )
    if facts.examples >= 2 * total and not any(one.target for one in facts.validation):
        text = Sentence(
            "%(seen)s; asking about each training example a model that has not learned from it tells more", seen=seen
        )
        return Advice("wide interval", text, check="suspect --learn")
    text = Sentence("%(seen)s; several seeds show how much is chance", seen=seen)
    return Advice("wide interval", text, {"repeat": 5})


def _counts_unlike(facts: Facts) -> bool:
    """Whether one label is far more frequent than the others in training, and counts so much more in the loss."""
    return facts.balance == "none" and any(_most(counts)[1] >= LOPSIDED for counts in facts.classes)


def _most(counts: Mapping[str, int]) -> tuple[str, float]:
    """The most frequent label, and its share."""
    label = max(counts, key=counts.__getitem__)
    return label, counts[label] / sum(counts.values())


def _epoch(value: float) -> str:
    """An epoch with one decimal where it is a fraction: "2", "0.4"."""
    return f"{value:.1f}".removesuffix(".0")


def _rounded(rate: float) -> float:
    """A learning rate with one digit that is not 0."""
    return float(f"{rate:.1g}")
