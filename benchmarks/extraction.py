"""How fast are features extracted, from arrays and from JPEG files to shards on disk, and how far is it from the limit?

For ResNet50, VGG16 and EfficientNet-Lite0, in turn: `keras.Model.predict`; the network in one `tf.function`;
featurebank with each engine, from arrays (or JPEG files) to finished shards; OpenVINO alone, which is the limit;
decoding alone; bfloat16 where the processor has it, with the accuracy of a linear head beside it. Then a ViT-S/16 and a
ConvNeXt of timm; see `foreign`.

featurebank's time is the whole of `run_extraction`: digests, decoding, resizing, forward pass, writing and syncing of
the shards; the engine is built before the clock runs, as the models of the others are, and the 64 images that a run in
bfloat16 computes in float32 too, a second or less, are left out. `--photos DIR` takes the JPEG
files of a folder of classes; otherwise pictures are made (smooth colour fields with noise, which compress like photos).
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.foreign import contests_of_timm
from benchmarks.harness import Contest, conditions, report, tensorflow
from benchmarks.pictures import photo_folder
from featurebank import load_backbone, load_dataset
from featurebank.backbone import Backbone
from featurebank.backbone.keras_networks.work import multiply_adds
from featurebank.dataset import Dataset
from featurebank.engine.catalog import Engine, load_engine
from featurebank.errors import ConfigError
from featurebank.extraction import ExtractOptions, run_extraction

BATCH = 32
NETWORKS = (("resnet50", "random:0", 256), ("vgg16", "random:0", 64), ("efficientnet_lite0", "imagenet", 480))
"""With the images of a turn, whole batches: `predict` is faster on a hundred large images than on a few hundred."""


def run(rounds: int, *, quick: bool, output: Path, photos: Path | None = None) -> None:
    """Runs the benchmark."""
    tensorflow()
    about = conditions()
    peak = _matrix_peak()
    contests: list[Contest] = []
    extra: dict[str, Any] = {"rounds": rounds, "batch_size": BATCH, "gflops_of_a_matrix_product": round(peak / 1e9, 1)}
    with tempfile.TemporaryDirectory() as directory:
        for name, weights, images in NETWORKS:
            backbone = load_backbone(name, weights=weights, image_size=112 if quick else None)
            match = _Match(backbone, Path(directory) / name, BATCH if quick else images, photos)
            contests += match.run(rounds)
            extra[name] = match.roofline(peak)
            match.close()
        foreign = contests_of_timm(rounds, Path(directory), photos, quick=quick)
    report([*contests, *foreign], about, output, extra)
    for name, _, _ in NETWORKS:
        print(f"{name}: {extra[name]}")


@dataclass
class _Match:
    """The contests of one network."""

    backbone: Backbone
    directory: Path
    count: int
    photos: Path | None

    def __post_init__(self) -> None:
        self.files = photo_folder(self.directory / "photos", self.count, self.photos)
        dataset = load_dataset(str(self.files))
        chosen = list(itertools.islice(itertools.cycle(range(len(dataset))), self.count))
        self.arrays = np.stack([self.backbone.resize(dataset.image(index)) for index in chosen])
        self.arrays[:, 0, 0, 0] = np.arange(self.count) % 256  # all different: equal images would share a row
        self.arrays[:, 0, 0, 1] = np.arange(self.count) // 256
        self.directory.mkdir(parents=True, exist_ok=True)
        np.savez(self.directory / "arrays.npz", x=self.arrays, y=np.arange(self.count) % 2)
        self.model = self.backbone.tap_model(["pooled"])
        self.engines = {name: self._engine(name) for name in ("tensorflow", "openvino")}
        try:
            self.engines["openvino bfloat16"] = self._engine("openvino", precision="bfloat16")
        except ConfigError as error:  # this processor has none
            print(error)

    def run(self, rounds: int) -> list[Contest]:
        """Lets the contestants take turns."""
        size = self.backbone.image_size
        arrays = Contest(
            f"{self.backbone.name} from arrays, {size} px, batches of {BATCH}",
            self.count,
            "images",
            "keras.Model.predict",
        )
        dataset = load_dataset(str(self.files))
        files = Contest(
            f"{self.backbone.name} from JPEG files, {size} px",
            len(dataset),
            "images",
            "dataset_from_directory + predict",
        )
        predict, function = self._predict(), self._function()
        raw = self.engines["openvino"]
        self._turns(lambda: raw)
        for _ in range(rounds):
            arrays.time("keras.Model.predict", lambda: predict(self.arrays.astype(np.float32)))
            arrays.time("tf.function, fixed batch", lambda: [function(part) for part in self._batches()])
            arrays.time("openvino alone, asynchronous", lambda: self._turns(lambda: raw))
            for name, engine in self.engines.items():
                spec = f"npz:{self.directory / 'arrays.npz'}"
                arrays.time(f"featurebank, {name}, to shards", self._extraction(spec, engine))
            files.time("dataset_from_directory + predict", lambda: predict(self._keras_files()))
            files.time("decoding and resizing alone", lambda: self._decode(dataset))
            for name, engine in self.engines.items():
                files.time(f"featurebank, {name}, to shards", self._extraction(str(self.files), engine))
        self._accuracies(files)
        return [arrays, files]

    def roofline(self, peak: float) -> dict[str, float]:
        """Returns what the multiply-adds of the network allow on this machine."""
        operations = 2 * sum(multiply_adds(layer) for layer in self.backbone.network().layers)
        return {"gflop_an_image": round(operations / 1e9, 3), "images_per_second_at_peak": round(peak / operations, 1)}

    def close(self) -> None:
        """Releases the engines."""
        for engine in self.engines.values():
            engine.close()

    def _engine(self, name: str, precision: str = "float32") -> Engine:
        engine = load_engine(
            name, self.backbone, ("pooled",), batch_size=BATCH, precision=precision, cache=self.directory / "engines"
        )
        engine(self.arrays[:BATCH])
        return engine

    def _turns(self, engine: Callable[[], Engine]) -> None:
        """Sends all arrays through an engine, as many batches in flight as it wants."""
        chosen = engine()
        running: deque[Any] = deque()
        for part in self._batches():
            while len(running) >= chosen.depth:
                running.popleft().result()
            running.append(chosen.submit(part))
        for left in running:
            left.result()

    def _extraction(self, spec: str, engine: Engine) -> Callable[[], None]:
        cache = self.directory / "cache"
        lent = mock.Mock(wraps=engine, depth=engine.depth)
        lent.name, lent.close = engine.name, lambda: None

        def act() -> None:
            shutil.rmtree(cache, ignore_errors=True)
            with (
                mock.patch("featurebank.extraction.target.load_engine", return_value=lent),
                mock.patch("featurebank.extraction.precision.IMAGES", 0),
            ):
                options = ExtractOptions(batch_size=BATCH, precision=engine.precision)
                run_extraction(load_dataset(spec), self.backbone, options, cache=cache)

        return act

    def _accuracies(self, contest: Contest) -> None:
        """Notes beside each engine what a linear head makes of its features, where the weights mean something."""
        if self.photos is None or self.backbone.weights.startswith("random"):
            return
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import cross_val_score

        for name, engine in self.engines.items():
            self._extraction(str(self.files), engine)()
            from featurebank import find_bank

            bank = find_bank(self.directory / "cache")
            head = LogisticRegression(C=0.1, max_iter=2000)
            score = cross_val_score(head, bank.features(), bank.labels(), cv=5).mean()
            contest.notes[f"featurebank, {name}, to shards"] = f"logistic regression, 5 folds: {score:.4f}"

    def _predict(self) -> Callable[[Any], Any]:
        def predict(images: Any) -> Any:
            return self.model.predict(images, batch_size=BATCH, verbose=0)

        predict(self.arrays[:BATCH].astype(np.float32))
        return predict

    def _function(self) -> Callable[[np.ndarray], Any]:
        tf = tensorflow()
        shape = (BATCH, self.backbone.image_size, self.backbone.image_size, 3)

        @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8)], autograph=False)
        def forward(images: Any) -> Any:
            return self.model(tf.cast(images, tf.float32), training=False)

        def run(images: np.ndarray) -> Any:
            return {tap: value.numpy() for tap, value in forward(images).items()}

        run(self.arrays[:BATCH])
        return run

    def _decode(self, dataset: Dataset) -> None:
        from concurrent.futures import ThreadPoolExecutor

        from featurebank.system.runtime import threads

        with ThreadPoolExecutor(threads()) as pool:
            deque(pool.map(lambda index: self.backbone.resize(dataset.image(index)), range(len(dataset))), maxlen=0)

    def _keras_files(self) -> Any:
        import keras

        size = self.backbone.image_size
        found = keras.utils.image_dataset_from_directory(
            self.files, image_size=(size, size), batch_size=BATCH, shuffle=False, verbose=False
        )
        return found.map(lambda images, labels: images).prefetch(2)

    def _batches(self) -> Iterator[np.ndarray]:
        return (self.arrays[start : start + BATCH] for start in range(0, self.count, BATCH))


def _matrix_peak() -> float:
    """Returns the floating-point operations a second of a large float32 matrix product in TensorFlow."""
    tf = tensorflow()
    side = 2048
    a = tf.random.normal((side, side))
    tf.linalg.matmul(a, a).numpy()
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        tf.linalg.matmul(a, a).numpy()
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best
