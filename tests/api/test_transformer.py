"""Features as a step of scikit-learn: cloned, piped, cross-validated, and each image computed once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forks import Fork
from listener import Listener
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

import featurebank as fb
from featurebank import load_dataset
from featurebank.api.display import showing
from featurebank.backbone import Backbone
from featurebank.errors import ConfigError, DatasetError, FeatureBankError, UnknownNameError

pytestmark = pytest.mark.heavy


@pytest.fixture
def make(tmp_path: Path) -> Any:
    options = {"weights": "random:0", "image_size": 32, "cache": tmp_path / "cache"}
    return lambda **more: fb.FeatureBank("efficientnet_lite0", **{**options, **more})


@pytest.fixture
def files(photos: Path) -> list[Path]:
    return sorted(photos.glob("*/*"))


def test_a_transform_shows_its_progress(make: Any, pixels: Any, files: list[Path]) -> None:
    listener = Listener()
    with showing(reporter=listener):
        make().transform(files)
    assert listener.done == listener.total == len(files)


def expected(files: list[Path], lite: Backbone) -> np.ndarray:
    images = np.stack([lite.resize(np.asarray(Image.open(path).convert("RGB"))) for path in files])
    return images.reshape(len(images), -1)[:, :64].astype(np.float32) / 255 + len("pooled")


def test_paths_in_any_form_in_their_order(make: Any, pixels: Any, files: list[Path], lite: Backbone) -> None:
    wanted = expected(files, lite)
    for form in (files, [str(f) for f in files], np.array([str(f) for f in files]), np.array(files, object)[:, None]):
        assert np.array_equal(make().transform(form), wanted)
    assert np.array_equal(make().fit_transform(files[::-1]), wanted[::-1])
    assert np.array_equal(make().transform([files[3], files[0], files[3]]), wanted[[3, 0, 3]])
    assert len(pixels) == 1
    assert pixels[0].images == 24


def test_arrays(make: Any, pixels: Any, lite: Backbone) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    found = make().transform(colour)
    assert np.array_equal(found, colour.reshape(6, -1)[:, :64] / np.float32(255) + 6)
    assert np.array_equal(make().transform(list(colour)), found)
    assert len(pixels) == 1, "the same images in another form are the same images"
    grey = make().transform(colour[..., 0])
    assert grey.shape == (6, 64)
    assert make().transform([colour[0], colour[1, :20, :, 0]]).shape == (2, 64)


def test_only_new_images_are_computed(make: Any, pixels: Any, files: list[Path]) -> None:
    make().transform(files[:10])
    make().transform(files[5:15])
    assert [engine.images for engine in pixels] == [10, 5]
    make().transform(files[:15])
    assert len(pixels) == 2


def test_rows_of_a_dataset_are_found(make: Any, pixels: Any, files: list[Path], photos: Path, lite: Backbone) -> None:
    bank = fb.extract(load_dataset(str(photos)), lite, cache=make().cache)
    rows = dict(zip(bank.ids(), bank.features(), strict=True))
    found = make().transform(files)
    assert len(pixels) == 1
    assert all(np.array_equal(f, rows[p.relative_to(photos).as_posix()]) for f, p in zip(found, files, strict=True))
    assert fb.find_bank(make().cache).path == bank.path, "features without labels are not the newest bank of heads"


def test_taps_do_not_disturb_each_other(make: Any, pixels: Any, files: list[Path]) -> None:
    one = make().transform(files)
    other = make(tap="map:max").transform(files[:3])
    assert np.array_equal(other, one[:3] + 1)
    assert np.array_equal(make().transform(files), one)


def test_clones_pipelines_and_searches(make: Any, pixels: Any, files: list[Path]) -> None:
    bank = make(batch_size=7)
    assert clone(bank).get_params() == bank.get_params()
    y = np.array([path.parent.name for path in files])
    model = make_pipeline(bank, KNeighborsClassifier(1))
    assert model.fit(files, y).score(files, y) == 1
    scores = cross_val_score(make_pipeline(make(), LogisticRegression(max_iter=5000)), np.array(files, object), y, cv=3)
    assert scores.shape == (3,)
    axes = {"featurebank__tap": ["pooled", "map:max"], "kneighborsclassifier__n_neighbors": [1, 3]}
    search = GridSearchCV(model, axes, cv=2)
    search.fit(np.array(files, object), y)
    assert {p["featurebank__tap"] for p in search.cv_results_["params"]} == {"pooled", "map:max"}
    assert len(pixels) <= 4, "each image once a tap, whatever the folds"


def test_wrong_input(make: Any, pixels: Any, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    cases = [
        (str(files[0]), DatasetError, "put a single path into a list"),
        ([], DatasetError, "no images"),
        (np.zeros((2, 4, 4), np.float32), DatasetError, "type float32"),
        (np.zeros((2, 4, 4, 2), np.uint8), DatasetError, r"shape \(2, 4, 4, 2\)"),
        ([files[0], 3], DatasetError, "type int|type PosixPath"),
        (7, DatasetError, "of type int"),
        ([*files, tmp_path / "bad.jpg"], DatasetError, "bad.jpg' cannot be used: not an image"),
        ([*files, tmp_path / "none.jpg"], DatasetError, "none.jpg' cannot be used: file not found"),
    ]
    for X, kind, message in cases:
        with pytest.raises(kind, match=message):
            make().transform(X)
    with pytest.raises(UnknownNameError, match="efficientnet_lite0"):
        fb.FeatureBank("efficientnet_lite").fit(files)
    with pytest.raises(ConfigError, match="bad tap"):
        make(tap="pooled:min").fit(files)
    assert issubclass(DatasetError, FeatureBankError)
    assert make().transform(files).shape == (24, 64), "nothing is lost by what went wrong"


CHILD = """
import sys
from pathlib import Path
import numpy as np
import featurebank as fb
import featurebank.extraction.target as stage
from immediate import Immediate

class Pixels(Immediate):
    name, precision = "pixels", "float32"
    def __init__(self, taps):
        self.taps = taps
        print("engine")
    def __call__(self, images):
        return {tap: images.reshape(len(images), -1)[:, :64].astype(np.float32) for tap in self.taps}

stage.load_engine = lambda name, backbone, taps, **options: Pixels(taps)
bank = fb.FeatureBank("efficientnet_lite0", weights="random:0", image_size=32, cache=sys.argv[1])
files = sorted(Path(sys.argv[2]).glob("*/*"))
print(bank.transform(files).sum())
"""


def test_processes_at_once_wait_for_each_other(photos: Path, tmp_path: Path) -> None:
    """As in `cross_val_score(n_jobs=2)`: one computes, the other finds its rows."""
    running = [
        Fork(
            [sys.executable, "-c", CHILD, str(tmp_path / "cache"), str(photos)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    done = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], done
    lines = [out.splitlines() for out, _ in done]
    assert sum("engine" in found for found in lines) == 1
    assert len({found[-1] for found in lines}) == 1
