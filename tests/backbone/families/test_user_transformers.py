"""Transformers of a user as backbones: what their taps are, and that no default tap leaves out a block."""

from __future__ import annotations

import pickle
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image
from vits import pixels, vit

from featurebank import backbone_from_model, explain, extract, train_heads
from featurebank.backbone import Backbone
from featurebank.backbone.keras_networks.work import multiply_adds
from featurebank.backbone.structure.features import MOST_LEFT_OUT
from featurebank.errors import ConfigError, HeadError

pytestmark = pytest.mark.heavy

KINDS = {
    "class token": {"depth": 2},
    "registers, hybrid stem, added by +": {"prefix": 5, "stem": "hybrid", "style": "ops"},
    "mean, normalised after": {"prefix": 0, "pooling": "mean", "style": "post"},
    "blocks of one class": {"pooling": "mean", "style": "class", "depth": 2},
    "attention pool, no convolution": {"prefix": 0, "pooling": "attention", "stem": "reshape"},
    "attention by einsum": {"prefix": 0, "pooling": "weights", "style": "einsum"},
    "no classifier": {"pooling": ""},
}
FAST = ("class token", "blocks of one class")


def backbone(**options) -> Backbone:
    return backbone_from_model(vit(**options), preprocessing="none", name="vit")


@pytest.mark.parametrize("kind", [k if k in FAST else pytest.param(k, marks=pytest.mark.slow) for k in KINDS])
def test_taps(kind: str) -> None:
    model = vit(**KINDS[kind])
    network = backbone_from_model(model, preprocessing="none", name="vit")
    taps = ["pooled", "map", "tokens", "tokens:max"]
    images = pixels(3)
    got = {tap: value.numpy() for tap, value in network.tap_model(taps)(images).items()}
    outline = network.outline()
    assert {tap: value.shape[1:] for tap, value in got.items()} == {tap: outline.tap_shape(tap) for tap in taps}
    prefix = outline.tokens.prefix
    np.testing.assert_array_equal(got["map"].reshape(3, 16, -1), got["tokens"][:, prefix:])
    tokens = keras.Model(model.input, model.get_layer("norm").output)(images)
    np.testing.assert_allclose(tokens, got["tokens"], atol=1e-4)
    if "classes" in {layer.name for layer in model.layers}:
        np.testing.assert_allclose(model.get_layer("classes").input.shape[1:], got["pooled"].shape[1:])
        np.testing.assert_allclose(model.get_layer("classes")(got["pooled"]), model(images), atol=1e-4)
        np.testing.assert_allclose(network.classifier()(images), model(images), atol=1e-4)
    work = [sum(multiply_adds(one) for one in part.operations) for part in (network.network(), model)]
    assert work[0] >= (1 - MOST_LEFT_OUT) * work[1]
    again = pickle.loads(pickle.dumps(network))
    assert again.digest == network.digest
    np.testing.assert_array_equal(again.tap_model(["pooled"])(images)["pooled"], got["pooled"])


def test_the_recipe_has_the_pooling() -> None:
    assert backbone(depth=1).recipe["pooling"] == "class token"
    plain = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()])
    assert "pooling" not in backbone_from_model(plain, preprocessing="none").recipe


def test_a_network_of_maps_all_along_has_no_tokens() -> None:
    """Attention in windows keeps (h, w, c), as in Swin."""
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 4, strides=4, name="patch")(image)
    for place in range(3):
        y = layers.MultiHeadAttention(2, 4, attention_axes=(1, 2))(x, x)
        x = layers.Add(name=f"block{place}_out")([x, y])
    x = layers.LayerNormalization(name="norm")(x)
    model = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    network = backbone_from_model(model, preprocessing="none", name="swin")
    assert network.spec.map_layer == "norm"
    assert network.outline().tokens is None
    with pytest.raises(ConfigError, match="the network has no tokens, its last features are a map"):
        network.tap_model(["tokens"])


def test_a_classifier_larger_than_the_network_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"m: \d\d % of its work follows its last map, 'patch' and \d\d % .* 'norm'"):
        backbone_from_model(vit(depth=1, pooling="flat", classes=900), preprocessing="none", name="m")


def test_heads_and_heat_maps(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (32, 32, 3)).astype(np.uint8)).save(path)
    means = backbone(depth=1, pooling="mean")
    taps = ["pooled", "map", "tokens", "cls", "block0_out:avg"]
    bank = extract(str(tmp_path / "photos"), means, taps, cache=tmp_path)
    assert {tap: bank.tap_dtype(tap) for tap in bank.taps} == {
        "pooled": "float32", "map": "float16", "tokens": "float16", "cls": "float32", "block0_out:avg": "float32",
    }  # fmt: skip

    def run(tap: str, kind: str = "ridge"):
        return train_heads(bank, [{"kind": kind}], taps=[tap])[0]

    for tap in ("pooled", "map"):
        explanations = explain(run(tap), str(path), bank=bank, backbone=means)
        assert explanations.method == "cam"
        assert explanations[0].cells.shape == (4, 4)
    assert explain(run("block0_out:avg"), str(path), bank=bank, backbone=means)[0].cells.shape == (4, 4)
    for tap, message in (("cls", "'cls' are the class token"), ("tokens", "'tokens' are tokens, not a map")):
        with pytest.raises(HeadError, match=message) as caught:
            explain(run(tap), str(path), bank=bank, backbone=means)
        assert "--method occlusion" in str(caught.value)
    with pytest.raises(ConfigError, match=r"'cam' needs a map, but tap 'tokens' has 17 tokens of 16 numbers: take"):
        run("tokens", "cam")
