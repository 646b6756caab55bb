"""A whole race: who wins, what is computed, what a second race costs, and what a budget leaves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contestants import images
from PIL import Image

import featurebank as fb
from featurebank.dataset import Dataset
from featurebank.errors import ConfigError, DatasetError, HeadError
from featurebank.metrics import metric_of
from featurebank.racing import RaceOptions, run_race
from featurebank.racing.parts import PartDataset

pytestmark = pytest.mark.heavy

LITE = "efficientnet_lite0"
GRID = '[[head]]\nkind = "nearest_mean"\n[[head]]\nkind = "ridge"\n'


def names(*noises: int) -> list[str]:
    return [f"{LITE}@random:{noise}@32px" for noise in noises]


@pytest.fixture
def dataset() -> Dataset:
    return fb.load_dataset(images(600))


@pytest.fixture
def grid(tmp_path: Path) -> str:
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return str(path)


def run(dataset: Any, backbones: list[str], tmp_path: Path, grid: Any, **options: Any) -> fb.Race:
    return fb.race(dataset, backbones, cache=tmp_path / "cache", grid=grid, **options)


def test_the_best_backbone_wins_and_the_others_are_not_extracted(
    dataset: Dataset, contestants: list[str], tmp_path: Path, grid: str
) -> None:
    found = run(dataset, names(9, 1, 30, 25), tmp_path, grid)
    assert found.winner == names(1)[0]
    assert found.finalists[0] == found.winner
    assert found.bank is not None
    assert len(found.bank.ids()) == 600
    assert found.chosen is not None
    assert found.chosen.bank_name == found.bank.name
    first = found.rounds[0]
    assert [one.decision for one in first] == ["best", *["leaves"] * 3]
    assert [one.loss for one in first] == sorted(one.loss for one in first)
    computed = Counter(contestants)
    assert computed["random:1"] == 600
    assert all(computed[f"random:{noise}"] == first[0].images == 30 for noise in (9, 30, 25))
    assert (found.images, found.full_images) == (690, 2400)
    assert found.interval is not None
    assert found.interval.low <= found.interval.corrected <= found.interval.high
    assert found.interval.value == pytest.approx(found.chosen.metrics["val"]["accuracy"])
    assert not found.unfinished
    shown = found._repr_html_()
    assert all(f">{word}</" in shown for word in (found.verdict, names(1)[0], "leaves", f"{first[0].accuracy:.4f}"))
    assert "round 1: 30 training images" in shown


def test_equal_backbones_race_on_with_larger_parts(dataset: Dataset, contestants: list[str], tmp_path: Path) -> None:
    grid = [{"kind": "ridge", "alpha": [1.0, 10.0]}, "nearest_mean"]  # as `train_heads` takes it
    found = run(dataset, [*names(5, 40), f"{LITE}@random:5@48px"], tmp_path, grid, share=0.6)
    assert {str(run.spec) for run in found.runs} == {"nearest_mean", "ridge(alpha=1)", "ridge(alpha=10)"}
    first, second, third = [scores[0].images for scores in found.rounds]
    assert (first, second) == (30, 200), "fewer than 200 cannot tell equals apart"
    assert third > 200
    assert f"{LITE}@random:40@32px" not in {one.candidate for one in found.rounds[1]}


def test_the_candidates_of_a_round_share_a_pass(
    dataset: Dataset, contestants: list[str], tmp_path: Path, grid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: Counter[int] = Counter()
    original = Dataset.image

    def image(self: Dataset, index: int, levels: Any = None) -> np.ndarray:
        decoded[index] += isinstance(self, PartDataset)
        return original(self, index, levels)

    monkeypatch.setattr(Dataset, "image", image)
    found = run(dataset, names(9, 1, 30, 25), tmp_path, grid)
    assert len(found.rounds) == 1
    assert sum(decoded.values()) == 30, "not once for each of the four"
    assert all(one.images_per_second for one in found.rounds[0]), "each network has a speed of its own"
    monkeypatch.setattr("featurebank.engine.store.EngineStore.__init__.__defaults__", (3,))
    decoded.clear()
    run(dataset, names(11, 2, 31, 26), tmp_path, grid)
    assert sum(decoded.values()) == 60, "no more networks at a time than engines may be loaded"


def test_a_second_race_computes_nothing(dataset: Dataset, contestants: list[str], tmp_path: Path, grid: str) -> None:
    first = run(dataset, names(2, 20), tmp_path, grid)
    contestants.clear()
    second = run(dataset, names(2, 20), tmp_path, grid)
    assert not contestants
    assert second.rounds == first.rounds
    assert [one.run for one in second.runs] == [one.run for one in first.runs]
    assert second.interval == first.interval


def test_a_stopped_race_continues_where_it_stopped(
    dataset: Dataset, contestants: list[str], tmp_path: Path, grid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("featurebank.racing.finals.train_on_banks", stop)
        with pytest.raises(KeyboardInterrupt):
            run(dataset, names(2, 20), tmp_path, grid)
    done = Counter(contestants)
    contestants.clear()
    found = run(dataset, names(2, 20), tmp_path, grid)
    assert found.chosen is not None
    assert not contestants
    assert done["random:2"] == 600


def test_whole_banks_of_earlier_extractions_are_used(
    dataset: Dataset, contestants: list[str], tmp_path: Path, grid: str
) -> None:
    for noise in (2, 20):
        fb.extract(dataset, fb.load_backbone(LITE, weights=f"random:{noise}", image_size=32), cache=tmp_path / "cache")
    contestants.clear()
    run(dataset, names(2, 20), tmp_path, grid)
    assert not contestants


def test_a_budget_ends_with_an_honest_answer(
    dataset: Dataset, contestants: list[str], tmp_path: Path, grid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HeadError, match="the budget of 1e-09 s is too short for the first round"):
        run(dataset, names(2, 20), tmp_path, grid, budget=1e-9)
    left = iter([100.0] * 3)
    monkeypatch.setattr("featurebank.grid.time_budget.Clock.left", property(lambda clock: next(left, 0.0)))
    found = run(dataset, names(2, 20), tmp_path, grid, budget=100.0)
    assert found.chosen is None
    assert found.bank is None
    assert found.winner == names(2)[0]
    assert "which the budget does not allow" in found.unfinished
    assert found.interval is not None
    assert found.metric == "leave-one-out accuracy"
    assert found.interval.candidates == 2


def test_other_metrics_rank_select_and_have_a_corrected_interval(
    dataset: Dataset, contestants: list[str], tmp_path: Path, grid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("costs.csv").write_text(",0,1,2\n0,0,1,1\n1,9,0,1\n2,1,1,0\n")
    for name in ("macro_f1", "auroc", "recall:1", "cost:costs.csv"):  # on the same banks
        found = run(dataset, names(6, 20), tmp_path, grid, metric=name)
        metric = metric_of(name, dataset.classes)
        assert found.metric == name
        assert found.interval is not None
        assert found.chosen is not None
        values = [metric.goodness(metric.recorded(one.metrics["val"])) for one in found.runs]
        assert values == sorted(values, reverse=True)
        assert found.chosen.run == found.runs[0].run
        assert found.interval.value == pytest.approx(metric.recorded(found.chosen.metrics["val"]))
        assert found.interval.low < found.interval.high
        assert found.interval.low <= found.interval.corrected <= found.interval.high
        assert found.interval.candidates == len({one.key for one in found.runs})


def test_images_of_one_group_stay_together(contestants: list[str], tmp_path: Path, grid: str) -> None:
    pixels, labels = images(600)
    folder = tmp_path / "photos"
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        path = folder / "abc"[label] / f"{number // 9}-{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.repeat(np.repeat(image, 4, axis=0), 4, axis=1)).save(path)
    dataset = fb.load_dataset(folder, groups=r"path:(?P<group>\d+)-\d+")
    found = run(dataset, names(3, 20), tmp_path, grid)
    assert found.winner == names(3)[0]
    assert found.bank is not None
    assert found.bank.groups("val") is not None
    assert found.interval is not None
    assert found.interval.low < found.interval.corrected


def test_all_problems_of_a_request_come_at_once(dataset: Dataset, contestants: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run(dataset, [LITE, "nope"], tmp_path, "missing", part=10_000, tap="a:b", metric="recall:zebra")
    text = str(caught.value)
    for what in ("'nope'", "'missing'", "'a:b'", "'zebra'", "10000"):
        assert what in text
    assert len(text.splitlines()) == 5
    assert not contestants


def test_datasets_without_room_for_a_race_are_refused(contestants: list[str], tmp_path: Path, grid: str) -> None:
    with pytest.raises(DatasetError, match="a race is for larger datasets"):
        run(images(24), names(2, 20), tmp_path, grid)
    with pytest.raises(DatasetError, match="has no validation image"):
        run(fb.load_dataset(images(600), split=(1.0, 0.0, 0.0)), names(2, 20), tmp_path, grid)
    pixels = images(90)[0]
    with pytest.raises(DatasetError, match="images of a single class"):
        run((pixels, np.where(np.arange(90) < 88, 0, 1)), names(2, 20), tmp_path, grid, part=2)
    assert not contestants


def test_the_options_refuse_unknown_metrics() -> None:
    with pytest.raises(ConfigError, match="unknown metric 'accuracyy'"):
        RaceOptions(metric="accuracyy")
    with pytest.raises(ConfigError, match="share is 2"):
        RaceOptions(share=2.0)


def test_the_result_is_plain_data(dataset: Dataset, contestants: list[str], tmp_path: Path, grid: str) -> None:
    shown: list[Any] = []
    found = run_race(dataset, names(2, 20), RaceOptions(grid=grid), cache=tmp_path / "cache", show=shown.append)
    assert shown == list(found.rounds)
    value = found.summary()
    assert value["winner"] == names(2)[0]
    assert value["rounds"][0][0]["decision"] == "best"
    assert value["full_seconds"] is None or value["full_seconds"] >= 0
    assert "winner: " in found.verdict
    assert "image passes" in found.savings
    assert repr(found) == f"<Race of 2 backbones, won by {names(2)[0]}>"
