"""PredictorConfig: everything that predictions depend on beside their examples."""

import dataclasses

from palitune.config.answering import AnsweringSettings
from palitune.config.model import EvaluatedImageSettings, ModelSettings, PromptSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictorConfig(ModelSettings, PromptSettings, EvaluatedImageSettings, AnsweringSettings):
    """A predictor: which model, what it is asked, how images are read, and how scores become answers.

    Raises:
      UsageError: a setting has no such value, or settings contradict each other.
    """
