"""Options of an extraction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MinLen

from featurebank.augment import Augmentation
from featurebank.backbone import Backbone
from featurebank.errors import RamLimitError
from featurebank.system.options import ClusterAddress, OptionProblem, StageOptions, unreadable
from featurebank.system.runtime import ram_limit, threads, tidy_bytes
from featurebank.words import counted

_ACTIVATIONS = 80
"""Bytes per pixel of one image inside a network, at least: the input in float32, and two maps of 32 channels at half
the resolution."""
_IMAGE = 3
_LEAST_LIMIT = 1 << 30
"""`--ram` limits features; a smaller value than this does not mean that no image may be computed."""
MOST_VIEWS = 255
"""The number of a view takes one byte of a row's key."""


@dataclass(frozen=True, kw_only=True)
class ExtractOptions(StageOptions):
    """Options of an extraction; see `featurebank.extract`.

    Example:
        >>> ExtractOptions(taps=["pooled", "map"], batch_size=64).batch_size
        64
        >>> ExtractOptions(batch_size=0)
        Traceback (most recent call last):
        featurebank.system.options.OptionsError: batch_size is 0: expected a whole number of 1 or more
    """

    taps: Annotated[Sequence[str], MinLen(1), "a list of one or more taps, as ['pooled']"] = ("pooled",)
    """What is stored: "pooled", "map", "LAYER", "LAYER:avg", "LAYER:max" or "auto:BYTES"; any number, in one pass."""
    engine: str = "auto"
    """The library that runs the network: "auto", "openvino", "tensorflow" or "pytorch"."""
    batch_size: Annotated[int, Ge(1)] = 32
    """The number of images per batch."""
    store: Literal["float32", "float16"] | None = None
    """The number type on disk; by default float32 for vectors and float16 for maps."""
    on_bad_image: Literal["skip", "fail"] = "skip"
    """"skip" lists unreadable images with their reason and continues; "fail" stops at the first."""
    views: Annotated[int, Ge(0), Le(MOST_VIEWS), f"a whole number from 0 to {MOST_VIEWS}"] = 0
    """The number of augmented views of each image that are stored beside the clean one."""
    augment: str | None = None
    """The augmentation of the views, as "flip,rotate=10,zoom=.2"."""
    wait: bool = False
    """Whether to wait for another process that is writing the bank, instead of stopping."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """The precision of the network's arithmetic; features of another precision fill another bank."""
    max_bad: Annotated[float, Ge(0), Le(1), "a number from 0 to 1, as 0.2"] | None = None
    """The fraction of images that may be bad before a run fails; by default any number of broken images, and a tenth of
    images that cannot be read."""
    cluster: ClusterAddress = None
    """Where features are computed: "local:N" for N processes of this machine, or the address of a Dask scheduler, as
    "tcp://host:8786"; by default this process."""

    @cached_property
    def augmentation(self) -> Augmentation | None:
        """The augmentation of the views; None without views."""
        return None if self.augment is None else Augmentation.parse(self.augment)

    def check(self, backbone: Backbone) -> None:
        """Checks the options against a network.

        Raises:
            ConfigError: the network has no such tap.
            RamLimitError: a batch of images of the network's size does not fit into memory.
        """
        for tap in self.taps:
            backbone.check_tap(tap)
        self._check_memory(backbone)

    def _check_memory(self, backbone: Backbone) -> None:
        """Raises RamLimitError if the images that are processed at once need more than `--ram`."""
        pixels, limit = backbone.image_size**2, max(ram_limit(), _LEAST_LIMIT)

        def needed(batch: int) -> int:
            ahead = max(2 * batch, 4 * threads())  # the images that `engine.feed` prepares; two more batches follow
            return pixels * (_ACTIVATIONS + _IMAGE * (ahead + 2 * batch))

        if needed(self.batch_size) <= limit:
            return
        largest = next((batch for batch in range(self.batch_size - 1, 0, -1) if needed(batch) <= limit), 0)
        remedy = f"use --batch-size {largest} or less" if largest else "use a smaller --image-size, or a larger --ram"
        number = self.batch_size if largest else 1
        size = f"{backbone.image_size} x {backbone.image_size}"
        message = (
            f"{number} image{'' if number == 1 else 's'} of {size} pixels at once need about "
            f"{tidy_bytes(needed(number))} in {backbone.name}, and --ram allows {tidy_bytes(limit)}: {remedy}"
        )
        raise RamLimitError(message)

    def recipe(self, backbone: Backbone) -> dict[str, Any]:
        """Returns the recipe of a bank, which is its key: everything that decides the value of a feature."""
        views: Mapping[str, Any] | None = self.augmentation.recipe if self.augmentation else None
        return {**backbone.recipe, "precision": self.precision, "views": views}

    def problems(self) -> Iterator[OptionProblem]:
        """Yields the problems of views and their augmentation."""
        if self.views and self.augment is None:
            text = f"{counted(self.views, 'view')} without an augmentation: add --augment, as --augment flip,zoom=.2"
            yield OptionProblem("", text)
        elif self.augment is not None and not self.views:
            text = f"--augment {self.augment} has no effect without --views: add the number of views, as --views 4"
            yield OptionProblem("", text)
        yield from unreadable("augment", self.augment, Augmentation.parse)
