"""How uncertain a metric of several runs is: over seeds, folds, repetitions and groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featurebank.metrics import ACCURACY, METRICS, ImageScores, metric_of, pack
from featurebank.metrics.significance import confidence_interval, paired_p_value
from featurebank.runs.comparison import entries
from featurebank.runs.predictions.draws import GroupImages, ImageGroups, p_value
from featurebank.runs.predictions.scoring import scored
from featurebank.runs.predictions.stored import save_predictions
from featurebank.runs.ranking import Group
from featurebank.runs.run import RunRecord
from featurebank.statistics import proportion_interval

LOSS = METRICS["loss"]


class Codes(ImageGroups):
    """Images in groups of five."""

    def of(self, run: RunRecord) -> np.ndarray | None:
        return np.arange(run.metrics["val"]["images"]) // 5


def made(
    folder: Path, name: str, sharpness: float, *, seed: int = 0, fold: tuple[int, int, int] | None = None
) -> RunRecord:
    """A run with stored predictions of 60 images; the same fold has the same images."""
    random = np.random.default_rng(fold or (9, 9, 9))
    labels = random.integers(0, 3, 60)
    noise = np.random.default_rng([seed, len(name), *map(abs, fold or ())]).normal(size=(60, 3))
    logits = sharpness * np.eye(3)[labels] + noise
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    images = ImageScores.of(probabilities, labels)
    val = {"images": 60, **{metric.key: metric.of(images) for metric in METRICS.values()}}
    run = RunRecord(
        run=f"{name}{seed}{'' if fold is None else '-'.join(map(str, fold))}", head="knn", params={"name": name},
        tap="pooled", seed=seed, seconds=1.0, metrics={"val": val, "train": {"accuracy": 1.0}}, bank="", created="",
        fold=fold, right=pack(images.right), directory=folder,
    )  # fmt: skip
    save_predictions(run, images)
    return run


def test_one_run_is_as_uncertain_as_its_images(tmp_path: Path) -> None:
    runs = [made(tmp_path, "a", 2.0), made(tmp_path, "bb", 1.0)]
    first, second = (GroupImages([run], LOSS) for run in runs)
    images = [group.cells[0, 0][0] for group in (first, second)]
    difference = LOSS.of(images[0]) - LOSS.of(images[1])
    assert p_value(first, second, difference) == pytest.approx(paired_p_value(LOSS, *images), abs=0.02)
    found = entries(runs, metric=LOSS)
    assert [entry.spec.params["name"] for entry in found] == ["a", "bb"]
    assert found[0].value_interval == pytest.approx(confidence_interval(LOSS, images[0]), abs=0.05)
    assert found[1].p_value == pytest.approx(p_value(first, second, difference), rel=1e-4)
    assert found[1].summary()["metric"] == "loss"


def test_repetitions_make_no_more_images(tmp_path: Path) -> None:
    once = [made(tmp_path, "a", 1.0, fold=(part, 2, 0)) for part in range(2)]
    often = [made(tmp_path, "a", 1.0, fold=(part, 2, repeat)) for part in range(2) for repeat in range(4)]
    one, many = GroupImages(once, LOSS), GroupImages(often, LOSS)
    assert (one.units, many.units) == (120, 120)
    assert np.sqrt(many.variance()) > 0.7 * np.sqrt(one.variance())


def test_seeds_are_averaged_in_each_sample(tmp_path: Path) -> None:
    runs = [made(tmp_path, "a", 1.0, seed=seed) for seed in range(3)]
    draws = GroupImages(runs, LOSS).draws
    assert draws is not None
    each = [GroupImages([run], LOSS).draws for run in runs]
    np.testing.assert_allclose(draws, np.mean(np.stack([d for d in each if d is not None]), axis=0))


def test_groups_are_drawn_whole_and_make_accuracies_less_certain(tmp_path: Path) -> None:
    run = made(tmp_path, "a", 1.0)
    alone, grouped = GroupImages([run], ACCURACY), GroupImages([run], ACCURACY, Codes())
    assert (alone.test, grouped.test) == ("McNemar's test", "a paired test of groups")
    assert (alone.units, grouped.units) == (60, 12)
    other = GroupImages([made(tmp_path, "bb", 0.5)], ACCURACY, Codes())
    found = p_value(grouped, other, 0.2)
    assert found is not None
    assert 0 <= found <= 1


def test_runs_without_stored_predictions_have_no_interval_and_no_test(tmp_path: Path) -> None:
    runs = [made(tmp_path, "a", 2.0), made(tmp_path, "bb", 1.0)]
    for file in (tmp_path / "runs").iterdir():
        file.unlink()
    first, second = entries(runs, metric=LOSS)
    assert (first.value_interval, second.p_value) == (None, None)
    first, second = entries(runs)
    assert second.p_value is not None, "the accuracy is in the records"


def test_one_standard_error_of_any_metric(tmp_path: Path) -> None:
    run = made(tmp_path, "a", 1.0)
    images = GroupImages([run], LOSS).cells[0, 0][0]
    error = Group(run.spec, 1, [run], LOSS).standard_error
    assert error == pytest.approx(images.losses.std() / np.sqrt(60), rel=0.15)


def test_a_fold_without_the_class_does_not_count_for_its_recall(tmp_path: Path) -> None:
    recall = metric_of("recall:rare", ("usual", "rare"))
    runs = []
    for fold, labels in enumerate((np.r_[1, 1, np.zeros(18, int)], np.zeros(20, int))):
        second = np.where(np.arange(20) == 0, 0.9, 0.1)  # one of the two rare images is recognised
        images = ImageScores.of(np.c_[1 - second, second], labels)
        run = RunRecord(
            run=f"f{fold}", head="knn", params={}, tap="pooled", seed=0, seconds=1.0,
            metrics={"val": {"images": 20, "accuracy": 0.9, "loss": 1.0}, "train": {"accuracy": 1.0}}, bank="",
            created="", fold=(fold, 2, 0), right=pack(images.right), directory=tmp_path,
        )  # fmt: skip
        save_predictions(run, images)
        runs.append(run)
    found = scored(runs, recall)
    assert [recall.is_undefined(run.metrics["val"]) for run in found] == [False, True]
    (entry,) = entries(found, metric=recall)
    assert entry.value == 0.5
    assert entry.value_std is None, "one fold has no spread"
    assert entry.value_interval == pytest.approx(proportion_interval(0.5, 2))
