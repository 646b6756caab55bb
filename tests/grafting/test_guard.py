"""Model files of strangers, of every format: nothing in them runs, and what is broken ends in one line."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from featurebank import export, load_model, train_heads
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.errors import FeatureBankError
from featurebank.grafting.formats import FORMATS
from featurebank.grafting.metadata import MEMBER
from featurebank.system.archive import FREE_BYTES
from featurebank.system.runtime import import_tensorflow

pytestmark = pytest.mark.heavy

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 14, 14, 3)).astype(np.float32)
SUFFIXES = [kind.suffix for kind in FORMATS.values()]


@pytest.fixture(scope="module")
def files(bank: Bank, tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each format."""
    place, found = tmp_path_factory.mktemp("files"), {}
    layers, tree = (train_heads(bank, [{"kind": kind}], taps=["pooled"])[0] for kind in ("ridge", "random_forest"))
    for suffix in SUFFIXES:
        run = tree if suffix == ".fbmodel" else layers
        found[suffix] = export(run, place / f"model{suffix}", backbone=tiny, proof=False)
    return found


def refused(path: Path) -> str:
    """Returns the one line with which a file is refused."""
    with pytest.raises(FeatureBankError) as caught:
        load_model(path).predict(IMAGES)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def mutated(data: bytes, seed: int) -> bytes:
    """Returns a file that is cut off, or has flipped bits, other bytes, extreme numbers or a gap."""
    random = np.random.default_rng(seed)
    place, length = int(random.integers(len(data))), int(random.integers(1, 40))
    kind = seed % 5
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + bytes([data[place] ^ (1 << int(random.integers(8)))]) + data[place + 1 :]
    if kind == 4:
        return data[:place] + data[place + length :]
    other = random.bytes(length) if kind == 2 else [b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f"][seed % 3]
    return data[:place] + other + data[place + len(other) :]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_broken_files_end_in_one_line_or_do_no_harm(suffix: str, files: dict[str, Path], tmp_path: Path) -> None:
    """40 files of each format; what is damaged where no checksum sees it gives probabilities still."""
    whole, path = files[suffix].read_bytes(), tmp_path / f"model{suffix}"
    for other in FORMATS.values():
        for file in other.files(files[suffix]):
            if other.suffix == suffix and file != files[suffix]:
                path.with_suffix(file.suffix).write_bytes(file.read_bytes())
    opened = 0
    for seed in range(40):
        path.write_bytes(mutated(whole, seed))
        try:
            answer = load_model(path).predict(IMAGES)
        except FeatureBankError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most are refused, and some are not
        else:
            opened += 1
            assert answer.shape == (2, 3)
    assert opened < 20


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("data", [b"", b"nothing", b"\0" * 1000], ids=["empty", "text", "zeros"])
def test_what_is_no_model_at_all(suffix: str, data: bytes, files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(data)
    path.with_suffix(".bin").write_bytes(data)
    assert path.name in refused(path)


def test_flipped_weights_of_openvino(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_bytes(files[".xml"].read_bytes())
    path.with_suffix(".bin").write_bytes(files[".xml"].with_suffix(".bin").read_bytes()[:-40])
    assert "cannot be read as a openvino model" in refused(path)


@pytest.fixture(scope="module")
def writer_of_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path, Any]:
    """A TensorFlow Lite file whose custom operator is TensorFlow's own for writing files, and what it writes."""
    tf = import_tensorflow()
    mark = tmp_path_factory.mktemp("mark") / "mark"

    @tf.function(input_signature=[tf.TensorSpec((None, 14, 14, 3), tf.float32)])  # type: ignore[untyped-decorator]
    def run(images: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file(str(mark), "ran")]):
            return tf.nn.softmax(tf.reduce_mean(images, (1, 2)))

    converter = tf.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    return converter.convert(), mark, run


def test_custom_operators_of_tensorflow_lite_do_not_run(
    writer_of_files: tuple[bytes, Path, Any], files: dict[str, Path], tmp_path: Path
) -> None:
    data, mark, _ = writer_of_files
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    with zipfile.ZipFile(files[".tflite"]) as archive, zipfile.ZipFile(path, "a") as target:
        target.writestr(MEMBER, archive.read(MEMBER))
    assert "the custom operator b'FlexWriteFile'" in refused(path)
    assert not mark.exists()


def test_the_operator_would_leave_a_mark(writer_of_files: tuple[bytes, Path, Any]) -> None:
    """Or the test above could not fail: where TensorFlow itself runs what was converted, it writes the file."""
    _, mark, run = writer_of_files
    run(IMAGES)
    assert mark.read_text() == "ran"


@pytest.mark.parametrize("change", ["external", "above", "domain", "function"])
def test_onnx_files_hold_all_that_they_need(change: str, files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(1 << 20))
    model = onnx.load(files[".onnx"])
    tensor = next(tensor for tensor in model.graph.initializer if len(tensor.raw_data) > 16)
    if change in {"external", "above"}:
        place = "weights.bin" if change == "external" else "../../../../../../etc/passwd"
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)
    elif change == "domain":
        model.graph.node[0].domain = "com.example"
        model.opset_import.add(domain="com.example", version=1)
    else:
        model.opset_import.add(domain="com.example", version=1)
        node = onnx.helper.make_node("Add", ["a", "a"], ["b"])
        model.functions.append(onnx.helper.make_function("com.example", "F", ["a"], ["b"], [node], model.opset_import))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    message = refused(tmp_path / "model.onnx")
    assert "lie in another file" in message or "the operator 'com.example'" in message or "cannot be read" in message


def test_operators_of_an_extension_of_openvino_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    text = files[".xml"].read_text()
    assert 'type="Convolution" version="opset1"' in text
    path = tmp_path / "model.xml"
    path.write_text(text.replace('type="Convolution" version="opset1"', 'type="Evil" version="extension"'))
    path.with_suffix(".bin").write_bytes(files[".xml"].with_suffix(".bin").read_bytes())
    assert "cannot be read as a openvino model" in refused(path)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(parts: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def test_a_file_that_was_packed_again_opens(files: dict[str, Path], tmp_path: Path) -> None:
    """Or the tests below could not fail."""
    for suffix in (".keras", ".fbmodel"):
        path = written(members(files[suffix]), tmp_path / f"model{suffix}")
        assert load_model(path).predict(IMAGES).shape == (2, 3)


def bomb(_: Path) -> dict[str, bytes]:
    return {"head.head": bytes(FREE_BYTES + 1)}


def bomb_inside(_: Path) -> dict[str, bytes]:
    """An array of zeros in the head, which is small when it is unpacked once."""
    np.savez_compressed(buffer := io.BytesIO(), exact=np.zeros(FREE_BYTES + 1, np.uint8), classes=np.arange(2))
    return {"head.head": buffer.getvalue()}


def outside(_: Path) -> dict[str, bytes]:
    return {"../../mark": b"out"}


def pickle_in_the_head(mark: Path) -> dict[str, bytes]:
    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (mark,)

    np.savez(buffer := io.BytesIO(), estimator=np.array([Bomb()], object), classes=np.arange(2))
    return {"head.head": buffer.getvalue()}


def lambda_in_the_trunk(_: Path) -> dict[str, bytes]:
    written({"config.json": b'{"class_name": "Lambda", "config": {}}'}, path := _.with_suffix(".keras"))
    return {"trunk.keras": path.read_bytes()}


def other_types(_: Path) -> dict[str, bytes]:
    return {MEMBER: b'{"version": 2, "backbone_digest": "", "proof": null, "classes": [1], "image_size": "14"}'}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (bomb, "unpack to"), (bomb_inside, "unpack to"), (outside, "leads outside the archive"),
        (pickle_in_the_head, "holds Python objects"), (lambda_in_the_trunk, "ArchiveError|no member|Lambda"),
        (other_types, "is damaged"),
    ],
)  # fmt: skip
def test_joined_models_of_strangers(
    change: Callable[[Path], dict[str, bytes]], message: str, files: dict[str, Path], tmp_path: Path
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = written({**members(files[".fbmodel"]), **change(tmp_path / "mark")}, inner / "model.fbmodel")
    assert re.search(message, refused(path))
    assert not (tmp_path / "mark").exists()
    assert [file.name for file in inner.iterdir()] == ["model.fbmodel"]


def test_a_cycle_in_a_tree_ends(files: dict[str, Path], tmp_path: Path) -> None:
    parts = members(files[".fbmodel"])
    with zipfile.ZipFile(io.BytesIO(parts["head.head"])) as archive:
        arrays = {name: archive.read(name) for name in archive.namelist()}
    nodes = json.loads(np.load(io.BytesIO(arrays["estimator.npy"])).tobytes())["nodes"]
    tree = next(node for node in nodes if node.get("class") == "sklearn.tree._tree.Tree")
    name = f"{nodes[tree['state']['nodes'][0]]['name']}.npy"
    array = np.load(io.BytesIO(arrays[name]))
    array["left_child"][0] = array["right_child"][0] = 0
    np.save(buffer := io.BytesIO(), array)
    written({**arrays, name: buffer.getvalue()}, tmp_path / "head")
    parts["head.head"] = (tmp_path / "head").read_bytes()
    assert "a tree whose children follow it" in refused(written(parts, tmp_path / "model.fbmodel"))
