"""Watches the losses of one attempt at learning and says when it has diverged.

It sees numbers and says words; it reads and writes nothing. All that it remembers is in its fields, so that it can be
stored with a run and restored when it is resumed.
"""

import dataclasses
import math
from collections.abc import Sequence

HOPELESS_LOSS = 100.0  # a healthy run starts far below; what rises above does not come back
HIGH_LOSS = 1.0  # below this a run is never called diverged
RISE = 2.0  # how many times its level at the end of warm-up a loss may reach
MEMORY = 10  # steps over which the loss is smoothed: batches of two jump
STAYS = 8  # steps that the smoothed loss has to stay up
PATIENCE = 3  # evaluations with a rising validation loss, where nothing else was asked for
LOST = 3  # evaluations in a row without a right answer and with answers that are not a label
LASTS = 2  # evaluations in a row after which one answer for everything is worth a remark: early ones pass


@dataclasses.dataclass
class Guard:
    """One attempt. Losses are means over a batch, of each step in turn; steps count from 1."""

    warmup: int  # steps
    patience: int = PATIENCE
    seen: int = 0  # steps
    smoothed: float = 0.0  # exponential mean, before its correction for the start
    first: float = 0.0  # loss of the first step, before any update
    level: float | None = None  # smoothed loss at the end of warm-up
    above: int = 0  # steps in a row for which the smoothed loss was too high
    first_valid: float | None = None  # validation loss before learning
    high: int = 0  # evaluations in a row with a validation loss that is too high
    last_valid: float | None = None
    risen: int = 0  # evaluations in a row with a rising validation loss and a falling training loss
    last_train: float | None = None
    lowest: float | None = None  # validation loss so far
    began_lost: bool = False  # whether the labels were unknown to the model before learning
    lost: int = 0  # evaluations in a row in which they were, though it should know them
    same: int = 0  # evaluations in a row in which every answer was the same
    said: list[str] = dataclasses.field(default_factory=list)  # kinds of remarks that were made

    def step(self, loss: float, finite: bool = True) -> str | None:
        """Why learning has to end after a step with this loss; None while it may go on.

        Args:
          finite: whether all gradients were numbers.
        """
        self.seen += 1
        if not math.isfinite(loss):
            return f"loss {loss:.4g}"
        if not finite:
            return "a gradient is not finite"
        if loss > HOPELESS_LOSS:
            return f"loss {loss:.4g}"
        self.first = self.first if self.seen > 1 else loss
        decay = 1 - 1 / MEMORY
        self.smoothed = decay * self.smoothed + (1 - decay) * loss
        mean = self.smoothed / (1 - decay**self.seen)
        if self.seen <= max(1, self.warmup):
            # A loss that jumped while the rate rose, and stayed up there, is not a level to hold later ones against.
            known = math.inf if self.first_valid is None else RISE * max(self.first_valid, self.first)
            self.level = min(mean, known)
            return None
        limit = max(HIGH_LOSS, RISE * (self.level or 0.0))
        self.above = self.above + 1 if mean > limit else 0
        if self.above >= STAYS:
            return f"loss {mean:.4g} on average, for {STAYS} steps above {limit:.4g}"
        return None

    def evaluated(
        self, valid_loss: float, train_loss: float | None = None, last: bool = False, lost: bool = False
    ) -> str | None:
        """As `step`, for a validation loss; the one before learning is what later ones are held against.

        A model that stumbles when the rate is highest comes back, so it takes several in a row, or the last one.

        Args:
          train_loss: mean over the steps since the last evaluation.
          last: no other will follow.
          lost: no answer is right, and some are none of the labels.
        """
        if not math.isfinite(valid_loss):
            return f"validation loss {valid_loss:.4g}"
        if self.first_valid is None:
            self.first_valid, self.began_lost = valid_loss, lost
        fell = train_loss is not None and self.last_train is not None and train_loss < self.last_train
        rose = self.last_valid is not None and valid_loss > self.last_valid
        self.risen = self.risen + 1 if rose and fell else 0
        self.last_valid, self.last_train = valid_loss, train_loss
        warm = self.seen > self.warmup
        # A model that never knew the labels has the time that it takes to learn them.
        learning = self.began_lost and (self.lowest is None or valid_loss < self.lowest)
        self.lost = self.lost + 1 if lost and warm and not learning else 0
        self.lowest = valid_loss if self.lowest is None else min(self.lowest, valid_loss)
        limit = max(HIGH_LOSS, RISE * self.first_valid)
        self.high = self.high + 1 if valid_loss > limit and warm else 0
        if self.high > 1 or (self.high and last):
            return f"validation loss {valid_loss:.4g}, above {limit:.4g}"
        if self.lost >= LOST or (self.lost > 1 and last):
            return f"{self.lost} evaluations in a row without a right answer, and with answers that are not a label"
        return None

    def remarks(self, answers: Sequence[str], labels: Sequence[str], last: bool = False) -> list[str]:
        """What a person should know after an evaluation; what goes on is said once.

        Args:
          answers: first words that the model says of the validation set.
          labels: first words of the right answers.
          last: no other evaluation will follow.
        """
        made = []
        is_one = len(set(answers)) == 1 and len(set(labels)) > 1 and self.seen > self.warmup
        self.same = self.same + 1 if is_one else 0
        if not is_one and "collapse" in self.said:
            self.said.remove("collapse")  # it has come back, and may go again
        if not self.lost and "lost" in self.said:
            self.said.remove("lost")
        if self.lost:
            what = "no answer on the validation set is right, and some are none of the labels: the rate may be too high"
            made.append(("lost", what))
        elif self.same >= LASTS or (self.same and last):
            lasting = f"for {self.same} evaluations " if self.same > 1 else ""
            what = f'{lasting}every answer on the validation set is "{answers[0]}"'
            made.append(("collapse", f"collapse: {what}; try --balance weights or more data"))
        if self.risen >= self.patience:
            what = f"over-fitting: the validation loss has risen {self.risen} times while the training loss fell"
            made.append(("over-fitting", what))
        new = [(kind, text) for kind, text in made if kind not in self.said]
        self.said += [kind for kind, _ in new]
        return [text for _, text in new]
