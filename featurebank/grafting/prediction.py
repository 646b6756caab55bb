"""Predictions from a model file: images are decoded and brought to size exactly as in extraction."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone.resize import RULES, resize_image
from featurebank.dataset import Dataset
from featurebank.dataset.loose import loose_images
from featurebank.dataset.walk import image_files
from featurebank.errors import ConfigError, DatasetError, FeatureBankError
from featurebank.grafting.about import About, about_from_text
from featurebank.grafting.formats import format_of
from featurebank.progress import SILENT, Reporter
from featurebank.runtime import threads


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image."""

    file: str
    """As it was given; of an array, its place."""
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    """The most probable classes, best first."""
    error: str | None = None
    """Why there is no prediction."""

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        if self.error is not None:
            return {"file": self.file, "error": self.error}
        top = [list(pair) for pair in self.top]
        return {"file": self.file, "label": self.label, "probability": self.probability, "top": top}


class LoadedModel:
    """A model file that is ready to predict.

    Args:
        run: (n, s, s, 3) float32 RGB 0..255 -> (n, classes).
        about: what the file says of itself.
    """

    def __init__(self, run: Callable[[np.ndarray], np.ndarray], about: About) -> None:
        self._run = run
        self.about = about

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the probabilities."""
        return self.about.classes

    def predict(self, images: np.ndarray, batch_size: int = 32) -> np.ndarray:
        """Returns probabilities (n, classes) float32.

        Args:
            images: (n, s, s, 3) RGB from 0 to 255, of the model's size, or of any where the model resizes.
            batch_size: how many are run at once.
        """
        size, shape, pixels = self.about.image_size, np.shape(images), self.about.pixels
        fits = len(shape) == 4 and shape[-1] == 3 if self.about.any_size else shape[1:] == (size, size, 3)  # noqa: PLR2004
        if not fits:
            expected = "(n, height, width, 3)" if self.about.any_size else f"(n, {size}, {size}, 3)"
            message = f"the images are of the shape {shape}: expected {expected}"
            raise DatasetError(message)
        parts = [self._run(np.asarray(images[s : s + batch_size], pixels)) for s in range(0, len(images), batch_size)]
        return np.concatenate([np.empty((0, len(self.classes)), np.float32), *parts])


def load_model(path: str | Path) -> LoadedModel:
    """Reads a model file that `featurebank.export` wrote, of any format; runs no code from it.

    Raises:
        ConfigError: there is no such file, it is of no known format, damaged, or another program's.
        FormatVersionError: a newer featurebank wrote it.
        MissingDependencyError: its format needs a package that is not installed.
    """
    path = Path(path)
    name, kind = format_of(path)
    if missing := [file for file in kind.files(path) if not file.is_file()]:
        message = f"there is no model file '{missing[0]}': 'featurebank export best -o {path.name}' writes one"
        raise ConfigError(message)
    try:
        run, text = kind.read(path)
    except FeatureBankError:
        raise
    except Exception as error:  # a damaged file fails anywhere in five libraries
        message = f"'{path}' cannot be read as a {name} model ({' '.join(str(error).split())[:200]}): export it again"
        raise ConfigError(message) from error
    if text is None:
        message = f"'{path}' does not tell its classes: expected a file that 'featurebank export' wrote"
        raise ConfigError(message)
    about = about_from_text(text, path)
    if about.resize not in RULES.values():
        message = (
            f"'{path}' takes images that are brought to size by the rule '{about.resize}', which this featurebank does "
            f"not know: use the version that wrote it, {about.featurebank}"
        )
        raise ConfigError(message)
    return LoadedModel(run, about)


def predict(
    model: str | Path | LoadedModel, images: Any, *, top: int = 5, batch_size: int = 32, reporter: Reporter = SILENT
) -> list[Prediction]:
    """Says what images show.

    Args:
        model: a file that `featurebank.export` wrote, or what `load_model` made of it.
        images: one path of a file or directory (all images in it, at any depth), several, or arrays as
            `featurebank.FeatureBank` takes them.
        top: how many classes are told of each image.
        batch_size: how many images are run at once.
        reporter: where progress is shown.

    Returns:
        One prediction for each image; one that cannot be read has its `error`, and the others go on.

    Raises:
        ConfigError: as `load_model`, or `top` is below 1.
        DatasetError: there are no images.
    """
    if top < 1:
        message = f"top is {top}: expected 1 or more"
        raise ConfigError(message)
    if isinstance(images, str | os.PathLike):
        images = [images]
    dataset = loose_images(images if isinstance(images, np.ndarray) else _files(images))
    loaded = model if isinstance(model, LoadedModel) else load_model(model)
    found: list[Prediction] = []
    with reporter.track("predict", len(dataset), "images") as advance, ThreadPoolExecutor(threads()) as pool:
        for start in range(0, len(dataset), batch_size):
            batch = range(start, min(start + batch_size, len(dataset)))
            found += _predicted(loaded, dataset, batch, pool, top)
            advance(len(batch))
    return found


def _files(images: Sequence[Any]) -> list[Any]:
    """Returns images with each directory replaced by the image files in it."""
    found: list[Any] = []
    for image in images:
        if isinstance(image, str | os.PathLike) and Path(image).is_dir():
            found += image_files(os.fspath(image))
        else:
            found.append(image)
    return found


def _predicted(
    model: LoadedModel, dataset: Dataset, batch: range, pool: ThreadPoolExecutor, top: int
) -> list[Prediction]:
    size = model.about.image_size

    def opened(index: int) -> np.ndarray | str:
        try:
            return resize_image(dataset.image(index), size, model.about.resize)
        except (DatasetError, OSError) as error:
            return " ".join(str(error).split())

    images = list(pool.map(opened, batch))
    sound = [image for image in images if not isinstance(image, str)]
    answers = iter(model.predict(np.stack(sound), len(batch)) if sound else [])
    return [
        Prediction(dataset.ids[index], error=image) if isinstance(image, str)
        else _told(dataset.ids[index], next(answers), model.classes, top)
        for index, image in zip(batch, images, strict=True)
    ]  # fmt: skip


def _told(file: str, probabilities: np.ndarray, classes: Sequence[str], top: int) -> Prediction:
    order = np.argsort(-probabilities, kind="stable")[:top].tolist()
    best = tuple((classes[place], round(float(probabilities[place]), 6)) for place in order)
    return Prediction(file, best[0][0], best[0][1], best)
