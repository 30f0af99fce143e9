"""How far a run has come, in words and numbers."""

import dataclasses
import operator
from typing import Any

from palitune.evaluate.report.result_block import TrialResult
from palitune.train.early_stopping import Best


@dataclasses.dataclass
class Progress:
    """Where a run stands, in words and numbers."""

    results: list[TrialResult] = dataclasses.field(default_factory=list)  # of the trials that have ended
    winner: int | None = None  # the best of them
    number: int = 0  # of the pass, from 0
    failures: int = 0  # attempts at this pass that diverged
    attempts: int = 0  # attempts in this trial so far
    passed: dict[str, Any] | None = None  # what the pass before was at its best, the arrays aside

    def check(self) -> None:
        """Raises ValueError or TypeError for numbers that only a damaged file can have."""
        for value in (self.number, self.failures, self.attempts, self.winner or 0):
            if operator.index(value) < 0:
                raise ValueError(f"{value} is no count")
        if self.winner is not None and self.winner >= len(self.results):
            raise ValueError("the best of its trials is none of them")
        if self.passed is not None:
            Best(**self.passed, arrays={})
