"""What every backbone does, of whatever family, with random weights and at the smallest size that it takes."""

from __future__ import annotations

import pickle
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from small_networks import small, smallest

from featurebank import load_backbone
from featurebank.backbone import Backbone
from featurebank.backbone.keras_networks.cuts import cut_points
from featurebank.backbone.keras_networks.initial_weights import zeros_at_first
from featurebank.backbone.preprocess import INSIDE

pytestmark = pytest.mark.heavy

OWN = "own_networks:build"
NAMES = (
    "efficientnet_lite0",
    "mobilenet_v2",
    "resnet50",
    "vgg16",
    "efficientnet_b0",
    "convnext_tiny",
    "squeezenet1_0",
    "squeezenet1_1",
    "basenet",
    "basenet_plus",
    "basenet_deep",
    OWN,
)
ONE_OF_EACH_LOADER = ("vgg16", "squeezenet1_1", "basenet_plus", OWN)
each_loader = pytest.mark.parametrize(
    "backbone",
    [pytest.param(name, marks=[] if name in ONE_OF_EACH_LOADER else pytest.mark.slow) for name in NAMES],
    indirect=True,
)
"""The slow ones are built, seeded, saved and read by the same code, only with more weights."""

MODULE = """
import keras
from keras import layers

def build():
    image = keras.Input((20, 20, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, name="first")(image)))
    x = layers.Add(name="joined")([x, layers.Conv2D(16, 3, padding="same")(x)])
    x = layers.Dropout(.5)(layers.Conv2D(24, 3, strides=2, name="second")(x))
    return keras.Model(image, layers.Dense(7, activation="softmax")(layers.Flatten()(x)))

build.preprocessing = "torch"
"""


@pytest.fixture(scope="module", autouse=True)
def _own_networks(tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("home")
    (home / "own_networks.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        yield


def load(name: str, weights: str = "random:0") -> Backbone:
    return load_backbone(name, weights=weights) if name == OWN else smallest(name, weights)


@cache
def built(name: str) -> Backbone:
    """A backbone whose network is built once for all tests."""
    return load(OWN) if name == OWN else small(name)


@pytest.fixture(params=NAMES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return built(request.param)


def images(backbone: Backbone, count: int = 3) -> np.ndarray:
    shape = (count, backbone.image_size, backbone.image_size, 3)
    return np.random.default_rng(0).integers(0, 256, shape).astype("float32")


def run(model, x):
    outputs = model(x, training=False)
    return {k: v.numpy() for k, v in outputs.items()} if isinstance(outputs, dict) else outputs.numpy()


@cache
def last_map(backbone: Backbone) -> np.ndarray:
    """What the network says of the images."""
    return run(backbone.network(), images(backbone))


@cache
def tapped(backbone: Backbone) -> dict[str, np.ndarray]:
    """What the taps give for the images: of all kinds, at the end and at a cut."""
    cut = second_cut(backbone)
    taps = ["pooled", "map", "map:max", "map:avg", cut, f"{cut}:avg", f"{cut}:max"]
    got = run(backbone.tap_model(taps), images(backbone))
    assert list(got) == taps
    return got


def second_cut(backbone: Backbone) -> str:
    return cut_points(backbone.network())[1].name


def test_table_agrees_with_the_network(backbone: Backbone) -> None:
    network, size = backbone.network(), backbone.image_size
    assert network is backbone.network()
    assert network.count_params() == backbone.spec.parameters
    assert network.input_shape == (None, size, size, 3)
    assert network.output_shape[0] is None
    assert network.output_shape[-1] == backbone.spec.channels
    assert len(network.output_shape) == 4
    assert not network.trainable_weights


def test_features_are_finite_and_tell_images_apart(backbone: Backbone) -> None:
    features = last_map(backbone)
    assert np.isfinite(features).all()
    assert np.abs(features).max() < 6e4, "float16 could not hold it"
    assert features.std(axis=0).mean() > 1e-5


def test_taps(backbone: Backbone) -> None:
    cut, got = second_cut(backbone), tapped(backbone)
    assert {value.dtype.name for value in got.values()} == {"float32"}
    np.testing.assert_array_equal(got["map"], last_map(backbone))
    assert got[cut].shape[1:] == dict(backbone.layers())[cut]
    whole = "map:avg" if backbone.spec.normalizes_average else "pooled"
    for source, average, largest in (("map", whole, "map:max"), (cut, f"{cut}:avg", f"{cut}:max")):
        assert got[average].shape == (len(got[source]), got[source].shape[-1])
        np.testing.assert_allclose(got[average], got[source].mean((1, 2)), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(got[largest], got[source].max((1, 2)))


FAMILIES = ("convnext_tiny", "efficientnet_b0", "mobilenet_v2", "resnet50", "vgg16")
OTHER_FAMILIES = (
    "resnet50_v2", "mobilenet", "mobilenet_v3_small", "densenet121", "efficientnet_v2_b0", "inception_v3",
    "inception_resnet_v2", "xception", "nasnet_mobile",
)  # fmt: skip


@pytest.mark.parametrize("name", [*FAMILIES, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHER_FAMILIES)])
def test_pooled_is_what_keras_pools(name: str) -> None:
    """The smallest network of each family, beside Keras's own with pooling="avg" and the same weights."""
    import keras

    backbone = built(name)
    x, size = images(backbone), backbone.image_size
    with zeros_at_first():  # its weights come next
        theirs = getattr(keras.applications, backbone.spec.constructor)(
            weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3)
        )
        theirs.set_weights(backbone.network().get_weights())
        theirs = backbone.spec.finish(theirs)
    prepared = x
    if backbone.spec.preprocessing != INSIDE:
        prepared = run(backbone.tap_model(["preprocessing"]), x)["preprocessing"]
    expected = run(theirs, prepared)
    np.testing.assert_allclose(tapped(backbone)["pooled"], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_trunk_and_tail_of_a_cut_are_the_whole(backbone: Backbone) -> None:
    import keras

    network, x = backbone.network(), images(backbone)
    cuts = cut_points(network)
    shares = [cut.remaining_work for cut in cuts]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0
    middles = {cuts[place].name: network.get_layer(cuts[place].name).output for place in (0, len(cuts) // 2, -2)}
    for cut, features in run(keras.Model(network.input, middles), x).items():
        tail = keras.Model(middles[cut], network.output)
        np.testing.assert_array_equal(run(tail, features), last_map(backbone))


def test_an_image_does_not_depend_on_its_batch(backbone: Backbone) -> None:
    """Batch normalisation stays in inference mode even where its caller is training."""
    network, x = backbone.network(), images(backbone)
    together, alone = last_map(backbone), run(network, x[:1])
    np.testing.assert_allclose(together[:1], alone, rtol=1e-3, atol=1e-4 * np.abs(alone).max())
    layers = [layer.name for layer in network.layers if type(layer).__name__ == "BatchNormalization"][:3]
    for name, inner in run(backbone.tap_model(layers), x).items() if layers else ():
        layer = network.get_layer(name)
        np.testing.assert_array_equal(layer(inner, training=True), layer(inner, training=False))


@each_loader
def test_a_seed_is_one_network(backbone: Backbone) -> None:
    """Whatever the process has built before."""
    name = OWN if backbone.name.startswith("own") else backbone.name
    again, other = load(name), load(name, "random:1")
    assert again.digest == backbone.digest != other.digest
    assert again.layers() == backbone.layers()
    for first, second in zip(backbone.network().get_weights(), again.network().get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


@each_loader
def test_weights_go_to_a_file_and_back(backbone: Backbone, tmp_path: Path) -> None:
    if not backbone.spec.suffixes:
        pytest.skip("a network of one's own loads its weights itself")
    path = tmp_path / "mine.weights.h5"
    backbone.network().save_weights(path)
    again = load(backbone.name, str(path))
    np.testing.assert_array_equal(run(again.network(), images(backbone)), last_map(backbone))
    assert again.digest != backbone.digest


def test_a_backbone_can_be_pickled_after_it_was_built(backbone: Backbone) -> None:
    backbone.network()
    data = pickle.dumps(backbone)
    assert pickle.loads(data).digest == backbone.digest
    if backbone.spec.suffixes:  # others have no other place for their weights
        assert len(data) < 5_000, "a built network goes along"
