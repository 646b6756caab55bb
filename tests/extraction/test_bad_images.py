"""A dataset that goes away fails the run; broken images do not; what was computed stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featurebank import load_dataset
from featurebank.backbone import Backbone
from featurebank.dataset import Dataset
from featurebank.errors import ConfigError, DatasetError
from featurebank.extraction import ExtractOptions, run_extraction
from featurebank.extraction.bad_images import FEW, IN_A_ROW, BadImages


def test_a_tenth_of_lost_images_is_too_many() -> None:
    bad_images = BadImages(500, "folder:x")
    for place in range(50):
        bad_images.add(f"{place}", "file not found", place=place, lost=True)
    with pytest.raises(DatasetError, match=r"51 of 500 images of 'folder:x' .*'0': file not found.*--max-bad"):
        bad_images.add("50", "file not found", place=50, lost=True)


def test_broken_images_are_no_reason_to_fail_unless_the_user_says_so() -> None:
    bad_images, strict = BadImages(20, "x"), BadImages(20, "x", max_bad=0.25)
    for place in range(20):
        bad_images.add("a", "truncated", place=place, lost=False)
    bad_images.end()
    for place in range(5):
        strict.add("a", "truncated", place=place, lost=place % 2 == 0)
    with pytest.raises(DatasetError, match="more than 25 %"):
        strict.add("a", "truncated", place=5, lost=False)


def test_few_of_a_small_dataset_may_be_lost() -> None:
    bad_images = BadImages(20, "x")
    bad_images.add_unreadable(FEW, "a", "file not found")
    bad_images.good(19)
    bad_images.end()
    with pytest.raises(DatasetError, match="11 of 20"):
        BadImages(20, "x").add_unreadable(FEW + 1, "a", "file not found")
    BadImages(20, "x", max_bad=1).add_unreadable(20, "a", "file not found")
    with pytest.raises(DatasetError):
        BadImages(20, "x", max_bad=0).add_unreadable(1, "a", "file not found")


def test_all_after_one_moment() -> None:
    bad_images = BadImages(1000, "x")
    bad_images.good(800)
    for place in range(900, 900 + IN_A_ROW):
        bad_images.add("a", "file not found", place=place, lost=True)
    with pytest.raises(DatasetError, match="5 of 1000 images of 'x' at the end could not be read any more"):
        bad_images.end()
    bad_images.good(999)
    bad_images.end()


@pytest.fixture
def leaving(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the folder of the photos go away once so many images were read."""

    def after(count: int) -> None:
        read, seen = Dataset.image, []

        def image(self: Dataset, index: int, *rest: Any) -> Any:
            seen.append(index)
            if len(seen) == count + 1:
                photos.rename(photos.with_name("away"))
            return read(self, index, *rest)

        monkeypatch.setattr(Dataset, "image", image)

    return after


@pytest.mark.parametrize("count", [4, 18])
def test_a_folder_that_vanishes_fails_the_run_and_the_same_command_goes_on(
    count: int, photos: Path, lite: Backbone, pixels: list[Any], leaving: Callable[[int], None], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("featurebank.system.runtime._threads", 1)
    leaving(count)
    with pytest.raises(DatasetError, match="could not be read any more"):
        run_extraction(load_dataset(str(photos)), lite, ExtractOptions(batch_size=2), cache=tmp_path / "cache")
    photos.with_name("away").rename(photos)
    done = run_extraction(load_dataset(str(photos)), lite, ExtractOptions(batch_size=2), cache=tmp_path / "cache")
    assert len(done.bank) == 24
    assert not done.skipped
    assert done.computed <= 24 - count // 2, "what was computed is kept"


def test_missing_files_of_a_table(photos: Path, lite: Backbone, pixels: list[Any], tmp_path: Path) -> None:
    rows = [f"{path},{path.parent.name}" for path in sorted(photos.glob("*/*"))]
    rows += [f"nowhere/{number}.png,ant" for number in range(FEW + 1)]
    (tmp_path / "table.csv").write_text("\n".join(["path,label", *rows]))
    dataset = f"manifest:{tmp_path / 'table.csv'}"
    with pytest.raises(DatasetError, match=r"11 of 35 .* cannot be read, the first is 'nowhere/0.png': file not found"):
        run_extraction(load_dataset(dataset), lite, ExtractOptions(), cache=tmp_path / "cache")
    done = run_extraction(load_dataset(dataset), lite, ExtractOptions(max_bad=0.5), cache=tmp_path / "cache")
    assert (len(done.bank), len(done.skipped)) == (24, 11)


def test_a_share_is_between_0_and_1(photos: Path, lite: Backbone, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"1\.5: expected a number from 0 to 1"):
        run_extraction(load_dataset(str(photos)), lite, ExtractOptions(max_bad=1.5), cache=tmp_path / "cache")
