"""A bank's manifest leads back to the backbone that made it, or says why it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from featurebank import backbone_from_model, load_backbone
from featurebank.backbone import load_recorded, recorded_source
from featurebank.backbone.recorded import recorded_batch_norm
from featurebank.errors import ConfigError, WeightsError


def made() -> Any:
    from featurebank.system.runtime import import_tensorflow

    import_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    x = keras.Input((16, 16, 3))
    y = keras.layers.Conv2D(4, 3, name="first")(x)
    return keras.Model(x, keras.layers.Conv2D(5, 3, name="last")(y))


@pytest.mark.parametrize(
    "options",
    [
        {"name": "mobilenet_v2", "weights": "random:3", "image_size": 96},
        {"name": "efficientnet_lite0"},
        {"name": "efficientnet_lite0", "resize": "pad"},
        {"name": "vgg16", "weights": "random:3", "image_size": 32, "preprocessing": "mean", "resize": "crop"},
        {"name": "vgg16", "weights": "random:3", "image_size": 32, "preprocessing": "0..1"},
    ],
)
def test_a_known_one(options: dict[str, Any]) -> None:
    backbone = load_backbone(**options)
    found = load_recorded(backbone.recipe, recorded_source(backbone))
    assert (found.recipe, found.weights) == (backbone.recipe, backbone.weights)


def test_one_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "net.keras"
    made().save(file)
    backbone = load_backbone(str(file), preprocessing="tf")
    found = load_recorded(backbone.recipe, recorded_source(backbone))
    assert found.recipe == backbone.recipe


def test_banks_of_earlier_versions_name_the_weights_alone() -> None:
    backbone = load_backbone("mobilenet_v2", weights="random:3")
    assert load_recorded(backbone.recipe, {"weights": "random:3"}).digest == backbone.digest


def test_what_a_finetune_does_with_batch_normalisation() -> None:
    lite, own = {"backbone": "efficientnet_lite0"}, {"backbone": "efficientnet_lite0", "architecture": "user:1"}
    assert recorded_batch_norm(lite, {"weights": "imagenet"}) == recorded_batch_norm(lite, {}) == "frozen"
    assert recorded_batch_norm(lite, {"weights": "random:0"}) == "train", "nothing is worth keeping"
    assert recorded_batch_norm(own, {}) == "train", "a network of the user's own that has the name alone"
    assert recorded_batch_norm({"backbone": "resnet50"}, {"weights": "imagenet"}) == "train"


def test_other_weights_than_the_banks() -> None:
    recipe = load_backbone("mobilenet_v2", weights="random:3").recipe
    with pytest.raises(WeightsError, match="made by another weights than mobilenet_v2 with weights random:4 has now"):
        load_recorded(recipe, {"weights": "random:4", "backbone": "mobilenet_v2"})


def test_one_that_was_in_memory_alone() -> None:
    backbone = backbone_from_model(made(), preprocessing="tf")
    with pytest.raises(ConfigError, match=r"was a model in memory.*save it as a \.keras file"):
        load_recorded(backbone.recipe, recorded_source(backbone))


def test_no_bank_may_say_which_code_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "said_nets.py").write_text(
        "import keras\n"
        "def build():\n"
        "    keras.utils.set_random_seed(0)\n"
        "    return keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3)])\n"
        "build.preprocessing = 'tf'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    backbone = load_backbone("said_nets:build")
    recipe, source = backbone.recipe, recorded_source(backbone)
    assert load_recorded(recipe, source).digest == backbone.digest, "the user has named it"
    monkeypatch.setattr("featurebank.backbone.naming._named", set())
    (tmp_path / "said_nets.py").write_text("raise SystemExit('it was run')\n")
    with pytest.raises(ConfigError, match=r"^the bank says that its network is made by the function 'said_nets:build'"):
        load_recorded(recipe, source)
