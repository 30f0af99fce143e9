"""The table of training methods: what each of them trains follows from its rules, and its settings exist."""

import pytest

from palitune.config import run_config
from palitune.config.learning import OPTIMIZERS, LearningSettings
from palitune.config.settings import settings_of
from palitune.method import METHODS, Method


@pytest.mark.parametrize("chosen", METHODS.values(), ids=METHODS)
def test_defaults_are_those_of_the_configuration(chosen: Method) -> None:
    settings = run_config.training(method=chosen.name)
    assert (settings.optimizer, settings.learning_rate) == (chosen.optimizer, chosen.learning_rate)
    assert chosen.optimizer in OPTIMIZERS
    assert set(chosen.smaller) <= set(METHODS)


def test_settings_of_one_method_name_it() -> None:
    assert {name for one in settings_of(LearningSettings) for name in one.details.methods} <= set(METHODS)


def test_what_is_trained_follows_from_the_rules() -> None:
    trained = {
        name: (each.trains_attention, each.trains_mlp, each.trains_embedder, each.trains_image_encoder)
        for name, each in METHODS.items()
    }
    assert trained["attention"] == (True, False, False, False)
    assert trained["full"] == (True, True, True, True)
    assert trained["lora"] == (False, False, False, False)
