"""KerasHub's networks give KerasHub's own features, whatever is done with their graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_hub import SMALL, small_table

from featurebank import load_backbone
from featurebank.backbone import Backbone
from featurebank.backbone.keras_networks.hub import presets
from featurebank.backbone.keras_networks.hub.kinds import KINDS
from featurebank.backbone.preprocess import arithmetic
from featurebank.engine.catalog import load_engine
from featurebank.errors import ConfigError, UnknownNameError, WeightsError

pytestmark = [
    pytest.mark.networks,
    pytest.mark.heavy,
    pytest.mark.filterwarnings(r"ignore:[\s\S]*passed an input with a mask"),  # by KerasHub's own Swin
]

QUICK = ("vit", "dinov2 with registers", "mobilenet")
SIZE = 64
GRAPHS = [pytest.param(one, marks=pytest.mark.slow) if one not in QUICK[:2] else one for one in SMALL]
ALL = [family if family in QUICK else pytest.param(family, marks=pytest.mark.slow) for family in SMALL]
PHOTOS = 32


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "_table", small_table)


def photos(count: int = PHOTOS) -> np.ndarray:
    """Smooth coloured noise, (count, SIZE, SIZE, 3) uint8, from black to white."""
    coarse = np.random.default_rng(0).uniform(0, 255, (count, 8, 8, 3))
    return np.kron(coarse, np.ones((1, SIZE // 8, SIZE // 8, 1))).astype(np.uint8)


def original(family: str) -> tuple[Any, Any]:
    """KerasHub's own network with weights that all matter, and the tensor of its last features."""
    import keras
    import keras_hub

    kind = KINDS[family.partition(" ")[0]]
    tower = getattr(keras_hub.models, kind.constructor)(
        **SMALL[family][1], **{kind.image_argument: (SIZE, SIZE, 3)}, dtype="float32"
    )
    rng = np.random.default_rng(1)
    for weight in tower.weights:
        if weight.name not in {"position_ids", "interpolated_position_embeddings"}:
            value = np.asarray(weight)
            weight.assign(np.abs(value + rng.normal(0, 0.1, value.shape)) if "variance" in weight.name else
                          value + rng.normal(0, 0.1, value.shape))  # fmt: skip
    output = tower.output[kind.output] if kind.output else tower.output
    return tower, keras.Model(tower.inputs[0], output)


def ours(family: str, weights: str = "random:3") -> Backbone:
    return load_backbone(f"keras_hub:{SMALL[family][0]}", weights=weights)


def prepared(images: np.ndarray, backbone: Backbone) -> np.ndarray:
    does = arithmetic(backbone.spec.preprocessing)
    return (images * np.array(does.scale) + np.array(does.offset)).astype(np.float32)


def close(found: Any, right: Any) -> None:
    found, right = np.asarray(found), np.asarray(right)
    assert found.shape == right.shape
    assert np.abs(found - right).max() <= 1e-4 * np.abs(right).max()
    assert right.std() > 0


@pytest.mark.parametrize("family", ALL)
def test_features_equal_those_of_keras_hub(family: str, tmp_path: Path) -> None:
    """The weights come from a file that KerasHub wrote, so nothing of ours makes the expected features."""
    from featurebank.backbone.keras_networks.hub.library import import_keras_hub

    import_keras_hub()
    tower, reference = original(family)
    tower.save_weights(tmp_path / "own.weights.h5")
    tower.load_weights(tmp_path / "own.weights.h5")  # DINOv2 interpolates its positions when it loads them
    backbone, images = ours(family, str(tmp_path / "own.weights.h5")), photos()
    right = np.asarray(reference(prepared(images, backbone)))
    kind, taps = KINDS[family.partition(" ")[0]], ["pooled", "map"]
    found = backbone.tap_model([*taps, "tokens"] if kind.tokens_layer and not kind.whole else taps)(images)
    if not kind.tokens_layer:
        close(found["map"], right)
        close(found["pooled"], right.mean((1, 2)))
        return
    layout = backbone.outline().tokens
    if kind.constructor == "SigLIPVisionEncoder":
        close(found["pooled"], right)
        import keras

        tokens = keras.Model(tower.inputs[0], tower.get_layer("post_layer_norm").output)(prepared(images, backbone))
        close(found["map"], np.asarray(tokens).reshape(found["map"].shape))
        return
    close(found["pooled"], right[:, 0] if kind.has_class_token else right.mean(1))
    close(found["map"], right[:, layout.prefix :].reshape(found["map"].shape))
    if "tokens" in found:
        close(found["tokens"], right)


@pytest.mark.parametrize("family", GRAPHS)
def test_graph_is_flat_and_can_be_cut_copied_and_saved(family: str, tmp_path: Path) -> None:
    import keras

    from featurebank.backbone.keras_networks.keras_file import load_keras_file
    from featurebank.backbone.keras_networks.unfold import unfold

    backbone, images = ours(family), photos(2)
    network = backbone.network()
    right = np.asarray(network(images))
    assert np.isfinite(right).all()
    outputs = {layer.name: layer.output for layer in network.layers if hasattr(layer.output, "shape")}
    for name, value in keras.Model(network.input, outputs)(images).items():
        assert value.shape[1:] == outputs[name].shape[1:], name
    cuts = [cut.name for cut in backbone.outline().cuts]
    assert len(cuts) >= 3
    assert backbone.outline().cuts[0].remaining_work > backbone.outline().cuts[-1].remaining_work
    _, copies = unfold(network, keras.Input((SIZE, SIZE, 3)))
    for layer, copy in copies:
        assert copy.get_config() == {**layer.get_config(), "name": copy.name}
        if getattr(layer, "weights", None):
            copy.set_weights(layer.get_weights())
    network.save(tmp_path / "flat.keras")
    np.testing.assert_array_equal(load_keras_file(tmp_path / "flat.keras")(images), right)
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    np.testing.assert_array_equal(copy(images), right)


@pytest.mark.parametrize("family", ["vit", pytest.param("dinov3", marks=pytest.mark.slow)])
def test_blocks_are_cut_points(family: str) -> None:
    cuts = {cut.name: cut for cut in ours(family).outline().cuts}
    names = {"vit": "transformer_block_{}", "dinov3": "layers_{}"}[family]
    first = {"vit": 1, "dinov3": 0}[family]
    left = [cuts[names.format(number)].remaining_work for number in (first, first + 1)]
    assert left[0] == pytest.approx(2 * left[1], rel=0.02)  # each of three blocks has the same work


@pytest.mark.parametrize("engine", ["openvino", pytest.param("tensorflow", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "family", ["vit", *(pytest.param(one, marks=pytest.mark.slow) for one in SMALL if one != "vit")]
)
def test_engines_run_them(engine: str, family: str) -> None:
    backbone, images = ours(family), photos(3)
    work = load_engine(engine, backbone, ["pooled", "map"], batch_size=3)
    try:
        found, right = work(images), backbone.tap_model(["pooled", "map"])(images)
    finally:
        work.close()
    for tap, value in found.items():
        close(value, right[tap])


def test_random_weights_are_the_same_at_each_call_and_differ_by_the_seed() -> None:
    first, second, other = (ours("vit", weights) for weights in ("random:3", "random:3", "random:4"))
    images = photos(2)
    np.testing.assert_array_equal(first.network()(images), second.network()(images))
    assert first.digest == second.digest != other.digest
    assert not np.array_equal(first.network()(images), other.network()(images))


def test_weights_of_the_flat_network_can_be_loaded_again(tmp_path: Path) -> None:
    backbone, images = ours("vit"), photos(2)
    backbone.network().save_weights(tmp_path / "flat.weights.h5")
    again = ours("vit", str(tmp_path / "flat.weights.h5"))
    np.testing.assert_array_equal(again.network()(images), backbone.network()(images))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    ours("mobilenet").network().save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(WeightsError, match="does not fit keras_hub:vit_base"):
        ours("vit", str(tmp_path / "other.weights.h5")).network()


def test_image_size_of_a_network_with_fixed_positions() -> None:
    with pytest.raises(ConfigError, match="its positions are fixed for 64 pixels"):
        load_backbone("keras_hub:vit_base_patch16_224_imagenet", weights="random:0", image_size=96)
    with pytest.raises(ConfigError, match="a multiple of 8 pixels"):
        load_backbone("keras_hub:dinov2_small", weights="random:0", image_size=60)
    with pytest.raises(ConfigError, match="leave --preprocessing out"):
        load_backbone("keras_hub:dinov2_small", weights="random:0", preprocessing="caffe")


def test_positions_are_interpolated_to_another_image_size() -> None:
    backbone = load_backbone("keras_hub:dinov2_small", weights="random:0", image_size=48)
    assert backbone.outline().tap_shape("map") == (6, 6, 16)


def test_a_network_has_no_classifier() -> None:
    with pytest.raises(ConfigError, match="has no classifier"):
        ours("vit").classifier()


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts KerasHub's own preset files in the place of Kaggle's; returns the folder of a preset."""
    import sys
    from types import ModuleType

    from featurebank.backbone.keras_networks.hub.library import import_keras_hub

    import_keras_hub()
    client = ModuleType("kagglehub")
    client.model_download = lambda handle, name: str(_existing(tmp_path / handle.split("/")[3] / name))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", client)
    return lambda preset: tmp_path / preset


def _existing(path: Path) -> Path:
    if not path.exists():
        message = f"404 Client Error: no {path.name}"
        raise ValueError(message)
    return path


def test_a_published_preset_brings_its_weights_and_its_input(kaggle: Callable[[str], Path]) -> None:
    import keras_hub

    name = SMALL["vit"][0]
    tower, reference = original("vit")
    tower.save_to_preset(kaggle(name))
    keras_hub.layers.ViTImageConverter(
        image_size=(SIZE, SIZE), scale=[1 / 127.5] * 3, offset=[-1.0] * 3, interpolation="bicubic", antialias=True,
        crop_to_aspect_ratio=False,
    ).save_to_preset(kaggle(name))  # fmt: skip
    backbone, images = load_backbone(f"keras_hub:{name}"), photos()
    assert backbone.recipe["preprocessing"] == "normalize:0.5,0.5,0.5:0.5,0.5,0.5:v1"
    assert backbone.recipe["resize"] == "stretch:64:bicubic:antialias:centre:v1"
    assert backbone.weights == "pretrained"
    close(backbone.tap_model(["tokens"])(images)["tokens"], reference(images / 127.5 - 1))
    assert load_backbone(f"keras_hub:{name}", weights="imagenet").digest == backbone.digest


@pytest.mark.slow
def test_the_image_tower_of_a_published_preset_of_images_and_text(kaggle: Callable[[str], Path]) -> None:
    import keras_hub

    name = SMALL["siglip"][0]
    tower, reference = original("siglip")
    text = keras_hub.models.SigLIPTextEncoder(20, 16, 16, 1, 2, 32, max_sequence_length=4)
    keras_hub.models.SigLIPBackbone(tower, text).save_to_preset(kaggle(name))
    keras_hub.layers.SigLIPImageConverter(image_size=(SIZE, SIZE), scale=1 / 255).save_to_preset(kaggle(name))
    backbone, images = load_backbone(f"keras_hub:{name}"), photos()
    close(backbone.tap_model(["pooled"])(images)["pooled"], reference(images / np.float32(255)))


def test_an_unreachable_hub_is_one_line(kaggle: Callable[[str], Path]) -> None:
    with pytest.raises(WeightsError, match=r"cannot be downloaded from Kaggle .*kaggle.com/models/keras/vit") as caught:
        load_backbone(f"keras_hub:{SMALL['vit'][0]}")
    assert "\n" not in str(caught.value)


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'dinov2_small'"):
        load_backbone("keras_hub:dinov2_smal", weights="random:0")
    with pytest.raises(ConfigError, match="is a language model"):
        load_backbone("keras_hub:bert_base_en")
    with pytest.raises(ConfigError, match=r"are not recorded, .* vit_base_patch16_224_imagenet"):
        load_backbone("keras_hub:vit_base_patch16_384_imagenet", weights="random:0")


@pytest.mark.parametrize(
    ("form", "interpolation"), [("stretch", "bilinear"), ("stretch", "bicubic"), ("crop", "bicubic")]
)
def test_images_are_resized_as_by_keras_hub_with_antialiasing(form: str, interpolation: str) -> None:
    """A bilinear pixel differs by rounding alone; Pillow cuts what overshoots after each pass, and Keras once."""
    from featurebank.backbone.families.keras_hub import _resize_rule
    from featurebank.backbone.keras_networks.hub.library import import_keras_hub
    from featurebank.backbone.resize import resize_image

    converter = import_keras_hub().layers.ImageConverter(
        image_size=(48, 48), interpolation=interpolation, antialias=True, crop_to_aspect_ratio=form == "crop"
    )
    rng = np.random.default_rng(0)
    apart = []
    for _ in range(PHOTOS):
        height, width = rng.integers(20, 150, 2)
        y, x, channel = np.mgrid[:height, :width, :3]
        image = (127.5 + 120 * np.sin(x / 9 + y / 7 + channel)).astype(np.uint8)
        right = np.clip(converter(image.astype(np.float32)), 0, 255)
        apart.append(np.abs(resize_image(image, 48, _resize_rule(form, 48, interpolation)) - right))
    inner = np.array(apart)[:, 4:-4, 4:-4]  # at the edge of a crop, Pillow looks at the pixels beyond it
    assert (np.array(apart) if form == "stretch" else inner).max() <= 2
