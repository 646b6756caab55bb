"""Grafts whose network is a user's .onnx or .xml file: what each kind of file says, and what cannot be written."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import openvino
import pytest

from featurebank import export, extract, load_backbone, load_dataset, load_model, train_heads
from featurebank.backbone import Backbone
from featurebank.backbone.openvino_networks.network import OpenVINOBackbone
from featurebank.errors import ConfigError
from featurebank.grafting.foreign.onnx_file import file_trunk
from featurebank.grafting.foreign.trunks import OpenVINOTrunk
from featurebank.runs.run import RunRecord
from tests.support.onnx_networks import Network, cnn, vit

pytestmark = pytest.mark.heavy

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)


def trained(backbone: Backbone, shown: Path, cache: Path, tap: str) -> RunRecord:
    """Returns the run of a head on a tap."""
    (run,) = train_heads(extract(load_dataset(str(shown)), backbone, [tap], cache=cache), [{"kind": "logistic"}])
    return run


def agree(run: RunRecord, backbone: Backbone, place: Path, suffixes: tuple[str, ...]) -> None:
    """Checks that all files of a run give the same probabilities, and were proved."""
    found = []
    for suffix in suffixes:
        model = load_model(export(run, place / f"model{suffix}", backbone=backbone))
        assert model.about.proof is not None
        assert (model.about.proof.images, model.about.proof.difference < 1e-4) == (16, True)
        found.append(model.predict(IMAGES, batch_size=2))
    assert np.ptp(found, axis=0).max() < 1e-4
    assert np.ptp(found[0], axis=0).max() > 1e-4, "the images differ"


def proved(backbone: Backbone, *taps: str) -> None:
    """Checks that the nodes of a file up to a tap, run by ONNX Runtime, give what OpenVINO gives for the backbone."""
    import onnxruntime

    assert isinstance(backbone, OpenVINOBackbone)
    for tap in taps:
        model = file_trunk(backbone, tap).SerializeToString()
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        assert [one.name for one in session.get_inputs()] == ["image"]
        (found,) = session.run(None, {"image": IMAGES.astype(np.float32)})
        expected = OpenVINOTrunk.of(backbone, [tap]).predict(IMAGES)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    path = vit(prefix=2).save(tmp_path_factory.mktemp("vit") / "vit.onnx", "head")
    return load_backbone(str(path), preprocessing="caffe")  # BGR, and a mean of its own


@pytest.fixture(scope="module")
def run(transformer: Backbone, shown: Path, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return trained(transformer, shown, tmp_path_factory.mktemp("banks"), "pooled")


def test_files_of_a_transformer_agree(transformer: Backbone, run: RunRecord, tmp_path: Path) -> None:
    agree(run, transformer, tmp_path, (".onnx", ".fbmodel"))


def test_a_trunk_in_an_fbmodel_file_is_checked_as_an_xml_file_is(
    transformer: Backbone, run: RunRecord, tmp_path: Path
) -> None:
    with zipfile.ZipFile(export(run, tmp_path / "model.fbmodel", backbone=transformer)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    xml = members["trunk.xml"]
    for name, content, reason in (
        ("trunk.xml", xml.replace(b"<net", b"<!DOCTYPE net [<!ENTITY a 'b'>]><net", 1), "declares a document type"),
        ("trunk.xml", b"<net>" * 300, "nested too deeply"),
        ("trunk.bin", members["trunk.bin"][:8], "expected [0-9,]+: copy them again"),
        ("trunk.xml", xml.replace(b'type="MatMul"', b'type="Nonsense"'), "Nonsense"),
    ):
        with zipfile.ZipFile(tmp_path / "other.fbmodel", "w") as archive:
            for other, value in {**members, name: content}.items():
                archive.writestr(other, value)
        with pytest.raises(ConfigError, match=rf"is not a complete model of featurebank \(.*{reason}.*\): export it"):
            load_model(tmp_path / "other.fbmodel")


def test_an_onnx_file_is_cut_at_any_tap(transformer: Backbone) -> None:
    proved(transformer, "tokens", "map:max", "block1:cls", "block1:avg", "block1:map")


def test_convolutions_with_any_number_of_images_and_older_and_newer_operators(tmp_path: Path) -> None:
    files = {"one": cnn(batch=1).model(["head"])}
    for version in (13, 20):  # this network is the same in all of them
        files[f"v{version}"] = cnn().model(["head"])
        files[f"v{version}"].opset_import[0].version = version
    for name, model in files.items():
        (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
        proved(load_backbone(str(tmp_path / f"{name}.onnx"), preprocessing="none"), "pooled", "map")


def test_names_of_the_user_that_are_names_of_the_export(tmp_path: Path) -> None:
    net = Network(["n", 3, 16, 16])
    value = net.add("Relu", net.conv("image", 3, 4, 3, "features"), name="probabilities")
    value = net.add("Flatten", net.add("GlobalAveragePool", value, name="input_image"), name="tap_")
    net.dense(value, 4, 5, "out")
    proved(load_backbone(str(net.save(tmp_path / "names.onnx", "out")), preprocessing="none"), "pooled")


def test_an_xml_file_becomes_xml_but_not_onnx(shown: Path, tmp_path: Path) -> None:
    converted = openvino.convert_model(str(cnn().save(tmp_path / "cnn.onnx", "head")))
    openvino.save_model(converted, tmp_path / "cnn.xml", compress_to_fp16=False)
    backbone = load_backbone(str(tmp_path / "cnn.xml"), preprocessing="tf")
    run = trained(backbone, shown, tmp_path / "banks", "map")
    agree(run, backbone, tmp_path, (".xml",))
    with pytest.raises(ConfigError, match=r"cnn is a network of .* cannot become a \.onnx file: write \.xml or \.fbm"):
        export(run, tmp_path / "new" / "model.onnx", backbone=backbone)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("suffix", [".keras", ".tflite"])
def test_files_of_keras_are_refused(suffix: str, transformer: Backbone, run: RunRecord, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"cannot become a \{suffix} file: write \.onnx, \.xml or \.fbmodel"):
        export(run, tmp_path / f"model{suffix}", backbone=transformer)
    assert not list(tmp_path.iterdir())
