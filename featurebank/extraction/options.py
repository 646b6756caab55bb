"""How to extract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from featurebank.augment import Augmentation
from featurebank.backbone import Backbone
from featurebank.errors import ConfigError, RamLimitError
from featurebank.runtime import ram_limit, threads, tidy_bytes
from featurebank.words import counted

PRECISIONS = ("float32", "bfloat16")
_ACTIVATIONS = 80
"""Bytes a pixel of one image inside of a network, at least: the input in float32, and two maps of 32 channels at half
the resolution."""
_IMAGE = 3
_LEAST_LIMIT = 1 << 30
"""`--ram` bounds features; nobody who gives less than this means that no image shall be computed."""
MOST_VIEWS = 255
"""The number of a view is one byte of a row's key."""


@dataclass(frozen=True)
class ExtractOptions:
    """How to extract; see `featurebank.extract`."""

    taps: tuple[str, ...] = ("pooled",)
    engine: str = "auto"
    batch_size: int = 32
    store: str | None = None
    on_bad_image: str = "skip"
    views: int = 0
    augment: str | None = None
    wait: bool = False
    precision: str = "float32"
    max_bad: float | None = None
    """The share of images that may be bad before a run fails; see `featurebank.extraction.losses`."""

    @cached_property
    def augmentation(self) -> Augmentation | None:
        """The augmentations of the views.

        Raises:
            ConfigError: they are not understood.
        """
        return None if self.augment is None else Augmentation.parse(self.augment)

    def check(self, backbone: Backbone) -> None:
        """Checks the options for a network.

        Raises:
            ConfigError: one is wrong.
            RamLimitError: images of the network's size do not fit into memory.
        """
        for tap in self.taps:
            backbone.check_tap(tap)
        if problems := list(self._problems()):
            raise ConfigError("; ".join(problems))
        self._check_memory(backbone)
        assert self.augmentation or not self.views  # and its text is understood

    def _check_memory(self, backbone: Backbone) -> None:
        """Raises RamLimitError where the images that are on their way at once take more than `--ram`."""
        pixels, limit = backbone.image_size**2, max(ram_limit(), _LEAST_LIMIT)

        def needed(batch: int) -> int:
            ahead = max(2 * batch, 4 * threads())  # as `engine.feed` prepares them, and two batches beside
            return pixels * (_ACTIVATIONS + _IMAGE * (ahead + 2 * batch))

        if needed(self.batch_size) <= limit:
            return
        fits = next((batch for batch in range(self.batch_size - 1, 0, -1) if needed(batch) <= limit), 0)
        remedy = f"give --batch-size {fits} or less" if fits else "give a smaller --image-size, or a larger --ram"
        number = self.batch_size if fits else 1
        size = f"{backbone.image_size} x {backbone.image_size}"
        message = (
            f"{number} image{'' if number == 1 else 's'} of {size} pixels at once take about "
            f"{tidy_bytes(needed(number))} in {backbone.name}, and --ram allows {tidy_bytes(limit)}: {remedy}"
        )
        raise RamLimitError(message)

    def recipe(self, backbone: Backbone) -> dict[str, Any]:
        """Returns the recipe of a bank: everything that decides a feature's value, and is its key."""
        views: Mapping[str, Any] | None = self.augmentation.recipe if self.augmentation else None
        return {**backbone.recipe, "precision": self.precision, "views": views}

    def _problems(self) -> Iterator[str]:
        if not self.taps:
            yield "no tap was asked for: expected at least one, as 'pooled'"
        if self.batch_size < 1:
            yield f"the batch size is {self.batch_size}: expected 1 or more"
        if self.precision not in PRECISIONS:
            yield f"the precision is '{self.precision}': expected {' or '.join(PRECISIONS)}"
        if self.store not in {None, "float32", "float16"}:
            yield f"cannot store features as '{self.store}': expected float32 or float16"
        if self.on_bad_image not in {"skip", "fail"}:
            yield f"on_bad_image is '{self.on_bad_image}': expected skip or fail"
        if self.max_bad is not None and not 0 <= self.max_bad <= 1:
            yield f"the share of bad images is {self.max_bad}: expected 0 to 1, as --max-bad .2"
        if not 0 <= self.views <= MOST_VIEWS:
            yield f"the number of views is {self.views}: expected 0 to {MOST_VIEWS}"
        elif self.views and self.augment is None:
            yield f"{counted(self.views, 'view')} of what? give --augment, as --augment flip,rotate=10,zoom=.2"
        elif self.augment is not None and not self.views:
            yield f"--augment {self.augment} makes nothing without --views: give the number of views, as --views 4"
