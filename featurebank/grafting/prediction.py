"""Predictions with a model file: images are decoded and resized exactly as in extraction."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from featurebank.dataset.decoding.decode import in_flight
from featurebank.dataset.decoding.levels import Levels, parse_levels
from featurebank.dataset.unlabelled import expand_folders, unlabelled_images
from featurebank.errors import ConfigError, DatasetError, DatasetWarning
from featurebank.grafting.certainty.embedding import ModelOutputs
from featurebank.grafting.certainty.verdicts import Verdict, Verdicts, check_request, unlike_line
from featurebank.grafting.loaded_model import LoadedModel, check_model, read_model
from featurebank.grafting.several.squares import squares_of
from featurebank.system.parallel import ordered_map
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted, one_line

ReadImage: TypeAlias = Callable[[int, Levels | None], np.ndarray]
"""Reads and decodes one image of a dataset, as `Dataset.image`."""


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
    set: tuple[str, ...] | None = None
    """The classes that the image may have, most probable first; None if no coverage was asked for."""
    answered: bool | None = None
    """Whether the model is sure enough; None if no error was asked for."""
    unlike: bool | None = None
    """Whether the image is unlike those of the training; None if the model does not know."""
    likeness: float | None = None
    """The share of validation images that are less like the training images."""

    def __repr__(self) -> str:
        answer = f"{self.label} {self.probability:.4f}" if self.error is None else f"error: {one_line(self.error)}"
        doubt = ", not sure" if self.answered is False else ""
        classes = "" if self.set is None else f", one of {{{', '.join(self.set)}}}"
        return f"<Prediction {self.file}: {answer}{doubt}{classes}{', unlike the training' if self.unlike else ''}>"

    def to_dict(self) -> dict[str, Any]:
        """Returns the prediction as JSON values."""
        if self.error is not None:
            return {"file": self.file, "error": self.error}
        top = [list(pair) for pair in self.top]
        verdict = Verdict(self.set, self.answered, self.unlike, self.likeness)
        return {
            "file": self.file, "label": self.label, "probability": self.probability, "top": top, **verdict.to_dict(),
        }  # fmt: skip


def classify(
    model: Path | LoadedModel, images: Any, *, top: int = 5, coverage: float | None = None,
    abstain_at_error: float | None = None, batch_size: int = 32, reporter: Reporter = SILENT,
) -> list[Prediction]:  # fmt: skip
    """Classifies images; see `featurebank.predict`."""
    if top < 1:
        message = f"top is {top}: expected 1 or more"
        raise ConfigError(message)
    check_request(coverage, abstain_at_error)
    if isinstance(images, str | os.PathLike):
        images = [images]
    if not isinstance(model, LoadedModel):
        check_model(model)  # report missing files and packages before loading anything
    items = images if isinstance(images, np.ndarray) else expand_folders(images)
    existing = [image for image in items if not _is_missing(image)] if isinstance(items, list) else items
    predictions: Iterator[Prediction] = iter(())
    verdicts = None
    if len(existing) or not len(items):
        dataset = unlabelled_images(existing)
        loaded = model if isinstance(model, LoadedModel) else read_model(model)
        verdicts = Verdicts(loaded.about, coverage, abstain_at_error)
        answers = run_images(
            loaded, dataset.image, range(len(dataset)), "predict", batch_size=batch_size, reporter=reporter
        )
        predictions = (
            _prediction(dataset.ids[index], answer, verdicts, loaded.classes, top) for index, answer in answers
        )
    if existing is items:
        found = list(predictions)
    else:
        found = [
            Prediction(os.fspath(image), error="there is no such file") if _is_missing(image) else next(predictions)
            for image in items
        ]
    if verdicts is not None:
        _explain(verdicts, found, reporter)
    return found


def _explain(verdicts: Verdicts, predictions: Sequence[Prediction], reporter: Reporter) -> None:
    """Shows what to expect, how many images are answered, and which are unlike those of the training."""
    known = [one for one in predictions if one.error is None]
    for line in verdicts.notes():
        reporter.say(line)
    if verdicts.abstention is not None and known:
        answered = sum(bool(one.answered) for one in known)
        reporter.say(f"answered: {answered} of {counted(len(known), 'image')} ({answered / len(known):.1%})")
    if names := [one.file for one in known if one.unlike]:
        reporter.warn(unlike_line(names, len(known)), DatasetWarning)


def _is_missing(image: Any) -> bool:
    """Returns whether an image is the path of a file that does not exist."""
    return isinstance(image, str | os.PathLike) and "://" not in os.fspath(image) and not Path(image).exists()


def run_images(
    model: LoadedModel, image: ReadImage, places: Sequence[int], what: str, *, batch_size: int, reporter: Reporter
) -> Iterator[tuple[int, ModelOutputs | str]]:
    """Runs a model on images of a dataset.

    Args:
        model: the model.
        image: reads one image, as `Dataset.image`.
        places: the indices of the images.
        what: the name of the work in the progress.
        batch_size: the number of images per batch.
        reporter: shows the progress.

    Yields:
        The index of each image, in order, with the outputs for it alone, or the reason why it cannot be read.
    """
    squares = model.about.squares
    levels = parse_levels(model.about.backbone.get("levels"))

    def opened(index: int) -> np.ndarray | str:
        try:
            with in_flight():
                return squares_of(image(index, levels), squares)
        except (DatasetError, OSError) as error:
            return " ".join(str(error).split())

    images = ordered_map(opened, places, name=what, ahead=batch_size)
    with reporter.track(what, len(places), "images") as advance:
        for start in range(0, len(places), batch_size):
            batch = places[start : start + batch_size]
            decoded = list(islice(images, len(batch)))
            readable = [one for one in decoded if not isinstance(one, str)]
            answers = _one_by_one(model.outputs(np.stack(readable), len(batch))) if readable else iter(())
            advance(len(batch))  # before the caller, who may stop here
            yield from (
                (index, one if isinstance(one, str) else next(answers))
                for index, one in zip(batch, decoded, strict=True)
            )


def _one_by_one(outputs: ModelOutputs) -> Iterator[ModelOutputs]:
    """Yields the outputs for each image of a batch, as batches of one."""
    probabilities, embedding = outputs
    for row in range(len(probabilities)):
        here = slice(row, row + 1)
        yield ModelOutputs(probabilities[here], None if embedding is None else embedding[here])


def _prediction(
    file: str, answer: ModelOutputs | str, verdicts: Verdicts, classes: Sequence[str], top: int
) -> Prediction:
    if isinstance(answer, str):
        return Prediction(file, error=answer)
    (row,), (verdict,) = answer.probabilities, verdicts(answer)
    order = np.argsort(-row, kind="stable")[:top].tolist()
    best = tuple((classes[place], round(float(row[place]), 6)) for place in order)
    beside = verdict.set, verdict.answered, verdict.unlike, verdict.likeness
    return Prediction(file, best[0][0], best[0][1], best, None, *beside)
