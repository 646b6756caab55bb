"""Tails: what Keras trains from images with a frozen trunk, from maps that were computed once."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from featurebank import load_backbone
from featurebank.backbone import Backbone
from featurebank.backbone.keras_networks.cuts import cut_points
from featurebank.errors import ConfigError, HeadError, UnknownNameError
from featurebank.heads.layered.tail import TailHead

pytestmark = pytest.mark.heavy

NETWORK = "tiny:inverted"
CUT = "block_2_add"


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    y = np.resize([2, 5, 9], 70)
    X = random.uniform(0, 120, (70, 32, 32, 3))
    for place, label in enumerate((2, 5, 9)):
        X[y == label, :, :, place] += 100
    return X.astype(np.float32), y


@pytest.fixture(scope="module")
def maps(images: tuple[np.ndarray, np.ndarray], inverted: Backbone) -> np.ndarray:
    return np.asarray(inverted.tap_model([CUT])(images[0])[CUT])


def tail(**options: Any) -> TailHead:
    return TailHead(
        **{"backbone": NETWORK, "cut": CUT, "epochs": 3, "learning_rate": 1e-3, "batch_size": 16, **options}
    )


def keras_course(head: TailHead, backbone: Backbone, X: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """Losses and accuracies of the same layers, from images, by Keras."""
    import keras

    trunk = backbone.tap_model([CUT])
    trunk.trainable = False
    classes, positions = np.unique(y, return_inverse=True)
    part = head.build(trunk.output[CUT].shape[1:], len(classes))
    model = keras.Model(trunk.input, part(trunk(trunk.input)[CUT]))
    rate = head.learning_rate
    optimizer = keras.optimizers.SGD(rate, head.momentum) if head.optimizer == "sgd" else keras.optimizers.Adam(rate)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], run_eagerly=True)  # to trace fifteen steps takes longer
    random, losses, accuracies = np.random.default_rng(head.random_state), [], []
    for _ in range(head.epochs):
        order = random.permutation(len(X))
        history = model.fit(X[order], positions[order], head.batch_size, shuffle=False, verbose=0)
        losses.append(history.history["loss"][0])
        accuracies.append(history.history["accuracy"][0])
    return losses, accuracies


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"batch_norm": "train"}, marks=pytest.mark.slow),  # its parts are in the next three
        {"batch_norm": "frozen", "hidden_units": [8], "optimizer": "sgd", "momentum": 0.9},
        # of a step, XLA compiles the optimizer alone: all of them in tests/training/programs/test_compilation.py
        pytest.param({"init": "fresh", "batch_norm": "train", "pooling": "max"}, marks=pytest.mark.xla),
        {"train_from": "last", "pooling": "flatten", "optimizer": "sgd"},
        {"pooling": "class_maps", "optimizer": "sgd"},
    ],
    ids=str,
)
def test_the_losses_are_those_of_keras_from_images(
    options: dict[str, Any], images: Any, maps: np.ndarray, inverted: Backbone
) -> None:
    head = tail(**options).fit(maps, images[1])
    losses, accuracies = keras_course(tail(**options), inverted, *images)
    np.testing.assert_allclose(head.history_.loss, losses, rtol=0.02)
    np.testing.assert_allclose(head.history_.accuracy, accuracies, atol=0.03)


def trained_layers(head: TailHead, maps: np.ndarray) -> set[str]:
    before = head.build(maps.shape[1:], len(head.classes_))
    now = head.model_()
    return {
        one.name
        for one, other in zip(before.layers, now.layers, strict=True)
        if any(not np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))
    }


def test_what_is_trained(images: Any, maps: np.ndarray) -> None:
    found = trained_layers(tail(train_from="block_3_project", epochs=1).fit(maps, images[1]), maps)
    assert found == {"block_3_project", "block_3_project_bn", "last", "last_bn", "head_logits"}
    found = trained_layers(tail(batch_norm="frozen", epochs=1).fit(maps, images[1]), maps)
    assert found == {"block_3_expand", "block_3_depthwise", "block_3_project", "last", "head_logits"}


def test_rates_and_penalties_of_their_own(images: Any, maps: np.ndarray) -> None:
    start = tail().build(maps.shape[1:], 3)

    def moved(**options: Any) -> tuple[float, float]:
        """How far the tail and the classifier went from where they started."""
        head = tail(batch_norm="frozen", optimizer="sgd", learning_rate=0.05, **options).fit(maps, images[1])
        steps = [float(np.abs(a - b).max()) for a, b in zip(start.get_weights(), head.weights_, strict=True)]
        return max(steps[:-2]), max(steps[-2:])

    plain, slow, held = moved(), moved(tail_learning_rate=1e-5), moved(l2_sp=5.0)
    assert slow[0] < plain[0] / 100
    assert slow[1] > plain[1] / 10
    assert held[0] < plain[0]


def test_losses_have_smoothing_and_penalties(images: Any, maps: np.ndarray) -> None:
    y = images[1]
    options: dict[str, Any] = {"l1": 1e-4, "l2": 1e-3, "l2_sp": 0.5, "label_smoothing": 0.2, "epochs": 1}
    head = tail(**options).fit(maps[:50], y[:50], (maps[50:], y[50:]))
    model, start = head.model_(), tail().build(maps.shape[1:], 3)
    logits = np.asarray(model(maps[50:], training=False), np.float64)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    own = logs[np.arange(20), np.searchsorted(head.classes_, y[50:])]
    expected = -(0.8 * own + 0.2 * logs.mean(axis=1)).mean()
    for variable, before in zip(model.trainable_variables, start.trainable_variables, strict=True):
        weight = variable.numpy().astype(np.float64)
        if variable.name.endswith("kernel"):
            expected += 1e-4 * np.abs(weight).sum() + 1e-3 * (weight**2).sum()
        if not variable.path.startswith("head_"):
            expected += 0.5 * ((weight - before.numpy()) ** 2).sum()
    assert head.history_.val_loss[0] == pytest.approx(expected, rel=1e-4)
    assert head.history_.val_accuracy[0] == pytest.approx(
        (logits.argmax(1) == head.classes_.searchsorted(y[50:])).mean()
    )


def test_the_networks_own_weights_stay(images: Any, maps: np.ndarray, inverted: Backbone) -> None:
    before = [w.copy() for w in inverted.network().get_weights()]
    tail(epochs=1).fit(maps, images[1])
    assert all(np.array_equal(a, b) for a, b in zip(before, inverted.network().get_weights(), strict=True))


def test_fresh_starts_depend_on_the_seed(maps: np.ndarray) -> None:
    one, same, other = (
        tail(init="fresh", random_state=seed).build(maps.shape[1:], 3).get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_views_are_seen(images: Any, maps: np.ndarray) -> None:
    from featurebank.heads.layered.network import train_layered

    one, other = tail(epochs=2), tail(epochs=2)
    assert train_layered([one], maps, images[1], views=[maps[:, :, ::-1]]) == [None]
    assert train_layered([other], maps, images[1]) == [None]
    assert one.history_.loss != other.history_.loss


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"cut": "block_2_project"},
            ConfigError,
            r"not a cut point.*'block_1_project_bn' before it and 'block_2_add' after",
        ),
        ({"cut": "block_2_ad"}, UnknownNameError, "'block_2_add'"),
        (
            {"cut": "stem_relu"},
            HeadError,
            "the maps are 8 x 8 x 8, but 'stem_relu' of tiny.inverted gives 16 x 16 x 8",
        ),
        ({"train_from": "block_1_project"}, UnknownNameError, "layer to train from.*They come after 'block_2_add'"),
        ({"train_from": "out_relu"}, HeadError, "no layer from 'out_relu' has weights to train"),
        (
            {"pooling": "class_maps", "hidden_units": [4]},
            HeadError,
            r"hidden_units is \[4\], expected none with class_maps",
        ),
        ({"standardize": True}, HeadError, "standardize is True, expected false"),
        ({"init": "old"}, HeadError, "init is 'old', expected pretrained, fresh"),
        ({"init": "fresh", "l2_sp": 0.1}, HeadError, "l2_sp is 0.1, expected 0 with init fresh"),
        ({"backbone": ""}, HeadError, "backbone is '', expected the name of a network"),
    ],
)
def test_what_cannot_be(options: Any, error: Any, text: str, images: Any, maps: np.ndarray) -> None:
    with pytest.raises(error, match=text):
        tail(**options).fit(maps, images[1])


def test_class_maps_are_averaged_after_their_relu(maps: np.ndarray) -> None:
    model = tail(pooling="class_maps").build(maps.shape[1:], 3)
    names = [layer.name for layer in model.layers]
    assert names[-3:] == ["head_class_maps", "head_class_maps_relu", "head_logits"]
    said = np.asarray(model(maps))
    assert said.shape == (len(maps), 3)
    assert (said >= 0).all()


def test_all_of_the_network_may_be_frozen_under_class_maps_alone(images: Any, inverted: Backbone) -> None:
    last = np.random.default_rng(0).uniform(0, 6, (70, *inverted.network().output_shape[1:])).astype(np.float32)
    given = {"cut": "out_relu", "epochs": 1}
    with pytest.raises(HeadError, match="no layer after 'out_relu' has weights to train"):
        tail(**given).fit(last, images[1])
    head = tail(pooling="class_maps", **given).fit(last, images[1])
    assert trained_layers(head, last) == {"head_class_maps"}
    convolution = head.model_().get_layer("head_class_maps")
    kernel, bias = (np.asarray(weight) for weight in convolution.get_weights())
    logits = np.maximum(last @ kernel[0, 0] + bias, 0).mean(axis=(1, 2))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(head.predict_proba(last), expected, atol=1e-5)


def test_a_network_that_normalises_its_average_does_so_in_its_tails(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tail of ConvNeXt pools is the tap `pooled`; here it has four blocks."""
    import keras
    from keras.src.applications.convnext import ConvNeXt

    few = partial(ConvNeXt, depths=[1, 1, 1, 1], projection_dims=[4, 4, 8, 8], name="convnext_tiny")
    monkeypatch.setattr(keras.applications, "ConvNeXtTiny", few)
    convnext = load_backbone("convnext_tiny", weights="random:0", image_size=64)
    cut = cut_points(convnext.network())[-2].name
    x = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 3)).astype(np.float32)
    taps = convnext.tap_model(["pooled", "map", "map:avg", cut])(x, training=False)
    options = {"backbone": "convnext_tiny", "weights": "random:0", "image_size": 64}
    model = TailHead(**options, cut=cut).build(taps[cut].shape[1:], 4)
    seen = keras.Model(model.input, model.layers[-1].input)(taps[cut])
    np.testing.assert_allclose(seen, taps["pooled"], rtol=1e-4, atol=1e-5)
    assert np.abs(seen - taps["map:avg"]).max() > 1e-2
    with pytest.raises(HeadError, match="no layer after 'layer_normalization' has weights"):
        TailHead(**options, cut="layer_normalization").build(taps["map"].shape[1:], 4)
