"""Stage: a run and images in, the parts of each image that the run relies on out."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from featurebank.backbone import Backbone
from featurebank.backbone.recorded import load_recorded
from featurebank.bank import Bank
from featurebank.dataset import Dataset
from featurebank.errors import DatasetError, HeadWarning, RamLimitError, unknown_name
from featurebank.explanation.cam import positive_part
from featurebank.explanation.explanations import Explanation, Explanations
from featurebank.explanation.features import ImageFeatures
from featurebank.explanation.methods import CAM, OCCLUSION, ImageBatch, Method, choose_method
from featurebank.explanation.occlusion import GRID, occlusion_map
from featurebank.explanation.pictures import ImageReader, ImageToExplain
from featurebank.explanation.subject import Subject
from featurebank.grafting.trunk import taps_of
from featurebank.runs.run import RunRecord
from featurebank.system.options import OptionProblem, StageOptions
from featurebank.system.progress import SILENT, Advance, Reporter
from featurebank.system.runtime import ram_limit
from featurebank.words import counted, every, shown

_COARSE = 4
"""Maps with fewer places along a side hardly show where something is."""


@dataclass(frozen=True, kw_only=True)
class ExplainOptions(StageOptions):
    """Options of an explanation; see `featurebank.explain`."""

    method: Literal["auto", "cam", "gradcam", "occlusion"] = "auto"
    layer: str | None = None
    class_name: str | None = None
    batch_size: Annotated[int, Ge(1)] = 32

    def problems(self) -> Iterator[OptionProblem]:
        """Yields the problem of a layer for a method that has none."""
        if self.layer is not None and self.method in (CAM, OCCLUSION):
            text = f"is {shown(self.layer)}, but the method {self.method} has no layer: use gradcam, or omit it"
            yield OptionProblem("layer", text)


def run_explain(
    bank: Bank, run: RunRecord, images: Dataset, options: ExplainOptions | None = None, *,
    backbone: Backbone | None = None, reporter: Reporter = SILENT,
) -> Explanations:  # fmt: skip
    """Explains a run on images; see `featurebank.explain`.

    Args:
        bank: the bank of the run.
        run: the run.
        images: a dataset without labels, as of `featurebank.dataset.unlabelled`.
        options: of the explanation.
        backbone: the network of the bank; None loads it again.
        reporter: receives the progress.
    """
    options = options or ExplainOptions()
    if options.class_name is not None and options.class_name not in bank.classes:
        raise unknown_name("class", options.class_name, bank.classes)
    subject = Subject.of(bank, run, reporter=reporter)
    index = None if options.class_name is None else subject.class_index(options.class_name)
    work = _ExplanationJob(subject, options, index, backbone, reporter)
    try:
        items, skipped = work.explain(images)
    finally:
        work.close()
    if not items:
        (name, reason), count = skipped[0], len(skipped)
        others = f"; {every(count, 'image')} cannot be read" if count > 1 else ""
        message = f"image '{name}' cannot be read: {reason}{others}"
        raise DatasetError(message)
    if min(sides := items[0].cells.shape) < _COARSE:
        reporter.warn(
            f"the map has only {sides[0]} x {sides[1]} places, so the heat is coarse: --method occlusion "
            "(method='occlusion') or an earlier --layer shows more",
            HeadWarning,
        )
    return Explanations(
        items, run=run.run, head=f"{run.spec} on {run.tap}", method=work.name, layer=work.layer, skipped=skipped
    )


def _check_memory(items: Sequence[Explanation], images: int) -> None:
    """Raises RamLimitError if the pictures so far take more than half of `--ram`."""
    needed, limit = sum(one.picture.nbytes for one in items), ram_limit() // 2
    if needed > limit:
        message = (
            f"the pictures of {len(items)} of {counted(images, 'image')} take {needed / 1e9:.1f} GB, more than half of "
            f"--ram: explain at most {len(items) - 1} at a time, or raise --ram"
        )
        raise RamLimitError(message)


class _ExplanationJob:
    """The explanation of many images by one method."""

    def __init__(
        self, subject: Subject, options: ExplainOptions, index: int | None, backbone: Backbone | None,
        reporter: Reporter,
    ) -> None:  # fmt: skip
        self._subject, self._options, self._index, self._reporter = subject, options, index, reporter
        bank = subject.bank
        load = functools.cache(lambda: load_recorded(bank.recipe, bank.manifest.source, backbone=backbone))
        with reporter.step("choosing the method"):
            self._method: Method | None = choose_method(subject, options.method, options.layer, load)
        self.name = self._method.name if self._method else OCCLUSION
        self.layer = self._method.layer if self._method else None
        self._own = [] if subject.is_finetune else taps_of(bank, subject.run.tap)
        taps = self._method.taps if self._method else self._own
        self._features = ImageFeatures(bank, taps, load, batch_size=options.batch_size, reporter=reporter)
        self._reader = ImageReader(bank)
        self._labels, self._closed = bank.labels(), "test" not in subject.run.metrics

    def explain(self, images: Dataset) -> tuple[list[Explanation], list[tuple[str, str]]]:
        """Returns the explanation of each readable image, and the others with the reason."""
        passes = 1 if self._method else GRID * GRID
        if not self._method:
            cost = (
                f"{counted(GRID * GRID, 'pass', 'passes')} of the network for each of {counted(len(images), 'image')}"
            )
            self._reporter.say(f"occlusion: {cost}")
        items: list[Explanation] = []
        skipped: list[tuple[str, str]] = []
        unit = "images" if self._method else "passes"
        with self._reporter.track("explain", len(images) * passes, unit) as advance:
            for batch in self._batches(images):
                readable = [one for one in batch if isinstance(one, ImageToExplain)]
                skipped += [one for one in batch if not isinstance(one, ImageToExplain)]
                advance(passes * (len(batch) - len(readable)))
                if readable:
                    items += self._explained(readable, advance)
                _check_memory(items, len(images))
        return items, skipped

    def _batches(self, images: Dataset) -> Iterator[list[ImageToExplain | tuple[str, str]]]:
        size = self._options.batch_size
        read = self._reader.read(images, ahead=size)
        while batch := list(islice(read, size)):
            yield batch

    def close(self) -> None:
        """Closes the engine."""
        self._features.close()

    def _explained(self, images: list[ImageToExplain], advance: Advance) -> Iterator[Explanation]:
        squares, positions = np.stack([one.square for one in images]), self._reader.positions(images)
        features = self._features(positions, squares)
        probabilities = self._subject.probabilities(squares if self._subject.is_finetune else self._rows(features))
        predicted = probabilities.argmax(axis=1)
        classes = predicted if self._index is None else np.full(len(images), self._index)
        if self._method:
            heat = positive_part(self._method.compute(ImageBatch(features, squares, classes)))
            advance(len(images))
        else:
            pairs = zip(squares, classes.tolist(), strict=True)
            maps = [occlusion_map(one, n, self._predict, self._options.batch_size, advance) for one, n in pairs]
            heat = positive_part(np.stack(maps))
        names = self._subject.bank.classes
        for number, image in enumerate(images):
            yield Explanation(
                image.name, names[classes[number]], float(probabilities[number, classes[number]]),
                names[predicted[number]], self._label(int(positions[number])), self.name, image.picture, heat[number],
                image.frame,
            )  # fmt: skip

    def _rows(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns what the head sees, (n, ...)."""
        parts = [features[tap] for tap in self._own]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _predict(self, squares: np.ndarray) -> np.ndarray:
        """Returns the probabilities of images that no bank has, (n, classes)."""
        if self._subject.is_finetune:
            return self._subject.probabilities(squares)
        return self._subject.probabilities(self._rows(self._features(np.full(len(squares), -1), squares)))

    def _label(self, position: int) -> str | None:
        """Returns the class of an image in the bank; None without one, or if the test split is closed for the run."""
        bank = self._subject.bank
        if position < 0 or self._labels[position] < 0 or (self._closed and self._splits[position] == "test"):
            return None
        return str(bank.classes[self._labels[position]])

    @functools.cached_property
    def _splits(self) -> np.ndarray:
        return self._subject.bank.splits()
