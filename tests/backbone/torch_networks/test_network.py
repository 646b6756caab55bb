"""Networks of PyTorch: their taps, their outlines, and what happens to them in other processes."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tiny_torch import TinyMaps, TinyTokens, tiny_torch

from featurebank.backbone.preprocess import TORCH
from featurebank.backbone.torch_networks.network import TorchBackbone
from featurebank.backbone.torch_networks.structure import patch_of
from featurebank.backbone.weights.source import parse_source
from featurebank.errors import ConfigError, UnknownNameError

pytestmark = [pytest.mark.networks, pytest.mark.heavy]

TOKEN_TAPS = [
    "pooled",
    "map",
    "tokens",
    "cls",
    "blocks.1",
    "blocks.1:map",
    "blocks.1:avg",
    "blocks.1:max",
    "blocks.1:cls",
]
MAP_TAPS = ["pooled", "map", "map:max", "layer1.0.bn1", "layer1.0:avg", "layer1.0.conv1", "layer1.0"]


def images(count: int = 2) -> Any:
    import torch

    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))


def prepared(pixels: Any) -> Any:
    """The preprocessing of ImageNet's networks, written down once more."""
    import torch

    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((pixels.float() / 255 - mean) / deviation).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("kind", "taps"), [(TinyTokens, TOKEN_TAPS), (TinyMaps, MAP_TAPS)])
def test_rows_have_the_shapes_of_the_outline(kind: Any, taps: list[str]) -> None:
    backbone = tiny_torch(kind)
    rows = backbone.tap_module(taps)(images())
    assert [tuple(row.shape[1:]) for row in rows] == [backbone.outline().tap_shape(tap) for tap in taps]
    assert {str(row.dtype) for row in rows} == {"torch.float32"}
    assert not any(row.requires_grad for row in rows)


def test_tokens_are_those_of_the_network() -> None:
    backbone = tiny_torch(TinyTokens)
    pooled, maps, tokens, first = backbone.tap_module(["pooled", "map", "tokens", "cls"])(images())
    expected = backbone.module()(prepared(images()))
    np.testing.assert_allclose(tokens, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(first, tokens[:, 0])
    np.testing.assert_array_equal(maps.reshape(2, 16, 16), tokens[:, 2:])
    np.testing.assert_allclose(pooled, maps.mean((1, 2)), rtol=1e-4, atol=1e-6)


def test_a_layer_is_as_it_was_before_a_later_one_changed_it() -> None:
    backbone = tiny_torch(TinyMaps)
    before, block = backbone.tap_module(["layer1.0.bn1", "layer1.0"])(images())
    network = backbone.module()
    conv = network.conv(prepared(images()))
    first = network.layer1[0]
    np.testing.assert_allclose(before.permute(0, 3, 1, 2), first.bn1(first.conv1(conv)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(block.permute(0, 3, 1, 2), first(conv), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "taps"), [(TinyTokens, TOKEN_TAPS), (TinyMaps, MAP_TAPS)])
def test_an_exported_module_gives_the_same_numbers_for_any_batch(kind: Any, taps: list[str]) -> None:
    import torch

    module = tiny_torch(kind).tap_module(taps)
    exported = torch.export.export(module, (images(),), dynamic_shapes=({0: torch.export.Dim("n")},)).module()
    for count in (2, 3):
        for one, other in zip(module(images(count)), exported(images(count)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:FutureWarning", "ignore:.*torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize(("kind", "taps"), [(TinyTokens, TOKEN_TAPS), (TinyMaps, MAP_TAPS)])
def test_a_traced_module_gives_the_same_numbers(kind: Any, taps: list[str]) -> None:
    import torch

    module = tiny_torch(kind).tap_module(taps)
    traced = torch.jit.trace(module, images(), check_trace=False)
    for one, other in zip(module(images(3)), traced(images(3)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_floats_give_what_bytes_give() -> None:
    module = tiny_torch().tap_module(["pooled"])
    np.testing.assert_array_equal(module(images())[0], module(images().float())[0])


def test_threads_and_copies_share_a_network() -> None:
    backbone = tiny_torch()
    modules = [backbone.tap_module([tap]) for tap in ("blocks.0", "blocks.0", "blocks.2")]
    modules.append(copy.deepcopy(modules[0]))
    alone = [module(images(3))[0].numpy() for module in modules]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda index: modules[index % 4](images(3))[0].numpy(), range(32)))
    for index, rows in enumerate(together):
        np.testing.assert_allclose(rows, alone[index % 4], rtol=1e-5, atol=1e-6)


def test_a_worker_builds_its_own_network() -> None:
    backbone = tiny_torch()
    rows = backbone.tap_module(["pooled"])(images())[0]
    sent = pickle.loads(pickle.dumps(backbone))
    assert (backbone.is_built, sent.is_built) == (True, False)
    np.testing.assert_array_equal(sent.tap_module(["pooled"])(images())[0], rows)
    assert sent.digest == backbone.digest


def test_an_outline_builds_no_weights() -> None:
    backbone = tiny_torch()
    assert [cut.name for cut in backbone.outline().cuts] == ["patch_embed", "blocks.0", "blocks.1", "blocks.2", "norm"]
    assert ("blocks.1.act", (18, 32)) in backbone.layers()
    assert not backbone.is_built


def test_a_tap_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"blocks\.2"):
        tiny_torch().tap_module(["blocks.22"])
    with pytest.raises(ConfigError, match="has no tokens"):
        tiny_torch(TinyMaps).tap_module(["tokens"])
    with pytest.raises(ConfigError, match="list of one or more"):
        tiny_torch().tap_module("pooled")


def test_a_size_that_the_network_cannot_take_is_one_line() -> None:
    with pytest.raises(ConfigError, match="cannot run on images of 36 x 36 pixels"):
        tiny_torch(TinyUneven, image_size=36).outline()


def test_a_size_that_fills_no_whole_patches_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^image size 60 for .*: expected a multiple .* 8 pixels, as 56 or 64$"):
        tiny_torch(TinyCut, image_size=60).outline()
    own = TinyCut("tinycut", 60, 8, 0, 0, TORCH)  # some were made for a size of which they leave out an edge
    network = TorchBackbone(own, "random:0", parse_source("random:0", own), 60)
    assert network.outline().tap_shape("map") == (7, 7, 16)
    assert tiny_torch(TinyMaps, image_size=60).outline().tap_shape("map") == (15, 15, 12)
    assert patch_of(network.recording()) == 8
    assert patch_of(tiny_torch(TinyMaps).recording()) == 0


def test_image_sizes_in_words() -> None:
    words = [replace(tiny_torch().spec, **each).sizes for each in ({"patch": 8}, {}, {"minimum_size": 1})]
    assert words == ["image sizes: multiples of 8 pixels", "any image size from 8 pixels", "any image size"]
    assert replace(tiny_torch().spec, patch=8, minimum_size=32).sizes == "fixed image size"


def test_a_network_that_cannot_be_built_for_a_size_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"cannot be built for images of 36 x 36 pixels \(expected four of eight"):
        tiny_torch(TinyStrict, image_size=36).outline()


class TinyCut(TinyTokens):
    """Leaves out the pixels that fill no patch."""


class TinyStrict(TinyTokens):
    """Asserts the size that it takes, as torchvision's ViT does."""

    def build(self, image_size: int) -> Any:
        assert image_size == 32, "expected four of eight"
        return super().build(image_size)


class TinyUneven(TinyTokens):
    """Positions for patches of six pixels, where the network makes patches of eight."""

    def build(self, image_size: int) -> Any:
        return super().build(image_size * 8 // 6)


def test_what_needs_keras_is_refused_in_one_line() -> None:
    for refused in (tiny_torch().network, tiny_torch().classifier, lambda: tiny_torch().tap_model(["pooled"])):
        with pytest.raises(ConfigError, match="is a network of PyTorch"):
            refused()
