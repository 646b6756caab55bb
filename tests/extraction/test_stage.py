"""The whole way from images to a bank: nothing twice, nothing lost, nothing wrong, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forks
import numpy as np
import pytest
from immediate import Immediate
from listener import Listener

from featurebank import extract, find_bank, list_banks, load_backbone, load_dataset
from featurebank.backbone import Backbone
from featurebank.bank.manifest import MANIFEST
from featurebank.bank.reader import Bank
from featurebank.bank.writer import BankWriter
from featurebank.dataset.sources.folder import Files
from featurebank.errors import (
    BankDamagedError,
    ConfigError,
    DatasetError,
    FeatureRangeError,
    UnknownNameError,
)
from featurebank.extraction import Extraction, ExtractOptions, run_extraction
from featurebank.system.progress import Advance, Reporter
from featurebank.system.runtime import import_tensorflow

pytestmark = pytest.mark.heavy

Child = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(photos: Path, lite: Backbone, tmp_path: Path) -> Callable[..., Extraction]:
    """Extracts the photos into the cache of this test, in small batches."""

    def go(*taps: str, reporter: Reporter | None = None, **options: Any) -> Extraction:
        chosen = ExtractOptions(taps=taps or ("pooled",), **{"batch_size": 5, **options})
        return run_extraction(
            load_dataset(str(photos)), lite, chosen, cache=tmp_path / "cache", reporter=reporter or Reporter()
        )

    return go


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurebank.bank.writer.SHARD_ROWS", 4)


def expected_pixels(bank: Bank, photos: Path, lite: Backbone, tap: str = "pooled") -> np.ndarray:
    dataset = load_dataset(str(photos))
    images = np.stack([lite.resize(dataset.image(dataset.ids.index(i))) for i in bank.ids()])
    return images.reshape(len(images), -1)[:, :64].astype(np.float32) / 255 + len(tap)


# ---- the right rows


@pytest.mark.usefixtures("small_shards")
def test_row_of_an_id_is_what_its_image_gives_alone(tmp_path: Path, lite: Backbone, photo: Any) -> None:
    root = tmp_path / "photos"
    for number in range(45):
        photo(root / "abc"[number % 3] / f"{number}.{('png', 'jpg')[number % 2]}", number)
    for number, (old, new) in enumerate([("a/0.png", "b/x.png"), ("a/0.png", "a/y.png"), ("b/1.jpg", "c/x.jpg")] * 2):
        shutil.copy(root / old, root / new.replace(".", f"{number}."))
    dataset = load_dataset(str(root))
    assert len(dataset) == 51
    bank = extract(dataset, lite, ["pooled", "map"], cache=tmp_path / "cache", batch_size=7)
    assert sorted(bank.ids()) == sorted(dataset.ids)
    assert len(bank.manifest.shards) > 5
    compute = import_tensorflow().function(lite.tap_model(["pooled"]))
    features, labels = bank.features(), bank.labels()
    for row, name in enumerate(bank.ids()):
        image = lite.resize(dataset.image(dataset.ids.index(name)))
        alone = np.asarray(compute(image[None].astype(np.float32), training=False)["pooled"])[0]
        assert np.abs(features[row] - alone).max() <= 1e-4 * np.abs(alone).max(), name
        assert bank.classes[labels[row]] == name.split("/")[0]
    assert np.allclose(bank.features("map").mean(axis=(1, 2)), features, atol=2e-3 * np.abs(features).max())


class Stop(Reporter):
    """A Ctrl-C after some images."""

    def __init__(self, after: int) -> None:
        self.after = after

    def track(self, what: str, total: int, unit: str) -> Any:
        import contextlib

        def advance(count: int) -> None:
            self.after -= count
            if what == "extract" and self.after < 0:
                raise KeyboardInterrupt

        @contextlib.contextmanager
        def tracked() -> Iterator[Advance]:
            yield advance if what == "extract" else lambda count: None

        return tracked()


@pytest.mark.usefixtures("small_shards")
def test_real_engine_resumed_gives_the_same_bytes(
    run: Callable[..., Extraction], photos: Path, lite: Backbone, tmp_path: Path
) -> None:
    peace = extract(load_dataset(str(photos)), lite, cache=tmp_path / "peace", batch_size=5)
    with pytest.raises(KeyboardInterrupt):
        run(reporter=Stop(12))
    done = run()
    assert 0 < done.added < 24
    assert same(done.bank, peace)


def same(one: Bank, other: Bank) -> bool:
    return (
        one.ids() == other.ids()
        and one.features().tobytes() == other.features().tobytes()
        and one.labels().tobytes() == other.labels().tobytes()
        and one.splits().tolist() == other.splits().tolist()
        and one.digest == other.digest
    )


def test_second_run_does_nothing(run: Callable[..., Extraction], pixels: list[Any]) -> None:
    first = run()
    again = run()
    assert (first.added, first.reused, first.engine) == (24, 0, "pixels")
    assert (again.added, again.reused, again.engine, again.images_per_second) == (0, 24, None, 0)
    assert len(pixels) == 1
    assert same(first.bank, again.bank)
    assert len(again.bank.manifest.history) == 1


def test_a_part_of_a_dataset_has_a_bank_of_its_own(pixels: Any, photos: Path, lite: Backbone, tmp_path: Path) -> None:
    def bank(**part: Any) -> Bank:
        dataset = load_dataset(str(photos), **part)
        return run_extraction(dataset, lite, ExtractOptions(), cache=tmp_path / "cache").bank

    whole, part = bank(), bank(limit=10, per_class=7)
    assert part.path != whole.path
    assert len(part.ids()) == 10
    assert part.manifest.dataset["subset"] == {"limit": 10, "per_class": 7}
    assert part.manifest.dataset["spec"] == whole.manifest.dataset["spec"]
    assert whole.manifest.dataset["subset"] == {}


def test_second_run_imports_no_tensorflow(run: Callable[..., Extraction], pixels: Any, photos: Path) -> None:
    cache = run().bank.path.parent
    code = (
        "import sys; from featurebank import load_backbone; from featurebank import load_dataset; "
        "from featurebank import extract; "
        f"dataset = load_dataset({str(photos)!r}); "
        "backbone = load_backbone('efficientnet_lite0', weights='random:0', image_size=32); "
        f"bank = extract(dataset, backbone, cache={str(cache)!r}); bank.features(); "
        "print(len(bank), 'tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    done = forks.run([sys.executable, "-c", code], check=True)
    assert done.stdout == "24 False False\n"


# ---- growing


def test_new_images_alone_are_computed(
    run: Callable[..., Extraction], pixels: list[Any], photos: Path, lite: Backbone, photo: Any
) -> None:
    run()
    for number in range(100, 103):
        photo(photos / "bee" / f"{number}.png", number)
    done = run()
    assert (done.rows, done.added, done.reused, pixels[-1].images) == (27, 3, 24, 3)
    assert np.array_equal(done.bank.features(), expected_pixels(done.bank, photos, lite))


@pytest.mark.usefixtures("pixels")
def test_moved_and_relabelled_files_are_followed(run: Callable[..., Extraction], photos: Path, lite: Backbone) -> None:
    run()
    (photos / "ant" / "0.jpg").rename(photos / "ant" / "renamed.jpg")
    (photos / "ant" / "2.png").rename(photos / "bee" / "2.png")
    (photos / "bee").rename(photos / "aardvark")
    done = run()
    assert (done.added, done.reused) == (0, 24)
    bank = done.bank
    assert bank.classes == ("aardvark", "ant")
    assert {"ant/renamed.jpg", "aardvark/2.png"} < set(bank.ids())
    assert not {"ant/0.jpg", "ant/2.png", "bee/1.png"} & set(bank.ids())
    assert [bank.classes[label] for label in bank.labels()] == [i.split("/")[0] for i in bank.ids()]
    assert np.array_equal(bank.features(), expected_pixels(bank, photos, lite))


def test_duplicates_share_a_row(run: Callable[..., Extraction], pixels: list[Any], photos: Path) -> None:
    shutil.copy(photos / "ant" / "0.jpg", photos / "bee" / "copy.jpg")
    done = run()
    assert (done.rows, done.added, pixels[0].images, len(done.bank)) == (24, 24, 24, 25)
    row = {name: features.tobytes() for name, features in zip(done.bank.ids(), done.bank.features(), strict=True)}
    assert row["ant/0.jpg"] == row["bee/copy.jpg"]


@pytest.mark.usefixtures("pixels")
def test_removed_images_vanish(run: Callable[..., Extraction], photos: Path, lite: Backbone) -> None:
    run()
    (photos / "bee" / "1.png").unlink()
    done = run()
    assert (done.rows, done.added) == (23, 0)
    assert "bee/1.png" not in done.bank.ids()
    assert np.array_equal(done.bank.features(), expected_pixels(done.bank, photos, lite))


def test_new_tap_then_new_image(
    run: Callable[..., Extraction], pixels: list[Any], photos: Path, lite: Backbone, photo: Any
) -> None:
    run("pooled")
    assert run("map:max").added == 24
    assert pixels[-1].taps == ("map:max",), "the old tap is not computed again"
    photo(photos / "ant" / "new.png", 200)
    done = run("pooled")
    assert (done.added, pixels[-1].taps, pixels[-1].images) == (1, ("pooled", "map:max"), 1)
    assert done.bank.taps == ("pooled", "map:max")
    for tap in done.bank.taps:
        assert np.array_equal(done.bank.features(tap), expected_pixels(done.bank, photos, lite, tap))


@pytest.mark.usefixtures("pixels")
def test_reuse_counts_as_use(run: Callable[..., Extraction], photos: Path, lite: Backbone, tmp_path: Path) -> None:
    old = run().bank.path
    other = extract(load_dataset("digits"), lite, cache=tmp_path / "cache").path
    os.utime(old / MANIFEST, (1000, 1000))
    os.utime(other / MANIFEST, (2000, 2000))
    assert find_bank(tmp_path / "cache").path == other
    run()
    assert find_bank(tmp_path / "cache").path == old


# ---- damage


def damage(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "cut":
        os.truncate(path, path.stat().st_size - 1)
    else:
        data = bytearray(path.read_bytes())
        data[4] ^= 0xFF
        path.write_bytes(data)


@pytest.mark.usefixtures("pixels", "small_shards")
@pytest.mark.parametrize("how", ["missing", "cut", "header"])
@pytest.mark.parametrize("count", [1, 6])
def test_damaged_rows_are_made_again(
    run: Callable[..., Extraction], photos: Path, lite: Backbone, how: str, count: int
) -> None:
    bank = run(batch_size=4).bank
    shards = bank.manifest.shards[:count]
    for shard in shards:
        damage(bank.path / shard.file, how)
    with pytest.raises(BankDamagedError):
        Bank(bank.path).features()
    warnings = Listener()
    done = run(batch_size=4, reporter=warnings)
    assert done.added == sum(shard.rows for shard in shards)
    assert len(warnings.warned) == len(shards)
    assert all("damaged" in line and "\n" not in line for line in warnings.warned)
    assert np.array_equal(done.bank.features(), expected_pixels(done.bank, photos, lite))
    assert same(done.bank, run().bank)


@pytest.mark.usefixtures("pixels")
def test_damaged_items_are_written_again(run: Callable[..., Extraction]) -> None:
    first = run().bank
    next(first.path.glob("items-*")).write_bytes(b"x")
    with pytest.raises(BankDamagedError, match="extract"):
        Bank(first.path)
    done = run()
    assert done.added == 0
    assert same(done.bank, first)


@pytest.mark.usefixtures("pixels")
def test_damaged_manifest_stops_extraction(run: Callable[..., Extraction]) -> None:
    path = run().bank.path
    (path / MANIFEST).write_text("{}")
    with pytest.raises(BankDamagedError, match="cache rm"):
        run()


# ---- bad images


@pytest.fixture
def spoilt(photos: Path) -> list[str]:
    """Three of the photos are damaged, two of them in the same way."""
    (photos / "ant" / "0.jpg").write_bytes(b"no image")
    (photos / "bee" / "copy.jpg").write_bytes(b"no image")
    (photos / "bee" / "1.png").write_bytes((photos / "bee" / "1.png").read_bytes()[:70])
    return ["ant/0.jpg", "bee/1.png", "bee/copy.jpg"]


@pytest.mark.usefixtures("pixels")
def test_bad_images_are_skipped_and_named(
    run: Callable[..., Extraction], spoilt: list[str], photos: Path, lite: Backbone
) -> None:
    done = run()
    assert [entry["id"] for entry in done.skipped] == spoilt
    assert all(entry["reason"] and set(entry) == {"id", "reason"} for entry in done.skipped)
    assert [(s["id"], s["reason"]) for s in done.bank.skipped] == [(s["id"], s["reason"]) for s in done.skipped]
    assert (done.rows, done.added) == (22, 22)
    assert np.array_equal(done.bank.features(), expected_pixels(done.bank, photos, lite))


def test_known_bad_images_load_no_engine(run: Callable[..., Extraction], spoilt: list[str], pixels: list[Any]) -> None:
    first = run()
    again = run()
    assert len(pixels) == 1
    assert again.skipped == first.skipped
    assert (again.added, again.reused) == (0, 22)


@pytest.mark.usefixtures("pixels")
def test_mended_image_is_taken(run: Callable[..., Extraction], spoilt: list[str], photos: Path, photo: Any) -> None:
    run()
    photo(photos / "ant" / "0.jpg", 77)
    done = run()
    assert (done.added, [entry["id"] for entry in done.skipped]) == (1, spoilt[1:])


@pytest.mark.usefixtures("pixels")
def test_bad_image_stops_where_asked(run: Callable[..., Extraction], spoilt: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(DatasetError, match=f"image '({'|'.join(spoilt)})' cannot be used"):
            run(on_bad_image="fail")
        run()  # the second time the bad ones are known


@pytest.mark.usefixtures("no_engine")
def test_all_bad(run: Callable[..., Extraction], photos: Path) -> None:
    for path in photos.glob("*/*"):
        path.write_bytes(b"no image " + path.name.encode())
    with pytest.raises(DatasetError, match="none of the 24 images"):
        run()


# ---- types and options


def give(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    class Engine(Immediate):
        name, precision = "broken", "float32"

        def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
            block = np.ones((len(images), 4), np.float32)
            block[-1] = value
            return {"pooled": block}

    monkeypatch.setattr("featurebank.extraction.target.load_engine", lambda *a, **k: Engine())


def test_nan_is_refused(run: Callable[..., Extraction], monkeypatch: pytest.MonkeyPatch, photos: Path) -> None:
    give(monkeypatch, np.nan)
    with pytest.raises(FeatureRangeError, match=r"for image '(ant|bee)/\d+\.(png|jpg)'"):
        run()


def test_float16_overflow_names_the_remedy_and_it_works(
    run: Callable[..., Extraction], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, 1e5)
    with pytest.raises(FeatureRangeError, match="--store float32"):
        run(store="float16")
    assert run(store="float32").bank.features().max() == np.float32(1e5)


@pytest.mark.usefixtures("pixels")
def test_float16_round_trip_and_conflict(run: Callable[..., Extraction], photos: Path, lite: Backbone) -> None:
    bank = run(store="float16").bank
    assert bank.tap_dtype("pooled") == "float16"
    expected = expected_pixels(bank, photos, lite).astype(np.float16).astype(np.float32)
    assert np.array_equal(bank.features(), expected)
    with pytest.raises(ConfigError, match="stored as float16 in this bank, but --store is float32"):
        run(store="float32")
    assert run().added == 0
    both = run("map:max", store="float32").bank
    assert [both.tap_dtype(tap) for tap in both.taps] == ["float16", "float32"]


@pytest.mark.usefixtures("pixels")
def test_store_is_about_the_taps_that_are_asked_for(run: Callable[..., Extraction], photos: Path, photo: Any) -> None:
    run("pooled")
    photo(photos / "ant" / "new.png", 500)
    bank = run("map:max", store="float16").bank
    assert [bank.tap_dtype(tap) for tap in bank.taps] == ["float32", "float16"]


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0: expected a whole number of 1 or more"),
        ({"store": "float64"}, "'float64'"),
        ({"on_bad_image": "cry"}, "'cry'"),
        ({"taps": ()}, "expected a list of one or more taps"),
        ({"taps": ("pooled:min",)}, "pooled:min"),
    ],
)
def test_wrong_options(photos: Path, lite: Backbone, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_extraction(load_dataset(str(photos)), lite, ExtractOptions(**options), cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_unknown_layer_leaves_the_bank_as_it_was(run: Callable[..., Extraction], pixels: Any, lite: Backbone,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    first = run().bank
    monkeypatch.undo()
    with pytest.raises(UnknownNameError, match="nosuchlayer"):
        run("nosuchlayer")
    assert same(Bank(first.path), first)
    assert Bank(first.path).taps == ("pooled",)


def test_another_recipe_is_another_bank(pixels: Any, photos: Path, lite: Backbone, tmp_path: Path) -> None:
    from featurebank import load_backbone

    dataset = load_dataset(str(photos))
    others = [
        load_backbone("efficientnet_lite0", weights=w, image_size=s) for w, s in [("random:1", 32), ("random:0", 40)]
    ]
    assert len({extract(dataset, b, cache=tmp_path / "c").path for b in (lite, *others)}) == 3


def test_writer_of_another_recipe_never_mixes(run: Callable[..., Extraction], pixels: Any) -> None:
    bank = run().bank
    with pytest.raises(ConfigError, match="another recipe"):
        BankWriter(bank.path, {**bank.recipe, "image_size": 64}, bank.manifest.dataset).__enter__()


def test_files_are_read_once_and_the_memory_is_no_bank(
    run: Callable[..., Extraction], pixels: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featurebank.dataset.fingerprint_cache.SETTLED_NS", 0)
    time.sleep(0.03)  # longer than a kernel's clock stands still
    before = run()
    assert [path.name for path in (tmp_path / "cache" / ".fingerprints").iterdir()] == [
        f"{load_dataset(tmp_path / 'photos').name}.npz"
    ]
    assert [bank.path for bank in list_banks(tmp_path / "cache")] == [before.bank.path]

    def refuse(self: Files, index: int) -> str:
        raise AssertionError(f"{self.path(index)} was read")

    monkeypatch.setattr(Files, "digest", refuse)
    assert run().added == 0


def test_a_memory_that_cannot_be_written_does_not_matter(
    run: Callable[..., Extraction], pixels: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / ".fingerprints").touch()
    assert run().added == 24
    assert run().added == 0


def test_a_bank_of_the_earlier_resize_rule_is_named(photos: Path, lite: Backbone, pixels: Any, tmp_path: Path) -> None:
    crop = load_backbone("efficientnet_lite0", weights="random:0", image_size=32, resize="crop")
    earlier = extract(load_dataset(str(photos)), crop, cache=tmp_path)
    said = Listener()
    bank = extract(load_dataset(str(photos)), lite, cache=tmp_path, reporter=said)
    assert bank.path != earlier.path
    assert [line for line in said.said if f"'{earlier.name}'" in line and "--resize crop" in line]
    said.said.clear()
    extract(load_dataset(str(photos)), lite, cache=tmp_path, reporter=said)
    extract(load_dataset(str(photos)), crop, cache=tmp_path, reporter=said)
    assert not [line for line in said.said if "--resize" in line]
