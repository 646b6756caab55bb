"""How fast are features extracted, from arrays and from JPEG files to shards on disk, against `keras.Model.predict`?

Made pictures (smooth colour fields with noise, which compress like photos): the network does not care what it sees.
featurebank's time is the whole of `run_extraction`: digests, decoding, resizing, forward pass, writing and syncing of
the shards; the engine is built before the clock runs, as the models of the others are. `--quick` runs a few images at
half the size.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.harness import Contest, conditions, report, tensorflow
from featurebank import extraction
from featurebank.backbone import Backbone, load_backbone
from featurebank.dataset import load_dataset
from featurebank.engine.catalog import load_engine

BATCH = 32


def run(rounds: int, *, quick: bool, output: Path) -> None:
    """Runs the benchmark."""
    tensorflow()
    about = conditions()
    plans = [("resnet50", "random:0", 96), ("efficientnet_lite0", "imagenet", 320)]
    size = 112 if quick else None
    contests: list[Contest] = []
    with tempfile.TemporaryDirectory() as directory:
        for name, weights, images in plans:
            backbone = load_backbone(name, weights=weights, image_size=size)
            count = 2 * BATCH if quick else images
            contests += _contests(backbone, count, rounds, Path(directory) / name)
    report(contests, about, output, {"rounds": rounds, "batch_size": BATCH})


def _contests(backbone: Backbone, count: int, rounds: int, directory: Path) -> list[Contest]:
    folder, arrays = _made(directory, count, backbone.image_size)
    model = backbone.tap_model(["pooled"])
    engine = load_engine("tensorflow", backbone, ("pooled",), batch_size=BATCH)
    engine(arrays[:BATCH])
    pixels = f"{backbone.image_size} px, batches of {BATCH}"
    from_arrays = Contest(f"{backbone.name} from arrays, {pixels}", count, "images", "keras.Model.predict")
    from_files = Contest(
        f"{backbone.name} from JPEG files, {pixels}", count, "images", "dataset_from_directory + predict"
    )
    predict = _predict(model)
    predict(arrays[:BATCH].astype(np.float32))
    np.savez(directory / "arrays.npz", x=arrays, y=np.arange(count) % 2)
    for _ in range(rounds):
        from_arrays.time("keras.Model.predict", lambda: predict(arrays.astype(np.float32)))
        from_arrays.time("tf.function, fixed batch", lambda: [engine(part) for part in _batches(arrays)])
        from_arrays.time(
            "featurebank, to shards", _extraction(f"npz:{directory / 'arrays.npz'}", backbone, engine, directory)
        )
        from_files.time("dataset_from_directory + predict", lambda: predict(_keras_files(folder, backbone.image_size)))
        from_files.time("featurebank, to shards", _extraction(str(folder), backbone, engine, directory))
    return [from_arrays, from_files]


def _extraction(spec: str, backbone: Backbone, engine: Any, directory: Path) -> Callable[[], None]:
    cache = directory / "cache"

    def act() -> None:
        shutil.rmtree(cache, ignore_errors=True)
        with mock.patch("featurebank.extraction.target.load_engine", return_value=engine):
            options = extraction.ExtractOptions(batch_size=BATCH)
            extraction.run_extraction(load_dataset(spec), backbone, options, cache=cache)

    return act


def _predict(model: Any) -> Callable[[Any], Any]:
    return lambda images: model.predict(images, batch_size=BATCH, verbose=0)


def _keras_files(folder: Path, size: int) -> Any:
    import keras

    found = keras.utils.image_dataset_from_directory(
        folder, image_size=(size, size), batch_size=BATCH, shuffle=False, verbose=False
    )
    return found.map(lambda images, labels: images).prefetch(2)


def _batches(arrays: np.ndarray) -> Iterator[np.ndarray]:
    return (arrays[start : start + BATCH] for start in range(0, len(arrays), BATCH))


def _made(directory: Path, count: int, size: int) -> tuple[Path, np.ndarray]:
    """Returns a folder of JPEG pictures (500 x 375, two classes), and as many arrays of the network's size."""
    from PIL import Image

    rng = np.random.default_rng(0)
    arrays = np.empty((count, size, size, 3), np.uint8)
    for number in range(count):
        field = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        noisy = np.clip(np.asarray(field, np.int16) + rng.normal(0, 6, (375, 500, 3)), 0, 255).astype(np.uint8)
        path = directory / "photos" / f"class{number % 2}" / f"{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(noisy)
        picture.save(path, quality=90)
        arrays[number] = picture.resize((size, size))
    return directory / "photos", arrays
