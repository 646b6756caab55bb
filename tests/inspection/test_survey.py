"""One look at every image: right facts, every unreadable one, every duplicate, bounded work in flight."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from featurebank import load_dataset
from featurebank.dataset import Dataset
from featurebank.dataset.decoding.decode import Facts
from featurebank.errors import BadImageError
from featurebank.inspection.survey import THUMBNAIL, count, distribution, duplicates, survey, thumbnail
from featurebank.system import runtime


def test_facts_agree_with_the_images_of_every_kind_of_dataset(spec: str) -> None:
    dataset = load_dataset(spec)
    seen: list[int] = []
    found = survey(dataset, seen.append)
    assert sum(seen) == len(dataset)
    assert found.unreadable == ()
    assert found.usable.all()
    assert sum(found.formats.values()) == sum(found.modes.values()) == len(dataset)
    for index in (0, len(dataset) - 1):
        assert dataset.image(index).shape == (found.heights[index], found.widths[index], 3)
    assert count(dataset, found.usable) == dataset.counts()


def files(root: Path) -> Path:
    """Two classes of files of many kinds, none of them the same."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    rgb = Image.fromarray(pixels)
    turned = Image.Exif()
    turned[0x0112] = 6
    for folder in ("a", "b"):
        (root / folder).mkdir(parents=True)
    rgb.save(root / "a" / "rgb.png")
    rgb.save(root / "a" / "rgb.jpg")
    rgb.convert("L").save(root / "a" / "grey.jpg")
    rgb.convert("CMYK").save(root / "a" / "cmyk.jpg")
    rgb.convert("RGBA").save(root / "a" / "rgba.png")
    rgb.convert("P").save(root / "b" / "palette.gif")
    Image.fromarray(pixels[:, :, 0].astype(np.uint16)).save(root / "b" / "deep.png")
    rgb.save(root / "b" / "jpeg.png", "JPEG", quality=60)  # its name lies
    rgb.save(root / "b" / "turned.jpg", exif=turned)
    rgb.save(root / "b" / "turned.tif", exif=turned)
    rgb.save(root / "b" / "turned.png", exif=turned)
    return root


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/rgb.png", Facts(9, 6, "PNG", "RGB", rotated=False)),
        ("a/rgb.jpg", Facts(9, 6, "JPEG", "RGB", rotated=False)),
        ("a/grey.jpg", Facts(9, 6, "JPEG", "L", rotated=False)),
        ("a/cmyk.jpg", Facts(9, 6, "JPEG", "CMYK", rotated=False)),
        ("a/rgba.png", Facts(9, 6, "PNG", "RGBA", rotated=False)),
        ("b/palette.gif", Facts(9, 6, "GIF", "P", rotated=False)),
        ("b/deep.png", Facts(9, 6, "PNG", "I;16", rotated=False, peak=248)),
        ("b/jpeg.png", Facts(9, 6, "JPEG", "RGB", rotated=False)),
        ("b/turned.jpg", Facts(6, 9, "JPEG", "RGB", rotated=True)),
        ("b/turned.tif", Facts(6, 9, "TIFF", "RGB", rotated=True)),
        ("b/turned.png", Facts(6, 9, "PNG", "RGB", rotated=True)),
    ],
)
def test_facts_of_files(tmp_path: Path, name: str, expected: Facts) -> None:
    dataset = load_dataset(str(files(tmp_path)))
    index = dataset.ids.index(name)
    assert dataset.facts(index) == expected
    assert dataset.image(index).shape == (expected.height, expected.width, 3)


def test_formats_modes_and_rotations_are_counted(tmp_path: Path) -> None:
    found = survey(load_dataset(str(files(tmp_path))))
    assert found.formats == {"JPEG": 5, "PNG": 4, "GIF": 1, "TIFF": 1}
    assert list(found.formats)[:2] == ["JPEG", "PNG"]
    assert found.modes == {"RGB": 6, "L": 1, "CMYK": 1, "RGBA": 1, "P": 1, "I;16": 1}
    assert found.rotated == 3


def test_arrays_answer_from_their_shape(tmp_path: Path, make: SimpleNamespace) -> None:
    assert load_dataset("digits").facts(0) == Facts(8, 8, "array", "L", rotated=False)
    assert load_dataset(str(make.npz(tmp_path / "a.npz"))).facts(0) == Facts(8, 8, "array", "RGB", rotated=False)


def test_unreadable_images_have_the_reason_that_decoding_gives(tmp_path: Path, make: SimpleNamespace) -> None:
    root = make.folder(tmp_path / "photos", each=4)
    whole = (root / "bee" / "0.png").read_bytes()
    (root / "ant" / "0.png").write_bytes(whole[: len(whole) // 2])
    (root / "ant" / "1.png").write_bytes(b"")
    (root / "bee" / "3.png").write_text("no image")
    (root / "cat" / "lost.png").symlink_to("nowhere.png")
    dataset = load_dataset(str(root))
    dataset.fingerprint()
    (root / "cat" / "2.png").write_bytes(whole)
    found = survey(dataset)
    reasons = {entry.id: entry.reason for entry in found.unreadable}
    assert list(reasons) == ["ant/0.png", "ant/1.png", "bee/3.png", "cat/2.png", "cat/lost.png"]
    for name, reason in reasons.items():
        with pytest.raises(BadImageError) as failure:
            dataset.image(dataset.ids.index(name))
        assert str(failure.value) == reason
    assert reasons["cat/2.png"] == "changed while it was being read"
    assert reasons["cat/lost.png"] == "file not found"
    usable = count(dataset, found.usable)
    assert sum(sum(row.values()) for row in usable.values()) == len(dataset) - 5
    assert sum(row["ant"] for row in usable.values()) == 2


class Slow:
    """A dataset whose images are looked at faster than the survey is listened to."""

    in_threads = True

    def __init__(self, size: int) -> None:
        self.ids = tuple(map(str, range(size)))
        self.begun = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> None:
        pass

    def facts(self, index: int, levels: object = None) -> Facts:
        with self._lock:
            self.begun += 1
        return Facts(index + 1, 1, "PNG", "RGB", rotated=False)


def test_work_in_flight_is_bounded_and_results_are_in_order() -> None:
    dataset = Slow(4000)
    done, ahead = 0, 0

    def listen(number: int) -> None:
        nonlocal done, ahead
        time.sleep(0.001)
        done += number
        ahead = max(ahead, dataset.begun - done)

    found = survey(dataset, listen)  # type: ignore[arg-type]
    assert done == 4000
    assert ahead <= 32 * (3 * runtime.threads() + 2)
    np.testing.assert_array_equal(found.widths, np.arange(1, 4001))


def copies(root: Path, make: SimpleNamespace) -> Dataset:
    """A folder with given splits and copies within a class, across classes and across splits."""
    make.folder(root, ("train", "test"), each=3)
    number = 100
    for names in (
        ("train/ant/same.png", "train/ant/twin.png"),
        ("train/bee/wrong.png", "train/cat/right.png"),
        ("train/cat/known.png", "test/cat/leak.png"),
        ("test/ant/worst.png", "train/bee/worst.png", "test/bee/worst.png"),
    ):
        number += 1
        for name in names:
            make.save(root / name, number)
    for name in ("train/ant/empty.png", "test/bee/empty.png"):
        (root / name).write_bytes(b"")
    return load_dataset(str(root), split=(0.999, 0.001))


def test_duplicates_are_grouped_and_flagged_the_worst_first(tmp_path: Path, make: SimpleNamespace) -> None:
    dataset = copies(tmp_path, make)
    found = duplicates(dataset, survey(dataset).usable, 10)
    assert [[place.id for place in group.images] for group in found.groups] == [
        ["test/ant/worst.png", "test/bee/worst.png", "train/bee/worst.png"],
        ["train/bee/wrong.png", "train/cat/right.png"],
        ["test/cat/leak.png", "train/cat/known.png"],
        ["train/ant/same.png", "train/ant/twin.png"],
    ]
    flags = [(group.across_labels, group.across_splits) for group in found.groups]
    assert flags == [(True, True), (True, False), (False, True), (False, False)]
    assert (found.total, found.images, found.across_splits, found.across_labels) == (4, 9, 2, 2)
    first = found.groups[0].images[0]
    assert (first.split, first.label) == ("test", "ant")
    assert found.groups[0].digest == dataset.digests[dataset.ids.index(first.id)].decode()


def test_many_duplicates_are_counted_but_not_all_listed(tmp_path: Path, make: SimpleNamespace) -> None:
    dataset = copies(tmp_path, make)
    usable = survey(dataset).usable
    short = duplicates(dataset, usable, 2)
    assert short.groups == duplicates(dataset, usable, 10).groups[:2]
    assert (short.total, short.images) == (4, 9)


def test_no_duplicates_without_images(tmp_path: Path, make: SimpleNamespace) -> None:
    dataset = load_dataset(str(make.folder(tmp_path, each=2)))
    none = duplicates(dataset, np.zeros(len(dataset), bool), 10)
    assert (none.groups, none.total, none.images) == ((), 0, 0)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=50))
def test_a_distribution_counts_every_value(values: list[float]) -> None:
    found = distribution(np.array(values))
    assert sum(found.counts) == len(values)
    assert len(found.edges) == len(found.counts) + 1 if len(found.counts) > 1 else found.edges[0] == found.edges[-1]
    assert list(found.edges) == sorted(found.edges)
    assert list(found.quantiles) == ["min", "p5", "p25", "median", "p75", "p95", "max"]
    assert found.quantiles["min"] == min(values) == found.edges[0]
    assert found.quantiles["max"] == max(values) == found.edges[-1]
    assert found.quantiles["median"] == pytest.approx(np.median(values))


def test_a_distribution_of_nothing() -> None:
    assert distribution(np.empty(0)).to_json() == {
        **dict.fromkeys(("min", "p5", "p25", "median", "p75", "p95", "max"), 0.0),
        "histogram": {"edges": [], "counts": []},
    }


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((300, 200), (96, 64)), ((1, 5000), (1, 96)), ((96, 96), (96, 96)), ((8, 8), (8, 8))],
)
def test_thumbnails_keep_the_shape_and_never_grow(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    image = np.full((*shape, 3), (200, 100, 0), np.uint8)
    small = thumbnail(image)
    assert small.shape == (*expected, 3)
    assert max(small.shape) <= THUMBNAIL
    assert (small == (200, 100, 0)).all()
