"""What all heads share that are trained by gradient descent: their options, and how one of them is trained alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from featurebank.errors import HeadError
from featurebank.heads.base import Head
from featurebank.heads.memory import check_memory
from featurebank.system.validation import refuse
from featurebank.training.options import TrainingOptions

_CLIPPING = (
    "it looks at all weights of a head at once, and joined heads take what acts on each weight alone: leave it out, or "
    "use max_norm or a smaller learning_rate"
)


@dataclass(kw_only=True, eq=False, repr=False)
class TrainedHead(Head, TrainingOptions):
    """Base of the heads that are trained by gradient descent; follows scikit-learn's contract.

    A concrete head has `train_heads`, which trains any number of heads of its family.

    Args:
        learning_rate: see `TrainingOptions`, as for all the others.
    """

    train_heads: ClassVar[Callable[..., list[str | None]]]
    """Trains heads of this family on the same features; called as `heads.neural.together.train_together`."""
    refused: ClassVar[Mapping[str, str]] = dict.fromkeys(("clipnorm", "global_clipnorm"), _CLIPPING)
    """Parameters that a user of Keras may expect, with the reason why there are none."""

    def check(self) -> None:
        """Raises HeadError where parameters are of a wrong type or out of their range; its message has all of them."""
        refuse(type(self).__name__, self.checks())

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the head takes while it is trained; see `featurebank.heads.memory`."""
        raise NotImplementedError

    def fit(self, X: Any, y: np.ndarray, validation_data: tuple[Any, np.ndarray] | None = None) -> Self:
        """Trains the head alone.

        Args:
            X: (n, ...) float32 features, or maps in a bank; a head on vectors flattens maps.
            y: (n,) labels.
            validation_data: features and labels for early stopping; None runs all epochs.

        Raises:
            HeadError: a parameter is out of its range, the features are not finite or of a wrong shape, there is one
                class only, or the training diverged.
            RamLimitError: weights and features take more memory than `--ram` allows.
        """
        self.check()
        images, *shape = self.checked_shape(X)
        held = 0 if hasattr(X, "batch") else np.asarray(X).nbytes  # maps in a bank are read as they are needed
        check_memory(self, images, shape, len(np.unique(y)), held)
        failure = self.train_heads([self], X, y, validation_data)[0]
        if failure:
            raise HeadError(failure)
        return self

    def checked_shape(self, X: Any) -> tuple[int, ...]:
        """Returns the shape (n, ...) of features to train on.

        Raises:
            HeadError: the head cannot be trained on features of this shape.
        """
        return np.shape(X)
