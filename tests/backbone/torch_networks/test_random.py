"""Random weights of networks of PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_torch import TinyMaps, TinyTokens, tiny_torch, tiny_vit

pytestmark = [pytest.mark.networks, pytest.mark.heavy]


class Deep(TinyTokens):
    def build(self, image_size: int) -> Any:
        return tiny_vit(image_size, depth=24)


def test_weights_are_the_same_bits_for_the_same_seed() -> None:
    one, other = (tiny_torch().module().state_dict() for _ in range(2))
    assert all((one[name] == other[name]).all() for name in one)
    third = tiny_torch(weights="random:1").module().state_dict()
    assert (third["pos_embed"] != one["pos_embed"]).all()
    first = [0.6383263468742371, -0.03467484563589096, 0.42404666543006897]
    assert one["blocks.0.qkv.weight"][0, :3].tolist() == pytest.approx(first, rel=1e-6)


@pytest.mark.parametrize("kind", [TinyMaps, Deep])
def test_features_are_finite_in_float16_and_of_a_sensible_size(kind: Any) -> None:
    import torch

    backbone = tiny_torch(kind)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8))
    taps = ["pooled", *(cut.name for cut in backbone.outline().cuts)]
    for tap, rows in zip(taps, backbone.tap_module(taps)(pixels), strict=True):
        assert 0.05 < float(rows.std()) < 20, tap
        assert torch.isfinite(rows.half()).all()


def test_buffers_and_constants_stay() -> None:
    module = tiny_torch().module()
    assert module.places.tolist() == [0, 1, 2, 3, 4]
    assert module.blocks[0].gamma.tolist() == [0.25] * 16
    assert set(module.norm.weight.tolist()) == {1.0}
    assert 0.01 < float(module.cls_token.std()) < 0.03
    gates = tiny_torch(TinyMaps).module().layer1[0].gate
    assert set(gates.bias.tolist()) == {4.0}
