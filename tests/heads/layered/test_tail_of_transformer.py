"""Tails of transformers: what Keras trains from images with a frozen trunk, from tokens that were computed once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from featurebank import load_backbone
from featurebank.backbone import Backbone
from featurebank.backbone.catalog import load_network
from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.errors import ConfigError, HeadError
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fit import fit_heads
from featurebank.fitting.fitted import Fitted
from featurebank.fitting.spec import HeadSpec
from featurebank.heads.layered.residual_stage import ResidualStageHead
from featurebank.heads.layered.tail import TailHead
from featurebank.heads.maps.stored import StoredMaps
from featurebank.system import digest

pytestmark = pytest.mark.heavy

NETWORK, CUT = "tiny:transformer", "block0_out"
Y = np.resize([2, 5, 9], 40)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    found = np.random.default_rng(0).uniform(0, 120, (len(Y), 16, 16, 3)).astype(np.float32)
    for place, label in enumerate((2, 5, 9)):
        found[label == Y, :, :, place] += 100
    return found


@pytest.fixture(scope="module")
def tokens(transformer: Backbone, images: np.ndarray) -> np.ndarray:
    return np.asarray(transformer.tap_model([CUT])(images)[CUT])


def slow(*values: str) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


def tail(**options: Any) -> TailHead:
    defaults: dict[str, Any] = {"backbone": NETWORK, "cut": CUT, "pooling": "own", "epochs": 3, "batch_size": 16}
    return TailHead(**{**defaults, "learning_rate": 1e-2, **options})


@pytest.mark.xla
def test_the_losses_are_those_of_keras_from_images(images: np.ndarray, tokens: np.ndarray) -> None:
    import keras

    head = tail(epochs=2).fit(tokens, Y)
    network, _ = tiny.transformer()
    part = tail().build(tokens.shape[1:], 3)
    logits = keras.layers.Dense(3)
    prepared = keras.Input((16, 16, 3))
    model = keras.Model(prepared, logits(network(prepared / 127.5 - 1)))
    logits.set_weights(part.get_layer("head_logits").get_weights())
    first = [layer.name for layer in network.layers].index("block1_norm1")
    for place, layer in enumerate(network.layers):
        layer.trainable = place >= first
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss, run_eagerly=True)
    random, losses = np.random.default_rng(head.random_state), []
    for _ in range(head.epochs):
        order = random.permutation(len(Y))
        fitted = model.fit(images[order], np.searchsorted([2, 5, 9], Y[order]), 16, shuffle=False, verbose=0)
        losses.append(fitted.history["loss"][0])
    np.testing.assert_allclose(head.history_.loss, losses, rtol=0.02)
    trained = {layer.name for layer in part.layers if layer.trainable and layer.weights}
    assert trained >= {"block1_norm1", "block1_attention", "block2_dense2", "norm", "head_logits"}


def test_a_fitted_tail_is_saved(tokens: np.ndarray) -> None:
    head = tail(epochs=1, train_from="block2_norm1").fit(tokens.astype(np.float16), Y)
    before, after = tail().build(tokens.shape[1:], 3), head.model_()
    moved = {
        one.name
        for one, other in zip(after.layers, before.layers, strict=True)
        if any((a != b).any() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))
    }
    assert {name.partition("_")[0] for name in moved} == {"block2", "norm", "head"}
    again = tail(train_from="block2_norm1")
    again.set_state(head.state(), head.classes_)
    np.testing.assert_array_equal(again.predict_proba(tokens), head.predict_proba(tokens))


@pytest.fixture
def bank(tokens: np.ndarray, tmp_path: Path) -> Bank:
    """The tokens in a bank; every fourth image validates, and the second view differs from the first."""
    ids = [f"{place}.png" for place in range(len(Y))]
    digests = np.array([digest.of_recipe(name) for name in ids], "S32")
    which = np.resize(np.array([0, 0, 0, 1], np.uint8), len(Y))
    with BankWriter(tmp_path / "bank", {"backbone": "none"}, {"name": "made", "classes": ["a", "b", "c"]}) as writer:
        for view, values in enumerate((tokens, tokens[:, ::-1])):
            writer.append(ids, row_keys(digests, view), {CUT: values}, {CUT: "float32"})
        writer.finish(Items(ids, digests, np.searchsorted([2, 5, 9], Y), which), (CUT,), (), None, views=1)
    return Bank(tmp_path / "bank")


def test_tokens_that_do_not_fit_into_memory_are_read_from_the_bank(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    here = TrainingData.of(bank, CUT)
    monkeypatch.setattr("featurebank.system.runtime._ram_limit", 20_000)
    stored = TrainingData.of(bank, CUT)
    assert isinstance(here.X, np.ndarray)
    assert isinstance(stored.X, StoredMaps)
    assert (stored.X.shape, stored.X.views, len(here.views)) == ((30, 17, 8), 2, 1)
    found: list[Fitted] = []
    params = {"backbone": NETWORK, "cut": CUT, "pooling": "own", "epochs": 2, "batch_size": 16}
    for data in (here, stored):
        fit_heads([(HeadSpec("tail", params, CUT), 0)], data, lambda _, fitted: found.append(fitted))
    assert [fitted.failure for fitted in found] == [None, None]
    assert found[0].history == found[1].history
    assert found[0].metrics == found[1].metrics


@pytest.mark.parametrize(
    ("pooling", "tap"), [("own", "pooled"), ("avg", "map:avg"), slow("max", "map:max"), slow("flatten", "tokens")]
)
def test_the_classifier_sees_the_tap(
    transformer: Backbone, images: np.ndarray, tokens: np.ndarray, pooling: str, tap: str
) -> None:
    import keras

    model = tail(pooling=pooling).build(tokens.shape[1:], 3)
    seen = keras.Model(model.input, model.get_layer("head_logits").input)(tokens)
    expected = transformer.tap_model([tap])(images)[tap]
    np.testing.assert_allclose(seen, np.reshape(expected, seen.shape), rtol=1e-4, atol=1e-5)


def test_class_maps_are_laid_out(tokens: np.ndarray) -> None:
    model = tail(pooling="class_maps").build(tokens.shape[1:], 3)
    assert model.get_layer("head_class_maps").output.shape == (None, 4, 4, 3)


@pytest.mark.slow
def test_a_network_that_averages_its_patches(images: np.ndarray) -> None:
    backbone = load_backbone("tiny:averaging")
    taps = backbone.tap_model([CUT, "pooled"])(images)
    for pooling in ("own", "avg"):
        model = tail(backbone="tiny:averaging", pooling=pooling).build(taps[CUT].shape[1:], 3)
        import keras

        seen = keras.Model(model.input, model.get_layer("head_logits").input)(taps[CUT])
        np.testing.assert_allclose(seen, taps["pooled"], rtol=1e-4, atol=1e-5)


def test_fresh_layers_get_the_weights_of_a_transformer(tokens: np.ndarray) -> None:
    kernel = tail(init="fresh").build(tokens.shape[1:], 3).get_layer("block1_dense1").get_weights()[0]
    assert kernel.std() == pytest.approx(len(kernel) ** -0.5, rel=0.2)  # a network of maps has 2 ** 0.5 times as much


def test_dropout_of_the_network_follows_the_seed(monkeypatch: pytest.MonkeyPatch, tokens: np.ndarray) -> None:
    import keras

    def dropping() -> Any:
        network, preprocessing = plain()
        output = network.get_layer("norm").output
        return keras.Model(network.input, keras.layers.Dropout(0.5)(output)[:, 0]), preprocessing

    def answer(seed: int) -> np.ndarray:
        head = tail(random_state=seed, init="pretrained")
        model = head.build(tokens.shape[1:], 3)
        seen = keras.Model(model.input, model.get_layer("head_logits").input)
        return np.asarray(seen(tokens[:4], training=True))

    plain = tiny.transformer
    monkeypatch.setattr(tiny, "transformer", dropping)
    monkeypatch.setattr("featurebank.heads.layered.tail.load_network", cache(load_network))  # not the remembered one
    one, same, other = answer(1), answer(1), answer(2)
    assert (one == 0).any()
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_what_cannot_be(tokens: np.ndarray) -> None:
    with pytest.raises(HeadError, match="the maps are 16 x 8, but 'block0_out' of tiny:transformer gives 17 x 8"):
        tail().fit(tokens[:, 1:], Y)
    with pytest.raises(HeadError, match="no layer after 'norm' has weights"):
        tail(cut="norm").fit(tokens, Y)
    with pytest.raises(ConfigError, match="'block1_attention' is not a cut point"):
        tail(cut="block1_attention").fit(tokens, Y)
    with pytest.raises(HeadError, match=r"shape \(40, 17, 8\), expected maps"):
        ResidualStageHead().fit(tokens, Y)
    with pytest.raises(HeadError, match="pooling is 'mean', expected avg, max, flatten, class_maps, own"):
        tail(pooling="mean").fit(tokens, Y)
