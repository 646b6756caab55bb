"""Several backbones share one decoding pass; banks of one recipe share their rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listener import Listener

from featurebank import load_backbone, load_dataset
from featurebank.backbone import Backbone
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.bank.reader import Bank
from featurebank.dataset import Dataset
from featurebank.errors import ConfigError
from featurebank.extraction import Extraction, ExtractOptions, run_extraction, run_extractions
from featurebank.system.progress import Reporter


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects which images are decoded."""
    seen: list[int] = []
    original = Dataset.image

    def image(self: Dataset, index: int, levels: Any = None) -> np.ndarray:
        seen.append(index)
        return original(self, index)

    monkeypatch.setattr(Dataset, "image", image)
    return seen


@pytest.fixture
def three(lite: Backbone) -> list[Backbone]:
    others = [("random:1", 32), ("random:2", 48)]
    return [lite, *(load_backbone("efficientnet_lite0", weights=w, image_size=s) for w, s in others)]


def seen_by(bank: Bank, photos: Path, backbone: Backbone) -> np.ndarray:
    dataset = load_dataset(str(photos))
    images = np.stack([backbone.resize(dataset.image(dataset.ids.index(i))) for i in bank.ids()])
    return images.reshape(len(images), -1)[:, :64].astype(np.float32) / 255 + len("pooled")


@pytest.mark.usefixtures("pixels")
def test_each_image_is_decoded_once(photos: Path, three: list[Backbone], decoded: list[int], tmp_path: Path) -> None:
    options = ExtractOptions(batch_size=5, views=1, augment="flip")
    done = run_extractions(load_dataset(str(photos)), three, options, cache=tmp_path)
    assert sorted(decoded) == list(range(24))
    assert len({result.bank.path for result in done}) == 3
    for result, backbone in zip(done, three, strict=True):
        assert (result.rows, result.added) == (24, 24)
        assert np.array_equal(result.bank.features(), seen_by(result.bank, photos, backbone))


@pytest.mark.usefixtures("pixels")
def test_each_gets_what_it_lacks(
    photos: Path, three: list[Backbone], decoded: list[int], tmp_path: Path, photo: Any
) -> None:
    dataset = load_dataset(str(photos))
    alone = run_extraction(dataset, three[2], ExtractOptions(), cache=tmp_path)
    photo(photos / "ant" / "new.png", 901)
    decoded.clear()
    done = run_extractions(load_dataset(str(photos)), three, ExtractOptions(batch_size=4), cache=tmp_path)
    assert [result.added for result in done] == [25, 25, 1]
    assert len(decoded) == 25
    assert done[2].bank.path == alone.bank.path
    for result, backbone in zip(done, three, strict=True):
        assert np.array_equal(result.bank.features(), seen_by(result.bank, photos, backbone))


@pytest.mark.usefixtures("pixels")
def test_together_is_as_one_by_one(photos: Path, three: list[Backbone], tmp_path: Path) -> None:
    options = ExtractOptions(batch_size=5)
    together = run_extractions(load_dataset(str(photos)), three, options, cache=tmp_path / "a")
    for result, backbone in zip(together, three, strict=True):
        alone = run_extraction(load_dataset(str(photos)), backbone, options, cache=tmp_path / "b")
        assert result.bank.features().tobytes() == alone.bank.features().tobytes()
        assert result.bank.digest == alone.bank.digest


@pytest.mark.usefixtures("no_engine")
def test_what_cannot_be_asked_for(photos: Path, lite: Backbone, tmp_path: Path) -> None:
    for backbones, message in (([], "no backbone"), ([lite, lite], "is requested twice")):
        with pytest.raises(ConfigError, match=message):
            run_extractions(load_dataset(str(photos)), backbones, ExtractOptions(), cache=tmp_path)


# ---- rows that another bank has


@pytest.fixture
def go(lite: Backbone, tmp_path: Path) -> Callable[..., Extraction]:
    def run(root: Path, reporter: Reporter | None = None, **options: Any) -> Extraction:
        return run_extraction(
            load_dataset(str(root)), lite, ExtractOptions(**options), cache=tmp_path / "cache",
            reporter=reporter or Reporter(),
        )  # fmt: skip

    return run


def test_a_folder_that_was_moved_costs_nothing(go: Callable[..., Extraction], pixels: Any, photos: Path) -> None:
    before = go(photos).bank
    moved = photos.rename(photos.with_name("pictures"))
    listener = Listener()
    done = go(moved, listener)
    assert (done.added, done.reused, len(pixels)) == (0, 24, 1)
    assert done.bank.path != before.path
    assert np.array_equal(done.bank.features(), before.features())
    assert listener.said == [f"24 rows shared with '{before.name}', not computed"]
    shutil.rmtree(before.path)
    assert verify_bank(done.bank.path).damaged == (), "it stands alone"


def test_a_part_of_another_dataset_with_some_new_images(
    go: Callable[..., Extraction], pixels: Any, photos: Path, photo: Any, lite: Backbone, tmp_path: Path
) -> None:
    go(photos)
    part = tmp_path / "part"
    for name in ("ant/0.jpg", "ant/2.png", "bee/1.png"):
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / name, part / name)
    photo(part / "bee" / "new.png", 902)
    done = go(part)
    assert (done.rows, done.added, pixels[-1].images) == (4, 1, 1)
    assert np.array_equal(done.bank.features(), seen_by(done.bank, part, lite))


def test_other_types_and_damaged_shards_are_not_shared(
    go: Callable[..., Extraction], pixels: Any, photos: Path, lite: Backbone, tmp_path: Path
) -> None:
    go(photos, store="float16")
    other = shutil.copytree(photos, tmp_path / "other")
    whole = go(other)
    assert whole.added == 24, "float16 was not asked for"
    third = shutil.copytree(photos, tmp_path / "third")
    for shard in whole.bank.manifest.shards:
        path = whole.bank.path / shard.file
        data = bytearray(path.read_bytes())
        data[shard.taps["pooled"].offset] ^= 1
        path.write_bytes(data)
    done = go(third)
    assert done.added == 24
    assert np.array_equal(done.bank.features(), seen_by(done.bank, third, lite))


def test_where_the_disk_has_no_links_files_are_copied(
    go: Callable[..., Extraction], pixels: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(1, "Operation not permitted")

    before = go(photos).bank
    monkeypatch.setattr("os.link", refuse)
    done = go(photos.rename(photos.with_name("pictures")))
    assert done.added == 0
    shard = before.manifest.shards[0].file
    assert not (before.path / shard).samefile(done.bank.path / shard)
    assert np.array_equal(done.bank.features(), before.features())


def test_a_copy_of_an_image_stands_in_for_one_that_vanishes(
    go: Callable[..., Extraction], pixels: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(photos / "ant" / "0.jpg", photos / "bee" / "copy.jpg")
    original = Dataset.fingerprint

    def then_vanish(self: Dataset, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        (photos / "ant" / "0.jpg").unlink(missing_ok=True)
        (photos / "ant" / "2.png").unlink(missing_ok=True)

    monkeypatch.setattr(Dataset, "fingerprint", then_vanish)
    done = go(photos)
    assert [(entry["id"], entry["reason"]) for entry in done.skipped] == [("ant/2.png", "file not found")]
    assert (done.rows, len(done.bank)) == (23, 24)
