"""The options of a race."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from featurebank.errors import ConfigError
from featurebank.grid import Grid
from featurebank.metrics import metric_of
from featurebank.system.options import OptionProblem, StageOptions

SHARE = 0.15


@dataclass(frozen=True, kw_only=True)
class RaceLimits(StageOptions):
    """How much a race may compute."""

    budget: Annotated[float, Gt(0), "a number of seconds above 0"] | None = None
    """The time for everything in seconds."""
    share: Annotated[float, Gt(0), Le(1), "a number above 0, 1 at most, as 0.15"] = SHARE
    """The rounds compute at most this part of the images that an extraction with all backbones would compute."""
    part: Annotated[int, Ge(2), "a whole number of images, 2 or more"] | None = None
    """Training images in the first part; by default, a twentieth of the images, at most 1000."""


@dataclass(frozen=True, kw_only=True)
class RaceOptions(RaceLimits):
    """Options of a race; see `featurebank.race`."""

    tap: str = "pooled"
    """The features by which the candidates are compared, and on which the grid is trained."""
    grid: Annotated[Grid, "a built-in grid, a file or a list of heads"] = "default"
    """A built-in grid, a file or the blocks of one: the heads that are trained for the candidates that survive."""
    metric: str = "accuracy"
    """What the heads are ranked by. The rounds of the race always rank by the log loss."""
    engine: str = "auto"
    """The library that runs the networks."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """The number type of the networks' arithmetic."""
    batch_size: Annotated[int, Ge(1)] = 32
    """Images in one forward pass."""

    def problems(self) -> Iterator[OptionProblem]:
        """Yields what is wrong with the metric, as far as it can be known without the classes."""
        if ":" not in self.metric:
            try:
                metric_of(self.metric)
            except ConfigError as error:
                yield OptionProblem("", str(error))
