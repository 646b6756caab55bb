"""Heads on a kernel: support vectors and kernel ridge regression; the kernel is computed once for a grid."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from featurebank.errors import HeadError, RamLimitError
from featurebank.heads.checks import Check, count, number, optional
from featurebank.heads.exact import Told, TransformedHead, one_hot
from featurebank.heads.gram import transform
from featurebank.heads.shared import Shared
from featurebank.heads.steps import Steps, row_blocks
from featurebank.runtime import ram_limit

KERNELS = ("rbf", "linear")

MOST_IMAGES = 20_000
"""Where a kernel cannot be held, scikit-learn computes it in parts, again and again: minutes for 10,000 images of 1280
features, hours for 50,000. More than so many are not tried."""


@dataclass(kw_only=True, eq=False, repr=False)
class KernelHead(TransformedHead):
    """Base of the heads on exp(-gamma |x - z|^2) or on x'z.

    Args:
        kernel: "rbf" or "linear".
        gamma: of "rbf": a number, "scale" for 1 / (features * variance of all entries), "auto" for 1 / features.
        gamma_times: a factor of it.
        power: the magnitude of each feature is taken to this power; .5 is the signed square root.
        normalize: bring each row to the length 1.
        standardize: bring each feature to mean 0 and variance 1 over the training images.
        pca: keep so many principal components; None keeps the features as they are.
        max_images: fit on so many of the training images, drawn by chance: time and memory of a kernel grow with their
            square. None takes all.
        random_state: changes nothing.
    """

    kernel: str = "rbf"
    gamma: float | str = "scale"
    gamma_times: float = 1.0
    power: float = 1.0
    normalize: bool = False
    standardize: bool = False
    pca: int | None = None
    max_images: int | None = None
    random_state: int = 0

    def _checks(self) -> list[Check]:
        named = isinstance(self.gamma, str) and self.gamma in {"scale", "auto"}
        gamma = number("gamma", self.gamma, above=0)
        known = 'rbf or linear (others: kind = "sklearn.svm:SVC")'
        return [
            optional(count("max_images", self.max_images, least=2)),
            Check("kernel", self.kernel, known, self.kernel in KERNELS),
            gamma._replace(expected="a number above 0, 'scale' or 'auto'", holds=named or gamma.holds),
            number("gamma_times", self.gamma_times, above=0),
        ]

    def steps(self) -> Steps:
        """Returns what is done to the features before."""
        return replace(super().steps(), center=False)  # scikit-learn's kernels are those of the features as they are

    def path(self) -> Hashable:
        """Returns what the heads that are best fitted one after another have in common."""
        return (self.steps(), self.kernel, self.max_images)

    @classmethod
    def fit_path(cls, heads: Sequence[Any], shared: Shared) -> Iterator[Told]:
        """Fits heads of one class and one `path`, and lets go of their kernel; see `ExactHead.fit_path`."""
        try:
            yield from super().fit_path(heads, shared)
        finally:
            shared.forget("part", "inputs", "distances", "products")

    def _part_of(self, shared: Shared) -> Shared:
        """Returns the images to fit on: all, or `max_images` drawn by chance, of each class one at least."""
        count = self.max_images
        if count is None or count >= len(shared.y):
            return shared

        def draw() -> Shared:
            order = np.random.default_rng(0).permutation(len(shared.y))
            _, firsts = np.unique(shared.positions[order], return_index=True)
            drawn = np.concatenate([order[firsts], np.delete(order, firsts)])[: max(count, len(firsts))]
            rows = np.sort(drawn)
            return Shared(shared.X[rows], shared.y[rows])

        return shared.once(("part", count), draw)

    def _prepare(self, shared: Shared) -> np.ndarray:
        """Sets the fitted steps and gamma; returns the inputs (n, d or k) float64."""
        steps = self.steps()
        self.transform_ = transform(shared, steps)
        inputs: np.ndarray = shared.once(("inputs", steps), lambda: self.transform_(shared.X))
        gamma = self.gamma
        if gamma == "scale":
            variance = shared.once(("variance", steps), lambda: float(inputs.var()))
            gamma = 1 / (inputs.shape[1] * variance) if variance else 1.0
        elif gamma == "auto":
            gamma = 1 / inputs.shape[1]
        self.gamma_ = float(gamma) * self.gamma_times
        return inputs

    def _kernel_of(self, shared: Shared, inputs: np.ndarray) -> np.ndarray:
        """Returns the training images' kernel (n, n), of which the products or distances are kept for other heads."""
        if self.kernel == "linear":
            return np.asarray(shared.once(("products", self.steps()), lambda: inputs @ inputs.T))
        distances = shared.once(("distances", self.steps()), lambda: _distances(inputs, inputs))
        return np.asarray(np.exp(distances * -self.gamma_))

    def _kernel_to(self, inputs: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Returns the kernel of inputs (m, d) to those that the head keeps (k, d)."""
        return inputs @ kept.T if self.kernel == "linear" else np.exp(_distances(inputs, kept) * -self.gamma_)

    def _as_layer(self, weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns weights (d or k, classes) of transformed features as those of raw ones, with their bias."""
        kept = self.transform_
        raw = (weights if kept.axes is None else kept.axes @ weights) / kept.scale[:, None]
        return raw, bias - kept.mean @ raw

    def _is_layer(self) -> bool:
        return self.kernel == "linear" and self.steps().by_row == (1.0, False)


@dataclass(kw_only=True, eq=False, repr=False)
class SVMHead(KernelHead):
    """Support vectors, as `sklearn.svm.SVC`: one machine for each pair of classes.

    With the kernel "rbf" a class's logit is the number of pairs that it wins, and a little of by how much, which is
    SVC's decision function and gives its predictions. With "linear" it is the sum of the pairs' margins, so that the
    head is one dense layer; it seldom decides otherwise than the votes. The probabilities are the softmax of that: the
    right order, not calibrated.

    Rows of the length 1, and signed powers below 1 (Perronnin, Sanchez and Mensink, "Improving the Fisher kernel", ECCV
    2010), keep a few strong channels from deciding a distance: what they are worth on flowers stands in docs/design.md.

    Args:
        C: the penalty of a margin that is not kept.
        kernel: see `KernelHead`, as for all the others.
    """

    C: float = 10.0

    _arrays = ("support_vectors_", "pairs_", "pairs_bias_", "gamma_")

    def _checks(self) -> list[Check]:
        return [number("C", self.C, above=0), *super()._checks()]

    def _solve(self, shared: Shared) -> None:
        from sklearn.svm import SVC

        shared = self._part_of(shared)
        inputs = self._prepare(shared)
        if fits(len(inputs)):
            machine = SVC(kernel="precomputed", C=self.C).fit(self._kernel_of(shared, inputs), shared.positions)
        elif len(inputs) > MOST_IMAGES:
            message = (
                f'{_too_large(len(inputs))}: take max_images = 5000, logistic, or kind = "sklearn.svm:SVC" and hours'
            )
            raise RamLimitError(message)
        else:
            warnings.warn(f"{_too_large(len(inputs))}: it is not shared, but computed in parts", stacklevel=2)
            machine = SVC(kernel=self.kernel, gamma=self.gamma_, C=self.C).fit(inputs, shared.positions)
        self.support_vectors_ = inputs[machine.support_]
        self.pairs_ = _pairs(machine)
        sign = -1 if len(shared.classes) == 2 else 1  # noqa: PLR2004 - of two classes scikit-learn tells the second
        self.pairs_bias_ = sign * machine.intercept_
        if self.kernel == "linear":  # one vector for each pair is all that is needed
            self.pairs_ = self.support_vectors_.T @ self.pairs_
            self.support_vectors_ = np.empty((0, inputs.shape[1]))

    def _logits(self, X: np.ndarray) -> np.ndarray:
        inputs = self.transform_(X)
        if self.kernel == "linear":
            return np.asarray((inputs @ self.pairs_ + self.pairs_bias_) @ self._margins())
        margins = self._kernel_to(inputs, self.support_vectors_) @ self.pairs_ + self.pairs_bias_
        sums, classes = margins @ self._margins(), len(self.classes_)
        if classes == 2:  # noqa: PLR2004 - one machine: no votes
            return np.asarray(sums)
        votes = (margins > 0) @ np.maximum(self._margins(), 0) + (margins <= 0) @ np.maximum(-self._margins(), 0)
        return np.asarray(votes + sums / (3 * (np.abs(sums) + 1)))

    def _margins(self) -> np.ndarray:
        """Returns (pairs, classes): +1 where a margin speaks for a class, -1 where against; halves for one pair."""
        classes = len(self.classes_)
        signs = np.zeros((self.pairs_.shape[1], classes))
        for pair, (one, other) in enumerate(zip(*np.triu_indices(classes, 1), strict=True)):
            signs[pair, one], signs[pair, other] = 1, -1
        return signs / 2 if classes == 2 else signs  # noqa: PLR2004

    def linear_(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns weights (d, classes) and bias (classes,), float64; see `ExactHead.linear_`."""
        if not self._is_layer():
            return super().linear_()
        return self._as_layer(self.pairs_ @ self._margins(), self.pairs_bias_ @ self._margins())


@dataclass(kw_only=True, eq=False, repr=False)
class KernelRidgeHead(KernelHead):
    """Least squares on targets of +-1 in a kernel's space: what `ridge` is to `logistic`, this is to `svm`.

    Its probabilities are the softmax of the predicted targets: the right order, not calibrated.

    Args:
        alpha: the L2 penalty; with the kernel "rbf" from .01 to 1.
        kernel: see `KernelHead`, as for all the others.
    """

    alpha: float = 0.1

    _arrays = ("images_", "weights_", "bias_", "gamma_")

    def _checks(self) -> list[Check]:
        return [number("alpha", self.alpha, above=0), *super()._checks()]

    def _solve(self, shared: Shared) -> None:
        from scipy.linalg import cho_factor, cho_solve

        shared = self._part_of(shared)
        inputs, classes = self._prepare(shared), len(shared.classes)
        if not fits(len(inputs)):
            message = f"{_too_large(len(inputs))}: take max_images = 5000, or ridge, which needs none"
            raise RamLimitError(message)
        targets = (2 * one_hot(shared.positions, classes) - 1) / (2 if classes == 2 else 1)  # noqa: PLR2004
        kernel = np.array(self._kernel_of(shared, inputs))
        kernel[np.diag_indices_from(kernel)] += self.alpha
        self.bias_ = targets.mean(axis=0)
        try:
            self.weights_ = cho_solve(cho_factor(kernel, overwrite_a=True), targets - self.bias_)
        except np.linalg.LinAlgError as error:
            message = f"the kernel is singular with alpha {self.alpha:g}: take a larger one"
            raise HeadError(message) from error
        self.images_ = inputs

    def _logits(self, X: np.ndarray) -> np.ndarray:
        inputs = self.transform_(X)
        found = np.empty((len(inputs), len(self.classes_)))
        for rows in row_blocks(len(inputs), len(self.images_)):
            found[rows] = self._kernel_to(inputs[rows], self.images_) @ self.weights_ + self.bias_
        return found

    def linear_(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns weights (d, classes) and bias (classes,), float64; see `ExactHead.linear_`."""
        if not self._is_layer():
            return super().linear_()
        return self._as_layer(self.images_.T @ self.weights_, self.bias_)


def fits(n: int) -> bool:
    """Tells whether the kernel of n images may be held: with its distances and the copy of a second head."""
    return 3 * 8 * n**2 <= ram_limit() // 2


def _too_large(n: int) -> str:
    return (
        f"the kernel of {n} images needs {8 * n**2 / 1e9:.1f} GB, of which three are more than half of the "
        f"{ram_limit() / 1e9:.1f} GB that --ram allows"
    )


def _distances(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Returns squared distances (a, b)."""
    found = A @ B.T
    found *= -2
    found += (A**2).sum(axis=1)[:, None]
    found += (B**2).sum(axis=1)
    if A is B:
        np.fill_diagonal(found, 0)
    return np.asarray(np.maximum(found, 0, out=found))


def _pairs(machine: Any) -> np.ndarray:
    """Returns each vector's weight in each pair's machine (vectors, pairs), positive for the pair's first class."""
    counts = machine.n_support_
    classes, dual = len(counts), machine.dual_coef_
    if classes == 2:  # noqa: PLR2004 - scikit-learn tells the second class there
        return np.asarray(-dual.T)
    ends = np.cumsum(counts)
    members = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
    pairs = list(zip(*np.triu_indices(classes, 1), strict=True))
    found = np.zeros((dual.shape[1], len(pairs)))
    for pair, (one, other) in enumerate(pairs):
        found[members[one], pair] = dual[other - 1, members[one]]
        found[members[other], pair] = dual[one, members[other]]
    return found
