from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from featurebank import backbone_from_model, load_backbone
from featurebank.backbone.keras_networks.cuts import cut_points
from featurebank.errors import ConfigError, UnknownNameError, WeightsError

pytestmark = pytest.mark.heavy

NETS = """
import keras
from keras import layers

def make(size=32):
    keras.utils.set_random_seed(0)
    image = keras.Input((size, size, 3))
    x = layers.Conv2D(8, 3, activation="relu")(image)
    x = layers.Conv2D(12, 3, strides=2, activation="relu", name="last")(x)
    return keras.Model(image, layers.Dense(4)(layers.Flatten()(x)))

def build():
    return make()
build.preprocessing = "tf"

def pair():
    return make(), "torch"

def undeclared():
    return make()

def sized(image_size=32):
    return make(image_size), "0..1"

def needs_size(image_size):
    return make(image_size), "none"

def needs_more(depth):
    pass

def fails():
    return keras.layers.Conv2D(0, 3)

def both():
    return make(), "caffe"
both.preprocessing = "tf"

def restless():
    image = keras.Input((32, 32, 3))
    return keras.Model(image, layers.Conv2D(8, 3)(image)), "tf"

def odd():
    return make(), "imagenet"

def array():
    return [1, 2], "none"

model = 3
"""


def image(size: int = 32, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype("float32")


def small(size: int | None = 16, filters: int = 4, units: int = 3) -> keras.Model:
    """Two convolutions and a classifier; the weights do not depend on what was built before."""
    keras.utils.set_random_seed(0)
    source = keras.Input((size, size, 3))
    x = layers.Conv2D(filters, 3, activation="relu", name="one")(source)
    x = layers.BatchNormalization()(layers.Conv2D(6, 3, name="two")(x))
    return keras.Model(source, layers.Dense(units)(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a module of networks, a package and a file of one."""
    path = tmp_path_factory.mktemp("home")
    (path / "my_nets.py").write_text(NETS)
    (path / "broken_nets.py").write_text("import nowhere_to_be_found\n")
    (path / "many").mkdir()
    (path / "many" / "__init__.py").touch()
    (path / "many" / "nets.py").write_text(NETS)
    small().save(path / "small.keras")
    return path


@pytest.fixture(autouse=True)
def _here(home: Path, monkeypatch) -> None:
    monkeypatch.chdir(home)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("my_nets:build", "tf:v1"),
        ("my_nets:pair", "torch:v1"),
        ("many.nets:build", "tf:v1"),
        ("my_nets:sized", "unit:v1"),
    ],
)
def test_a_function_of_the_current_directory(name: str, rule: str) -> None:
    backbone = load_backbone(name)
    assert backbone.recipe["preprocessing"] == rule
    assert backbone.name == name.replace(":", ".")
    assert backbone.image_size == 32
    assert backbone.network().output_shape == (None, 14, 14, 12)
    assert backbone.recipe["architecture"].startswith("user:")
    assert str(Path.cwd()) not in sys.path
    assert load_backbone(name).digest == backbone.digest


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("none", lambda x: x),
        ("0..1", lambda x: x / 255),
        ("tf", lambda x: x / 127.5 - 1),
        ("torch", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("mean", lambda x: x - [123.68, 116.779, 103.939]),
        ("caffe", lambda x: x[..., ::-1] - [103.939, 116.779, 123.68]),
    ],
)
def test_the_features_are_those_of_the_model(rule: str, expected) -> None:
    model = small()
    backbone = backbone_from_model(model, preprocessing=rule)
    inner = keras.Model(model.input, model.layers[-3].output)
    mine = backbone.network()(image(16))
    np.testing.assert_allclose(mine, inner(expected(image(16)), training=False), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(backbone.classifier()(image(16)), model(expected(image(16))), rtol=1e-3, atol=1e-3)


def test_a_file_and_the_model_it_came_from() -> None:
    backbone = load_backbone("small.keras", preprocessing="tf")
    assert backbone.name == "small"
    direct = backbone_from_model(small(), preprocessing="tf", name="small")
    np.testing.assert_array_equal(backbone.network()(image(16)), direct.network()(image(16)))
    assert backbone.digest == direct.digest, "where a network comes from is no part of it"


def test_what_is_taken_as_the_map_is_told() -> None:
    backbone = backbone_from_model(small(), preprocessing="none", name="mine")
    assert (
        backbone.spec.note == "map of mine: the output of 'batch_normalization', 12 x 12 x 6; 0.0 % of the work "
        "follows it and is omitted"
    )
    assert [cut.name for cut in cut_points(backbone.network())] == ["one", "batch_normalization"]


def test_the_map_is_behind_the_last_branch() -> None:
    source = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, padding="same", name="one")(source)
    joined = layers.Add(name="joined")([x, layers.Conv2D(4, 3, padding="same")(x)])
    left, right = layers.GlobalMaxPooling2D()(layers.ReLU()(joined)), layers.GlobalAveragePooling2D()(joined)
    model = keras.Model(source, layers.Concatenate()([left, right]))
    assert backbone_from_model(model, preprocessing="none").spec.map_layer == "joined"


def test_nested_models_are_laid_flat() -> None:
    inner = keras.Sequential([layers.Conv2D(4, 3, name="one"), layers.ReLU(name="act")], name="inner")
    other = small()
    trunk = keras.Model(other.input, other.get_layer("two").output, name="trunk")
    source = keras.Input((16, 16, 3))
    x = trunk(source, training=False)
    model = keras.Model(source, layers.GlobalAveragePooling2D()(inner(x)))
    backbone = backbone_from_model(model, preprocessing="none")
    assert [name for name, _ in backbone.layers()] == ["image", "one", "two", "one_1", "act"]
    np.testing.assert_allclose(
        backbone.tap_model(["pooled"])(image(16))["pooled"], model(image(16)), rtol=1e-4, atol=1e-3
    )


def test_a_model_of_operations_and_of_compiled_layers() -> None:
    source = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, name="conv")(source / 255.0)
    x = keras.ops.concatenate([x[:, 1:], keras.ops.flip(x, axis=2)[:, :-1]], axis=-1)
    x = keras.ops.mean(layers.ReLU(name="last")(x), axis=(1, 2))
    model = keras.Model(source, x)
    model.compile(loss=lambda truth, given: truth - given)
    backbone = backbone_from_model(model, preprocessing="none", image_size=20)
    got = backbone.tap_model(["pooled"])(image(20))["pooled"]
    np.testing.assert_allclose(got, model(image(20)), rtol=1e-4, atol=1e-5)


def test_training_on_changes_nothing_in_the_backbone() -> None:
    model = small()
    backbone = backbone_from_model(model, preprocessing="none")
    before, digest = backbone.network()(image(16)).numpy(), backbone.digest
    model.set_weights([weight + 1 for weight in model.get_weights()])
    again = pickle.loads(pickle.dumps(backbone))
    assert again.digest == backbone.digest == digest
    np.testing.assert_array_equal(again.network()(image(16)), before)
    assert backbone_from_model(model, preprocessing="none").digest != digest


def test_the_digest_is_of_what_is_computed() -> None:
    def parts(model: keras.Model, **options) -> dict:
        return backbone_from_model(model, **{"preprocessing": "none", "name": "x", **options}).recipe

    first = parts(small())
    assert parts(small(units=7)) == first, "the classifier is left out"
    frozen = small()
    frozen.trainable = False
    assert parts(frozen) == first
    wider = parts(small(filters=5))
    assert wider["architecture"] != first["architecture"]
    assert parts(small(), preprocessing="tf")["preprocessing"] != first["preprocessing"]
    other = small()
    other.set_weights([weight * 2 for weight in other.get_weights()])
    assert parts(other)["architecture"] == first["architecture"]
    assert parts(other)["weights"] != first["weights"]


def test_the_digest_is_the_same_in_another_process() -> None:
    """Where Keras numbers layers and models from another count."""
    program = (
        "import sys; sys.path.insert(0, '.'); import featurebank as fb, my_nets\n"
        "print(fb.load_backbone('my_nets:build').digest)\n"
        "print(fb.backbone_from_model(my_nets.make(), preprocessing='tf').digest)"
    )
    source = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(source)},
    )  # fmt: skip
    namespace: dict = {}
    exec(compile(NETS, "my_nets.py", "exec"), namespace)
    mine = backbone_from_model(namespace["make"](), preprocessing="tf").digest
    assert done.stdout.split() == [load_backbone("my_nets:build").digest, mine]


def test_random_weights() -> None:
    backbone = load_backbone("my_nets:build", weights="random:3")
    again = load_backbone("my_nets:build", weights="random:3")
    assert backbone.digest == again.digest != load_backbone("my_nets:build").digest
    np.testing.assert_array_equal(backbone.network()(image()), again.network()(image()))
    with pytest.raises(ConfigError, match="weights 'imagenet': expected 'own' or 'random:SEED'"):
        load_backbone("my_nets:build", weights="imagenet")


class Shift(layers.Layer):
    def __init__(self, by: float = 1.0, **options) -> None:
        super().__init__(**options)
        self.by = by

    def build(self, _shape) -> None:
        self.slope = self.add_weight(name="slope", shape=(), initializer="ones")

    def call(self, x):
        return x * self.slope + self.by

    def get_config(self):
        return {**super().get_config(), "by": self.by}


class NoConfig(layers.Layer):
    def __init__(self, function, **options) -> None:
        super().__init__(**options)
        self.function = function

    def call(self, x):
        return self.function(x)


class HalfConfig(NoConfig):
    def get_config(self):
        return layers.Layer.get_config(self)


def with_layer(layer: layers.Layer) -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layer, layers.Flatten(), layers.Dense(2)])


def test_a_layer_class_of_ones_own() -> None:
    backbone = backbone_from_model(with_layer(Shift(2.0)), preprocessing="none")
    assert backbone.spec.map_layer == "shift"
    again = pickle.loads(pickle.dumps(backbone))
    np.testing.assert_array_equal(again.network()(image(8)), backbone.network()(image(8)))
    assert backbone.digest != backbone_from_model(with_layer(Shift(3.0)), preprocessing="none").digest
    seeded = load_model_with_seed(with_layer(Shift(2.0)))
    with pytest.raises(
        ConfigError, match=r"layer 'shift' of class Shift has weights 'slope', which random:SEED cannot"
    ):
        seeded.network()


def load_model_with_seed(model: keras.Model):
    from featurebank.backbone.families.user import make_backbone

    return make_backbone(model, "none", origin="m", known_as="", image_size=None, weights="random:0")


class Code(keras.Model):
    pass


def two_inputs() -> keras.Model:
    first, second = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    return keras.Model([first, second], layers.Add()([first, second]))


def shared() -> keras.Model:
    source = keras.Input((8, 8, 3))
    twice = layers.Conv2D(3, 3, padding="same", name="twice")
    return keras.Model(source, twice(twice(source)))


def headed(*shape: int | None) -> keras.Model:
    return keras.Sequential([keras.Input(shape), layers.Conv2D(4, 3)])


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        (lambda: "no model", None, "^model is 'no model': expected a Keras model"),
        (Code, None, r"subclass of keras\.Model \(Code\).*expected a functional model"),
        (lambda: keras.Sequential([layers.Dense(2)]), None, "does not know its input"),
        (two_inputs, None, "2 inputs and 1 outputs: expected one of each"),
        (lambda: headed(8, 8, 1), None, r"takes an input of shape \(8, 8, 1\): expected RGB"),
        (lambda: headed(8, 9, 3), None, "takes images of 8 x 9 pixels: expected a square"),
        (lambda: headed(None, None, 3), None, "images of any size: choose one, as --image-size 224"),
        (lambda: headed(None, None, 3), 2, "cannot be built for 2 x 2 pixels"),
        (lambda: headed(None, None, 3), -1, "image size -1: expected a number of pixels"),
        (small, 32, "16 x 16 pixels, got image size 32"),
        (shared, None, "layer 'twice' is used 2 times: expected each once"),
        (lambda: with_layer(layers.Lambda(lambda x: x, name="f")), None, "'f' is a Lambda layer"),
        (lambda: with_layer(NoConfig(abs)), None, r"NoConfig.*must override `get_config\(\)`"),
        (lambda: with_layer(HalfConfig(abs)), None, "class HalfConfig cannot be created.*give HalfConfig a get_config"),
        (lambda: keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2)]), None, "m has no map"),
    ],
)  # fmt: skip
def test_models_that_cannot_be_backbones(model, size: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        backbone_from_model(model(), preprocessing="none", name="m", image_size=size)
    assert "\n" not in str(caught.value)


def test_a_network_without_classifier() -> None:
    backbone = backbone_from_model(headed(8, 8, 3), preprocessing="none", name="m")
    assert backbone.spec.note == "map of m: the output of 'conv2d', 6 x 6 x 4"
    with pytest.raises(ConfigError, match="m has no classifier: it ends in its last map, 'conv2d'"):
        backbone.classifier()


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        ("my_nest:build", {}, UnknownNameError, "unknown module 'my_nest': did you mean .*'my_nets'"),
        ("many.nest:build", {}, UnknownNameError, r"unknown module 'many\.nest': did you mean 'many\.nets'"),
        ("broken_nets:build", {}, ConfigError, r"cannot be imported at broken_nets\.py:1: ModuleNotFoundError"),
        ("my_nets:biuld", {}, UnknownNameError, "unknown function 'biuld': did you mean 'build'"),
        ("my_nets:", {}, ConfigError, "expected MODULE:FUNCTION"),
        ("my_nets:model", {}, ConfigError, "my_nets:model is of type int: expected a function"),
        ("my_nets:undeclared", {}, ConfigError, r"use --preprocessing with one of caffe, mean, tf, torch, 0\.\.1"),
        ("my_nets:build", {"preprocessing": "caffe"}, ConfigError, "declares preprocessing 'tf', got 'caffe'"),
        ("my_nets:both", {}, ConfigError, "declares preprocessing 'tf' and returns 'caffe'"),
        ("my_nets:odd", {}, UnknownNameError, "unknown preprocessing 'imagenet': known: caffe, mean, tf, torch"),
        ("my_nets:array", {}, ConfigError, r"my_nets:array is of type builtins\.list: expected a Keras model"),
        ("my_nets:restless", {}, ConfigError, "my_nets:restless gives other weights at each call: load trained"),
        ("my_nets:fails", {}, ConfigError, r"my_nets:fails failed at my_nets\.py:\d+: ValueError"),
        ("my_nets:needs_size", {}, ConfigError, "needs an image size"),
        ("my_nets:needs_more", {}, ConfigError, r"needs arguments \(depth\): expected none, or image_size"),
        ("my_nets:build", {"image_size": 48}, ConfigError, "takes images of 32 x 32 pixels, got image size 48"),
        ("small.keras", {}, ConfigError, r"small\.keras does not declare the input that it expects: use --"),
        ("nowhere.keras", {"preprocessing": "tf"}, ConfigError, r"there is no model file 'nowhere\.keras'"),
        ("cut.keras", {"preprocessing": "tf"}, WeightsError, "'cut.keras' cannot be loaded"),
        ("code.keras", {"preprocessing": "tf"}, WeightsError, "'code.keras' cannot be loaded"),
        ("custom.keras", {"preprocessing": "tf"}, WeightsError, "for custom layers use MODULE:FUNCTION"),
        ("vgg16", {"preprocessing": "tff"}, UnknownNameError, "unknown preprocessing 'tff': did you mean 'tf'"),
        ("efficientnet_b0", {"preprocessing": "tf"}, ConfigError, "efficientnet_b0 contains its preprocessing"),
    ],
)  # fmt: skip
def test_bad_names_get_one_line(name: str, options: dict, kind: type[Exception], message: str, home: Path) -> None:
    if name == "cut.keras":
        Path(name).write_bytes((home / "small.keras").read_bytes()[:-200])
    if name == "code.keras":
        with_layer(layers.Lambda(lambda x: x)).save(name)
    if name == "custom.keras":
        with_layer(Shift()).save(name)
    with pytest.raises(kind, match=message) as caught:
        load_backbone(name, **options)
    assert "\n" not in str(caught.value)


def test_random_weights_by_seed_need_no_steady_function() -> None:
    first, again = (load_backbone("my_nets:restless", weights="random:3") for _ in range(2))
    for one, other in zip(first.network().get_weights(), again.network().get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_pixels_that_are_rescaled_twice_are_warned_of() -> None:
    def scaled(*begin: keras.Layer) -> keras.Model:
        keras.utils.set_random_seed(0)
        parts = [layers.Conv2D(4, 3), layers.Rescaling(2.0), layers.Conv2D(4, 3)]
        return keras.Sequential([keras.Input((8, 8, 3)), *begin, *parts])

    for begin in ([layers.Rescaling(1 / 255)], [layers.RandomFlip(), layers.Normalization(mean=1.0, variance=2.0)]):
        backbone = backbone_from_model(scaled(*begin), preprocessing="tf", name="m")
        assert "m rescales its input itself" in backbone.spec.caution
        assert "preprocessing 'tf' precedes that" in backbone.spec.caution
        assert not backbone_from_model(scaled(*begin), preprocessing="none").spec.caution
    assert not backbone_from_model(scaled(), preprocessing="tf").spec.caution


def test_a_network_whose_work_is_after_its_features_is_refused() -> None:
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(4, 4, strides=4, name="patch")(image)
    model = keras.Model(image, layers.Dense(99)(layers.Flatten()(layers.Reshape((64, 4), name="flat")(x))))
    with pytest.raises(ConfigError, match=r"m: 67 % of its work follows its last map, 'patch' and .*model\.get_layer"):
        backbone_from_model(model, preprocessing="none", name="m")
    cut = keras.Model(model.input, model.get_layer("patch").output)
    assert backbone_from_model(cut, preprocessing="none").spec.channels == 4


def test_the_image_size_reaches_the_function() -> None:
    assert load_backbone("my_nets:sized", image_size=20).network().input_shape == (None, 20, 20, 3)
    assert load_backbone("my_nets:needs_size", image_size=20).network().output_shape == (None, 8, 8, 12)


def test_an_unknown_tap_tells_where_the_layers_are() -> None:
    with pytest.raises(
        UnknownNameError, match=r"did you mean 'last'.*'featurebank backbones my_nets:build --layers' lists them"
    ):
        load_backbone("my_nets:build").tap_model(["lsat"])
    with pytest.raises(UnknownNameError, match=r"Its layers\(\) lists them"):
        backbone_from_model(small(), preprocessing="none").tap_model(["tow"])
