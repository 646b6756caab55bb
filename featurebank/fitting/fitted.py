"""The result of fitting one head, which may be a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from featurebank.errors import FeatureBankError
from featurebank.heads.memory import is_shortage
from featurebank.metrics import ImageScores


@dataclass(frozen=True)
class Fitted:
    """The result of fitting one head."""

    head: Any
    seconds: float
    together: int
    """The number of heads in the same program or task."""
    metrics: dict[str, dict[str, Any]]
    """Metrics by name for "train" and "val"; empty if the head failed."""
    notes: tuple[str, ...]
    """The warnings of the libraries, one line each."""
    failure: str | None = None
    """Why the head failed; None if it did not."""
    short: bool = False
    """Whether it failed because memory ran out; another attempt may succeed."""

    @property
    def right(self) -> str | None:
        """Which validation images the head classifies correctly; see `RunRecord.right`."""
        return getattr(self.metrics, "right", None)

    @property
    def images(self) -> ImageScores | None:
        """The validation images as the head predicts them; None if it failed, or after `forget_images`."""
        return getattr(self.metrics, "images", None)

    def forget_images(self) -> None:
        """Frees the memory of `images`."""
        if self.images is not None:
            self.metrics.images = None  # type: ignore[attr-defined]

    @property
    def parameters(self) -> int | None:
        """The number of trained values of the head; None if it is unknown."""
        return None if self.failure else self.head.n_parameters_

    @property
    def history(self) -> dict[str, Any] | None:
        """Lists with one value per epoch, by name; None for heads without epochs."""
        history = None if self.failure else self.head.history_
        return None if history is None else history.to_dict()


OnFitted = Callable[[int, Fitted], None]
"""Callback that receives the position of a head and its result, as soon as it is available."""


def failed(head: Any, seconds: float, together: int, error: BaseException) -> Fitted:
    """Returns the result of a head that failed."""
    return Fitted(head, seconds, together, {}, (), one_line(error), is_shortage(error))


def one_line(error: object) -> str:
    """Returns the text of an error or a warning on one line, with the class of an error that is not featurebank's."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, FeatureBankError | Warning) else f"{type(error).__name__}: {text}"
