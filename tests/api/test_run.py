"""A run as users hold it: from its record to its head, its predictions and its model."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featurebank as fb
from featurebank.api.curves import Curves
from featurebank.api.run import Run
from featurebank.errors import ConfigError, DatasetError, HeadError, UnknownNameError
from featurebank.runs.run import load_runs

pytestmark = pytest.mark.heavy

GRID: list[dict[str, Any]] = [{"kind": "nearest_mean"}, {"kind": "ridge"}, {"kind": "softmax", "epochs": 3}]


@pytest.fixture
def bank(make_bank: Callable[..., fb.Bank]) -> fb.Bank:
    return make_bank(noise=4.0)


@pytest.fixture
def runs(bank: fb.Bank) -> list[Run]:
    return fb.train_heads(bank, GRID)


@pytest.fixture(scope="module")
def on_photos(photo_bank: fb.Bank) -> Run:
    return fb.train_heads(photo_bank, [{"kind": "logistic"}])[0]


@pytest.fixture(scope="module")
def finetuned(on_photos: Run) -> Run:
    return fb.finetune(on_photos, unfreeze=["all"], epochs=1)


def test_public_functions_return_runs(bank: fb.Bank, runs: list[Run]) -> None:
    tested = fb.evaluate_test(bank, fb.select(runs))
    for run in [*runs, fb.select(runs), fb.select(load_runs(bank)), *fb.leaderboard(bank), tested]:
        assert isinstance(run, fb.Run)
    assert fb.evaluate_test(bank, runs[0]) == tested


def test_a_run_equals_its_record(bank: fb.Bank, runs: list[Run]) -> None:
    records = {record.run: record for record in load_runs(bank)}
    for run in runs:
        assert run == records[run.run]
        assert json.dumps(run.record()) == json.dumps(records[run.run].record())
        assert pickle.loads(pickle.dumps(run)) == run
        assert type(run.params) is dict
    assert len({runs[0], Run.of(records[runs[0].run])}) == 1


def test_the_head_follows_scikit_learn(bank: fb.Bank, runs: list[Run]) -> None:
    X, y = bank.features("pooled", "val"), bank.labels("val")
    for run in runs:
        assert run.load().score(X, y) == pytest.approx(run.metrics["val"]["accuracy"])
        assert run.load() is run.load(), "loaded once"


def test_rows_of_the_bank(bank: fb.Bank, runs: list[Run]) -> None:
    X = bank.features("pooled", "val")
    probabilities = runs[0].predict_proba(X)
    np.testing.assert_array_equal(probabilities, runs[0].load().predict_proba(X))
    assert runs[0].predict(X[:3]).tolist() == [bank.classes[label] for label in probabilities[:3].argmax(axis=1)]
    np.testing.assert_array_equal(runs[0].predict_proba(X.tolist()), probabilities)


def test_images_in_every_form(on_photos: Run, photo_bank: fb.Bank, no_second_engine: None) -> None:
    """They get the features that the bank has, whatever they are given as; the engine is not even needed."""
    folder = Path(photo_bank.manifest.dataset["spec"].removeprefix("folder:"))
    ids = sorted(photo_bank.ids("val"))
    paths = [folder / name for name in ids]
    table = on_photos.predictions()
    expected = table.probabilities[np.argsort(table.ids)]
    dataset = fb.load_dataset(str(folder))
    rows = [dataset.ids.index(name) for name in ids]
    forms: list[Any] = [paths, [str(path) for path in paths], str(folder / "val"), folder / "val"]
    for form in forms:
        np.testing.assert_array_equal(on_photos.predict_proba(form), expected)
    np.testing.assert_array_equal(on_photos.predict_proba(dataset)[rows], expected)
    np.testing.assert_array_equal(on_photos.predict_proba(paths[0]), expected[:1])
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(on_photos.predict_proba(pandas.DataFrame({"path": paths, "n": 1})), expected)
    rows_of_bank = pandas.DataFrame(photo_bank.features("pooled", "val"))
    np.testing.assert_array_equal(on_photos.predict_proba(rows_of_bank), table.probabilities)
    assert on_photos.predict(paths).tolist() == [photo_bank.classes[place] for place in expected.argmax(axis=1)]


@pytest.fixture
def no_second_engine(on_photos: Run, photo_bank: fb.Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: Any, **options: Any) -> None:
        raise AssertionError("an engine was loaded")

    monkeypatch.setattr("featurebank.extraction.target.load_engine", load)


def test_arrays_of_pixels_are_images(on_photos: Run, photo_bank: fb.Bank) -> None:
    dataset = fb.load_dataset(photo_bank.manifest.dataset["spec"])
    images = np.stack([dataset.image(row) for row in range(4)])
    expected = on_photos.predict_proba(dataset)[:4]
    np.testing.assert_allclose(on_photos.predict_proba(images), expected, atol=1e-5)
    np.testing.assert_allclose(on_photos.predict_proba(list(images)), expected, atol=1e-5)
    pictures = [Image.fromarray(image) for image in images]
    np.testing.assert_allclose(on_photos.predict_proba(pictures), expected, atol=1e-5)
    np.testing.assert_allclose(on_photos.predict_proba(pictures[0]), expected[:1], atol=1e-5)


def test_an_image_that_cannot_be_read(on_photos: Run, finetuned: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    for run in (on_photos, finetuned):
        for name in ("broken.jpg", "gone.jpg"):
            with pytest.raises(DatasetError, match=rf"'[^']*{name}'"):
                run.predict_proba([tmp_path / name])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda bank: bank, r"pass its features, as bank.features\('pooled', 'val'\)"),
        (lambda bank: np.zeros((2, 5)), r"shape \(2, 5\) and the type float64: expected features of tap 'pooled'"),
        (lambda bank: np.zeros(8), r"shape \(8,\)"),
        (lambda bank: np.zeros((40, 30, 3), np.uint8), r"a single image: pass a list of images, as \[image\]"),
        (lambda bank: 7, r"shape \(\)"),
        (lambda bank: [], r"there are no images"),
        (lambda bank: [object()], r"type object"),
        (lambda bank: None, r"type NoneType"),
    ],
)  # fmt: skip
def test_what_is_neither(bank: fb.Bank, runs: list[Run], make: Callable[[fb.Bank], Any], message: str) -> None:
    with pytest.raises((ConfigError, DatasetError), match=message):
        runs[0].predict(make(bank))


def test_the_table_of_predictions(bank: fb.Bank, runs: list[Run]) -> None:
    for run in runs:
        table = run.predictions()
        assert list(table.ids) == bank.ids("val")
        assert table.labels.tolist() == [bank.classes[label] for label in bank.labels("val")]
        assert table.accuracy == run.metrics["val"]["accuracy"]
        np.testing.assert_array_equal(table.right, run.rights())
        assert run.predictions("train").accuracy == run.metrics["train"]["accuracy"]


def test_the_test_split_has_one_door(bank: fb.Bank, runs: list[Run]) -> None:
    with pytest.raises(ConfigError, match=r"closed for run \w+: .*evaluate_test\(bank, run\)"):
        runs[0].predictions("test")
    with pytest.raises(ConfigError, match="closed"):
        runs[0].mistakes("test")
    tested = fb.evaluate_test(bank, runs[0])
    assert tested.predictions("test").accuracy == tested.metrics["test"]["accuracy"]
    assert runs[0].confusion_matrix("test").counts.sum() == 30, "the door of this run is open on disk, too"
    with pytest.raises(ConfigError, match="closed"):
        runs[1].predictions("test")


def test_a_split_that_does_not_exist(runs: list[Run], make_bank: Callable[..., fb.Bank]) -> None:
    with pytest.raises(UnknownNameError, match="split 'valid'"):
        runs[0].predictions("valid")
    (run,) = fb.train_heads(make_bank("small", splits=(60, 30, 0)), GRID[:1])
    with pytest.raises(DatasetError, match="has no image in the split 'test'"):
        run.predictions("test")


def test_cross_validated_runs_predict_the_images_of_their_fold(bank: fb.Bank) -> None:
    best, *folds = fb.train_heads(bank, [{"kind": "ridge"}], folds=3)
    tables = [run.predictions() for run in folds]
    assert sorted(name for table in tables for name in table.ids) == sorted(bank.ids("train") + bank.ids("val"))
    for run, table in zip(folds, tables, strict=True):
        assert table.accuracy == run.metrics["val"]["accuracy"]
        assert set(run.predictions("train").ids).isdisjoint(table.ids)
    with pytest.raises(HeadError, match="was trained on fold 1 of 3: train ridge without folds"):
        next(run for run in folds if run.fold and run.fold[0] == 0).load()
    assert best.predictions().ids == bank.ids("val")


def test_stopped_runs_are_trained_as_far_as_they_were(bank: fb.Bank) -> None:
    grid = [{"kind": "softmax", "epochs": 9, "learning_rate": rate} for rate in (0.1, 0.01, 0.001, 0.0001)]
    stopped = [run for run in fb.train_heads(bank, grid, search="halving") if run.rung]
    assert stopped, "or this test says nothing"
    assert stopped[-1].predictions().accuracy == stopped[-1].metrics["val"]["accuracy"]


def test_calibrated_heads_predict_what_their_metrics_say(bank: fb.Bank) -> None:
    (run,) = fb.train_heads(bank, [{"kind": "nearest_mean", "calibrate": "temperature"}])
    table = run.predictions()
    own = table.probabilities[np.arange(len(table)), table.targets]
    assert -np.log(own).mean() == pytest.approx(run.metrics["val"]["loss"])


def test_failed_and_outdated_runs_have_one_sentence(bank: fb.Bank, make_bank: Callable[..., fb.Bank]) -> None:
    good, failed = fb.train_heads(bank, [{"kind": "ridge"}, {"kind": "knn", "n_neighbors": 1000}])
    for ask in (
        failed.load,
        failed.predictions,
        failed.mistakes,
        failed.refit,
        lambda: failed.predict(np.zeros((1, 8))),
    ):
        with pytest.raises(HeadError, match=r"failed \(.*\): choose another"):
            ask()
    make_bank("bank", noise=4.0, splits=(50, 40, 30))  # the images have other splits now
    with pytest.raises(HeadError, match="was not trained on 'bank' as it is now: train heads on it again"):
        good.predictions()


def test_refitting_keeps_the_weights(bank: fb.Bank, runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    last = runs[-1]
    assert last.weights is None
    kept = last.refit()
    monkeypatch.setattr("featurebank.runs.refitting.fit_heads", None)  # nothing is trained from now on
    again = next(run for run in fb.leaderboard(bank) if run.run == last.run)
    np.testing.assert_array_equal(again.predictions().probabilities, kept.predictions().probabilities)
    assert again.refit() == kept


def test_curves_are_arrays(runs: list[Run]) -> None:
    by_head = {run.head: run for run in runs}
    curves = by_head["softmax"].history
    for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
        assert curves[name].shape == (3,)
    with pytest.raises(UnknownNameError, match=r"curve 'val_acc'.*val_accuracy"):
        curves["val_acc"]
    with pytest.raises(ConfigError, match="there is no curve 'loss': ridge is not trained in epochs"):
        by_head["ridge"].history["loss"]


def test_mistakes_have_paths_and_the_most_confident_come_first(on_photos: Run, photo_bank: fb.Bank) -> None:
    mistakes = on_photos.mistakes()
    wrong = [row for row in on_photos.predictions() if row.label != row.predicted]
    assert sorted(row.id for row in mistakes) == sorted(row.id for row in wrong)
    assert (np.diff(mistakes.confidence) <= 0).all()
    for row in mistakes:
        assert row.path
        assert row.path.endswith(row.id)
        assert Path(row.path).is_file()


def test_images_of_lists_are_found_beside_the_lists(photo_bank: fb.Bank, tmp_path: Path) -> None:
    folder = Path(photo_bank.manifest.dataset["spec"].removeprefix("folder:"))
    shutil.copytree(folder / "val", tmp_path / "photos")
    (tmp_path / "lists").mkdir()
    names = [path.relative_to(tmp_path).as_posix() for path in sorted((tmp_path / "photos").rglob("*.png"))]
    (tmp_path / "lists" / "train.txt").write_text("\n".join(names))
    dataset = fb.load_dataset(f"lists:{tmp_path / 'lists'}", split=(0.5, 0.5, 0))
    bank = fb.extract(dataset, fb.load_backbone("tiny:network"), cache=tmp_path / "cache")
    (run,) = fb.train_heads(bank, [{"kind": "nearest_mean"}])
    assert [Path(path or "") for path in run.predictions().paths] == [tmp_path / name for name in bank.ids("val")]


def test_a_fine_tune_predicts_images(finetuned: Run, photo_bank: fb.Bank) -> None:
    folder = Path(photo_bank.manifest.dataset["spec"].removeprefix("folder:"))
    table = finetuned.predictions()
    assert table.accuracy == pytest.approx(finetuned.metrics["val"]["accuracy"])
    probabilities = finetuned.predict_proba([folder / name for name in table.ids])
    np.testing.assert_allclose(probabilities, table.probabilities, atol=1e-5)
    assert finetuned.load().output_shape == (None, 3)
    with pytest.raises(HeadError, match="takes images: pass paths or images, not features"):
        finetuned.predict(photo_bank.features("pooled", "val"))
    assert finetuned.history["val_accuracy"].shape == (1,)


def test_a_run_becomes_a_model_file(on_photos: Run, photo_bank: fb.Bank, tmp_path: Path) -> None:
    path = on_photos.export(tmp_path / "ants.keras")
    folder = Path(photo_bank.manifest.dataset["spec"].removeprefix("folder:"))
    images = [str(folder / name) for name in photo_bank.ids("val")]
    assert [one.label for one in fb.predict(path, images)] == on_photos.predict(images).tolist()


def test_a_run_whose_bank_is_gone(make_bank: Callable[..., fb.Bank]) -> None:
    bank = make_bank()
    (run,) = fb.train_heads(bank, GRID[:1])
    shutil.rmtree(bank.path)
    with pytest.raises(fb.FeatureBankError, match="bank"):
        run.load()


def test_curves_are_compared_as_a_whole() -> None:
    one, same, other = (Curves.of("mlp", {"loss": [0.9, value]}) for value in (0.4, 0.4, 0.5))
    assert one == same
    assert one != other
    assert one != {"loss": [0.9, 0.4]}
