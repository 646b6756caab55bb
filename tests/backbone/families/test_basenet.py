from __future__ import annotations

import numpy as np
import pytest

from featurebank import load_backbone
from featurebank.errors import ConfigError

pytestmark = pytest.mark.heavy

NAMES = ("basenet", "basenet_plus", "basenet_plus_plain", "basenet_plus_norm", "basenet_deep")


@pytest.mark.parametrize(
    ("name", "last", "parameters", "units"),
    [
        ("basenet", (5, 5, 16), 24_197, [50, 25]),
        ("basenet_plus", (6, 6, 128), 372_629, [50, 25]),
        ("basenet_plus_plain", (6, 6, 128), 371_149, [50, 25]),
        ("basenet_plus_norm", (6, 6, 128), 372_629, [50, 25]),
        ("basenet_deep", (4, 4, 256), 1_190_851, [50, 50, 25]),
    ],
)
def test_the_network_of_the_study(name: str, last: tuple[int, ...], parameters: int, units: list[int]) -> None:
    backbone = load_backbone(name, weights="random:0")
    assert backbone.image_size == 32
    assert backbone.network().output_shape[1:] == last
    assert backbone.classifier().output_shape == (None, 25)
    assert backbone.classifier().count_params() == parameters
    dense = [layer.units for layer in backbone.classifier().layers if type(layer).__name__ == "Dense"]
    assert dense == units


@pytest.mark.parametrize("weights", [None, "imagenet"])
@pytest.mark.parametrize("name", NAMES)
def test_there_are_no_trained_weights(name: str, weights: str | None) -> None:
    with pytest.raises(ConfigError, match=f"{name} has no trained weights.*use --weights random:0"):
        load_backbone(name, weights=weights)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
@pytest.mark.parametrize("name", [*NAMES[:-1], "squeezenet1_0", "squeezenet1_1", "vgg16"])
def test_random_weights_keep_the_signal_of_plain_convolutions(name: str, seed: int) -> None:
    """Without batch normalisation, only the variance of the weights keeps activations from vanishing or exploding.

    `basenet_deep` has pairs of convolutions with no ReLU between them, whose growth its batch normalisation takes back.
    """
    backbone = load_backbone(name, weights=f"random:{seed}", image_size=32)
    images = np.random.default_rng(seed).integers(0, 256, (8, 32, 32, 3)).astype("float32")
    rectified = [
        layer.name
        for layer in backbone.network().layers
        if type(layer).__name__ == "ReLU" or getattr(getattr(layer, "activation", None), "__name__", "") == "relu"
    ]
    for layer, values in backbone.tap_model(rectified)(images).items():
        size = float(np.sqrt((values.numpy() ** 2).mean()))
        assert 0.1 < size / (100 if name == "vgg16" else 1) < 10, layer  # VGG takes pixels of +-128


@pytest.mark.parametrize(
    "name",
    [
        "basenet",
        "basenet_plus",
        "basenet_plus_plain",
        pytest.param("basenet_plus_norm", marks=pytest.mark.slow),  # `basenet_plus` without its dropout
        "basenet_deep",
    ],
)
def test_it_learns_from_scratch(name: str) -> None:
    """All unfrozen, with the dense layers of a head on top, it fits images whose class is the place of a light."""
    import keras

    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 40)
    images = random.normal(60, 20, (40, 32, 32, 3))
    for image, label in zip(images, labels, strict=True):
        image[16 * (label // 2) :][:16, 16 * (label % 2) :][:, :16] += 120
    network = load_backbone(name, weights="random:0").network()
    network.trainable = True
    x = keras.layers.Dense(50, activation="relu")(keras.layers.Flatten()(network.output))
    model = keras.Model(network.input, keras.layers.Dense(4, activation="softmax")(x))
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"], run_eagerly=True)  # twelve steps
    model.fit(images.clip(0, 255), labels, batch_size=10, epochs=3, verbose=0)
    assert model.history.history["accuracy"][-1] > 0.9
