"""The residual stage: its layers are those of study A, and it is trained as Keras trains it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from featurebank.errors import HeadError
from featurebank.heads.layered.residual_stage import ResidualStageHead

pytestmark = pytest.mark.heavy

SMALL: dict[str, Any] = {"filters": [3, 4, 5], "learning_rate": 0.01, "batch_size": 32, "random_state": 2}


def test_the_layers_of_study_a() -> None:
    model = ResidualStageHead(hidden_units=[512, 1024, 1024], dropout=0.25).build((14, 14, 1024), 5)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [(c.filters, c.kernel_size[0]) for c in convolutions].count((512, 3)) == 3
    assert sorted((c.filters, c.kernel_size[0]) for c in convolutions) == sorted(
        [(2048, 1)] + 3 * [(512, 1), (512, 3), (2048, 1)]
    )
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert [norm.momentum for norm in norms] == [0.8] * 10
    assert model.get_layer("block3_out").output.shape == (None, 14, 14, 2048)
    dense = [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert dense == [512, 1024, 1024, 5]
    assert [layer.name for layer in model.layers[-2:]] == ["head_dropout", "head_logits"]


def test_names_do_not_depend_on_what_was_built_before() -> None:
    first, second = ([layer.name for layer in ResidualStageHead(**SMALL).body((7, 7, 2)).layers] for _ in range(2))
    assert first == second
    assert {"block1_1_relu", "block3_2_relu", "block2_add", "block3_out"} <= set(first)


@pytest.mark.xla
def test_its_losses_are_those_of_keras(hard_maps: Any) -> None:
    head = ResidualStageHead(**SMALL, blocks=2, epochs=2, hidden_units=4).fit(hard_maps.X, hard_maps.y)
    model = ResidualStageHead(**head.get_params()).build((7, 7, 2), 3)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss_of, run_eagerly=True)
    positions, random = np.searchsorted(head.classes_, hard_maps.y), np.random.default_rng(2)
    for loss in head.history_.loss:
        order = random.permutation(len(positions))
        found = model.fit(hard_maps.X[order], positions[order], 32, shuffle=False, verbose=0)
        assert found.history["loss"][0] == pytest.approx(loss, rel=0.01)


def test_strides_halve_the_map_and_one_block_is_enough(maps: Any) -> None:
    head = ResidualStageHead(**SMALL, blocks=1, strides=2, epochs=1)
    assert head.body((7, 7, 2)).output.shape == (None, 4, 4, 5)
    assert head.fit(maps.X, maps.y).predict_proba(maps.X_val).shape == (45, 3)


def test_the_seed_decides_the_start() -> None:
    one, same, other = (
        ResidualStageHead(**{**SMALL, "random_state": s}).build((7, 7, 2), 3).get_weights() for s in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"filters": [4, 4]}, r"filters is \[4, 4\], expected three whole numbers"),
        ({"filters": 4}, "filters is 4, expected three whole numbers"),
        ({"blocks": 0}, "blocks is 0, expected a whole number of 1 or more"),
        ({"strides": 0.5}, "strides is 0.5, expected a whole number"),
        ({"l2_sp": 0.1}, "l2_sp is 0.1, expected 0: these layers have no trained weights"),
        ({"pooling": "mean"}, "pooling is 'mean', expected avg, max, flatten"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], told: str, maps: Any) -> None:
    with pytest.raises(HeadError, match=told):
        ResidualStageHead(**options).fit(maps.X, maps.y)
