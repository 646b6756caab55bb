"""CAM heads: softmax heads on averages, whose class maps say where the answer comes from."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank.heads.neural.cam import CamHead, train_cams
from featurebank.heads.neural.softmax import SoftmaxHead
from featurebank.heads.neural.together import train_together
from featurebank.training.activations import softmax


def test_it_is_a_softmax_head_on_the_averages(hard_maps: Any) -> None:
    options: dict[str, Any] = {"learning_rate": 0.02, "epochs": 5, "standardize": True, "l2": 0.01}
    averages, val = hard_maps.X.mean((1, 2)), (hard_maps.X_val.mean((1, 2)), hard_maps.y_val)
    head = CamHead(**options).fit(hard_maps.X, hard_maps.y, hard_maps.validation)
    plain = SoftmaxHead(**options).fit(averages, hard_maps.y, val)
    np.testing.assert_allclose(head.predict_proba(hard_maps.X_val), plain.predict_proba(val[0]), atol=1e-5)
    assert head.n_parameters_ == 3 * 3


def test_the_average_of_the_class_maps_is_the_answer(maps: Any) -> None:
    head = CamHead(learning_rate=0.05, epochs=10).fit(maps.X, maps.y)
    found = head.class_maps(maps.X_val)
    assert found.shape == (45, 7, 7, 3)
    np.testing.assert_allclose(softmax(found.mean((1, 2))), head.predict_proba(maps.X_val), atol=1e-5)
    assert head.class_maps(maps.X_val[:0]).shape == (0, 7, 7, 3)


def test_class_maps_show_where_it_is(maps: Any) -> None:
    head = CamHead(learning_rate=0.05, epochs=10).fit(maps.X, maps.y)
    empty = np.zeros((1, 7, 7, 2), np.float32)
    empty[0, 2, 4] = [9, 0]  # what class 2 has everywhere
    shown = head.class_maps(empty)[0, ..., 0]
    assert np.unravel_index(shown.argmax(), shown.shape) == (2, 4)


def test_views_are_averaged_too(maps: Any) -> None:
    options: dict[str, Any] = {"learning_rate": 0.01, "epochs": 3}
    head, plain = CamHead(**options), SoftmaxHead(**options)
    train_cams([head], maps.X, maps.y, views=[-maps.X])
    train_together([plain], maps.X.mean((1, 2)), maps.y, views=[-maps.X.mean((1, 2))])
    np.testing.assert_allclose(head.history_.loss, plain.history_.loss, rtol=1e-5)
