"""TensorBoard's files, read back by TensorBoard's own reader."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import forks
import pytest

from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.errors import MissingDependencyError
from featurebank.runs.logs.tensorboard import TensorBoardWriter, write_tensorboard
from featurebank.runs.run import RunRecord

pytestmark = pytest.mark.heavy

GRID: list[dict[str, Any]] = [{"kind": "ridge", "alpha": 10.0}, {"kind": "softmax", "epochs": 3, "standardize": True}]


@pytest.fixture
def runs(make_bank: Callable[..., Bank]) -> dict[str, RunRecord]:
    return {run.head: run for run in train_heads(make_bank(noise=4.0), GRID)}


def read(directory: Path, run: RunRecord) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(directory / run.tap / f"{run.head}-{run.run}"))
    found.Reload()
    return found


def test_a_run_with_epochs_has_its_curves_and_its_final_metrics(runs: dict[str, RunRecord], tmp_path: Path) -> None:
    run = runs["softmax"]
    assert write_tensorboard(list(runs.values()), tmp_path) == 2
    found = read(tmp_path, run)
    history = run.history or {}
    for name in ("loss", "val_loss", "val_accuracy"):
        events = found.Scalars(f"epoch/{name}")
        assert [event.step for event in events] == list(range(1, len(history[name]) + 1))
        assert [event.value for event in events] == pytest.approx(history[name])
    for split in ("train", "val"):
        for name in ("accuracy", "loss", "macro_f1"):
            (event,) = found.Scalars(f"{split}/{name}")
            assert event.value == pytest.approx(run.metrics[split][name])
            assert event.step == history["best_epoch"]


def nodes(found: Any) -> dict[str, tuple[str, list[str]]]:
    graph = found.Graph()
    return {node.name: (node.op, list(node.input)) for node in graph.node}


def test_a_head_has_its_graph(make_bank: Callable[..., Bank], tmp_path: Path) -> None:
    (run,) = train_heads(make_bank(), [{"kind": "mlp", "hidden_units": (5, 4), "epochs": 1}])
    write_tensorboard([run], tmp_path)
    found = read(tmp_path, run)
    assert nodes(found) == {
        "pooled": ("Tap", []),
        "hidden_1": ("Dense", ["pooled"]),
        "hidden_2": ("Dense", ["hidden_1"]),
        "mlp": ("mlp", ["hidden_2"]),
        "probabilities": ("Softmax", ["mlp"]),
    }


def test_a_network_has_its_graph_with_shapes(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tiny import network

    model, _ = network()
    with TensorBoardWriter(tmp_path, "pooled", "finetune", "0") as board:
        board.show_graph(model)
    found = EventAccumulator(str(tmp_path / "pooled" / "finetune-0"))
    found.Reload()
    kinds = nodes(found)
    assert kinds["last_bn"] == ("BatchNormalization", ["last"])
    assert kinds["last"] == ("Conv2D", ["cut"])
    shapes = {node.name: node.attr["shape"].s for node in found.Graph().node}
    assert shapes["cut"] == b"[7, 7, 2]"


def test_a_run_without_epochs_has_its_final_metrics(runs: dict[str, RunRecord], tmp_path: Path) -> None:
    write_tensorboard(list(runs.values()), tmp_path)
    found = read(tmp_path, runs["ridge"])
    assert found.Scalars("val/brier")[0].value == pytest.approx(runs["ridge"].metrics["val"]["brier"])
    assert found.Scalars("seconds")[0].value == pytest.approx(runs["ridge"].seconds)
    assert not any(tag.startswith("epoch/") for tag in found.Tags()["scalars"])
    assert not any("test" in tag for tag in found.Tags()["scalars"])


def test_hyperparameters_are_those_of_the_runs(runs: dict[str, RunRecord], tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    write_tensorboard(list(runs.values()), tmp_path)
    for run in runs.values():
        content = read(tmp_path, run).PluginTagToContent("hparams")
        start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
        values = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
        told = {name: "None" if value is None else value for name, value in run.params.items()}
        assert values == {**told, "head": run.head, "tap": "pooled", "seed": 0}
        end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
        assert end.end_time_secs == pytest.approx(start.start_time_secs + run.seconds)


def test_writing_again_replaces_and_failed_runs_are_left_out(make_bank: Callable[..., Bank], tmp_path: Path) -> None:
    found = train_heads(make_bank(), [{"kind": "ridge"}, {"kind": "knn", "n_neighbors": 10_000}])
    logs = tmp_path / "logs"
    assert write_tensorboard(found, logs) == write_tensorboard(found, logs) == 1
    assert len([path for path in logs.rglob("*") if path.is_file()]) == 1


def curves(accumulator: Any) -> dict[str, list[tuple[int, float]]]:
    accumulator.Reload()
    return {
        tag: [(event.step, round(event.value, 3)) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
        if tag.startswith(("epoch/", "step/"))
    }


def test_points_are_there_as_they_come_and_once(tmp_path: Path, runs: dict[str, RunRecord]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, epoch_0 = runs["softmax"], {"accuracy": 0.5, "loss": 2.0}
    place = tmp_path / "pooled" / f"softmax-{run.run}"
    history: dict[str, list[Any]] = {"loss": [1.0], "val_accuracy": [0.6], "val_loss": [None], "steps": []}
    expected = {
        "epoch/loss": [(1, 1.0)], "epoch/val_accuracy": [(0, 0.5), (1, 0.6)], "epoch/val_loss": [(0, 2.0)]
    }  # fmt: skip
    with TensorBoardWriter(tmp_path, "pooled", "softmax", run.run) as board:
        board.update(history, epoch_0)
        watching = EventAccumulator(str(place))
        assert curves(watching) == expected
        history["steps"].append({"taken": 7, "loss": 0.9, "val_accuracy": 0.7, "val_loss": 1.5})
        board.update(history, epoch_0)
        within = {"step/loss": [(7, 0.9)], "step/val_accuracy": [(7, 0.7)], "step/val_loss": [(7, 1.5)]}
        assert curves(watching) == {**expected, **within}
    # interrupted: the checkpoint knows nothing of what came after it
    history["steps"].clear()
    with TensorBoardWriter(tmp_path, "pooled", "softmax", run.run) as board:
        board.update(history, epoch_0)
        assert len(list(place.iterdir())) == 1
        history["steps"].append({"taken": 7, "loss": 0.9, "val_accuracy": 0.7, "val_loss": 1.5})
        board.update(history, epoch_0)
        assert curves(watching) == curves(EventAccumulator(str(place))) == {**expected, **within}
        board.finish(replace(run, history=history, finetune={"epoch_0": epoch_0}))
    ended = EventAccumulator(str(place))
    assert curves(ended) == curves(watching) == {**expected, **within}
    (event,) = ended.Scalars("val/accuracy")
    assert event.value == pytest.approx(run.metrics["val"]["accuracy"])
    assert ended.PluginTagToContent("hparams")
    write_tensorboard([replace(run, history=history, finetune={"epoch_0": epoch_0})], tmp_path)
    assert len(list(place.iterdir())) == 1, "the same points in another file would be there twice"
    assert curves(EventAccumulator(str(place))) == {**expected, **within}


def test_an_import_path_is_a_directory_of_its_own(make_bank: Callable[..., Bank], tmp_path: Path) -> None:
    found = train_heads(make_bank(), [{"kind": "sklearn.naive_bayes:GaussianNB", "var_smoothing": 1e-8}])
    write_tensorboard(found, tmp_path)
    assert [path.name for path in (tmp_path / "pooled").iterdir()] == [f"sklearn.naive_bayes_GaussianNB-{found[0].run}"]


def test_no_tensorflow_is_imported(make_bank: Callable[..., Bank], tmp_path: Path) -> None:
    bank = make_bank()
    train_heads(bank, [{"kind": "ridge"}])
    code = (
        "import sys, pathlib, featurebank as fb; from featurebank.runs.logs.tensorboard import write_tensorboard; "
        f"runs = fb.leaderboard(fb.open_bank({str(bank.path)!r})); "
        f"write_tensorboard(runs, pathlib.Path({str(tmp_path / 'logs')!r})); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert forks.run([sys.executable, "-c", code]).returncode == 0
    assert list((tmp_path / "logs").rglob("*tfevents*"))


def test_tensorboard_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'featurebank\[tensorboard\]'"):
        write_tensorboard([], tmp_path)
