"""An exported model of ONNX or OpenVINO can be a backbone again; it says itself what it expects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featurebank import export, load_backbone, train_heads
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.engine.catalog import load_engine
from featurebank.errors import ConfigError

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_an_exported_model_says_what_it_expects(suffix: str, bank: Bank, tiny: Backbone, tmp_path: Path) -> None:
    (run,) = train_heads(bank, [{"kind": "ridge"}], taps=["pooled"])
    path = export(run, tmp_path / f"model{suffix}", backbone=tiny, proof=False)
    backbone = load_backbone(path)
    assert (backbone.image_size, backbone.resize_rule) == (tiny.image_size, tiny.resize_rule)
    assert backbone.recipe["preprocessing"] == "inside:v1"
    with pytest.raises(ConfigError, match="was exported by featurebank with its preprocessing, got 'torch'"):
        load_backbone(path, preprocessing="torch")
    images = np.random.default_rng(0).integers(0, 256, (2, 14, 14, 3), dtype=np.uint8)
    rows = []
    for network in (backbone, tiny):
        engine = load_engine("openvino", network, ["pooled"], batch_size=2)
        rows.append(engine(images)["pooled"])
        engine.close()
    assert np.allclose(*rows, rtol=1e-4, atol=1e-5)
