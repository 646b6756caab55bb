"""What the heads on a kernel share: their parameters, and the kernel, which is computed once for a grid."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from featurebank.heads.base import FitResult
from featurebank.heads.exact.base import TransformedHead
from featurebank.heads.exact.gram import transform
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.transforms import Steps
from featurebank.heads.weighted import WeightedHead
from featurebank.system.runtime import ram_limit
from featurebank.system.validation import ParameterCheck, count, number, optional
from featurebank.words import counted

KERNELS = ("rbf", "linear")


@dataclass(kw_only=True, eq=False, repr=False)
class KernelHead(WeightedHead, TransformedHead):
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

    def _checks(self) -> list[ParameterCheck]:
        named = isinstance(self.gamma, str) and self.gamma in {"scale", "auto"}
        gamma = number("gamma", self.gamma, above=0)
        known = 'rbf or linear (others: kind = "sklearn.svm:SVC")'
        return [
            optional(count("max_images", self.max_images, least=2)),
            ParameterCheck("kernel", self.kernel, known, self.kernel in KERNELS),
            gamma._replace(expected="a number above 0, 'scale' or 'auto'", holds=named or gamma.holds, schema={}),
            number("gamma_times", self.gamma_times, above=0),
        ]

    def steps(self) -> Steps:
        """Returns what is done to the features before."""
        return replace(super().steps(), center=False)  # scikit-learn's kernels are those of the features as they are

    def path(self) -> Hashable:
        """Returns what the heads that are best fitted one after another have in common."""
        return (self.steps(), self.kernel, self.max_images)

    @classmethod
    def fit_path(
        cls, heads: Sequence[Any], shared: Shared, validation_data: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Iterator[FitResult]:
        """Fits heads of one class and one `path`, and frees their kernel; see `Head.fit_path`."""
        try:
            yield from super().fit_path(heads, shared, validation_data)
        finally:
            shared.forget("part", "inputs", "distances", "products")

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int = 0) -> float:
        """Returns about how many nanoseconds its training takes; see `Head.cost`."""
        rows = min(images, self.max_images or images)
        return rows * rows * (self._inputs_width(shape) / 10 + 100)

    def _part_of(self, shared: Shared) -> Shared:
        """Returns the images to fit on: all, or `max_images` drawn by chance, of each class one at least."""
        count = self.max_images
        if count is None or count >= len(shared.y):
            return shared

        def draw() -> Shared:
            order = np.random.default_rng(0).permutation(len(shared.y))
            _, firsts = np.unique(shared.positions[order], return_index=True)
            sampled = np.concatenate([order[firsts], np.delete(order, firsts)])[: max(count, len(firsts))]
            rows = np.sort(sampled)
            weights = None if shared.weights is None else shared.weights[rows]
            return Shared(shared.X[rows], shared.y[rows], weights)

        return shared.once(("part", count), draw)

    def _prepare(self, shared: Shared) -> np.ndarray:
        """Sets the fitted steps and gamma; returns the inputs (n, d or k) float64."""
        steps = self.steps()
        self.transform_ = transform(shared, steps)
        inputs: np.ndarray = shared.once(("inputs", steps), lambda: self.transform_(shared.X))
        gamma = self.gamma
        if gamma == "scale":
            variance = shared.once(("variance", steps), lambda: _variance(inputs, shared.weights))
            gamma = 1 / (inputs.shape[1] * variance) if variance else 1.0
        elif gamma == "auto":
            gamma = 1 / inputs.shape[1]
        self.gamma_ = float(gamma) * self.gamma_times
        return inputs

    def _kernel_of(self, shared: Shared, inputs: np.ndarray) -> np.ndarray:
        """Returns the training images' kernel (n, n), of which the products or distances are kept for other heads."""
        if self.kernel == "linear":
            return np.asarray(shared.once(("products", self.steps()), lambda: inputs @ inputs.T))
        distances = shared.once(("distances", self.steps()), lambda: distances_of(inputs, inputs))
        return np.asarray(np.exp(distances * -self.gamma_))

    def _kernel_to(self, inputs: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Returns the kernel of inputs (m, d) to those that the head keeps (k, d)."""
        return inputs @ images.T if self.kernel == "linear" else np.exp(distances_of(inputs, images) * -self.gamma_)

    def _as_layer(self, weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns weights (d or k, classes) of transformed features as those of raw ones, with their bias."""
        transform = self.transform_
        raw = (weights if transform.axes is None else transform.axes @ weights) / transform.scale[:, None]
        return raw, bias - transform.mean @ raw

    def _is_layer(self) -> bool:
        return self.kernel == "linear" and self.steps().by_row == (1.0, False)


def _variance(inputs: np.ndarray, weights: np.ndarray | None) -> float:
    """Returns the variance of all entries of inputs (n, d), of which each row has a weight."""
    if weights is None:
        return float(inputs.var())
    shares = weights / (weights.sum() * inputs.shape[1])
    mean = float((shares @ inputs).sum())
    return float((shares @ (inputs - mean) ** 2).sum())


def fits(n: int) -> bool:
    """Returns whether the kernel of n images fits into memory, with its distances and the copy of a second head."""
    return 3 * 8 * n**2 <= ram_limit() // 2


def too_large(n: int) -> str:
    """Returns the message about a kernel of n images that does not fit."""
    return (
        f"the kernel of {counted(n, 'image')} needs {8 * n**2 / 1e9:.1f} GB, of which three are more than half of the "
        f"{ram_limit() / 1e9:.1f} GB that --ram allows"
    )


def distances_of(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Returns squared distances (a, b)."""
    distances = A @ B.T
    distances *= -2
    distances += (A**2).sum(axis=1)[:, None]
    distances += (B**2).sum(axis=1)
    if A is B:
        np.fill_diagonal(distances, 0)
    return np.asarray(np.maximum(distances, 0, out=distances))
