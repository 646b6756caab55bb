"""Model files of ONNX and OpenVINO as backbones: what must be said of them, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from featurebank import extract, load_backbone, load_dataset
from featurebank.backbone import load_recorded, recorded_source
from featurebank.backbone.recorded import plain_tap, recorded_batch_norm
from featurebank.engine.catalog import load_engine
from featurebank.errors import ConfigError, UnknownNameError, WeightsError
from featurebank.system.imports.openvino import import_openvino
from tests.support.onnx_networks import Network, cnn, vit

pytestmark = pytest.mark.heavy


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return cnn().save(tmp_path / "net.onnx", "head")


def test_the_recipe_is_that_of_the_content(file: Path, tmp_path: Path) -> None:
    backbone = load_backbone(file, preprocessing="torch")
    assert (backbone.name, backbone.image_size, backbone.form) == ("net", 16, "openvino")
    recipe = backbone.recipe
    assert str(recipe["architecture"]) == f"file:{recipe['weights']}"
    assert recipe["preprocessing"] == "torch:v1"
    file.rename(tmp_path / "other.onnx")
    other = load_backbone(tmp_path / "other.onnx", preprocessing="torch").recipe
    assert {part for part in recipe if recipe[part] != other[part]} == {"backbone"}


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({}, ConfigError, "does not declare the input that it expects: use --preprocessing with one of caffe"),
        ({"preprocessing": "imagenet"}, UnknownNameError, "preprocessing"),
        (
            {"preprocessing": "tf", "weights": "random:0"},
            ConfigError,
            "the file holds its weights; leave --weights out",
        ),
        ({"preprocessing": "tf", "weights": "a.h5"}, ConfigError, "the file holds its weights; leave --weights out"),
        ({"preprocessing": "tf", "image_size": 32}, ConfigError, "takes images of 16 x 16 pixels, got image size 32"),
    ],
)
def test_options(options: dict[str, Any], error: type[Exception], reason: str, file: Path) -> None:
    with pytest.raises(error, match=reason):
        load_backbone(file, **options)


def test_names_of_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no model file 'missing.onnx': check the path"):
        load_backbone("missing.onnx", preprocessing="tf")
    with pytest.raises(ConfigError, match=r"ends with \.ONNX: rename it to net\.onnx"):
        load_backbone(cnn().save(tmp_path / "net.ONNX", "head"), preprocessing="tf")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(WeightsError, match="Is a directory"):
        load_backbone(tmp_path / "folder.onnx", preprocessing="tf")


def test_a_free_size(tmp_path: Path) -> None:
    path = cnn(side=None).save(tmp_path / "net.onnx", "head")
    assert load_backbone(path, preprocessing="tf", image_size=20).image_size == 20
    with pytest.raises(ConfigError, match="takes images of any size: choose one, as --image-size 224"):
        load_backbone(path, preprocessing="tf")


def test_a_fixed_number_of_images(tmp_path: Path) -> None:
    """A network for one image takes any number if it computes the same for each."""
    one, any_number = cnn(batch=1).save(tmp_path / "one.onnx", "head"), cnn().save(tmp_path / "any.onnx", "head")
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    rows = []
    for path in (one, any_number):
        engine = load_engine("openvino", load_backbone(path, preprocessing="tf"), ["pooled"], batch_size=3)
        rows.append(engine(images)["pooled"])
        engine.close()
    assert np.array_equal(*rows)
    net = cnn(batch=1)
    net.add("Softmax", "head", axis=0, name="mixed")
    with pytest.raises(ConfigError, match="works only for the 1 image at a time that its file fixes, and mixes others"):
        load_backbone(net.save(tmp_path / "mixed.onnx", "mixed"), preprocessing="tf")
    net = cnn(batch=1)
    net.add("Reshape", "relu2", net.constant([1, 12, 25]), name="last")
    with pytest.raises(ConfigError, match=r"works only for the 1 image at a time that its file fixes \("):
        load_backbone(net.save(tmp_path / "last.onnx", "last"), preprocessing="tf")


def test_quantised_weights_run_as_they_are(tmp_path: Path) -> None:
    net = Network(["n", 3, 16, 16])
    scale, zero = net.constant(0.02, np.float32), net.constant(0, np.int8)
    weights = net.constant(np.random.default_rng(0).integers(-90, 90, (4, 3, 3, 3)), np.int8)
    net.add("QuantizeLinear", "image", net.constant(0.02, np.float32), net.constant(128, np.uint8), name="q")
    net.add("DequantizeLinear", "q", net.constant(0.02, np.float32), net.constant(128, np.uint8), name="d")
    net.add("Conv", "d", net.add("DequantizeLinear", weights, scale, zero), name="conv")
    net.add("Flatten", net.add("GlobalAveragePool", net.add("Relu", "conv", name="relu")), name="flat")
    backbone = load_backbone(net.save(tmp_path / "net.onnx", "flat"), preprocessing="tf")
    assert backbone.outline().tap_shape("map") == (14, 14, 4)
    assert backbone.outline().cuts[-1].name == "relu"


def test_what_it_says_of_a_number_type(tmp_path: Path) -> None:
    net = Network(["n", 3, 8, 8], dtype=TensorProto.FLOAT16)
    net.add("Cast", "image", to=TensorProto.FLOAT, name="floats")
    net.conv("floats", 3, 4, 3, "conv")
    assert load_backbone(net.save(tmp_path / "net.onnx", "conv"), preprocessing="tf").outline().tap_shape("map") == (
        6,
        6,
        4,
    )


def test_only_openvino_runs_it_and_neither_weights_nor_engines_are_guessed(file: Path) -> None:
    with pytest.raises(ConfigError, match="engine"):
        load_engine("tensorflow", load_backbone(file, preprocessing="tf"), ["pooled"], batch_size=2)


def test_a_name_of_the_table_is_not_mistaken(tmp_path: Path) -> None:
    """A file "convnext_tiny.onnx" has nothing of the network of that name."""
    backbone = load_backbone(cnn().save(tmp_path / "convnext_tiny.onnx", "head"), preprocessing="tf")
    recipe = backbone.recipe
    assert plain_tap(recipe, "pooled") == ("map", "avg")
    assert recorded_batch_norm(recipe, recorded_source(backbone)) == "train"


def test_a_bank_finds_it_again_and_notices_changes(file: Path, photos: Path, tmp_path: Path) -> None:
    backbone = load_backbone(file, preprocessing="torch")
    bank = extract(load_dataset(photos), backbone, cache=tmp_path / "cache", taps=["pooled", "relu1:avg"])
    assert bank.features("relu1:avg").shape[1:] == (8,)
    again = load_recorded(bank.recipe, bank.manifest.source)
    assert again.digest == backbone.digest
    cnn().save(file, "relu2")
    with pytest.raises(WeightsError, match="another architecture and weights"):
        load_recorded(bank.recipe, bank.manifest.source)
    file.unlink()
    with pytest.raises(ConfigError, match="there is no model file"):
        load_recorded(bank.recipe, bank.manifest.source)


def test_neither_keras_nor_tensorflow_is_imported(tmp_path: Path) -> None:
    path = vit().save(tmp_path / "net.onnx", "head")
    code = (
        "import sys, numpy as np, featurebank as fb\n"
        "from featurebank.engine.catalog import load_engine\n"
        f"net = fb.load_backbone({str(path)!r}, preprocessing='tf')\n"
        "engine = load_engine('openvino', net, ['pooled'], batch_size=2)\n"
        "engine(np.zeros((2, 16, 16, 3), np.uint8)); engine.close()\n"
        "print([name for name in ('keras', 'tensorflow', 'torch', 'onnx', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_file_of_openvino(file: Path) -> None:
    openvino = import_openvino()
    made = file.with_suffix(".xml")
    openvino.save_model(openvino.Core().read_model(file), made, compress_to_fp16=False)
    first, second = (load_backbone(path, preprocessing="tf") for path in (file, made))
    assert first.digest != second.digest
    assert second.outline().shapes["relu2"] == first.outline().shapes["relu2"]
    assert second.outline().tap_shape("pooled") == (12,)
