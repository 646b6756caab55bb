"""The contract that every backbone of the table keeps, checked without building a network."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from featurebank import list_backbones, load_backbone
from featurebank.backbone.families.applications import Application
from featurebank.errors import ConfigError, UnknownNameError, WeightsError

NAMES = [spec.name for spec in list_backbones()]


def test_table_has_every_network_of_keras_applications() -> None:
    import keras

    constructors = {name for name in dir(keras.applications) if name[0].isupper()}
    assert {spec.constructor for spec in list_backbones() if isinstance(spec, Application)} == constructors
    assert NAMES[0] == "efficientnet_lite0"


@pytest.mark.parametrize("name", NAMES)
def test_recipe_and_digest(name: str) -> None:
    backbone = load_backbone(name, weights="random:3")
    assert set(backbone.recipe) == {"backbone", "architecture", "weights", "preprocessing", "image_size", "resize"}
    assert backbone.recipe["backbone"] == name
    assert backbone.recipe["image_size"] == backbone.image_size == backbone.spec.image_size
    assert backbone.digest == load_backbone(name, weights="random:3").digest
    others = [load_backbone(name, weights="random:4"), load_backbone(name, weights="random:3", image_size=96)]
    assert len({backbone.digest, *(other.digest for other in others)}) == 3


@pytest.mark.parametrize("name", NAMES)
def test_image_size_below_the_minimum_is_refused(name: str) -> None:
    minimum = load_backbone(name, weights="random:0").spec.minimum_size
    assert load_backbone(name, weights="random:0", image_size=minimum).image_size == minimum
    with pytest.raises(ConfigError, match=f"image size {minimum - 1} for {name}: expected at least {minimum}"):
        load_backbone(name, image_size=minimum - 1)


def test_networks_with_one_seed_have_different_digests() -> None:
    digests = {load_backbone(name, weights="random:0").digest for name in NAMES}
    weights = {load_backbone(name, weights="random:0").recipe["weights"] for name in NAMES}
    assert len(digests) == len(weights) == len(NAMES)


def test_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown backbone 'resnet5': did you mean 'resnet50'"):
        load_backbone("resnet5")


def test_the_unknown_name_of_a_network_of_a_library_gives_the_libraries() -> None:
    with pytest.raises(UnknownNameError, match="other libraries are keras_hub:NAME, timm:NAME, torchvision:NAME, hf"):
        load_backbone("vit_tiny_patch16_224")


@pytest.mark.parametrize(
    "weights",
    ["random", "random:", "random:-1", "random:x", "random:1.5", f"random:{2**64}", "", "imagenette", "w.pth"],
)
def test_bad_weights_are_one_line(weights: str) -> None:
    with pytest.raises(ConfigError, match="random:") as caught:
        load_backbone("resnet50", weights=weights)
    assert "\n" not in str(caught.value)


def test_missing_weights_file() -> None:
    with pytest.raises(WeightsError, match=r"there is no weights file 'nowhere\.h5'"):
        load_backbone("resnet50", weights="nowhere.h5")


@pytest.mark.parametrize("tap", ["", " ", ":avg", "map:", "map:mean", "map:avg:max", "pooled:avg", " map"])
def test_malformed_taps(tap: str) -> None:
    with pytest.raises(ConfigError, match="bad tap"):
        load_backbone("vgg16").check_tap(tap)


@pytest.mark.parametrize("tap", ["pooled", "map", "map:max", "block5_pool", "conv4_block6_out:avg"])
def test_well_formed_taps(tap: str) -> None:
    load_backbone("vgg16").check_tap(tap)


def test_nothing_heavy_is_imported_for_a_recipe() -> None:
    program = (
        "import sys, numpy as np, featurebank.api.backbones as b\n"
        "x = b.load_backbone('efficientnet_lite0')\n"
        "x.recipe, x.digest, x.check_tap('map'), x.resize(np.zeros((5, 9, 3), 'uint8'))\n"
        "heavy = {'tensorflow', 'keras', 'h5py', 'jax', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_known_network_with_another_preprocessing_is_another_backbone() -> None:
    own, unit = (
        load_backbone("vgg16", weights="random:0", image_size=32, preprocessing=word) for word in (None, "0..1")
    )
    assert load_backbone("vgg16", weights="random:0", image_size=32, preprocessing="caffe").digest == own.digest
    assert {part for part in own.recipe if own.recipe[part] != unit.recipe[part]} == {"preprocessing"}
    assert own.spec.note == ""
    assert unit.spec.note == "vgg16 gets its images as unit:v1; it was published with caffe:v1"
    white = np.full((1, 32, 32, 3), 255, np.float32)
    prepared = [backbone.tap_model(["preprocessing"])(white)["preprocessing"].numpy() for backbone in (own, unit)]
    assert prepared[0].max() > 100
    assert (prepared[1] == 1).all()
