"""Training options: the same of a head and of a fine-tune's phase, with the same checks."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from featurebank import make_head
from featurebank.errors import HeadError
from featurebank.heads.catalog import HEADS
from featurebank.training.optimizers import OPTIMIZERS, Rule
from featurebank.training.options import TrainingOptions, batch_norm_position

HEADS_WITH_EPOCHS = [kind for kind in HEADS if hasattr(make_head(kind), "epochs")]


@pytest.mark.parametrize("kind", HEADS_WITH_EPOCHS)
def test_a_head_has_every_option_with_its_default(kind: str) -> None:
    head = make_head(kind)
    assert isinstance(head, TrainingOptions)
    parameters = inspect.signature(type(head)).parameters
    names = [field.name for field in fields(TrainingOptions)]
    assert list(parameters)[: len(names)] == names
    assert {name: parameters[name].default for name in names} == {f.name: f.default for f in fields(TrainingOptions)}


def test_the_checks_name_what_is_wrong() -> None:
    options: Any = {"learning_rate": 0, "optimizer": "lamb", "epochs": 2.5, "nesterov": True, "schedule": "exponential"}
    wrong = {check.name for check in TrainingOptions(**options).checks() if not check.holds}
    assert wrong == {"learning_rate", "optimizer", "epochs", "nesterov", "decay"}
    assert all(check.holds for check in TrainingOptions().checks())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weight_decay_is_the_optimizers_own_until_it_is_given(optimizer: str) -> None:
    assert TrainingOptions(optimizer=optimizer).decayed() == (0.004 if optimizer == "adamw" else 0)
    assert TrainingOptions(optimizer=optimizer, weight_decay=0.5).decayed() == 0.5


def test_momentum_is_part_of_the_rules_that_have_one() -> None:
    assert TrainingOptions(optimizer="adam", momentum=0.9).rule() == Rule("adam")
    assert TrainingOptions(optimizer="rmsprop", momentum=0.9).rule() == Rule("rmsprop", momentum=True)
    assert TrainingOptions(optimizer="sgd", momentum=0.9, nesterov=True).rule() == Rule("sgd", True, True)


def test_balanced_class_weights_give_each_class_the_same_total() -> None:
    positions = np.array([0, 0, 0, 1, 2, 2])
    weights = TrainingOptions(class_weight="balanced").class_weights(positions, 3)
    np.testing.assert_allclose(weights * np.bincount(positions), 2)
    assert np.array_equal(TrainingOptions(class_weight=[3, 1, 2]).class_weights(positions, 3), [3, 1, 2])
    with pytest.raises(HeadError, match="class_weight has 2 numbers, the training images have 3 classes"):
        TrainingOptions(class_weight=[3, 1]).class_weights(positions, 3)


@pytest.mark.parametrize(
    ("value", "position"), [(True, "before"), ("after", "after"), (False, ""), (np.True_, "before")]
)
def test_the_position_of_batch_normalisation(value: Any, position: str) -> None:
    assert batch_norm_position(value) == position
