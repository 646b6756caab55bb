from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featurebank.backbone import load_backbone
from featurebank.backbone.efficientnet_lite import embedded_file
from featurebank.backbone.torch_file import read_tensors
from featurebank.errors import WeightsError

SAMPLE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "imagenet_sample"


@pytest.fixture(scope="module")
def lite():
    return load_backbone("efficientnet_lite0")


def test_every_tensor_of_the_file_is_used(lite) -> None:
    tensors = read_tensors(embedded_file())
    counted = sum(t.size for name, t in tensors.items() if not name.endswith("num_batches_tracked"))
    assert lite.classifier().count_params() == counted


def test_a_state_dictionary_of_another_network(lite, monkeypatch) -> None:
    from featurebank.backbone import efficientnet_lite

    tensors = read_tensors(embedded_file())
    other = load_backbone("efficientnet_lite0", image_size=32)
    monkeypatch.setattr(efficientnet_lite, "read_tensors", lambda _: {**tensors, "_bn0.bias": np.zeros(3)})
    with pytest.raises(WeightsError, match=r"layer 'stem_bn'.*another network"):
        other.network()
    monkeypatch.setattr(efficientnet_lite, "read_tensors", lambda _: {})
    with pytest.raises(WeightsError, match=r"no tensor '_conv_stem\.weight'"):
        other.network()


def test_layer_names_are_those_of_efficientnet(lite) -> None:
    names = {name for name, _ in lite.layers()}
    assert {"stem_conv", "block1a_dwconv", "block2b_add", "block6d_project_bn", "top_activation"} <= names
    assert "block7a_add" not in names


@pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"no ImageNet sample at {SAMPLE}: the accuracy is not measured")
def test_accuracy_on_imagenet(lite) -> None:
    with (SAMPLE / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    images = [lite.resize(np.asarray(Image.open(SAMPLE / row["file"]).convert("RGB"))) for row in rows]
    truth = np.array([int(row["imagenet_index"]) for row in rows])
    order = np.argsort(-lite.classifier().predict(np.stack(images).astype("float32"), batch_size=50, verbose=0))
    assert len(rows) == 200
    assert (order[:, 0] == truth).mean() >= 0.86
    assert (order[:, :5] == truth[:, None]).any(axis=1).mean() >= 0.96
