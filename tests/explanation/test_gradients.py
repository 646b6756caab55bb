"""Grad-CAM equals a plain one, written here with a gradient tape over the grafted model, and depends on all weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featurebank import explain, extract, finetune, graft, load_backbone, load_dataset, train_heads
from featurebank.backbone import Backbone
from featurebank.backbone.taps import parse_tap
from featurebank.bank import Bank
from featurebank.errors import ConfigError, HeadError, UnknownNameError
from featurebank.explanation.gradients import GradCam, of_head, of_network
from featurebank.explanation.heat_maps import heat_maps
from featurebank.explanation.subject import Subject
from featurebank.runs.refitting import trained_head
from featurebank.runs.run import RunRecord

pytestmark = pytest.mark.heavy

RunOf = Callable[..., RunRecord]


def plain_grad_cam(model: Any, layer: str, images: np.ndarray, label: int) -> np.ndarray:
    """Selvaraju et al. 2017, equations 1 and 2, image by image, for the logit before the softmax."""
    import keras
    import tensorflow as tf

    both = keras.Model(model.input, [model.get_layer(layer).output, model.get_layer("probabilities").input])
    heats = []
    for image in images:
        x = tf.Variable(image[None].astype(np.float32))
        with tf.GradientTape() as tape:
            activations, logits = both(x, training=False)
            score = logits[0, label]
        gradient = tape.gradient(score, activations)[0].numpy()
        heat = np.zeros(gradient.shape[:2])
        for channel in range(gradient.shape[-1]):
            heat += gradient[..., channel].mean() * activations[0].numpy()[..., channel]
        heat = np.maximum(heat, 0)
        heats.append(heat / heat.max() if heat.max() > 0 else heat)
    return np.stack(heats)


@pytest.fixture
def pixels(shown: Path, tiny: Backbone) -> np.ndarray:
    """Four photos at the network's size."""
    paths = sorted(shown.glob("val/*/*"))[:4]
    return np.stack([tiny.resize(np.asarray(Image.open(path).convert("RGB"))) for path in paths])


@pytest.mark.parametrize(
    ("kind", "tap", "params", "layer"),
    [
        ("mlp", "pooled", {"hidden_units": 8, "activation": "tanh", "standardize": True, "epochs": 3}, "last_relu"),
        ("conv", "map", {"filters": 4, "epochs": 2}, "last_relu"),
        ("tail", "cut", {"cut": "cut", "backbone": "tiny:colours", "epochs": 2}, "last_relu"),
        ("ridge", "map:max", {}, "last_relu"),
    ],
)
def test_it_equals_a_plain_one(
    bank: Bank, run_of: RunOf, pixels: np.ndarray, kind: str, tap: str, params: dict[str, Any], layer: str
) -> None:
    run = run_of(kind, tap, **params)
    model = graft(bank, run, proof=False)
    heats = []
    for label in (0, 1):
        explanations = explain(run, pixels, method="gradcam", class_name=bank.classes[label])
        heats.append(np.stack([one.cells for one in explanations]))
        np.testing.assert_allclose(heats[-1], plain_grad_cam(model, layer, pixels, label), atol=1e-4)
    assert np.any(heats)
    chosen = explain(run, pixels, layer="cut", class_name="ant")
    assert chosen.layer == "cut"
    heat = np.stack([one.cells for one in chosen])
    np.testing.assert_allclose(heat, plain_grad_cam(model, "cut", pixels, 0), atol=1e-4)


def test_of_a_linear_head_it_is_the_class_activation_map(bank: Bank, run_of: RunOf, pixels: np.ndarray) -> None:
    for kind in ("logistic", "nearest_mean", "svm"):
        run = run_of(kind, **({"kernel": "linear"} if kind == "svm" else {}))
        by_cam, by_gradients = explain(run, pixels), explain(run, pixels, method="gradcam")
        assert (by_cam.method, by_gradients.method) == ("cam", "gradcam")
        for one, other in zip(by_cam, by_gradients, strict=True):
            np.testing.assert_allclose(one.cells, other.cells, atol=2e-4)


def test_of_a_calibrated_head_it_is_that_of_the_head(bank: Bank, run_of: RunOf, pixels: np.ndarray) -> None:
    """The logarithm of a probability near 1 has no gradient left; the score has."""
    params = {"hidden_units": 8, "epochs": 3}
    plain, calibrated = (
        explain(run_of("mlp", **params, **more), pixels) for more in ({}, {"calibrate": "temperature"})
    )
    for one, other in zip(plain, calibrated, strict=True):
        np.testing.assert_allclose(one.cells, other.cells, atol=1e-5)


def test_of_a_fine_tune(bank: Bank, run_of: RunOf, pixels: np.ndarray) -> None:
    """The class that training has never seen has no score."""
    from featurebank.runs.finetuned import finetuned_model

    tuned = finetune(run_of("logistic"), unfreeze=["last"], epochs=1)
    model = finetuned_model(tuned)
    explanations = explain(tuned, pixels, class_name="bee")
    assert (explanations.method, explanations.layer) == ("gradcam", "last_relu")
    heat = np.stack([one.cells for one in explanations])
    np.testing.assert_allclose(heat, plain_grad_cam(model, "last_relu", pixels, 1), atol=1e-4)
    assert explanations[0].probability == pytest.approx(float(model.predict_on_batch(pixels[:1] * 1.0)[0, 1]), abs=1e-5)
    with pytest.raises(HeadError, match="class 'cow' has no training images"):
        explain(tuned, pixels, class_name="cow")


def test_of_a_network_that_normalises_its_average(
    bank: Bank, run_of: RunOf, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The features are no average of the map then, and the whole network is asked."""
    monkeypatch.setattr("featurebank.explanation.subject.plain_tap", lambda recipe, tap: parse_tap(tap))
    run = run_of("logistic")
    explanations = explain(run, pixels, class_name="bee")
    assert (explanations.method, explanations.layer) == ("gradcam", "last_relu")
    heat = np.stack([one.cells for one in explanations])
    np.testing.assert_allclose(heat, plain_grad_cam(graft(bank, run, proof=False), "last_relu", pixels, 1), atol=1e-4)
    (reason,) = heat_maps(bank, run, [0])
    assert "are neither a map nor the average of one: 'featurebank explain" in str(reason)


def unlike(one: np.ndarray, other: np.ndarray) -> bool:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.9


def test_random_weights_of_the_head_change_the_picture(bank: Bank, run_of: RunOf) -> None:
    """The sanity check of Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018."""
    run = run_of("mlp", hidden_units=8, epochs=3)
    head, maps, places = trained_head(bank, run), bank.rows("map", range(8)), np.zeros(8, np.int32)
    trained = of_head(Subject(bank, run, head), None)
    random = np.random.default_rng(0)
    head.layers_ = [replace(layer, kernel=random.permuted(layer.kernel)) for layer in head.layers_]
    shuffled = of_head(Subject(bank, run, head), None)
    assert isinstance(trained, GradCam)
    assert isinstance(shuffled, GradCam)
    assert unlike(trained(maps, places), shuffled(maps, places))


def test_random_weights_of_the_network_change_the_picture(bank: Bank, run_of: RunOf, pixels: np.ndarray) -> None:
    run, places = run_of("mlp", hidden_units=8, epochs=3), np.zeros(4, np.int32)
    subject, backbone = Subject.of(bank, run), load_backbone("tiny:colours")
    trained = of_network(subject, "cut", backbone)(pixels, places)
    layer = backbone.network().get_layer("last")
    layer.set_weights([np.random.default_rng(0).permuted(weight) for weight in layer.get_weights()])
    assert unlike(trained, of_network(subject, "cut", backbone)(pixels, places))


def test_layers_that_do_not_fit(bank: Bank, run_of: RunOf, pixels: np.ndarray) -> None:
    run = run_of("mlp", hidden_units=8, epochs=3)
    with pytest.raises(UnknownNameError, match=r"'last_rel'.*last_relu"):
        explain(run, pixels, layer="last_rel")
    with pytest.raises(ConfigError, match="layer 'head_dense0' has an output of 8: Grad-CAM needs a map"):
        explain(run, pixels, layer="head_dense0")
    with pytest.raises(ConfigError, match="layer is 'cut', but the method occlusion has no layer: use gradcam"):
        explain(run, pixels, layer="cut", method="occlusion")


def test_of_the_maximum_of_an_earlier_map(place: Path, shown: Path, tiny: Backbone, pixels: np.ndarray) -> None:
    bank = extract(load_dataset(str(shown)), tiny, ["cut:max"], cache=place / "earlier", store="float32")
    run = train_heads(bank, "ridge")[0].refit()
    explanations = explain(run, pixels, class_name="ant", bank=bank)
    assert (explanations.method, explanations.layer) == ("gradcam", "cut")
    heat = np.stack([one.cells for one in explanations])
    np.testing.assert_allclose(heat, plain_grad_cam(graft(bank, run, proof=False), "cut", pixels, 0), atol=1e-4)
