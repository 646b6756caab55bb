"""Predictions from a model file: images are decoded and brought to size exactly as in extraction."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone.resize import RULES, resize_image
from featurebank.dataset import Dataset
from featurebank.dataset.decoding.decode import in_flight
from featurebank.dataset.decoding.levels import parse_levels
from featurebank.dataset.readers.walk import image_files
from featurebank.dataset.unlabelled import loose_images
from featurebank.errors import ArchiveError, ConfigError, DatasetError, FeatureBankError
from featurebank.grafting.formats import Format, format_of
from featurebank.grafting.metadata import About, about_from_text
from featurebank.system.hints import quoted
from featurebank.system.parallel import ordered_map
from featurebank.system.progress import SILENT, Reporter, step
from featurebank.words import counted


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
        parts = [
            self._answer(np.asarray(images[s : s + batch_size], pixels)) for s in range(0, len(images), batch_size)
        ]
        return np.concatenate([np.empty((0, len(self.classes)), np.float32), *parts])

    def _answer(self, images: np.ndarray) -> np.ndarray:
        """Returns the probabilities of one batch.

        Raises:
            ConfigError: the file cannot be run on it, or answers with another number of classes.
        """
        try:
            found = self._run(images)
        except (FeatureBankError, MemoryError):
            raise
        except Exception as error:  # a damaged or hostile file may fail as late as here, in any of five libraries
            message = f"the model cannot be run ({_reason(error)}): export it again"
            raise ConfigError(message) from error
        if found.shape != (len(images), len(self.classes)):
            message = (
                f"the model answers with the shape {found.shape} for {counted(len(self.classes), 'class')}: export "
                "it again"
            )
            raise ConfigError(message)
        return found


def _reason(error: Exception) -> str:
    """Returns what an error of another library says, in one line without colours."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return " ".join(text.split())[:300] or type(error).__name__


def load_model(path: str | Path) -> LoadedModel:
    """Reads a model file that `featurebank.export` wrote, of any format; runs no code from it.

    Raises:
        ConfigError: there is no such file, it is of no known format, damaged, or another program's.
        FormatVersionError: a newer featurebank wrote it.
        MissingDependencyError: its format needs a package that is not installed.
    """
    path = Path(path)
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


def check_model(path: Path) -> tuple[str, Format]:
    """Returns the format of a model file, once its files are there and its packages are installed; loads nothing.

    Raises:
        ConfigError: there is no such file, or it is of no known format.
        MissingDependencyError: the format needs a package that is not installed.
    """
    name, kind = format_of(path)
    if missing := [file for file in kind.files(path) if not file.is_file()]:
        lost = missing[-1]  # the last is the one that is opened; the others belong to it
        beside = "" if lost.name == path.name else f" beside '{path}'"
        writes = f"featurebank export best -o {quoted(str(path.with_suffix(kind.suffix)))}"
        message = f"there is no model file '{lost}'{beside}: '{writes}' writes one"
        raise ConfigError(message)
    kind.check()
    return name, kind


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
    if not isinstance(model, LoadedModel):
        check_model(Path(model))  # what is missing is told before anything is loaded
    given = images if isinstance(images, np.ndarray) else _files(images)
    there = [image for image in given if not _is_missing(image)] if isinstance(given, list) else given
    told: Iterator[Prediction] = iter(())
    if len(there) or not len(given):
        dataset = loose_images(there)
        loaded = model if isinstance(model, LoadedModel) else load_model(model)
        answers = run_images(loaded, dataset, range(len(dataset)), "predict", batch_size=batch_size, reporter=reporter)
        told = (_told(dataset.ids[index], answer, loaded.classes, top) for index, answer in answers)
    if there is given:
        return list(told)
    return [
        Prediction(os.fspath(image), error="there is no such file") if _is_missing(image) else next(told)
        for image in given
    ]


def _is_missing(image: Any) -> bool:
    """Tells whether an image is given as the path of a file that is not there."""
    return isinstance(image, str | os.PathLike) and "://" not in os.fspath(image) and not Path(image).exists()


def _files(images: Sequence[Any]) -> list[Any]:
    """Returns images with each directory replaced by the image files in it."""
    found: list[Any] = []
    for image in images:
        if isinstance(image, str | os.PathLike) and Path(image).is_dir():
            found += image_files(os.fspath(image))
        else:
            found.append(image)
    return found


def run_images(
    model: LoadedModel, dataset: Dataset, places: Sequence[int], what: str, *, batch_size: int, reporter: Reporter
) -> Iterator[tuple[int, np.ndarray | str]]:
    """Yields what a model says of images of a dataset.

    Args:
        model: a model.
        dataset: the images.
        places: which of them.
        what: the work, in the progress.
        batch_size: how many are run at once.
        reporter: where progress is shown.

    Yields:
        The place of each image, in order, with its probabilities (classes,), or the reason why it cannot be read.
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
            shown = list(islice(images, len(batch)))
            sound = [image for image in shown if not isinstance(image, str)]
            answers = iter(model.predict(np.stack(sound), len(batch)) if sound else [])
            yield from (
                (index, image if isinstance(image, str) else next(answers))
                for index, image in zip(batch, shown, strict=True)
            )
            advance(len(batch))


def _told(file: str, answer: np.ndarray | str, classes: Sequence[str], top: int) -> Prediction:
    if isinstance(answer, str):
        return Prediction(file, error=answer)
    order = np.argsort(-answer, kind="stable")[:top].tolist()
    best = tuple((classes[place], round(float(answer[place]), 6)) for place in order)
    return Prediction(file, best[0][0], best[0][1], best)
