"""Views: stored beside the clean image, the same in any company, and only those that are missing are computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.augment import Augmentation, augment
from featurebank.backbone import Backbone
from featurebank.bank.reader import Bank
from featurebank.errors import ConfigError
from featurebank.extraction import Extraction, ExtractOptions, run_extraction

SPEC = "flip,rotate=10,zoom=.2,noise=.05"


@pytest.fixture
def run(photos: Path, lite: Backbone, tmp_path: Path) -> Callable[..., Extraction]:
    def go(views: int = 0, augment: str | None = SPEC, *taps: str, **options: Any) -> Extraction:
        chosen = ExtractOptions(
            taps=taps or ("pooled",), batch_size=5, views=views, augment=augment if views else None, **options
        )
        return run_extraction(load_dataset(str(photos)), lite, chosen, cache=tmp_path / "cache")

    return go


def expected(bank: Bank, photos: Path, lite: Backbone, view: int, tap: str = "pooled") -> np.ndarray:
    dataset = load_dataset(str(photos))
    images = np.stack([lite.resize(dataset.image(dataset.ids.index(i))) for i in bank.ids()])
    if view:
        images = augment(images, Augmentation.parse(SPEC), bank.digests(), view)
    return images.reshape(len(images), -1)[:, :64].astype(np.float32) / 255 + len(tap)


def test_views_of_every_image(run: Callable[..., Extraction], pixels: Any, photos: Path, lite: Backbone) -> None:
    done = run(2)
    bank = done.bank
    assert (done.rows, done.added, bank.views, pixels[0].images) == (24, 24, 2, 72)
    for view in range(3):
        assert np.array_equal(bank.features(view=view), expected(bank, photos, lite, view)), view
    assert not np.array_equal(bank.features(view=1), bank.features(view=2))
    with pytest.raises(ConfigError, match=r"no view 3.*1 to 2"):
        bank.features(view=3)
    again = run(2)
    assert (again.added, len(pixels)) == (0, 1)


def test_more_views_compute_those_alone(
    run: Callable[..., Extraction], pixels: Any, photos: Path, lite: Backbone
) -> None:
    run(1)
    done = run(3)
    assert (done.added, pixels[-1].images, done.bank.views) == (24, 48, 3)
    assert run(2).bank.views == 3, "what is there stays"
    assert np.array_equal(done.bank.features(view=3), expected(done.bank, photos, lite, 3))


def test_a_plain_bank_gets_views_without_computing_clean_images_again(
    run: Callable[..., Extraction], pixels: Any, photos: Path, lite: Backbone
) -> None:
    plain = run().bank
    done = run(2)
    assert (pixels[-1].images, done.bank.path == plain.path) == (48, False)
    assert np.array_equal(done.bank.features(), plain.features())
    shard = plain.manifest.shards[0].file
    assert (plain.path / shard).samefile(done.bank.path / shard), "shared, not copied"
    other = run(1, "flip")
    assert pixels[-1].images == 24, "another recipe of views takes the clean images too"
    assert np.array_equal(other.bank.features(), plain.features())
    assert not np.array_equal(other.bank.features(view=1), done.bank.features(view=1))


def test_new_images_and_new_taps_get_all_views(
    run: Callable[..., Extraction], pixels: Any, photos: Path, lite: Backbone, photo: Any
) -> None:
    run(1)
    photo(photos / "ant" / "new.png", 900)
    assert (run(1).added, pixels[-1].images) == (1, 2)
    bank = run(1, SPEC, "map:max").bank
    assert (pixels[-1].images, pixels[-1].taps) == (50, ("map:max",))
    assert np.array_equal(bank.features("map:max", view=1), expected(bank, photos, lite, 1, "map:max"))


def test_the_company_of_an_image_does_not_matter(
    run: Callable[..., Extraction], pixels: Any, photos: Path, lite: Backbone, tmp_path: Path
) -> None:
    whole = run(2).bank
    for path in sorted(photos.glob("*/*"))[5:]:
        if path.name not in {"1.png", "2.png"}:
            path.unlink()
    few = run_extraction(
        load_dataset(str(photos)), lite, ExtractOptions(views=2, augment=SPEC, batch_size=3), cache=tmp_path / "other"
    ).bank
    assert 2 < len(few) < 24
    places = [whole.ids().index(name) for name in few.ids()]
    for view in range(3):
        assert few.features(view=view).tobytes() == whole.features(view=view)[places].tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 2}, "2 views without an augmentation"),
        ({"augment": "flip"}, "has no effect without --views"),
        ({"views": -1, "augment": "flip"}, "views is -1: expected a whole number from 0 to 255"),
        ({"views": 256, "augment": "flip"}, "expected a whole number from 0 to 255"),
        ({"views": 1, "augment": "flop"}, "flop"),
        ({"views": 1, "augment": "rotate=0"}, "changes nothing"),
    ],
)
def test_wrong_options(photos: Path, lite: Backbone, tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_extraction(load_dataset(str(photos)), lite, ExtractOptions(**options), cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
