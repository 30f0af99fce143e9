"""What predictions are worth; the package is also the function `palitune.evaluate(predictions)`."""

import sys
import types
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palitune.data.prediction import Prediction
    from palitune.evaluate.evaluation import Evaluation


class _Evaluate(types.ModuleType):
    """A package that can be called, since the function that people look for has its name."""

    def __call__(self, predictions: "Iterable[Prediction]", labels: Sequence[str] | None = None) -> "Evaluation":
        """As `palitune.evaluate.evaluation.evaluate`."""
        from palitune.evaluate.evaluation import evaluate

        return evaluate(predictions, labels)


sys.modules[__name__].__class__ = _Evaluate
