"""Training heads and choosing among their runs, as a script writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from immediate import PixelEngine
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

import featurebank as fb
from featurebank.errors import ConfigError, DatasetError, UnknownNameError


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fb.Bank]:
    """A bank of 90 small arrays of three classes, made by an engine without TensorFlow; the only one of its cache."""
    from featurebank.extraction import target

    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 30)
    images = np.clip(labels[:, None, None, None] * 60 + generator.normal(60, 20, (90, 8, 8, 3)), 0, 255)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, "load_engine", lambda name, backbone, taps, **options: PixelEngine(taps))
        patch.setenv("FEATUREBANK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield fb.extract((images.astype(np.uint8), labels), "efficientnet_lite0")


def specs(runs: Any) -> set[str]:
    return {str(run.spec) for run in runs}


def test_a_list_of_heads_in_every_form(bank: fb.Bank) -> None:
    heads = ["nearest_mean", {"kind": "ridge", "alpha": [1.0, 10.0]}, LinearSVC(), fb.make_head("svm", C=3.0)]
    runs = fb.train_heads(bank, heads)
    assert specs(runs) == {"nearest_mean", "ridge(alpha=1)", "ridge(alpha=10)", "sklearn.svm:LinearSVC", "svm(C=3)"}


@pytest.mark.parametrize(
    ("head", "spec"),
    [
        ("lda", "lda"),
        ("sklearn.naive_bayes:GaussianNB", "sklearn.naive_bayes:GaussianNB"),
        ({"kind": "knn", "n_neighbors": 3}, "knn(n_neighbors=3)"),
        (make_pipeline(StandardScaler(), SVC(C=2.0)), "sklearn.svm:SVC(C=2,standardize=True)"),
        (fb.make_head("ridge", alpha=3), "ridge(alpha=3)"),
    ],
)
def test_a_single_head_needs_no_list(bank: fb.Bank, head: Any, spec: str) -> None:
    assert {name.replace(" ", "") for name in specs(fb.train_heads(bank, head))} == {spec}


def test_a_tuple_is_a_value_and_a_list_is_an_axis(bank: fb.Bank) -> None:
    head: dict[str, Any] = {"kind": "sklearn.neural_network:MLPClassifier", "max_iter": 1}
    tuples = fb.train_heads(bank, {**head, "hidden_layer_sizes": (4, 2)})
    axes = fb.train_heads(bank, {**head, "hidden_layer_sizes": [4, 2]})
    assert [run.params["hidden_layer_sizes"] for run in tuples] == [[4, 2]]
    assert sorted(run.params["hidden_layer_sizes"] for run in axes) == [2, 4]


def test_seeds_and_taps(bank: fb.Bank) -> None:
    head = "sklearn.tree:DecisionTreeClassifier"
    assert {run.seed for run in fb.train_heads(bank, head, seeds=2, taps="pooled")} == {0, 1}
    assert {run.seed for run in fb.train_heads(bank, head, seeds=np.array([3]), taps=["pooled"])} == {3}
    with pytest.raises(ConfigError, match="seeds is '2'"):
        fb.train_heads(bank, head, seeds="2")  # type: ignore[arg-type]


def test_a_grid_is_a_name_or_a_path(bank: fb.Bank, tmp_path: Path) -> None:
    place = tmp_path / "mine.toml"
    place.write_text('[[head]]\nkind = "ridge"\nalpha = [7, 8]\n')
    assert specs(fb.train_heads(bank, place)) == specs(fb.train_heads(bank, str(place))) == {
        "ridge(alpha=7)", "ridge(alpha=8)",
    }  # fmt: skip
    with pytest.raises(UnknownNameError, match=r"unknown grid 'quik'.*quick"):
        fb.train_heads(bank, "quik")


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ([Ridge()], "Ridge is no classifier"),
        ([SVC(class_weight={0: object()})], "a parameter that a run's record cannot hold: class_weight"),
        ([], "the grid is empty"),
        ([3], "grid is .3.: expected a grid or the path"),
        (LinearSVC, "grid is of type .*: expected a grid"),
        ({"kind": "svm", "c": 1}, "unknown parameter of head 'svm' 'c'"),
    ],
)
def test_wrong_heads_are_refused(bank: fb.Bank, heads: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fb.train_heads(bank, heads)


def test_without_a_bank_the_last_used_one_is_meant(
    bank: fb.Bank, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = fb.train_heads(grid="nearest_mean")
    with caplog.at_level("INFO", logger="featurebank"):
        board = fb.leaderboard()
    assert f"bank: {bank.path} (90 images, 3 classes), the last used: by 'heads', just now" in caplog.text
    assert capsys.readouterr().err == ""
    fb.set_progress(True)
    try:
        fb.leaderboard()
        assert f"bank: {bank.path}" in capsys.readouterr().err
        fb.leaderboard(bank)
        assert capsys.readouterr().err == ""
    finally:
        fb.set_progress(None)
    assert runs[0].run in {run.run for run in board}
    assert fb.select().run == fb.select(bank).run == fb.select(bank.name).run == fb.select(list(board)).run


def test_metrics_have_names(bank: fb.Bank) -> None:
    fb.train_heads(bank, ["nearest_mean", "ridge"])
    board = fb.leaderboard(bank, metric="macro_f1")
    assert [run.metrics["val"]["macro_f1"] for run in board] == sorted(
        (run.metrics["val"]["macro_f1"] for run in board), reverse=True
    )
    with pytest.raises(UnknownNameError, match="unknown metric 'f1'"):
        fb.leaderboard(bank, metric="f1")


def test_the_test_split_is_opened_for_a_run_alone(bank: fb.Bank) -> None:
    run = fb.train_heads(bank, "nearest_mean")[0]
    tested = fb.evaluate_test(run)
    assert tested.run == fb.evaluate_test(bank, run.run[:6]).run == fb.evaluate_test(bank.name, run).run == run.run
    with pytest.raises(ConfigError, match="bank is a run, and run is given, too"):
        fb.evaluate_test(run, run)


def test_parameters_of_heads(bank: fb.Bank) -> None:
    assert fb.make_head("svm", C=2.0).C == fb.make_head("svm", {"C": 2.0}).C == 2.0
    assert fb.make_head(LinearSVC(C=3.0), standardize=True).estimator.C == 3.0
    with pytest.raises(UnknownNameError, match="unknown head 'svn'"):
        fb.make_head("svn")


def test_a_leaderboard_measures_speeds_and_logs_when_asked(
    bank: fb.Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = fb.train_heads(bank, "nearest_mean", tensorboard=tmp_path / "trained")
    assert [path.name for path in (tmp_path / "trained").rglob("*") if run.run in path.name]
    monkeypatch.setattr("featurebank.runs.costs.speed.measure_use", lambda bank, tap, reporter: 7.0)
    board = fb.leaderboard(bank, measure=True, tensorboard=tmp_path / "logs")
    assert set(board.to_frame()["images_per_second"]) == {7.0}
    assert [path.name for path in (tmp_path / "logs").rglob("*") if run.run in path.name]


def test_folds_of_the_dataset_that_has_none(bank: fb.Bank) -> None:
    fb.train_heads(bank, "nearest_mean")
    for choose in (fb.leaderboard, fb.select):
        with pytest.raises(DatasetError, match="defines no folds"):
            choose(bank, folds="given")
