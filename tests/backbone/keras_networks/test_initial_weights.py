"""Networks are built without random weights, and keep the configuration that Keras gives them."""

from __future__ import annotations

import pytest
from small_networks import small

from featurebank import load_backbone
from featurebank.backbone.keras_networks.initial_weights import restore_initializers, zeros_at_first

pytestmark = pytest.mark.heavy


def test_zeros_and_then_the_initializers_that_were_asked_for() -> None:
    import keras

    def build() -> keras.Model:
        image = keras.Input((8, 8, 3))
        by_name = keras.layers.Conv2D(4, 3, name="by_name")(image)
        scaled = {"class_name": "VarianceScaling", "config": {"scale": 2.0, "mode": "fan_out"}}
        x = keras.layers.DepthwiseConv2D(3, depthwise_initializer=scaled, name="scaled")(by_name)
        return keras.Model(image, keras.layers.Dense(5, "relu", kernel_initializer="he_normal", name="dense")(x))

    with zeros_at_first():
        model = build()
        copy = keras.models.clone_model(model)
    for one in (model, copy):
        assert not any(weights.any() for weights in one.get_weights())
        restore_initializers(one)
        expected = [layer.get_config() for layer in build().layers[1:]]
        assert [layer.get_config() for layer in one.layers[1:]] == expected
    assert all(layer.get_weights()[0].any() for layer in keras.models.clone_model(model).layers[1:])


def test_weights_that_nobody_sets_are_drawn() -> None:
    """A copy of a network of the table starts with random weights, as if Keras had built it alone."""
    import keras

    copies = keras.models.clone_model(small("squeezenet1_1").network()).layers
    kernels = [weight for layer in copies for weight in layer.weights if "kernel" in weight.name]
    assert len(kernels) == 25
    assert all(weight.numpy().any() for weight in kernels)


@pytest.mark.parametrize("name", ["vgg16", "efficientnet_lite0", "squeezenet1_1", "basenet"])
def test_networks_of_the_table_draw_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights were drawn")

    for draw in ("uniform", "normal", "truncated_normal"):
        monkeypatch.setattr(f"keras.src.initializers.random_initializers.random.{draw}", refuse)
    with pytest.raises(AssertionError, match="weights were drawn"):
        keras.initializers.GlorotUniform()((3, 3))
    assert load_backbone(name, weights="random:0", image_size=32).network().weights
