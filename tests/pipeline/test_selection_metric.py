"""`[select] metric` decides which head is fine-tuned, which epoch is the best, and which run is selected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from finetunes import save_photos

import featurebank as fb
from featurebank.pipeline import PipelineResult

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("pipeline")
    save_photos(found / "photos")
    (found / "grid.toml").write_text('[[head]]\nkind = "softmax"\nepochs = 2\n[[head]]\nkind = "nearest_mean"\n')
    return found


def run(folder: Path, *overrides: str) -> PipelineResult:
    path = folder / "pipeline.toml"
    path.write_text(
        f"dataset.name = {str(folder / 'photos')!r}\nextract.backbone = 'tiny:network'\n"
        f"heads.grid = {str(folder / 'grid.toml')!r}\n"
        "[finetune]\nunfreeze = ['last']\nepochs = 9\nbatch_size = 8\n"
    )
    return fb.run_pipeline(fb.read_pipeline(path, overrides), cache=folder / "cache")


def of(result: PipelineResult) -> dict[str, Any]:
    assert result.finetuned is not None
    assert result.finetuned.finetune is not None
    return dict(result.finetuned.finetune)


def test_the_fine_tune_follows_the_metric_of_the_selection(folder: Path) -> None:
    result = run(folder, "select.metric='log_loss'")
    assert result.finetuned is not None
    losses = {run.run: run.metrics["val"]["loss"] for run in result.runs}
    assert result.chosen.run == result.runs[0].run == min(losses, key=lambda name: losses[name])
    heads = [run for run in result.runs if not run.is_finetune]
    assert of(result)["from"] == heads[0].run
    assert result.finetuned.params["monitor"] == "val_loss"
    gain = of(result)["gain"]
    assert gain["metric"]["name"] == "loss"
    assert gain["metric"]["after"] == pytest.approx(losses[result.finetuned.run])
    assert gain["metric"]["before"] - gain["metric"]["after"] == pytest.approx(gain["loss"])
    low, high = gain["metric"]["interval"]
    assert low <= gain["metric"]["after"] - gain["metric"]["before"] <= high
    assert "validation loss" in gain["worth"]
    assert "validation accuracy" not in gain["worth"]
    again = run(folder, "select.metric='log_loss'")
    assert again.finetuned == result.finetuned, "its record is valid, and nothing is done again"


def test_its_own_monitor_stays(folder: Path) -> None:
    path = folder / "own.toml"
    path.write_text(
        "dataset.name = 'digits'\nextract.backbone = 'tiny:network'\nfinetune.unfreeze = ['last']\n"
        "heads.metric = 'auroc'\n"
    )

    def monitor(*overrides: str) -> str:
        section = fb.read_pipeline(path, overrides).finetune
        assert section is not None
        return section.monitor

    assert monitor() == "val_auroc"
    assert monitor("select.metric='recall:3'") == "val_recall:3"
    assert monitor("select.metric='accuracy'") == "val_accuracy"
    assert monitor("finetune.monitor='val_loss'") == "val_loss"
    assert monitor("select.metric='nonsense'") == "val_accuracy", "load_inputs refuses the metric"


def test_a_fine_tune_by_costs_is_known_by_the_costs(folder: Path) -> None:
    costs = folder / "costs.csv"
    costs.write_text(",ant,bee,cow\nant,0,1,1\nbee,5,0,1\ncow,1,1,0\n")
    metric = f"select.metric='cost:{costs}'"
    first, again = run(folder, metric), run(folder, metric)
    assert first.finetuned is not None
    assert first.finetuned == again.finetuned
    assert str(first.finetuned.params["monitor"]).startswith(f"val_cost:{costs}#")
    assert of(first)["gain"]["metric"]["name"] == f"cost:{costs}"
    costs.write_text(",ant,bee,cow\nant,0,9,1\nbee,1,0,1\ncow,1,1,0\n")
    other = run(folder, metric)
    assert other.finetuned is not None
    assert other.finetuned.run != first.finetuned.run
    assert other.finetuned.key != first.finetuned.key
