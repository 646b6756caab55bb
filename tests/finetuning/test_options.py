"""All that is wrong with options is told at once, in one line, before anything starts."""

from __future__ import annotations

from typing import Any

import pytest
from finetunes import options

from featurebank.errors import ConfigError, UnknownNameError
from featurebank.finetuning.options import read_options


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"unfreeze": []}, "nothing would be trained: expected --unfreeze LAYERS"),
        ({"progressive": True}, "both are given"),
        ({"unfreeze": "conv5"}, r"unfreeze is 'conv5': expected a list"),
        ({"batch_norm": "off"}, "batch_norm is 'off': expected 'train' or 'frozen'"),
        ({"layer_decay": 1.5}, "layer_decay is 1.5: expected a number above 0, 1 at most"),
        ({"epochs": [2, 0]}, "epochs is 0: expected a whole number of 1 or more"),
        ({"epochs": "many"}, "epochs is 'many': expected a whole number, or a list with one for each phase"),
        ({"optimizer": "lamb", "momentum": 2}, r"optimizer is 'lamb': expected adam.*\nmomentum is 2.0: expected"),
        ({"augment": "flop"}, "augment is 'flop': unknown augmentation 'flop'"),
        ({"global_clipnorm": 0}, "global_clipnorm is 0: expected a number above 0"),
        ({"validate_on": "half"}, "validate_on is 'half': expected 'all' or 'part'"),
        ({"validate_every": 0}, "validate_every is 0: expected a whole number of 1 or more"),
        ({"seed": -1}, "seed is -1: expected a whole number of 0 or more"),
    ],
)
def test_wrong_ones(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as error:
        options(**given)
    assert len(str(error.value).splitlines()) == (2 if "momentum" in given else 1)
    assert "Training" not in str(error.value)


def test_unknown_ones() -> None:
    with pytest.raises(
        UnknownNameError, match="unknown option of finetune 'learnin_rate': did you mean 'learning_rate'"
    ):
        read_options({"unfreeze": ["all"], "learnin_rate": 1})


def test_one_value_a_phase() -> None:
    found = options(unfreeze=["conv5", "all"], epochs=[3, 5], learning_rate=0.1)
    assert [found.training(phase, 2).epochs for phase in (0, 1)] == [3, 5]
    assert [found.training(phase, 2).learning_rate for phase in (0, 1)] == [0.1, 0.1]
    with pytest.raises(ConfigError, match="epochs has 2 values for 3 phases: expected one for all, or one for each"):
        found.training(0, 3)


def test_the_learning_rate_is_the_optimizers() -> None:
    assert options().training(0, 1).learning_rate == 0.01
    assert options(optimizer="adam").training(0, 1).learning_rate == 0.0001


def test_a_record_tells_what_differs() -> None:
    assert options(epochs=[1, 2], seed=3, validate_every=5).params() == {"unfreeze": ["all"], "epochs": [1, 2]}
    looks = options(validate_every=5, validate_on="part")
    assert looks.identity() == options().identity() != options(epochs=5).identity()
