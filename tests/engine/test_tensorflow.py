"""TensorFlow: what only this engine has."""

from __future__ import annotations

import numpy as np
import pytest

from featurebank.backbone import Backbone
from featurebank.engine import tensorflow
from featurebank.engine.tensorflow import TensorFlowEngine, dtype_policy
from featurebank.errors import ConfigError, EngineError
from featurebank.system.runtime import import_tensorflow
from tests.engine.conftest import difference, expected, images

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize(
    ("precision", "gpus", "policy"),
    [
        ("float32", 0, "float32"),
        ("float32", 2, "float32"),
        ("float16", 1, "mixed_float16"),
        ("bfloat16", 1, "mixed_bfloat16"),
    ],
)
def test_policy(precision: str, gpus: int, policy: str) -> None:
    assert dtype_policy(precision, gpus) == policy


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_needs_a_gpu(precision: str) -> None:
    with pytest.raises(ConfigError, match=f"computes in {precision} only on a GPU, and none is visible: use float32"):
        dtype_policy(precision, 0)


def test_unknown_precision() -> None:
    with pytest.raises(ConfigError, match="expected float32, float16, bfloat16"):
        dtype_policy("int8", 1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_as_on_a_gpu(precision: str, lite: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way that a GPU takes, on the processor: whole batches, the precision asked for."""
    monkeypatch.setattr(tensorflow, "visible_gpus", lambda: 1)
    batch, taps = images(5), ("pooled", "map")
    engine = TensorFlowEngine(lite, taps, batch_size=8, precision=precision)
    assert engine.precision == precision
    found, right = engine(batch), expected(lite, taps, batch)
    for tap in taps:
        assert found[tap].dtype == np.float32
        error = difference(found[tap], right[tap])
        assert error <= 1e-5 if precision == "float32" else 1e-4 < error < 0.3
    engine.close()


def test_large_weights_are_no_constants(lite: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorflow, "_CONSTANTS_BYTES", 0)
    engine = TensorFlowEngine(lite, ["pooled", "map"], batch_size=8)
    found, right = engine(images(5)), expected(lite, ("pooled", "map"), images(5))
    assert all(difference(found[tap], right[tap]) <= 1e-5 for tap in right)
    engine.close()


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ("InternalError", EngineError, r"^engine tensorflow failed on a batch: OOM when allocating; try a smaller"),
        ("ResourceExhaustedError", MemoryError, "OOM when"),
    ],
)
def test_an_error_of_tensorflow_is_one_line(
    lite: Backbone, monkeypatch: pytest.MonkeyPatch, error: str, kind: type[Exception], message: str
) -> None:
    tf = import_tensorflow()

    def fail(*args: object) -> None:
        raise getattr(tf.errors, error)(None, None, "OOM when\nallocating")

    monkeypatch.setattr(tensorflow, "_function", lambda *args: fail)
    engine = TensorFlowEngine(lite, ["pooled"], batch_size=2)
    with pytest.raises(kind, match=message):
        engine(images(1))
    engine.close()
