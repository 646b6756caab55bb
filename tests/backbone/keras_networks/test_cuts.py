from __future__ import annotations

import pytest

from featurebank import load_backbone
from featurebank.backbone.keras_networks.cuts import cut_points
from featurebank.backbone.keras_networks.work import multiply_adds

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def resnet():
    return load_backbone("resnet50", weights="random:0").network()


def test_cut_points_of_a_graph_with_a_skip() -> None:
    import keras

    image = keras.Input((8, 8, 3), name="image")
    first = keras.layers.Conv2D(4, 1, name="first")(image)
    branch = keras.layers.Conv2D(4, 3, padding="same", name="branch")(first)
    joined = keras.layers.Add(name="joined")([first, branch])
    last = keras.layers.Conv2D(5, 1, strides=2, name="last")(keras.layers.ReLU(name="joined_out")(joined))
    model = keras.Model(image, last)
    cuts = {cut.name: cut for cut in cut_points(model)}
    assert list(cuts) == ["first", "joined_out", "last"]
    works = [64 * 12, 64 * 9 * 16, 16 * 20]
    assert cuts["first"].remaining_work == pytest.approx(sum(works[1:]) / sum(works))
    assert cuts["joined_out"].remaining_work == pytest.approx(works[2] / sum(works))
    assert cuts["last"].remaining_work == 0
    assert cuts["joined_out"].shape == (8, 8, 4)
    assert cuts["joined_out"].bytes_per_image_float16 == 8 * 8 * 4 * 2
    model.get_layer("first").name = "renamed"
    assert [cut.name for cut in cut_points(model)] == ["renamed", "joined_out", "last"], "renamed layers are read again"


def test_resnet50(resnet) -> None:
    cuts = {cut.name: cut for cut in cut_points(resnet)}
    assert {"conv4_block6_out", "conv5_block1_out", "conv5_block2_out", "conv5_block3_out"} <= set(cuts)
    assert "conv5_block3_add" not in cuts
    assert "conv5_block1_1_conv" not in cuts
    assert cuts["conv4_block6_out"].shape == (14, 14, 1024)
    shares = [cut.remaining_work for cut in cuts.values()]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0
    assert sum(multiply_adds(layer) for layer in resnet.layers) == pytest.approx(3.86e9, rel=0.01)


def test_every_cut_really_cuts(resnet) -> None:
    import keras

    for name in ("conv3_block4_out", "conv5_block2_out"):
        # Keras refuses to build this where another path reaches the output.
        tail = keras.Model(resnet.get_layer(name).output, resnet.output)
        assert tail.output_shape == resnet.output_shape


@pytest.mark.parametrize(("name", "wanted"), [("vgg16", "block5_pool"), ("efficientnet_lite0", "block6d_add")])
def test_named_outputs_stay(name: str, wanted: str) -> None:
    network = load_backbone(name, weights="random:0", image_size=64).network()
    assert wanted in {cut.name for cut in cut_points(network)}
