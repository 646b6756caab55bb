"""Predictions with a model file: images are decoded and resized exactly as in extraction."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone.resize import RULES, central_of, resize_image
from featurebank.dataset import Dataset
from featurebank.dataset.decoding.decode import in_flight
from featurebank.dataset.decoding.levels import parse_levels
from featurebank.dataset.unlabelled import expand_folders, unlabelled_images
from featurebank.errors import ArchiveError, ConfigError, DatasetError, FeatureBankError
from featurebank.grafting.formats import Format, format_of
from featurebank.grafting.metadata import About, about_from_text
from featurebank.system.hints import quoted
from featurebank.system.parallel import ordered_map
from featurebank.system.progress import SILENT, Reporter, step
from featurebank.words import counted, one_line


@dataclass(frozen=True, repr=False)
class Prediction:
    """The prediction of a model for one image.

    Example:
        >>> Prediction("photo.jpg", "tulips", 0.93, (("tulips", 0.93), ("roses", 0.07)))
        <Prediction photo.jpg: tulips 0.9300>
        >>> Prediction("notes.txt", error="not an image")
        <Prediction notes.txt: error: not an image>
    """

    file: str
    """The path as the caller specified it; for an array, its index."""
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    """The most probable classes, best first."""
    error: str | None = None
    """The reason why there is no prediction."""

    def __repr__(self) -> str:
        answer = f"{self.label} {self.probability:.4f}" if self.error is None else f"error: {one_line(self.error)}"
        return f"<Prediction {self.file}: {answer}>"

    def to_dict(self) -> dict[str, Any]:
        """Returns the prediction as JSON values."""
        if self.error is not None:
            return {"file": self.file, "error": self.error}
        top = [list(pair) for pair in self.top]
        return {"file": self.file, "label": self.label, "probability": self.probability, "top": top}


class LoadedModel:
    """A model file that is ready to predict.

    Args:
        run: (n, s, s, 3) float32 RGB 0..255 -> (n, classes).
        about: the metadata of the file.
    """

    def __init__(self, run: Callable[[np.ndarray], np.ndarray], about: About) -> None:
        self._run = run
        self.about = about

    def __repr__(self) -> str:
        return f"<LoadedModel {self.about.title}>"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the probabilities."""
        return self.about.classes

    def predict(self, images: np.ndarray, batch_size: int = 32) -> np.ndarray:
        """Returns probabilities (n, classes) float32.

        Args:
            images: (n, s, s, 3) RGB from 0 to 255, of the model's size, or of any size if the model resizes.
            batch_size: the number of images per batch.
        """
        size, shape, pixels = self.about.image_size, np.shape(images), self.about.pixels
        fits = len(shape) == 4 and shape[-1] == 3 if self.about.any_size else shape[1:] == (size, size, 3)  # noqa: PLR2004
        if not fits:
            expected = "(n, height, width, 3)" if self.about.any_size else f"(n, {size}, {size}, 3)"
            message = f"the images have the shape {shape}: expected {expected}"
            raise DatasetError(message)
        parts = [
            self._answer(np.asarray(images[s : s + batch_size], pixels)) for s in range(0, len(images), batch_size)
        ]
        return np.concatenate([np.empty((0, len(self.classes)), np.float32), *parts])

    def _answer(self, images: np.ndarray) -> np.ndarray:
        """Returns the probabilities of one batch.

        Raises:
            ConfigError: the model fails, or returns another number of classes.
        """
        try:
            probabilities = self._run(images)
        except (FeatureBankError, MemoryError):
            raise
        except Exception as error:  # a damaged or hostile file may fail only here, in any of five libraries
            message = f"the model cannot be run ({_reason(error)}): export it again"
            raise ConfigError(message) from error
        if probabilities.shape != (len(images), len(self.classes)):
            message = (
                f"the model returns the shape {probabilities.shape} for {counted(len(self.classes), 'class')}: export "
                "it again"
            )
            raise ConfigError(message)
        return probabilities


def _reason(error: Exception) -> str:
    """Returns the message of another library's error, on one line without colours."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return " ".join(text.split())[:300] or type(error).__name__


def read_model(path: Path) -> LoadedModel:
    """Loads a model file; see `featurebank.load_model`."""
    name, kind = check_model(path)
    try:
        with step(f"loading {path.name}"):
            run, text = kind.read(path)
    except Exception as error:  # a damaged or hostile file fails anywhere in five libraries
        if isinstance(error, FeatureBankError) and not isinstance(error, ArchiveError):
            raise
        reason = _reason(error)
        message = f"'{path}' cannot be read as a {name} model ({reason}): export it again"
        raise ConfigError(message) from error
    if text is None:
        message = f"'{path}' has no class names: expected a file that 'featurebank export' wrote"
        raise ConfigError(message)
    about = about_from_text(text, path)
    if about.resize not in RULES.values() and central_of(about.resize) is None:
        message = (
            f"'{path}' has the resize rule '{about.resize}', which this featurebank does not know: use the version "
            f"that wrote it, {about.featurebank}"
        )
        raise ConfigError(message)
    return LoadedModel(run, about)


def check_model(path: Path) -> tuple[str, Format]:
    """Returns the format of a model file, after checking that its files exist and its packages are installed.

    Raises:
        ConfigError: the file does not exist, or has an unknown format.
        MissingDependencyError: the format needs a package that is not installed.
    """
    name, kind = format_of(path)
    if missing := [file for file in kind.files(path) if not file.is_file()]:
        lost = missing[-1]  # the last is the one that users open; the others belong to it
        beside = "" if lost.name == path.name else f" beside '{path}'"
        writes = f"featurebank export best -o {quoted(str(path.with_suffix(kind.suffix)))}"
        message = f"there is no model file '{lost}'{beside}: '{writes}' writes one"
        raise ConfigError(message)
    kind.check()
    return name, kind


def classify(
    model: Path | LoadedModel, images: Any, *, top: int = 5, batch_size: int = 32, reporter: Reporter = SILENT
) -> list[Prediction]:
    """Classifies images; see `featurebank.predict`."""
    if top < 1:
        message = f"top is {top}: expected 1 or more"
        raise ConfigError(message)
    if isinstance(images, str | os.PathLike):
        images = [images]
    if not isinstance(model, LoadedModel):
        check_model(model)  # report missing files and packages before loading anything
    items = images if isinstance(images, np.ndarray) else expand_folders(images)
    existing = [image for image in items if not _is_missing(image)] if isinstance(items, list) else items
    predictions: Iterator[Prediction] = iter(())
    if len(existing) or not len(items):
        dataset = unlabelled_images(existing)
        loaded = model if isinstance(model, LoadedModel) else read_model(model)
        answers = run_images(loaded, dataset, range(len(dataset)), "predict", batch_size=batch_size, reporter=reporter)
        predictions = (_prediction(dataset.ids[index], answer, loaded.classes, top) for index, answer in answers)
    if existing is items:
        return list(predictions)
    return [
        Prediction(os.fspath(image), error="there is no such file") if _is_missing(image) else next(predictions)
        for image in items
    ]


def _is_missing(image: Any) -> bool:
    """Returns whether an image is the path of a file that does not exist."""
    return isinstance(image, str | os.PathLike) and "://" not in os.fspath(image) and not Path(image).exists()


def run_images(
    model: LoadedModel, dataset: Dataset, places: Sequence[int], what: str, *, batch_size: int, reporter: Reporter
) -> Iterator[tuple[int, np.ndarray | str]]:
    """Runs a model on images of a dataset.

    Args:
        model: the model.
        dataset: the dataset.
        places: the indices of the images.
        what: the name of the work in the progress.
        batch_size: the number of images per batch.
        reporter: shows the progress.

    Yields:
        The index of each image, in order, with its probabilities (classes,), or the reason why it cannot be read.
    """
    size = model.about.image_size
    levels = parse_levels(model.about.backbone.get("levels"))

    def opened(index: int) -> np.ndarray | str:
        try:
            with in_flight():
                return resize_image(dataset.image(index, levels), size, model.about.resize)
        except (DatasetError, OSError) as error:
            return " ".join(str(error).split())

    images = ordered_map(opened, places, name=what, ahead=batch_size)
    with reporter.track(what, len(places), "images") as advance:
        for start in range(0, len(places), batch_size):
            batch = places[start : start + batch_size]
            decoded = list(islice(images, len(batch)))
            readable = [image for image in decoded if not isinstance(image, str)]
            answers = iter(model.predict(np.stack(readable), len(batch)) if readable else [])
            advance(len(batch))  # before the caller, who may stop here
            yield from (
                (index, image if isinstance(image, str) else next(answers))
                for index, image in zip(batch, decoded, strict=True)
            )


def _prediction(file: str, answer: np.ndarray | str, classes: Sequence[str], top: int) -> Prediction:
    if isinstance(answer, str):
        return Prediction(file, error=answer)
    order = np.argsort(-answer, kind="stable")[:top].tolist()
    best = tuple((classes[place], round(float(answer[place]), 6)) for place in order)
    return Prediction(file, best[0][0], best[0][1], best)
