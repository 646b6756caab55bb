"""Which runs fine-tunes start from, and several fine-tunes one after another."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import onnx_networks
import pytest
from listener import Listener

import featurebank as fb
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.errors import ConfigError, HeadError, UnknownNameError
from featurebank.finetuning.options import read_options
from featurebank.finetuning.starts import find_starts
from featurebank.grafting.export_stage import ExportOptions, find_exportable
from featurebank.metrics import METRICS
from featurebank.metrics.metric import averaged
from featurebank.runs.predictions.scoring import scored
from featurebank.runs.run import RunRecord

pytestmark = pytest.mark.heavy


@pytest.fixture
def copied(bank: Bank, tmp_path: Path) -> Bank:
    """A copy of the bank without the runs of other tests."""
    shutil.copytree(bank.path, tmp_path / "cache" / bank.name, ignore=shutil.ignore_patterns("runs"))
    return Bank(tmp_path / "cache" / bank.name)


@pytest.fixture
def runs(copied: Bank) -> list[RunRecord]:
    return [*fb.train_heads(copied, [{"kind": "knn"}, *({"kind": "ridge", "alpha": a} for a in (1.0, 10.0, 100.0))])]


def test_names_become_runs_each_once(copied: Bank, runs: list[RunRecord], said: Listener) -> None:
    layered = [run for run in runs if run.head == "ridge"]
    assert [run.run for run in find_starts(["top:2"], copied, said)] == [run.run for run in layered[:2]]
    assert len([line for line in said.said if line.startswith("skipping")]) <= 1
    found = find_starts([layered[1], "best", layered[2].run, "top:2"], copied)
    assert [run.run for run in found] == [layered[1].run, layered[0].run, layered[2].run]
    assert len(find_starts(["top:9"], copied, said)) == 3
    assert said.said[-1] == "top:9: only 3 heads can be expressed as layers"


def test_the_metric_decides_which_head_is_best(
    copied: Bank, runs: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry of the table ranks where fine-tunes start, exports of the best run and what an epoch is kept by."""
    made = averaged("made", lambda images: images.confidence, larger_is_better=False)
    monkeypatch.setitem(METRICS, "made", made)
    ranked = sorted(
        (run for run in scored(runs, made) if run.head == "ridge"), key=lambda run: run.metrics["val"]["made"]
    )
    found = find_starts(["best", "top:3"], copied, metric=made)
    assert [run.run for run in found] == [run.run for run in ranked]
    options = ExportOptions(metric="made")
    assert find_exportable(copied, "best", Path("model.keras"), options).run == ranked[0].run
    assert read_options({"unfreeze": ["all"]}, metric="made").monitor == "val_made"
    assert read_options({"unfreeze": ["all"], "monitor": "val_loss"}, metric="made").monitor == "val_loss"


@pytest.mark.parametrize("name", ["top:", "top:0", "top:-1", "top:x", "top:1.5"])
def test_wrong_numbers_are_refused(copied: Bank, runs: list[RunRecord], name: str) -> None:
    with pytest.raises(ConfigError, match=f"the run to start from is '{name}': expected top:N with a whole number"):
        find_starts([name], copied)


def test_nothing_and_unknown_runs_are_refused(copied: Bank, runs: list[RunRecord]) -> None:
    with pytest.raises(ConfigError, match="no run is given"):
        find_starts([], copied)
    with pytest.raises(UnknownNameError):
        find_starts(["0000000000"], copied)
    with pytest.raises(fb.FeatureBankError, match=r"runs is .3.: expected runs, a list"):
        fb.finetune_all([3])  # type: ignore[list-item]


def test_several_runs_are_fine_tuned_and_one_that_fails_stops_no_other(
    copied: Bank, runs: list[RunRecord], tiny: Backbone, said: Listener
) -> None:
    knn = next(run for run in runs if run.head == "knn")
    layered = [run for run in runs if run.head == "ridge"]
    with pytest.raises(HeadError, match=rf"1 of 3 fine-tunes failed; the first, from run {knn.run}: .*layers"):
        fb.finetune_all([layered[0], knn, layered[1]], unfreeze="last", epochs=1, reporter=said)
    assert [line for line in said.said if line.startswith("fine-tune ")] == [
        f"fine-tune {number} of 3, from run {run.run}" for number, run in enumerate((layered[0], knn, layered[1]), 1)
    ]
    tuned = fb.finetune_all(layered[:2], unfreeze="last", epochs=1)
    assert [run.finetune and run.finetune["from"] for run in tuned] == [run.run for run in layered[:2]]
    assert fb.finetune(layered[0], unfreeze="last", epochs=1).run == tuned[0].run


def scored_as(runs: list[fb.Run], accuracy: float) -> RunRecord:
    """Writes another accuracy into the record of the first run, and returns it."""
    run = replace(runs[0], metrics={**runs[0].metrics, "val": {**runs[0].metrics["val"], "accuracy": accuracy}})
    run.save()
    return run


def test_of_several_banks_the_best_head_on_a_network_of_keras_starts(
    copied: Bank, shown: Path, tmp_path: Path, said: Listener
) -> None:
    """A better head on a network of ONNX or on one that cannot be loaded again is skipped, with the reason."""
    network = onnx_networks.cnn(16).model(["flat"])
    onnx.save(network, tmp_path / "small.onnx")
    other = fb.load_backbone(str(tmp_path / "small.onnx"), preprocessing="none")
    foreign = fb.extract(fb.load_dataset(str(shown)), other, ["pooled"], cache=tmp_path / "cache")
    banks = [foreign, copied]
    best = scored_as(fb.train_heads(foreign, "nearest_mean"), 1.0)
    with pytest.raises(HeadError, match=r"small is a network of .*, not of Keras"):
        find_starts(["best"], banks)
    own = scored_as(fb.train_heads(copied, "nearest_mean"), 0.5)
    assert fb.select(banks).run == best.run
    tuned = fb.finetune("best", bank=banks, unfreeze="last", epochs=1, reporter=said)
    assert tuned.finetune is not None
    assert tuned.finetune["from"] == own.run
    assert tuned.directory == copied.path
    assert any(line.startswith(f"skipping {best.run} (1.0000): small is a network of") for line in said.said)
    keras_file = fb.export(own.run, tmp_path / "of_a_head.keras", bank=banks)
    assert fb.load_model(keras_file).classes == copied.classes
    chosen = find_exportable(banks, "best", Path("model.keras"), ExportOptions())
    assert chosen.directory == copied.path
    assert find_exportable(banks, "best", Path("model.fbmodel"), ExportOptions()).run == best.run
    (tmp_path / "small.onnx").unlink()
    assert find_exportable(banks, "best", Path("model.keras"), ExportOptions(), said).directory == copied.path
    assert "small.onnx" in said.said[-2]
