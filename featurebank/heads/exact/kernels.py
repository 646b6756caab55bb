"""Heads on a kernel: support vectors and kernel ridge regression."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.errors import HeadInputError, HeadWarning, RamLimitError
from featurebank.heads.exact.base import one_hot
from featurebank.heads.exact.kernel_base import KernelHead, fits, too_large
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.transforms import row_blocks
from featurebank.heads.keras_layers import dense, flat
from featurebank.system.validation import ParameterCheck, number
from featurebank.training.class_weights import ClassWeight

MOST_IMAGES = 20_000
"""Where a kernel cannot be held, scikit-learn computes it in parts, again and again: minutes for 10,000 images of 1280
features, hours for 50,000. More than so many are not tried."""


@dataclass(kw_only=True, eq=False, repr=False)
class SVMHead(KernelHead):
    """Support vectors: the predictions of `sklearn.svm.SVC(break_ties=True)`, by one machine for each pair of classes.

    The logit of a class is the decision function of SVC: the number of pairs that the class wins, and a share below a
    third that grows with the sum of its margins. So the most votes decide, and between equal votes the margins; SVC
    itself takes the first class there, unless it has `break_ties=True`. Two classes have one margin and no vote. The
    probabilities are the softmax of the logits: the right order, not calibrated.

    With the kernel "linear" the head becomes Keras layers: a dense layer of margins, their signs, and a dense layer of
    votes. (Such heads that were saved before votes were counted have the sums of the margins as logits, and keep them.)

    Rows of the length 1, and signed powers below 1 (Perronnin, Sanchez and Mensink, "Improving the Fisher kernel", ECCV
    2010), keep a few strong channels from deciding a distance; docs/develop/design.md says what they are
    worth on flowers.

    Args:
        C: the penalty of a margin that is not kept.
        class_weight: "balanced", a list of numbers in the order of `classes_`, or a dictionary {label: number}: factors
            of C.
        kernel: see `KernelHead`, as for all the others.
    """

    C: float = 10.0
    class_weight: ClassWeight = None

    _arrays = ("support_vectors_", "pairs_", "pairs_bias_", "gamma_")

    sums_margins_ = False
    """Whether the logits are sums of margins: of a linear head that was saved before votes were counted."""

    def _checks(self) -> list[ParameterCheck]:
        return [number("C", self.C, above=0), *super()._checks()]

    def _solve(self, shared: Shared) -> None:
        from sklearn.svm import SVC

        shared = self._part_of(shared)
        inputs = self._prepare(shared)
        if fits(len(inputs)):
            kernel, machine = self._kernel_of(shared, inputs), SVC(kernel="precomputed", C=self.C)
            machine.fit(kernel, shared.positions, sample_weight=shared.weights)
        elif len(inputs) > MOST_IMAGES:
            message = (
                f'{too_large(len(inputs))}: take max_images = 5000, logistic, or kind = "sklearn.svm:SVC" and hours'
            )
            raise RamLimitError(message)
        else:
            warnings.warn(
                f"{too_large(len(inputs))}: it is not shared, but computed in parts", HeadWarning, stacklevel=2
            )
            machine = SVC(kernel=self.kernel, gamma=self.gamma_, C=self.C)
            machine.fit(inputs, shared.positions, sample_weight=shared.weights)
        self.support_vectors_ = inputs[machine.support_]
        self.pairs_ = _pairs(machine)
        sign = -1 if len(shared.classes) == 2 else 1  # noqa: PLR2004 - for two classes scikit-learn returns only the second
        self.pairs_bias_, self.sums_margins_ = sign * machine.intercept_, False
        if self.kernel == "linear":  # one vector for each pair is all that is needed
            self.pairs_ = self.support_vectors_.T @ self.pairs_
            self.support_vectors_ = np.empty((0, inputs.shape[1]))

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the head takes while it is fitted; see `ExactHead`."""
        rows = min(images, self.max_images or images)
        return 8 * rows * (2 * math.prod(shape) + classes * (classes - 1) // 2)

    def _width(self) -> int:
        return int(max(self.pairs_.shape))

    def _logits(self, X: np.ndarray) -> np.ndarray:
        inputs = self.transform_(X)
        products = inputs if self.kernel == "linear" else self._kernel_to(inputs, self.support_vectors_)
        margins = products @ self.pairs_ + self.pairs_bias_
        sums = margins @ self._margins()
        if not self._votes():
            return np.asarray(sums)
        votes = np.where(margins < 0, -1.0, 1.0) @ (self._margins() / 2) + (len(self.classes_) - 1) / 2
        return np.asarray(votes + sums / (3 * (np.abs(sums) + 1)))

    def _votes(self) -> bool:
        """Returns whether votes are counted: not for two classes (one machine), and not by old saved heads."""
        return len(self.classes_) > 2 and not self.sums_margins_  # noqa: PLR2004

    def _margins(self) -> np.ndarray:
        """Returns (pairs, classes): +1 where a margin speaks for a class, -1 where against; halves for one pair."""
        classes = len(self.classes_)
        signs = np.zeros((self.pairs_.shape[1], classes))
        for pair, (one, other) in enumerate(zip(*np.triu_indices(classes, 1), strict=True)):
            signs[pair, one], signs[pair, other] = 1, -1
        return signs / 2 if classes == 2 else signs  # noqa: PLR2004

    def linear_(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns weights (d, classes) and bias (classes,), float64; see `Head.linear_`.

        Raises:
            HeadError: the kernel is not linear, or votes are counted: there are more than two classes.
        """
        if not self._is_layer() or self._votes():
            return super().linear_()
        return self.linear_scores_()

    def linear_scores_(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the sums of the margins as weights and bias, also where votes are counted; see `Head`.

        Raises:
            HeadError: the kernel is not linear.
        """
        if not self._is_layer():
            return super().linear_()
        return self._as_layer(self.pairs_ @ self._margins(), self.pairs_bias_ @ self._margins())

    def keras_layers_(self, tensor: Any) -> Any:
        """Adds the head to a graph: margins, their signs, votes, and the small share of the sums; see `Head`.

        Raises:
            HeadError: the kernel is not linear.
        """
        if not self._is_layer() or not self._votes():
            return super().keras_layers_(tensor)
        import keras

        margins = dense(flat(tensor), *self._as_layer(self.pairs_, self.pairs_bias_), "head_margins")
        classes, sides = len(self.classes_), self._margins()
        votes = dense(keras.ops.sign(margins), sides / 2, np.full(classes, (classes - 1) / 2), "head_votes")
        sums = dense(margins, sides, np.zeros(classes), "head_sums")
        return keras.layers.Add(name="head_logits")([votes, sums / (3 * (keras.ops.absolute(sums) + 1))])

    def _state_arrays(self) -> dict[str, np.ndarray]:
        """Returns the fitted arrays by name; "votes" marks heads that count votes."""
        return {**super()._state_arrays(), **({} if self.sums_margins_ else {"votes": np.ones((), bool)})}

    def _set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        super()._set_arrays(arrays)
        self.sums_margins_ = self.kernel == "linear" and "votes" not in arrays


@dataclass(kw_only=True, eq=False, repr=False)
class KernelRidgeHead(KernelHead):
    """Least squares on targets of +-1 in a kernel's space: what `ridge` is to `logistic`, this is to `svm`.

    Its probabilities are the softmax of the predicted targets: the right order, not calibrated.

    Args:
        alpha: the L2 penalty; with the kernel "rbf" from .01 to 1.
        class_weight: "balanced", a list of numbers in the order of `classes_`, or a dictionary {label: number}.
        kernel: see `KernelHead`, as for all the others.
    """

    alpha: float = 0.1
    class_weight: ClassWeight = None

    _arrays = ("images_", "weights_", "bias_", "gamma_")

    def _checks(self) -> list[ParameterCheck]:
        return [number("alpha", self.alpha, above=0), *super()._checks()]

    def _solve(self, shared: Shared) -> None:
        from scipy.linalg import cho_factor, cho_solve

        shared = self._part_of(shared)
        inputs, classes = self._prepare(shared), len(shared.classes)
        if not fits(len(inputs)):
            message = f"{too_large(len(inputs))}: take max_images = 5000, or ridge, which needs none"
            raise RamLimitError(message)
        targets = (2 * one_hot(shared.positions, classes) - 1) / (2 if classes == 2 else 1)  # noqa: PLR2004
        kernel = np.array(self._kernel_of(shared, inputs))
        self.bias_ = targets.mean(axis=0) if shared.weights is None else shared.weights @ targets / shared.total
        targets = targets - self.bias_
        roots = None if shared.weights is None else np.sqrt(shared.weights)[:, None]
        if roots is not None:  # the weighted problem is the plain one of rows times the roots of their weights
            kernel, targets = kernel * roots * roots.T, targets * roots
        kernel[np.diag_indices_from(kernel)] += self.alpha
        try:
            found = cho_solve(cho_factor(kernel, overwrite_a=True), targets)
        except np.linalg.LinAlgError as error:
            message = f"the kernel is singular with alpha {self.alpha:g}: take a larger one"
            raise HeadInputError(message) from error
        self.images_, self.weights_ = inputs, found if roots is None else found * roots

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the head takes while it is fitted; see `ExactHead`."""
        rows = min(images, self.max_images or images)
        return 8 * rows * (2 * math.prod(shape) + 4 * classes)

    def _logits(self, X: np.ndarray) -> np.ndarray:
        inputs = self.transform_(X)
        logits = np.empty((len(inputs), len(self.classes_)))
        for rows in row_blocks(len(inputs), len(self.images_)):
            logits[rows] = self._kernel_to(inputs[rows], self.images_) @ self.weights_ + self.bias_
        return logits

    def linear_(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns weights (d, classes) and bias (classes,), float64; see `Head.linear_`."""
        if not self._is_layer():
            return super().linear_()
        return self._as_layer(self.images_.T @ self.weights_, self.bias_)


def _pairs(machine: Any) -> np.ndarray:
    """Returns each vector's weight in each pair's machine (vectors, pairs), positive for the pair's first class."""
    counts = machine.n_support_
    classes, dual = len(counts), machine.dual_coef_
    if classes == 2:  # noqa: PLR2004 - scikit-learn returns only the second class then
        return np.asarray(-dual.T)
    ends = np.cumsum(counts)
    members = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
    pairs = list(zip(*np.triu_indices(classes, 1), strict=True))
    weights = np.zeros((dual.shape[1], len(pairs)))
    for pair, (one, other) in enumerate(pairs):
        weights[members[one], pair] = dual[other - 1, members[one]]
        weights[members[other], pair] = dual[one, members[other]]
    return weights
