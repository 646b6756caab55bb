"""Curves as files: pictures and histories of one run, of several, and one file for each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from featurebank.api.curves import Curves
from featurebank.errors import ConfigError, HeadError
from featurebank.runs.curves import check_curve_files, curve_json, curve_summary, missing_curves, write_curves
from featurebank.runs.run import RunRecord

CURVES = {
    "loss": [1.0, 0.5, 0.3, 0.2, 0.1, 0.05], "val_loss": [1.0, 0.6, 0.8, 0.9, 1.2, None],
    "accuracy": [0.3, 0.8, 0.9, 0.9, 1.0, 1.0], "val_accuracy": [0.3, 0.7, 0.7, 0.6, 0.6, 0.6],
    "learning_rate": [0.001] * 6, "best_epoch": 2,
}  # fmt: skip
RUN = RunRecord(
    "0123456789", "mlp", {"hidden_units": 8}, "pooled", 3, 1.5, {"val": {"accuracy": 0.7}}, bank="", created="",
    history=CURVES,
)  # fmt: skip
OTHER = replace(RUN, run="9876543210", history={**CURVES, "val_loss": [1.0, 0.5, 0.4, 0.3, 0.3, 0.2]})


def test_the_history_as_recorded(tmp_path: Path) -> None:
    (path,) = write_curves([tmp_path / "h.json"], [RUN])
    found = json.loads(path.read_text())
    assert found == json.loads(json.dumps(curve_json(RUN)))
    assert found["history"] == {name: values for name, values in CURVES.items() if name != "best_epoch"}
    assert [found[name] for name in ("run", "head", "tap", "seed", "epochs", "best_epoch")] == [
        "0123456789", "mlp", "pooled", 3, 6, 2,
    ]  # fmt: skip
    write_curves([path], [RUN, OTHER], force=True)
    assert [one["run"] for one in json.loads(path.read_text())] == [RUN.run, OTHER.run]


def test_pictures_and_histories_of_each_run(tmp_path: Path) -> None:
    paths = write_curves([tmp_path / "{run}.svg", tmp_path / "both.svg", tmp_path / "{run}.json"], [RUN, OTHER])
    assert [path.name for path in paths] == [
        "0123456789.svg", "9876543210.svg", "both.svg", "0123456789.json", "9876543210.json",
    ]  # fmt: skip
    one, both = (path.read_text() for path in (paths[0], paths[2]))
    assert "best epoch 2" in one
    assert "over-fitting" in one
    assert all(run.run in both for run in (RUN, OTHER))


def test_a_summary_names_over_fitting() -> None:
    assert curve_summary(RUN) == {"epochs": 6, "best_epoch": 2, "val_accuracy": 0.7, "over_fitting": [2, 5]}
    assert curve_summary(OTHER)["over_fitting"] is None


def test_a_run_without_curves_says_why(tmp_path: Path) -> None:
    svm = replace(RUN, head="svm", params={}, history=None)
    failed = replace(RUN, history=None, failure="the loss is\nnot finite")
    assert missing_curves(RUN) is None
    assert missing_curves(replace(RUN, history=Curves.of("mlp", CURVES))) is None
    assert str(missing_curves(svm)).endswith("has no curves, because this kind of head is not trained in epochs")
    assert str(missing_curves(failed)).endswith("has no curves, because it failed: the loss is not finite")
    with pytest.raises(HeadError, match=r"run 0123456789 \(svm\) has no curves"):
        write_curves([tmp_path / "a.png"], [svm])


def test_nothing_is_written_if_one_file_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "9876543210.json").touch()
    with pytest.raises(ConfigError, match="exists: choose another path"):
        write_curves([tmp_path / "both.json", tmp_path / "{run}.json"], [RUN, OTHER])
    many = [replace(RUN, run=f"{number:010}") for number in range(13)]
    with pytest.raises(ConfigError, match=r"would show 13 runs, expected 12 at most .*as 'curves-\{run\}\.svg'"):
        write_curves([tmp_path / "all.json", tmp_path / "all.svg"], many)
    assert [path.name for path in tmp_path.iterdir()] == ["9876543210.json"]


def test_a_million_epochs_are_no_picture(tmp_path: Path) -> None:
    curves = {"loss": [0.5] * 100_001, "best_epoch": 1}
    run = RunRecord("0123456789", "mlp", {}, "pooled", 0, 1.5, {}, bank="", created="", history=curves)
    with pytest.raises(ConfigError, match=r"would show 100001 epochs, expected 100000 at most: write a .json file"):
        check_curve_files([tmp_path / "c.png"], [run])
    assert check_curve_files([tmp_path / "c.json"], [run])
