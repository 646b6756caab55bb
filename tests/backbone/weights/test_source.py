from __future__ import annotations

from pathlib import Path

import h5py
import pytest
from small_networks import small

from featurebank import load_backbone
from featurebank.backbone.keras_networks.initial_weights import zeros_at_first
from featurebank.backbone.table import TABLE
from featurebank.backbone.weights.files import is_whole_hdf5
from featurebank.errors import ConfigError, WeightsError
from featurebank.system import digest
from featurebank.system.runtime import import_tensorflow

pytestmark = pytest.mark.heavy

LITE0 = TABLE["efficientnet_lite0"].own_file(top=True)


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "vgg16.weights.h5"
    load_backbone("vgg16", weights="random:7", image_size=32).network().save_weights(path)
    return path


def test_the_digest_is_that_of_the_file(vgg_file: Path) -> None:
    backbone = load_backbone("vgg16", weights=str(vgg_file))
    assert backbone.recipe["weights"] == digest.of_file(vgg_file)
    assert load_backbone("efficientnet_lite0").recipe["weights"] == digest.of_file(LITE0)


def test_a_file_that_changes_has_another_digest(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(b"one")
    backbone = load_backbone("vgg16", weights=str(path))
    before = backbone.digest
    path.write_bytes(b"three")
    assert backbone.digest != before


def test_a_file_of_another_network(vgg_file: Path) -> None:
    with pytest.raises(WeightsError, match="does not fit squeezenet1_1") as caught:
        load_backbone("squeezenet1_1", weights=str(vgg_file), image_size=32).network()
    assert "\n" not in str(caught.value)


def test_a_torch_file_only_for_lite() -> None:
    with pytest.raises(ConfigError, match=r"for resnet50 a file that ends in \.h5, \.keras"):
        load_backbone("resnet50", weights=str(LITE0))
    by_path = load_backbone("efficientnet_lite0", weights=str(LITE0))
    assert by_path.digest == load_backbone("efficientnet_lite0").digest


def test_a_file_without_the_classifier(tmp_path: Path) -> None:
    path = tmp_path / "trunk.weights.h5"
    small("squeezenet1_1").network().save_weights(path)
    with pytest.raises(WeightsError, match="does not fit squeezenet1_1 with its classifier"):
        load_backbone("squeezenet1_1", weights=str(path), image_size=32).classifier()


def test_the_classifier_of_vgg_has_one_size(vgg_file: Path) -> None:
    with pytest.raises(ConfigError, match="got image size 64"):
        load_backbone("vgg16", weights=str(vgg_file), image_size=64).classifier()


def test_a_file_with_the_classifier_serves_the_network_too(tmp_path: Path) -> None:
    import numpy as np

    origin = small("squeezenet1_1")
    origin.classifier().save_weights(tmp_path / "whole.weights.h5")
    backbone = load_backbone("squeezenet1_1", weights=str(tmp_path / "whole.weights.h5"), image_size=32)
    for mine, its in zip(backbone.network().get_weights(), origin.network().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_a_file_that_refers_to_another_one(vgg_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "linked.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers"] = h5py.ExternalLink(str(vgg_file), "/layers")
    with pytest.raises(WeightsError, match="lie outside the file"):
        load_backbone("vgg16", weights=str(path), image_size=32).network()


def test_a_damaged_file(vgg_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.weights.h5"
    path.write_bytes(vgg_file.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="damaged"):
        load_backbone("vgg16", weights=str(path), image_size=32).network()


def test_a_download_that_was_cut_is_not_whole(vgg_file: Path, tmp_path: Path) -> None:
    data = vgg_file.read_bytes()
    path = tmp_path / "x.h5"
    for content, whole in (
        (data, True),
        (data[:-1], False),
        (data[:50], False),
        (b"", False),
        (b"not HDF5" * 99, False),
    ):
        path.write_bytes(content)
        assert is_whole_hdf5(path) is whole
    assert not is_whole_hdf5(tmp_path / "nothing.h5")


def test_old_superblocks_are_read_too(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "old.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file["x"] = list(range(1000))
    data = path.read_bytes()
    assert is_whole_hdf5(path)
    path.write_bytes(data[:-1])
    assert not is_whole_hdf5(path)


def test_the_imagenet_file_of_keras_is_found_by_its_place(tmp_path: Path, monkeypatch, vgg_file: Path) -> None:
    path = tmp_path / "models" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    path.parent.mkdir()
    path.write_bytes(vgg_file.read_bytes())
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert TABLE["vgg16"].own_file(top=False) == path
    assert load_backbone("vgg16").recipe["weights"] == digest.of_file(vgg_file)


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")  # MobileNet takes the weights of 224 pixels
@pytest.mark.parametrize("top", [False, True])
@pytest.mark.parametrize(
    "name", ["vgg16", "mobilenet", "mobilenet_v2", "mobilenet_v3_small", "resnet50_v2", "convnext_tiny"]
)
def test_file_names_are_those_of_keras(name: str, top: bool, monkeypatch) -> None:
    import keras
    from keras.src.utils import file_utils

    asked = []

    def get_file(fname, *_args, **_kwargs):
        asked.append(fname)
        raise RuntimeError("no download in this test")

    monkeypatch.setattr(file_utils, "get_file", get_file)
    construct = getattr(keras.applications, TABLE[name].constructor)
    with pytest.raises(RuntimeError, match="no download"), zeros_at_first():
        construct(weights="imagenet", include_top=top)
    assert asked == [TABLE[name].weights_file(top=top)]


def test_missing_imagenet_weights_say_in_one_line_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Through a proxy that refuses every connection."""
    import_tensorflow()
    from keras.src.backend import config

    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr("urllib.request._opener", None)  # it remembers the proxies, for all tests that come after
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(config, "_KERAS_DIR", str(tmp_path))  # Keras reads the variable when it is imported
    capfd.readouterr()  # TensorFlow has greeted
    with pytest.raises(WeightsError, match="the ImageNet weights of vgg16 are missing") as caught:
        load_backbone("vgg16").network()
    name = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert f"put the file at '{tmp_path / 'models' / name}', or use --weights random:0" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "".join(capfd.readouterr()) == "", "the message is all that a user sees"
