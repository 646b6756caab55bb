"""What is read from one forward pass: cuts, work, pooling, and the roles of weights."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_torch import DEPTH, TinyMaps, TinyTokens, tiny_torch

from featurebank.backbone import taps
from featurebank.backbone.torch_networks.spec import TorchFeatures
from featurebank.backbone.torch_networks.structure import OWN_LAYERS, cut_layers, pooling_of, roles_of

pytestmark = [pytest.mark.networks, pytest.mark.heavy]


class ByClass(TinyTokens):
    def forward(self, module: Any, images: Any) -> TorchFeatures:
        tokens = module(images)
        return TorchFeatures(tokens, tokens[:, 0])


class ByAll(TinyTokens):
    def forward(self, module: Any, images: Any) -> TorchFeatures:
        tokens = module(images)
        return TorchFeatures(tokens, tokens.mean(1))


class ByAttention(TinyTokens):
    def forward(self, module: Any, images: Any) -> TorchFeatures:
        tokens = module(images)
        query = module.cls_token.expand(len(images), -1, -1)
        return TorchFeatures(tokens, ((query @ tokens.mT).softmax(-1) @ tokens)[:, 0])


class ByNorm(TinyTokens):
    def forward(self, module: Any, images: Any) -> TorchFeatures:
        tokens = module(images)
        return TorchFeatures(tokens, module.norm(tokens[:, 2:].mean(1)))


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (TinyMaps, ""), (TinyTokens, taps.MEAN_OF_PATCHES), (ByClass, taps.CLASS_TOKEN), (ByAll, taps.MEAN_OF_TOKENS),
        (ByAttention, taps.ATTENTION), (ByNorm, OWN_LAYERS),
    ],
)  # fmt: skip
def test_the_pooling_is_read_from_the_forward_pass(kind: Any, word: str) -> None:
    assert pooling_of(tiny_torch(kind).recording()) == word


def test_work_is_that_of_convolutions_and_matrices() -> None:
    recording = tiny_torch(TinyMaps).recording()
    conv, block, last = 3 * 8 * 9 * 256, 2 * 8 * 8 * 9 * 256 + 64, 8 * 12 * 9 * 64
    assert recording.work == conv + 2 * block + last
    left = {layer.name: layer.remaining_work for layer in cut_layers(recording)}
    assert left["layer1.0"] == pytest.approx((block + last) / recording.work)
    recording = tiny_torch(TinyTokens).recording()
    attention = 2 * 18 * 18 * 16
    block = 18 * 16 * (3 * 16 + 16 + 2 * 2 * 16) + attention
    assert recording.work == 3 * 64 * 16 * 16 + DEPTH * block


def test_a_cut_is_on_every_path() -> None:
    names = [layer.name for layer in cut_layers(tiny_torch(TinyMaps).recording())]
    assert names == ["conv", "layer1.0", "layer1.1", "last"]


def test_roles_follow_from_what_is_done_with_an_output() -> None:
    roles = roles_of(tiny_torch(TinyMaps).recording())
    assert roles.ends == {f"layer1.{block}.bn2.{part}" for block in (0, 1) for part in ("weight", "bias")}
    assert roles.gates == {f"layer1.{block}.gate.{part}" for block in (0, 1) for part in ("weight", "bias")}
    assert {"layer1.0.conv1.weight", "layer1.0.bn1.weight"} <= roles.activated
    assert "conv.weight" not in roles.activated
    roles = roles_of(tiny_torch(TinyTokens).recording())
    assert {"blocks.0.proj.weight", "blocks.0.gamma"} <= roles.ends
    assert not {"blocks.0.fc2.weight", "blocks.0.fc1.weight", "pos_embed"} & roles.ends
