"""What built networks of `keras.applications` and EfficientNet-Lite do; what all do is in test_contract.py."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from small_networks import small, smallest

from featurebank.backbone.families.applications import Application
from featurebank.backbone.preprocess import INSIDE, prepare
from featurebank.backbone.table import TABLE
from featurebank.errors import ConfigError, DatasetError, UnknownNameError

pytestmark = pytest.mark.heavy


def images(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype("float32")


def run(model, x):
    outputs = model(x, training=False)
    return {k: v.numpy() for k, v in outputs.items()} if isinstance(outputs, dict) else outputs.numpy()


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet_lite0",
        "vgg16",
        # Keras's files with their Normalization and LayerScale are in grafting/test_converters.py, on small networks.
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("efficientnet_b0", "convnext_tiny")),
    ],
)
def test_save_and_load(name: str, tmp_path) -> None:
    import keras

    backbone = small(name)
    backbone.network().save(tmp_path / "x.keras")
    loaded = keras.models.load_model(tmp_path / "x.keras")
    np.testing.assert_array_equal(run(loaded, images(2)), run(backbone.network(), images(2)))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in backbone.network().layers]


def test_another_seed_gives_other_features() -> None:
    other = smallest("basenet", "random:1")
    image = images(1, other.image_size)
    assert np.abs(run(other.network(), image) - run(small("basenet").network(), image)).max() > 0.1


@pytest.mark.parametrize(
    "name", [spec.name for spec in TABLE.values() if isinstance(spec, Application) and spec.preprocessing != INSIDE]
)
def test_preprocessing_is_that_of_keras(name: str) -> None:
    """Keras's own function beside the same network; `test_contract.py` runs Keras's networks on what we prepare."""
    import keras

    spec = TABLE[name]
    assert isinstance(spec, Application)
    theirs = import_module(getattr(keras.applications, spec.constructor).__module__).preprocess_input
    np.testing.assert_allclose(prepare(images(2), spec.preprocessing), theirs(images(2)), rtol=1e-5, atol=1e-5)


def test_preprocessing_of_lite() -> None:
    got = run(small("efficientnet_lite0").tap_model(["preprocessing"]), images(1))["preprocessing"]
    np.testing.assert_allclose(got, (images(1) - 127) / 128, atol=1e-6)


def test_efficientnet_divides_as_its_imagenet_weights_expect() -> None:
    """Keras builds this division only where it loads the ImageNet weights itself, so look at the tensor."""
    got = run(small("efficientnet_b0").tap_model(["deviation"]), images(1))["deviation"]
    np.testing.assert_allclose(got, images(1) / 255 / np.sqrt([0.229, 0.224, 0.225]), rtol=1e-5)


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_lite0"])
def test_classifier(name: str) -> None:
    probabilities = run(small(name).classifier(), images(2))
    assert probabilities.shape == (2, 1000)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-4)
    for layer in small(name).network().layers:  # the trunk is the network itself
        for mine, its in zip(
            layer.get_weights(), small(name).classifier().get_layer(layer.name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(mine, its)


def test_unknown_and_unfit_taps() -> None:
    backbone = small("vgg16")
    with pytest.raises(
        UnknownNameError, match=r"unknown tap 'block5_poll': did you mean 'block5_pool'.*backbones vgg16"
    ):
        backbone.tap_model(["block5_poll"])
    with pytest.raises(ConfigError, match="expected a list"):
        backbone.tap_model([])
    with pytest.raises(ConfigError, match="expected a list"):
        backbone.tap_model("pooled")


def test_a_tap_model_ends_at_the_last_layer_that_it_needs() -> None:
    model = small("vgg16").tap_model(["block2_pool:avg"])
    names = {layer.name for layer in model.layers}
    assert "block2_pool" in names
    assert "block3_conv1" not in names


def test_a_vector_cannot_be_pooled() -> None:
    backbone = small("efficientnet_b0")
    vector = next(name for name, shape in backbone.layers() if len(shape) == 1)
    with pytest.raises(ConfigError, match="leave out ':avg'"):
        backbone.tap_model([f"{vector}:avg"])


def test_convnext_is_flat() -> None:
    assert not any(hasattr(layer, "layers") for layer in small("convnext_tiny").network().layers)
    assert "convnext_tiny_downsampling_conv_0" in dict(small("convnext_tiny").layers())


def test_resize_keeps_bytes_and_checks_its_input() -> None:
    backbone = small("vgg16")
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    resized = backbone.resize(image)
    assert resized.shape == (32, 32, 3)
    assert resized.dtype == np.uint8
    assert backbone.resize(resized) is resized
    for wrong in (image[..., 0], image.astype("float32"), image[..., :2], image[:0]):
        with pytest.raises(DatasetError, match="uint8"):
            backbone.resize(wrong)
