"""What the mended layers of KerasHub promise, and what a file with them cannot do."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank.backbone.keras_networks.hub import library
from featurebank.backbone.keras_networks.hub.parts import expansion_of
from featurebank.backbone.keras_networks.keras_file import load_keras_file
from featurebank.errors import ArchiveError

pytestmark = [pytest.mark.networks, pytest.mark.heavy]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .keras file with two layers of KerasHub, one of which it registers."""
    import keras

    classes = library.layer_classes()
    image = keras.Input((32, 32, 3), name="image")
    x = classes["keras_hub>HGNetV2ConvLayer"](3, 3, 3, 1, 1, "relu", False, data_format="channels_last", channel_axis=-1)(image)  # fmt: skip # noqa: E501
    x = classes["ViTPatchingAndEmbedding"]((32, 32), (16, 16), 8, name="embedding")(x)
    output = classes["ViTEncoderBlock"](2, 8, 16, name="block")(x)
    path = tmp_path_factory.mktemp("hub") / "net.keras"
    keras.Model(image, output).save(path)
    return path


def changed(saved: Path, target: Path, **entries: Any) -> Path:
    """A copy of the file whose block is described otherwise."""
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                config = json.loads(data)
                (block,) = (one for one in config["config"]["layers"] if one["class_name"] == "ViTEncoderBlock")
                block.update(entries)
                data = json.dumps(config).encode()
            copy.writestr(name, data)
    return target


def test_layers_of_keras_hub_are_loaded(saved: Path) -> None:
    import keras

    images = np.random.default_rng(0).uniform(0, 1, (2, 32, 32, 3)).astype(np.float32)
    ours, plain = load_keras_file(saved)(images), keras.models.load_model(saved)(images)
    np.testing.assert_array_equal(ours, plain)


@pytest.mark.parametrize(
    "entries",
    [
        {"class_name": "get_file", "module": "keras_hub.src.utils.preset_utils", "registered_name": "get_file"},
        {"class_name": "SentencePieceTokenizer", "module": "keras_hub.src.tokenizers.sentence_piece_tokenizer"},
        {"registered_name": None},
        {"registered_name": "keras_hub>BytePairTokenizer"},
        {"registered_name": "keras_hub>HGNetV2ConvLayer"},
        {"class_name": "ViTEncoder", "registered_name": "ViTEncoder"},
        {"module": "os", "class_name": "system", "registered_name": "ViTEncoderBlock"},
        {"module": "keras_hub", "class_name": "function", "config": "upload_preset", "registered_name": "function"},
    ],
)
def test_other_parts_of_keras_hub_are_refused(entries: dict[str, Any], saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="a file must not decide which code runs"):
        load_keras_file(changed(saved, tmp_path / "evil.keras", **entries))


def test_the_place_of_a_class_decides_nothing(saved: Path, tmp_path: Path) -> None:
    """The name leads to the class in the package, so a module that a stranger has put there is not imported."""
    path = changed(saved, tmp_path / "moved.keras", module="keras_hub.src.no.such.module")
    assert type(load_keras_file(path).get_layer("block")).__name__ == "ViTEncoderBlock"


def test_without_keras_hub_the_file_names_what_to_install(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "is_installed", lambda: False)
    with pytest.raises(ArchiveError, match=r"layers of KerasHub .*pip install 'featurebank\[keras-hub\]'"):
        load_keras_file(saved)


def test_a_file_that_would_take_up_memory_is_refused(saved: Path, tmp_path: Path) -> None:
    config = {"num_heads": 2, "hidden_dim": 8, "mlp_dim": 100_000_000, "name": "block"}
    with pytest.raises(ArchiveError, match="the rest would only take up memory"):
        load_keras_file(changed(saved, tmp_path / "huge.keras", config=config))


def test_containers_are_those_that_are_taken_apart() -> None:
    classes = library._own_classes()
    without_weights = [name for name in library.CONTAINERS if expansion_of(object.__new__(classes[name])) is None]
    assert without_weights == []


def test_trained_positions_are_saved_and_loaded(tmp_path: Path) -> None:
    import keras

    kind = library.layer_classes()["DINOV2Embedding"]
    image = keras.Input((32, 32, 3))
    layer = kind(8, 16, (32, 32), position_embedding_shape=(32, 32), name="embeddings")
    network = keras.Model(image, layer(image))
    trained = np.random.default_rng(0).normal(1, 1, (1, 5, 8)).astype(np.float32)
    layer.interpolated_position_embeddings.assign(trained)
    network.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again.get_layer("embeddings").interpolated_position_embeddings, trained)
