"""Keras's files of strangers: what would run code or read other files is refused before Keras builds anything."""

from __future__ import annotations

import io
import json
import resource
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest

from featurebank import load_backbone
from featurebank.backbone.keras_networks.keras_file import check_config, load_keras_file
from featurebank.backbone.naming import name_function
from featurebank.errors import ArchiveError, WeightsError
from featurebank.system.runtime import import_tensorflow

import_tensorflow()
import keras  # noqa: E402 - after TensorFlow was told how to start


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The members of a small file."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 3, activation="relu", kernel_regularizer="l2", name="conv")(image)
    x = keras.ops.maximum(x, 0.5)
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    model = keras.Model(image, keras.layers.BatchNormalization(name="norm")(x))
    model.compile("adam", "mse", metrics=["accuracy"])
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def write(members: dict[str, bytes], tmp_path: Path) -> Callable[..., Path]:
    def write(**changed: bytes) -> Path:
        names = {"config": "config.json", "weights": "model.weights.h5"}
        with zipfile.ZipFile(tmp_path / "model.keras", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in {**members, **{names.get(key, key): data for key, data in changed.items()}}.items():
                archive.writestr(name, data)
        return tmp_path / "model.keras"

    return write


@pytest.fixture
def with_layer(members: dict[str, bytes], write: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a file in which the convolution is described as another object."""

    def write_layer(**described: Any) -> Path:
        config = json.loads(members["config.json"])
        layer = next(one for one in config["config"]["layers"] if one["config"].get("name") == "conv")
        layer.update(described)
        return write(config=json.dumps(config).encode())

    return write_layer


@pytest.fixture
def evil(tmp_path: Path) -> Iterator[Path]:
    """Leaves a mark where its module is imported, and where a class is built that is registered with Keras."""
    mark = tmp_path / "mark"
    (tmp_path / "evil_module.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Evil: pass\n")
    sys.path.insert(0, str(tmp_path))

    class Evil(keras.layers.Layer):
        def __init__(self, **options: Any) -> None:
            mark.touch()
            super().__init__(**options)

        def call(self, x: Any) -> Any:
            return x[..., :2]

    Evil.__module__ = "somebody.layers"
    keras.saving.register_keras_serializable("somebody")(Evil)
    yield mark
    del keras.saving.get_custom_objects()["somebody>Evil"]
    sys.path.remove(str(tmp_path))


def test_a_sound_file_is_loaded(write: Callable[..., Path]) -> None:
    model = load_keras_file(write())
    assert [type(layer).__name__ for layer in model.layers][-1] == "BatchNormalization"
    assert not model.compiled


REGISTERED = {
    "module": None, "class_name": "Evil", "config": {"name": "conv"}, "registered_name": "somebody>Evil",
}  # fmt: skip
LAMBDA = {"class_name": "__lambda__", "config": {"value": ["4wEAAAA=", None, None]}}
ATTACKS: dict[str, dict[str, Any]] = {
    "a Lambda": {"class_name": "Lambda", "config": {"name": "conv", "function": LAMBDA}},
    "a lambda as activation": {"config": {"name": "conv", "filters": 2, "kernel_size": 3, "activation": LAMBDA}},
    "a SavedModel": {"class_name": "TFSMLayer", "config": {"name": "conv", "filepath": "saved_model"}},
    "a TorchModuleWrapper": {"class_name": "TorchModuleWrapper", "config": {"module": "x", "name": "conv"}},
    "a module": {"module": "evil_module", "class_name": "Evil", "registered_name": "Evil"},
    "a system call": {"module": "os", "class_name": "system", "config": "touch mark", "registered_name": "system"},
    "a function of os": {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
    "a download": {"module": "keras.utils", "class_name": "function", "config": "get_file"},
    "a file of words": {"class_name": "StringLookup", "config": {"name": "conv", "vocabulary": "/etc/passwd"}},
    "a registered class": {"module": None, "class_name": "Evil", "config": {}, "registered_name": "somebody>Evil"},
    "Keras's name over a registered class": {"registered_name": "somebody>Evil"},
    "another library": {"module": "another_library.layers", "class_name": "Evil"},
    "a module inside Keras that is none of layers": {"module": "keras.src.utils.file_utils", "class_name": "get_file"},
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_leaves_no_mark(name: str, with_layer: Callable[..., Path], evil: Path) -> None:
    path = with_layer(**ATTACKS[name])
    with pytest.raises(ArchiveError, match="a file must not decide which code runs") as caught:
        load_keras_file(path)
    assert "\n" not in str(caught.value)
    assert not evil.exists()


def test_the_class_would_leave_a_mark(with_layer: Callable[..., Path], evil: Path) -> None:
    """Or the test above could not fail; and it does so where the user has named its package."""
    path = with_layer(**REGISTERED)
    keras.saving.load_model(path, compile=False)
    assert evil.exists()


def test_classes_of_a_package_that_the_user_named_are_built(
    with_layer: Callable[..., Path], evil: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featurebank.backbone.naming._named", set())
    name_function("somebody.nets:build")
    load_keras_file(
        with_layer(module=None, class_name="Evil", config={"name": "conv"}, registered_name="somebody>Evil")
    )
    assert evil.exists()


def test_a_network_of_ones_own_is_refused_in_one_line(with_layer: Callable[..., Path], evil: Path) -> None:
    path = with_layer(**ATTACKS["a module"])
    with pytest.raises(WeightsError, match=r"cannot be loaded \(it names 'evil_module.Evil'") as caught:
        load_backbone(str(path), preprocessing="none")
    assert "\n" not in str(caught.value)
    assert not evil.exists()


def hdf5(change: Callable[[h5py.File], None]) -> bytes:
    with h5py.File(buffer := io.BytesIO(), "w") as file:
        change(file)
    return buffer.getvalue()


def external(file: h5py.File) -> None:
    file["a"] = h5py.ExternalLink("/etc/other.h5", "/b")


def soft(file: h5py.File) -> None:
    file["a"] = h5py.SoftLink("/b")


def elsewhere(file: h5py.File) -> None:
    file.create_dataset("a", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "a", (4,))
    file.create_virtual_dataset("a", layout)


def objects(file: h5py.File) -> None:
    file.create_dataset("a", data=["text"], dtype=h5py.string_dtype())


def bomb(file: h5py.File) -> None:
    file.create_dataset("a", (1 << 40,), "u1", chunks=(1 << 20,), compression="gzip")


@pytest.mark.parametrize("change", [external, soft, elsewhere, virtual, objects, bomb], ids=lambda f: f.__name__)
def test_weights_that_lie_elsewhere_or_unpack_to_too_much(change: Any, write: Callable[..., Path]) -> None:
    with pytest.raises(ArchiveError, match=r"lie outside the file|unpack to"):
        load_keras_file(write(weights=hdf5(change)))


def _grown(layer: str) -> Any:
    """Returns a network of a small file, in whose description numbers are then made large."""
    layers, image = keras.layers, keras.Input((8, 8, 3))
    if layer == "inner":
        inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(7, 1)])
        return keras.Model(image, inner(image))
    made = {
        "dense": layers.Dense(7), "conv": layers.Conv2D(7, 3),
        "depthwise": layers.DepthwiseConv2D(3, depth_multiplier=7),
        "each": layers.TimeDistributed(layers.Dense(7)),
        "attention": layers.MultiHeadAttention(2, 7, attention_axes=(1, 2)),
    }[layer]  # fmt: skip
    return keras.Model(image, made(image, image) if layer == "attention" else made(image))


@pytest.mark.parametrize("layer", ["dense", "conv", "depthwise", "each", "attention", "inner"])
def test_a_network_that_declares_more_than_its_file_holds_gets_no_memory(
    layer: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    _grown(layer).save(tmp_path / "small.keras")
    with zipfile.ZipFile(tmp_path / "small.keras") as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(found["config.json"])
    _enlarge(config)
    path = write(config=json.dumps(config).encode(), weights=found["model.weights.h5"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ArchiveError, match=r"describes a network of [\d,]{11,} weights but holds \d+:"):
        load_keras_file(path)
    # nothing is left behind that Keras gives memory later, as whenever it works out the shape of an output
    keras.Model(image := keras.Input((4,)), keras.layers.Lambda(lambda x: x * 2)(image))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB


def _enlarge(config: Any) -> None:
    """Replaces each 7 of a JSON value, which is the number of units or filters; what a layer was built for goes."""
    if isinstance(config, dict):
        config.pop("build_config", None)
    for key, value in config.items() if isinstance(config, dict) else enumerate(config):
        if value == 7:
            config[key] = 300_000_000
        elif isinstance(value, dict | list):
            _enlarge(value)


@pytest.mark.parametrize("config", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_config_that_is_none(config: bytes) -> None:
    with pytest.raises(ArchiveError, match="is damaged"):
        check_config(config)


def test_what_the_import_of_keras_hub_registers_is_refused_in_the_first_file_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first file of a process with a layer of KerasHub imports it, and with it tokenizers, which read files."""
    place = "featurebank.backbone.keras_networks.keras_file"

    def import_classes() -> dict[str, type]:
        monkeypatch.setitem(keras.saving.get_custom_objects(), "keras_hub>Tokenizer", dict)
        return {"Dropping": type("Dropping", (keras.layers.Layer,), {})}

    monkeypatch.setattr(f"{place}.is_installed", lambda: True)
    monkeypatch.setattr(f"{place}.layer_classes", import_classes)
    known = {"class_name": "Dropping", "module": "keras_hub.src", "registered_name": "Dropping"}
    assert list(check_config(json.dumps({"layers": [known]}).encode())) == ["Dropping"]
    keras.saving.get_custom_objects().pop("keras_hub>Tokenizer")
    with pytest.raises(ArchiveError, match="it names 'keras_hub>Tokenizer'"):
        check_config(json.dumps({"layers": [known, {"activation": "keras_hub>Tokenizer"}]}).encode())


def test_other_members_are_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(ArchiveError, match="'assets/x' is not expected"):
        load_keras_file(write(**{"assets/x": b""}))


def test_damage_is_one_line(write: Callable[..., Path]) -> None:
    with pytest.raises(ArchiveError, match="is damaged"):
        load_keras_file(write(weights=b"nothing"))
    path = write()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveError):
        load_keras_file(path)
