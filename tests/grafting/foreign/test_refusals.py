"""What networks that are not of Keras can do from bank to heat map, and what is refused before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import run_command

from featurebank import explain, extract, finetune, load_backbone, load_dataset, train_heads
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.errors import ConfigError, HeadError
from featurebank.runs.run import RunRecord
from tests.support.onnx_networks import vit

pytestmark = pytest.mark.heavy

PIPELINE = """
[dataset]
name = "{photos}"
[extract]
backbone = "{network}"
preprocessing = "torch"
[heads]
grid = "{grid}"
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer whose `pooled` is the mean of its patches."""
    return vit(pooling="mean of patches").save(tmp_path_factory.mktemp("refusals") / "vit.onnx", "head")


@pytest.fixture(scope="module")
def backbone(network: Path) -> Backbone:
    return load_backbone(str(network), preprocessing="torch")


@pytest.fixture(scope="module")
def foreign_bank(backbone: Backbone, network: Path, shown: Path) -> Bank:
    return extract(load_dataset(str(shown)), backbone, ["pooled", "map"], cache=network.parent / "cache")


@pytest.fixture(scope="module")
def run(foreign_bank: Bank) -> RunRecord:
    return train_heads(foreign_bank, [{"kind": "logistic"}])[0]


def contents(folder: Path) -> list[Path]:
    """All that lies in a folder, except locks and notes of the last use."""
    return sorted(path for path in folder.rglob("*") if path.is_dir() or path.suffix in {".h5", ".head", ".json"})


def test_what_trains_layers_is_refused(foreign_bank: Bank, run: RunRecord, backbone: Backbone, network: Path) -> None:
    before = contents(network.parent)
    with pytest.raises(ConfigError, match=r"vit is a network of OpenVINO, .* fine-tuned: export the head"):
        finetune(run, bank=foreign_bank, backbone=backbone, unfreeze=["all"])
    with pytest.raises(ConfigError, match=r"head 'tail': vit is a network of OpenVINO, .* train heads on its features"):
        train_heads(foreign_bank, [{"kind": "tail", "cut": "block1"}])
    assert contents(network.parent) == before


def test_gradients_are_refused_and_occlusion_and_cam_work(
    foreign_bank: Bank, run: RunRecord, backbone: Backbone, shown: Path
) -> None:
    """The mean of patches has places, so that a head on it has a map; see `docs/guide/networks.md`."""
    image = str(min(shown.glob("val/ant/*")))
    with pytest.raises(HeadError, match=r"only networks of Keras have gradients here: use --method occlusion"):
        explain(run, image, method="gradcam", layer="block1", bank=foreign_bank, backbone=backbone)
    cam = explain(run, image, bank=foreign_bank, backbone=backbone)
    assert (cam.method, cam[0].cells.shape) == ("cam", (4, 4))
    hidden = explain(run, image, method="occlusion", bank=foreign_bank, backbone=backbone)
    assert (hidden.method, hidden[0].cells.shape) == ("occlusion", (10, 10))
    assert np.ptp(hidden[0].cells) > 0
    pooled, mean = foreign_bank.features("pooled"), np.asarray(foreign_bank.features("map")).mean((1, 2))
    assert np.abs(pooled - mean).max() < 1e-2 * np.abs(mean).max()  # maps are stored as float16


def test_a_pipeline_is_planned_or_refused_before_anything_is_computed(
    network: Path, shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    grid, file, cache = tmp_path / "grid.toml", tmp_path / "pipeline.toml", tmp_path / "cache"
    grid.write_text('[[head]]\nkind = "logistic"\n')
    file.write_text(text := PIPELINE.format(photos=shown, network=network, grid=grid))
    words = ("--cache", cache, "run", file)
    plan = json.loads(run_command((*words, "--dry-run", "--json"), monkeypatch, capsys)[0])
    assert (plan["extract"]["rows"], plan["extract"]["missing"]) == (40, 40)
    file.write_text(text + '[finetune]\nunfreeze = ["all"]\n')
    _, refusal = run_command(words, monkeypatch, capsys, code=1)
    assert "vit is a network of OpenVINO, and only layers of Keras can be trained: omit the section [fine" in refusal
    assert not list(cache.rglob("*.h5"))
