"""What copies of KerasHub's layers promise, and what a file with them cannot do."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank.backbone.keras_networks import keras_file
from featurebank.backbone.keras_networks.hub import layers, library
from featurebank.backbone.keras_networks.hub.parts import expansion_of
from featurebank.backbone.keras_networks.keras_file import load_keras_file
from featurebank.errors import ArchiveError

pytestmark = [pytest.mark.networks, pytest.mark.heavy]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .keras file with two layers of KerasHub, one of which it registers."""
    import keras

    classes = layers.layer_classes()
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
    monkeypatch.setattr(keras_file, "is_installed", lambda: False)
    with pytest.raises(ArchiveError, match=r"layers of KerasHub .*pip install 'featurebank\[keras-hub\]'"):
        load_keras_file(saved)


def test_a_file_that_would_take_up_memory_is_refused(saved: Path, tmp_path: Path) -> None:
    config = {"num_heads": 2, "hidden_dim": 8, "mlp_dim": 100_000_000, "name": "block"}
    with pytest.raises(ArchiveError, match="the rest would only take up memory"):
        load_keras_file(changed(saved, tmp_path / "huge.keras", config=config))


def test_classes_of_keras_hub_stay_as_they_are() -> None:
    """A program may train with KerasHub in the same process; copies alone are of other classes, with the same names."""
    classes = library.own_classes() or (library.import_keras_hub() and library.own_classes())
    before = {kind: dict(vars(kind)) for kind in classes.values()}
    for kind in classes.values():
        copied = layers.class_of_copies(kind)
        assert issubclass(copied, kind)
        assert copied is not kind
        assert (copied.__name__, copied.__module__) == (kind.__name__, kind.__module__)
        assert layers.class_of_copies(copied) is copied
    assert {kind: dict(vars(kind)) for kind in classes.values()} == before
    assert all(vars(kind).get("get_config").__module__ == kind.__module__
               for kind in classes.values() if "get_config" in vars(kind))  # fmt: skip


@pytest.mark.parametrize(("height", "width", "size", "shift"), [(8, 8, 4, 2), (7, 10, 4, 1), (14, 14, 7, 3)])
def test_the_mask_of_shifted_windows(height: int, width: int, size: int, shift: int) -> None:
    """Two places attend to each other if the shift did not carry one of them around an edge, or both."""
    wraps = [np.digitize(np.arange(side), [side - size, side - shift]) for side in (height, width)]
    places = [[(int(wraps[0][y]), int(wraps[1][x])) if y < height and x < width else (0, 0)
               for y in range(top, top + size) for x in range(left, left + size)]
              for top in range(0, height, size) for left in range(0, width, size)]  # fmt: skip
    right = [[[0.0 if one == other else -100.0 for other in window] for one in window] for window in places]
    np.testing.assert_array_equal(layers._window_mask(height, width, size, shift), right)


def test_containers_are_those_that_are_taken_apart() -> None:
    classes = library.own_classes()
    without_weights = [name for name in layers.CONTAINERS if expansion_of(object.__new__(classes[name])) is None]
    assert without_weights == []


def test_trained_positions_are_saved_and_loaded(tmp_path: Path) -> None:
    import keras

    kind = layers.layer_classes()["DINOV2Embedding"]
    image = keras.Input((32, 32, 3))
    layer = kind(8, 16, (32, 32), position_embedding_shape=(32, 32), name="embeddings")
    network = keras.Model(image, layer(image))
    trained = np.random.default_rng(0).normal(1, 1, (1, 5, 8)).astype(np.float32)
    layer.interpolated_position_embeddings.assign(trained)
    network.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again.get_layer("embeddings").interpolated_position_embeddings, trained)
