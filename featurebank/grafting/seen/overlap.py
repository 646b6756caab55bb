"""How many of the evaluated images a model has seen, and how well it does on the others."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from featurebank.grafting.seen.record import Origin
from featurebank.metrics.significance import share_interval
from featurebank.words import counted

_EXPECTED = {"train": (Origin.TRAINING, Origin.VALIDATION), "val": (Origin.VALIDATION,)}
"""What a split is expected to consist of, beside unseen images, so that nobody is warned of it."""


@dataclass(frozen=True)
class OverlapPart:
    """Evaluated images of one origin."""

    images: int
    accuracy: float | None
    """None without images."""
    accuracy_interval: tuple[float, float] | None
    """The 95 % confidence interval; see `Evaluation.accuracy_interval`."""


@dataclass(frozen=True)
class Overlap:
    """The evaluated images by where the model has seen them.

    If the model has seen too many images for its file to hold all their digests, the parts are of those images alone
    that the file tells apart: a random sample.

    Example:
        >>> Overlap.of(np.array([0, 0, 2]), np.array([True, True, False]), None).unseen
        OverlapPart(images=1, accuracy=0.0, accuracy_interval=(0.0, 0.793...))
    """

    images: int
    """The number of evaluated images."""
    compared: int
    """The number of images that the file tells apart."""
    training: OverlapPart
    """The images that the model was trained on."""
    validation: OverlapPart
    """The images that chose the run, stopped its training or calibrated the model."""
    unseen: OverlapPart

    @classmethod
    def of(cls, origins: np.ndarray, right: np.ndarray, groups: np.ndarray | None) -> Self:
        """Counts and measures each part.

        Args:
            origins: (n,) the `Origin` of each image.
            right: (n,) bool, which images are classified correctly.
            groups: (n,) the group of each image; None without groups.
        """

        def part(origin: Origin) -> OverlapPart:
            values = np.where(origins == origin, right, np.nan)
            if not (count := int((origins == origin).sum())):
                return OverlapPart(0, None, None)
            return OverlapPart(count, float(np.nanmean(values)), share_interval(values, groups) or (0.0, 1.0))

        parts = map(part, (Origin.TRAINING, Origin.VALIDATION, Origin.UNSEEN))
        return cls(len(origins), int((origins != Origin.UNKNOWN).sum()), *parts)

    @property
    def is_exact(self) -> bool:
        """Whether the parts are of all images."""
        return self.compared == self.images

    @property
    def seen(self) -> int:
        """The number of compared images that the model has seen."""
        return self.training.images + self.validation.images

    def to_dict(self) -> dict[str, Any]:
        """Returns the overlap as JSON values."""
        return {"exact": self.is_exact, **asdict(self)}

    def summary(self) -> str:
        """Returns the overlap in some words, as "349 seen in training, accuracy 0.8533 on 75 unseen"."""
        basis = "" if self.is_exact else f"of {self.compared} compared: "
        parts = [
            f"{part.images} seen in {name}"
            for name, part in (("training", self.training), ("validation", self.validation)) if part.images
        ]  # fmt: skip
        if self.unseen.accuracy is not None:
            parts.append(f"accuracy {self.unseen.accuracy:.4f} on {self.unseen.images} unseen")
        return f"{basis}{', '.join(parts)}"

    def warning(self, accuracy: float, split: str) -> str | None:
        """Returns the warning that an accuracy is too good; None if the model has seen no image but what was asked for.

        Args:
            accuracy: the accuracy on all evaluated images.
            split: the split that was asked for, or "all".
        """
        expected = _EXPECTED.get(split, ())
        numbers = {Origin.TRAINING: self.training.images, Origin.VALIDATION: self.validation.images}
        if not any(count for origin, count in numbers.items() if origin not in expected):
            return None
        kind = "is" if self.training.images else "may be"
        first = f"{self._seen_in_words()}, so the accuracy of {accuracy:.4f} {kind} too good"
        if self.unseen.accuracy is None:
            return f"{first}; evaluate unseen images"
        about, how = "" if self.is_exact else "about ", " (--on test)" if split == "all" else ""
        images = counted(self.unseen.images, "unseen image")
        return (
            f"{first}; on {images} it is {about}{self.unseen.accuracy:.4f}; evaluate unseen images alone{how} for all "
            "other figures"
        )

    def _seen_in_words(self) -> str:
        train, choose = self.training.images, self.validation.images
        sample = "" if self.is_exact else f" that could be compared (of {self.images} in all)"
        verb = "was" if (train or choose) == 1 else "were"
        first = f"{train or choose} of {counted(self.compared, 'image')}{sample} {verb} used"
        if not train:
            return f"{first} to choose the model"
        return f"{first} to train the model" + (f" and {choose} to choose it" if choose else "")
