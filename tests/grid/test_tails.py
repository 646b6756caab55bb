"""Tails in grids: what they take from the bank, and what is told of their cuts before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from grids import save_features

from featurebank import load_backbone, train_heads
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.errors import ConfigError
from featurebank.grid import expand
from featurebank.runs.run import load_runs

pytestmark = pytest.mark.heavy

NET = {"backbone": "mobilenet_v2", "weights": "random:0", "image_size": 32, "preprocessing": None}


@pytest.fixture(scope="module")
def small() -> Backbone:
    return load_backbone("tiny:network", weights="random:0")


@pytest.fixture
def bank(small: Backbone, tmp_path: Path) -> Bank:
    random = np.random.default_rng(0)
    images = random.uniform(0, 100, (60, 14, 14, 3)).astype(np.float32)
    for label in range(3):
        images[label::3, :, :, label] += 100
    found = small.tap_model(["cut", "pooled"])(images)
    return save_features(tmp_path / "bank", small, {tap: np.asarray(values) for tap, values in found.items()})


@pytest.fixture
def mobile(tmp_path: Path) -> Bank:
    """A bank of MobileNetV2, as if it were; nothing is trained on it."""
    backbone = load_backbone("mobilenet_v2", weights="random:0", image_size=32)
    taps = {"pooled": (8,), "block_15_add": (1, 1, 160), "block_12_add": (1, 1, 96)}
    return save_features(tmp_path / "m", backbone, {n: np.zeros((6, *shape), np.float32) for n, shape in taps.items()})


def write(folder: Path, text: str) -> str:
    path = folder / "grid.toml"
    path.write_text(text)
    return str(path)


TAILS = """
[[head]]
kind = "tail"
cut = "cut"
learning_rate = [0.01, 0.02]
epochs = 9

[[head]]
kind = "residual_stage"
tap = "cut"
filters = [[3, 3, 4]]
blocks = 1
epochs = 2

[[head]]
kind = "nearest_mean"
"""


def test_a_grid_with_tails(bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = train_heads(bank, write(tmp_path, TAILS), seeds=1)
    assert {run.failure for run in runs} == {None}
    tails = [run for run in runs if run.head == "tail"]
    assert {run.tap for run in tails} == {"cut"}
    expected = {"backbone": "tiny:network", "weights": "random:0", "image_size": 14, "preprocessing": "none"}
    assert all(run.params.items() >= expected.items() for run in tails)
    assert max(run.metrics["val"]["accuracy"] for run in tails) > 0.8
    assert all(len(run.history["val_loss"]) <= 9 for run in tails if run.history)
    monkeypatch.setattr("featurebank.grid.worker.fit_heads", lambda *_: pytest.fail("trained again"))
    assert [run.run for run in train_heads(bank, write(tmp_path, TAILS))] == [run.run for run in runs]
    assert len(load_runs(bank)) == 4


def test_a_tail_of_a_transformer_pools_as_the_network(tmp_path: Path) -> None:
    backbone = load_backbone("tiny:transformer")
    rows = {"block1_out": np.zeros((6, 17, 8), np.float32), "pooled": np.zeros((6, 8), np.float32)}
    bank = save_features(tmp_path / "bank", backbone, rows)
    specs = expand(
        [{"kind": "tail", "cut": "block1_out"}, {"kind": "tail", "cut": "block1_out", "pooling": "avg"}], bank
    )
    assert [(spec.tap, spec.params["pooling"]) for spec in specs] == [("block1_out", "own"), ("block1_out", "avg")]
    wrong = {"cut": "block0_out"}, {"cut": "block1_out", "train_from": "block0_norm1"}, {"cut": "block1_attention"}
    with pytest.raises(ConfigError) as caught:
        expand([{"kind": "tail", **params} for params in wrong], bank)
    text = str(caught.value)
    assert "the bank holds no tap 'block0_out'" in text
    assert "layer to train from 'block0_norm1'" in text
    assert "'block1_attention' is not a cut point" in text


def test_tails_race(bank: Bank) -> None:
    grid = [{"kind": "tail", "cut": "cut", "epochs": 9, "learning_rate": rate} for rate in (1e-5, 1e-3, 1e-2)]
    runs = train_heads(bank, grid, search="halving")
    assert [run.rung is None for run in runs] == [True, False, False]


def test_the_network_is_loaded_once(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, network = [], tiny.network
    monkeypatch.setattr(tiny, "network", lambda: (calls.append(1), network())[1])
    grid = [{"kind": "tail", "cut": "cut", "learning_rate": 1 / n} for n in range(1, 20)]
    assert len(expand(grid, bank)) == 19
    assert len(calls) <= 2, "once to look whether it is the bank's"


WRONG = """
[[head]]
kind = "tail"
cut = ["block_15_add", "block_14_project", "block_15_ad", "block_14_add"]

[[head]]
kind = "tail"
cut = "block_15_add"
train_from = ["block_16_project", "block_1_project", "out_relu"]

[[head]]
kind = "tail"
learning_rate = 0.1

[[head]]
kind = "tail"
cut = "block_12_add"

[[head]]
kind = "tail"
tap = "pooled"
cut = "block_15_add"
init = "old"
"""


def test_every_problem_of_a_cut_is_told_with_its_line(
    mobile: Bank, tmp_path: Path, no_training: Callable[[], None]
) -> None:
    no_training()
    file = write(tmp_path, WRONG)
    with pytest.raises(ConfigError) as caught:
        train_heads(mobile, file)
    told = str(caught.value)
    for line, text in [
        (4, "head 'tail': 'block_14_project' is not a cut point: paths of the network bypass it; the nearest are "),
        (4, "head 'tail': unknown cut point 'block_15_ad': did you mean 'block_15_add'"),
        (
            4,
            "head 'tail': the bank holds no tap 'block_14_add' (but pooled, block_15_add, block_12_add): ",
        ),
        (9, "head 'tail': unknown layer to train from 'block_1_project'"),
        (9, "head 'tail': no layer from 'out_relu' has weights to train"),
        (12, "head 'tail': cut is '', expected the name of a layer"),
        (17, "head 'tail': the maps are 1 x 1 x 96, but 'block_12_add' of mobilenet_v2 gives 2 x 2 x 96"),
        (21, "head 'tail' needs a map, but tap 'pooled' has vectors of 8 numbers"),
        (23, "head 'tail': init is 'old', expected pretrained, fresh"),
    ]:
        assert f"{file}:{line}: {text}" in told
    assert told.count(f"{file}:") == 9
    assert len(told.split("\n")) == 9
    assert not (mobile.path / "runs").exists()


def test_a_tail_of_another_network_than_the_banks(mobile: Bank) -> None:
    grid: list[dict[str, Any]] = [{"kind": "tail", "cut": "block_15_add", "backbone": "mobilenet_w2"}]
    with pytest.raises(ConfigError, match="unknown backbone 'mobilenet_w2': did you mean 'mobilenet_v2'"):
        expand(grid, mobile)
    (spec,) = expand([{"kind": "tail", "cut": "block_15_add", **NET, "weights": "random:1"}], mobile)
    assert spec.params["weights"] == "random:1"


def test_a_bank_whose_network_is_gone(make_bank: Callable[..., Bank], small: Backbone, tmp_path: Path) -> None:
    grid = [{"kind": "tail", "cut": "cut"}]
    with pytest.raises(ConfigError, match="head 'tail': the bank's network 'none' was a model in memory"):
        expand(grid, make_bank())
    other = load_backbone("tiny:network", weights="random:1")
    changed = save_features(tmp_path / "c", small, {"cut": np.zeros((6, 7, 7, 2), np.float32)})
    changed.manifest.source["weights"] = other.weights  # type: ignore[index]
    with pytest.raises(ConfigError, match="head 'tail': the bank was made by another weights than tiny:network"):
        expand(grid, changed)


def test_maps_that_are_too_small_are_told_at_once(bank: Bank, tmp_path: Path) -> None:
    file = write(tmp_path, '[[head]]\nkind = "conv"\ntap = "cut"\nkernel_size = [3, 9]\n')
    with pytest.raises(ConfigError, match=r"grid.toml:4: head 'conv': convolution 1 \(9 x 9.* leaves nothing of a map"):
        expand(file, bank)
