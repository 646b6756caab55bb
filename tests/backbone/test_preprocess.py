"""The arithmetic on pixels before a network: the same numbers for every kind of network."""

from __future__ import annotations

import numpy as np
import pytest

from featurebank.backbone.preprocess import CAFFE, DECLARED, arithmetic, normalizing, prepare
from featurebank.errors import ConfigError


def test_normalizing_is_that_of_torch() -> None:
    rule = normalizing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert arithmetic(rule) == arithmetic("torch:v1")
    pixel = np.array([10.0, 120.0, 255.0])
    does = arithmetic(rule)
    expected = (pixel / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    assert np.allclose(pixel * does.scale + does.offset, expected)


@pytest.mark.parametrize("rule", [*DECLARED.values(), "lite:v1", normalizing((0.5,) * 3, (0.25, 0.5, 1.0))])
def test_the_layers_of_keras_do_the_arithmetic(rule: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 3)).astype(np.float32)
    does = arithmetic(rule)
    expected = (pixels[..., ::-1] if does.is_bgr else pixels) * np.array(does.scale) + np.array(does.offset)
    assert np.allclose(np.asarray(prepare(pixels, rule)), expected, atol=1e-4)
    assert does.is_bgr == (rule == CAFFE)


@pytest.mark.parametrize("rule", ["tf:v9", "normalize:0,0:1,1,1:v1", "normalize:nan,0,0:1,1,1:v1", ""])
def test_an_unknown_rule_is_one_line(rule: str) -> None:
    with pytest.raises(ConfigError, match="does not know"):
        arithmetic(rule)


@pytest.mark.parametrize(
    ("mean", "deviation"), [((0.5,), (1.0,)), ((0.5,) * 3, (0.0,) * 3), ((float("nan"),) * 3, (1.0,) * 3)]
)
def test_numbers_that_are_no_normalisation(mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="expected three numbers each"):
        normalizing(mean, deviation)


@pytest.mark.parametrize("deviation", ["0,0,0", "1,1,1e-300", "1,-1,1", "9" * 400 + ",1,1"])
def test_a_recorded_rule_that_makes_no_numbers_is_one_line(deviation: str) -> None:
    """The rules of banks and model files come from anybody."""
    with pytest.raises(ConfigError, match="expected three numbers each"):
        arithmetic(f"normalize:0.5,0.5,0.5:{deviation}:v1")
