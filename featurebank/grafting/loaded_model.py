"""A model file that is ready to predict: checked, loaded, and run on batches of images."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from featurebank.backbone.resize import RULES, central_of
from featurebank.certainty.abstention import Abstention, check_error
from featurebank.certainty.conformal import check_coverage, class_sets
from featurebank.errors import ArchiveError, ConfigError, DatasetError, FeatureBankError
from featurebank.grafting.certainty.embedding import ModelOutputs
from featurebank.grafting.certainty.verdicts import checked_features, known_certainty
from featurebank.grafting.formats import Format, format_of
from featurebank.grafting.metadata import About, about_from_text
from featurebank.grafting.several.squares import fits
from featurebank.system.hints import quoted
from featurebank.system.progress import step
from featurebank.words import counted


class LoadedModel:
    """A model file that is ready to predict.

    Args:
        run: (n, s, s, 3) float32 RGB 0..255 -> (n, classes), and the features if the file returns them.
        about: the metadata of the file.
    """

    def __init__(self, run: Callable[[np.ndarray], ModelOutputs], about: About) -> None:
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
        return self.outputs(images, batch_size).probabilities

    def predict_sets(self, images: np.ndarray, coverage: float, batch_size: int = 32) -> np.ndarray:
        """Returns which classes each image may have, (n, classes) bool: the true one is among them as often as asked.

        Args:
            images: see `predict`.
            coverage: between 0 and 1, as .95.
            batch_size: the number of images per batch.

        Raises:
            ConfigError: the coverage is not between 0 and 1, or the model was exported without what this needs.
        """
        check_coverage(coverage)
        table = known_certainty(self.about).table
        return class_sets(self.predict(images, batch_size), table, coverage)

    def abstention(self, error: float) -> Abstention:
        """Returns the threshold for an error among the answered images, and what to expect of it.

        `model.abstention(.02).answers(model.predict(images))` says which images are answered.

        Args:
            error: between 0 and 1, as .02.

        Raises:
            ConfigError: the error is not between 0 and 1, no threshold reaches it, or the model was exported without
                what this needs.
        """
        check_error(error)
        return known_certainty(self.about).abstention(error)

    def unlike(self, images: np.ndarray, batch_size: int = 32) -> np.ndarray:
        """Returns which images are unlike those of the training, (n,) bool.

        Args:
            images: see `predict`.
            batch_size: the number of images per batch.

        Raises:
            ConfigError: the model was exported without what this needs.
        """
        likeness = known_certainty(self.about).likeness
        if likeness is None:
            message = "the model has no features that can be compared with those of its training images"
            raise ConfigError(message)
        outputs = self.outputs(images, batch_size)
        return likeness.unlike(checked_features(outputs, likeness.width)) if len(images) else np.empty(0, bool)

    def outputs(self, images: np.ndarray, batch_size: int = 32) -> ModelOutputs:
        """Returns probabilities and features of images; see `predict`."""
        size, shape, pixels = self.about.image_size, np.shape(images), self.about.pixels
        any_size = self.about.any_size or self.about.further
        if not (fits(shape, self.about.squares) if any_size else shape[1:] == (size, size, 3)):
            expected = "(n, height, width, 3)" if any_size else f"(n, {size}, {size}, 3)"
            message = f"the images have the shape {shape}: expected {expected}"
            raise DatasetError(message)
        parts = [
            self._answer(np.asarray(images[s : s + batch_size], pixels)) for s in range(0, len(images), batch_size)
        ]
        features = [part.embedding for part in parts if part.embedding is not None]
        return ModelOutputs(
            np.concatenate([np.empty((0, len(self.classes)), np.float32), *(part.probabilities for part in parts)]),
            np.concatenate(features) if features else None,
        )

    def _answer(self, images: np.ndarray) -> ModelOutputs:
        """Returns the outputs for one batch.

        Raises:
            ConfigError: the model fails, or returns another number of classes.
        """
        try:
            outputs = self._run(images)
        except (FeatureBankError, MemoryError):
            raise
        except Exception as error:  # a damaged or hostile file may fail only here, in any of five libraries
            message = f"the model cannot be run ({_reason(error)}): export it again"
            raise ConfigError(message) from error
        if outputs.probabilities.shape != (len(images), len(self.classes)):
            message = (
                f"the model returns the shape {outputs.probabilities.shape} for "
                f"{counted(len(self.classes), 'class')}: export it again"
            )
            raise ConfigError(message)
        return outputs


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
    unknown = [one.rule for one in about.squares if one.rule not in RULES.values() and central_of(one.rule) is None]
    if unknown:
        message = (
            f"'{path}' has the resize rule '{unknown[0]}', which this featurebank does not know: use the version "
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
