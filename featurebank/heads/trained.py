"""What all heads share that are trained by gradient descent: their options, and how one of them is trained alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np

from featurebank.errors import HeadError
from featurebank.heads.inputs import TrainingRows, validation_to_fit, vectors_to_fit
from featurebank.heads.memory import check_memory
from featurebank.heads.weighted import WeightedHead
from featurebank.system.validation import ParameterCheck
from featurebank.training.batches import Network, OnHead
from featurebank.training.loop import train
from featurebank.training.options import TrainingOptions

_CLIPPING = (
    "it looks at all weights of a head at once, and joined heads take what acts on each weight alone: leave it out, or "
    "use max_norm or a smaller learning_rate"
)


@dataclass(frozen=True)
class Trainer:
    """Trains any number of heads of one family on the same features, each exactly as it would be trained alone.

    Args:
        data: checks features, labels, validation data, further views and weights; returns what the networks take.
        programs: returns the positions of the heads of each program: see `featurebank.heads.joint_network.programs`.
        network: builds the network of the heads of one program.
    """

    data: Callable[..., Any]
    programs: Callable[[Sequence[Any], tuple[int, ...], int, int], list[list[int]]]
    network: Callable[[Sequence[Any], Any], Network]

    def __call__(
        self,
        heads: Sequence[Any],
        X: Any,
        y: np.ndarray,
        validation_data: tuple[Any, np.ndarray] | None = None,
        *,
        views: Sequence[Any] = (),
        on_trained: OnHead | None = None,
        sample_weight: np.ndarray | None = None,
    ) -> list[str | None]:
        """Trains the heads, program by program.

        Args:
            heads: to be fitted in place.
            X: (n, ...) float32 features, or maps in a bank; a head on vectors flattens maps.
            y: (n,) labels.
            validation_data: for early stopping; None runs all epochs.
            views: further views of the images of X, each like X: every epoch takes one of all views of each image.
            on_trained: called as soon as a head stops.
            sample_weight: (n,) weights of the images; None for 1 each.

        Returns:
            For each head None, or in one line why it failed (that head is not fitted; the others are).

        Raises:
            HeadError: a parameter is out of its range, the features are not finite or not what the heads need, or there
                is only one class.
        """
        for head in heads:
            head.check()
        data = self.data(X, y, validation_data, views, sample_weight)
        programs = self.programs(heads, data.shape, len(data.classes), len(data.y))
        for head in heads:
            head.class_weights(data.y, len(data.classes), data.classes.tolist())  # raises before anything is trained
        failures: list[str | None] = [None] * len(heads)
        for positions in programs:

            def report(k: int, failure: str | None, seconds: float, positions: list[int] = positions) -> None:
                failures[positions[k]] = failure
                if on_trained:
                    on_trained(positions[k], failure, seconds, len(positions))

            members = [heads[position] for position in positions]
            train(members, self.network(members, data), report)
        return failures


@dataclass(kw_only=True, eq=False, repr=False)
class TrainedHead(WeightedHead, TrainingOptions):
    """Base of the heads that are trained by gradient descent; follows scikit-learn's contract.

    A concrete head has `train_heads`, which trains any number of heads of its family.

    Args:
        learning_rate: see `TrainingOptions`, as for all the others.
    """

    train_heads: ClassVar[Trainer]
    """Trains heads of this family on the same features."""
    adds_a_nanosecond: ClassVar[int]
    """How many multiply-adds of a training step one core does in a nanosecond, as it was measured."""
    refused: ClassVar[Mapping[str, str]] = dict.fromkeys(("clipnorm", "global_clipnorm"), _CLIPPING)
    """Parameters that a user of Keras may expect, with the reason why there are none."""

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        return TrainingOptions.checks(self)

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the head takes while it is trained; see `featurebank.heads.memory`."""
        raise NotImplementedError

    def layer_sizes(self) -> tuple[int, ...]:
        """Returns the widths of the hidden dense layers."""
        raise NotImplementedError

    def stem_cost(self, shape: tuple[int, ...]) -> tuple[float, int]:
        """Returns what comes before the dense layers: about how many multiply-adds for one image, and its width."""
        raise NotImplementedError

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int = 0) -> float:
        """Returns about how many nanoseconds its training takes; see `Head.cost`."""
        adds, *sizes = (*self.stem_cost(shape), *self.layer_sizes(), classes)
        adds += sum((inputs + 1) * units for inputs, units in pairwise(sizes))
        return float(images) * float(self.epochs) * 3 * adds / self.adds_a_nanosecond  # a step is three answers

    def _fit_checked(self, X: Any, y: Any, validation_data: tuple[Any, Any] | None, sample_weight: Any = None) -> Self:
        self.check()
        rows = self._training_rows(X, y, sample_weight)
        images, *shape = self.checked_shape(rows.X)
        nbytes = 0 if hasattr(rows.X, "batch") else rows.X.nbytes  # maps in a bank are read as they are needed
        check_memory(self, images, shape, len(np.unique(rows.y)), nbytes)
        if validation_data is not None:
            validation_data = validation_to_fit(self._validation_inputs(validation_data[0]), validation_data[1])
        failure = self.train_heads([self], rows.X, rows.y, validation_data, sample_weight=rows.weights)[0]
        if failure:
            raise HeadError(failure)
        return self

    def _training_rows(self, X: Any, y: Any, sample_weight: Any) -> TrainingRows:
        """Returns what the head is trained on, checked as scikit-learn does."""
        return vectors_to_fit(self, X, y, sample_weight)

    def checked_shape(self, X: Any) -> tuple[int, ...]:
        """Returns the shape (n, ...) of features to train on.

        Raises:
            HeadError: the head cannot be trained on features of this shape.
        """
        return np.shape(X)
