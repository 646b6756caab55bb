"""Any scikit-learn classifier as a head."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.neighbors import RadiusNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from featurebank.errors import HeadError
from featurebank.heads import estimator_traits as traits
from featurebank.heads.base import Head, State
from featurebank.heads.exact.gram import gram
from featurebank.heads.exact.gram import transform as fitted_transform
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.transforms import Steps
from featurebank.heads.inputs import one_line_errors
from featurebank.heads.keras_layers import dense, flat
from featurebank.heads.weighted import WeightedHead
from featurebank.system.validation import ParameterCheck, count, optional, switch
from featurebank.training.activations import softmax
from featurebank.training.class_weights import ClassWeight, class_weight_check, weights_of_classes

_WORKING_MEMORY_MB = 128
"""What an estimator may take for distances at a time; scikit-learn's own limit is a gigabyte, for each thread."""


class EstimatorHead(WeightedHead):
    """A scikit-learn classifier on flattened features, with optional standardisation and PCA before it.

    Args:
        estimator: an unfitted classifier; it is cloned by `fit`.
        standardize: bring each feature to mean 0 and variance 1 over the training images.
        pca: keep so many principal components; None keeps the features as they are.
        random_state: seed of the PCA and, where it takes one, of the estimator.
        class_weight: for an estimator that can weight images and has no such parameter itself: "balanced", a list of
            numbers in the order of `classes_`, or a dictionary {label: number}.
    """

    saved_as = "estimator"

    def __init__(
        self, estimator: Any = None, *, standardize: bool = False, pca: int | None = None, random_state: int = 0,
        class_weight: ClassWeight = None,
    ) -> None:  # fmt: skip
        self.estimator = estimator
        self.standardize = standardize
        self.pca = pca
        self.random_state = random_state
        self.class_weight = class_weight

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of the parameters of the steps before; the estimator checks its own."""
        checks = [switch("standardize", self.standardize), optional(count("pca", self.pca))]
        return [*checks, class_weight_check(self.class_weight), self._weighting_check()]

    def _weighting_check(self) -> ParameterCheck:
        """Checks that classes are weighted only where the estimator can weight images."""
        can = self.class_weight is None or self.estimator is None or has_fit_parameter(self.estimator, "sample_weight")
        name = type(self.estimator).__name__
        return ParameterCheck("class_weight", self.class_weight, f"none, as {name} cannot weight images", can)

    def wrong_values(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yields what is wrong with the values of parameters, also by the estimator's own table."""
        yield from super().wrong_values(names)
        yield from traits.wrong_values(self.estimator, names)

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int = 0) -> float:
        """Returns about how many nanoseconds its training takes; see `Head.cost`."""
        width = math.prod(shape)
        return traits.cost(self.estimator, images, min(width, self.pca or width), validation_images)

    @property
    def gives_scores(self) -> bool:
        """Whether the estimator has probabilities or a decision function."""
        return hasattr(self.estimator, "predict_proba") or hasattr(self.estimator, "decision_function")

    @property
    def n_parameters_(self) -> int | None:
        """How many trained numbers it holds, with the steps before; None where the estimator's are not known."""
        own = traits.size(self.estimator_)
        return None if own is None else own + traits.size_of_steps(self.steps_)

    def state(self) -> State:
        """Returns the estimator as nodes and arrays; see `Head.state` and `heads.storage.estimator_state`."""
        import sklearn

        from featurebank.heads.storage.estimator_state import StateWriter

        writer = StateWriter()
        writer.value(self)
        return State(writer.arrays, {"scikit-learn": sklearn.__version__, "nodes": writer.nodes})

    def trial_shape(self) -> tuple[int, ...]:
        """Returns the shape of a row; () for neighbours within a radius, of which zeros may have none."""
        return () if isinstance(self.estimator_, RadiusNeighborsClassifier) else super().trial_shape()

    def set_state(self, state: State, classes: np.ndarray) -> None:
        """Takes what `state` returned, which holds parameters and classes, too."""
        from featurebank.heads.storage.estimator_state import restore

        self.__dict__.update(vars(restore(state.facts["nodes"], state.arrays, state.source)))

    @property
    def fit(self) -> Any:
        """The method `fit`, with `sample_weight` if the estimator's has it: scikit-learn looks at the signature."""
        weighted = self.estimator is None or has_fit_parameter(self.estimator, "sample_weight")
        return (WeightedHead if weighted else Head).fit.__get__(self)

    def fit_shared(self, shared: Shared, validation_data: tuple[np.ndarray, np.ndarray] | None = None) -> Self:
        """Fits the estimator on images of which others may have computed steps; see `Head.fit_shared`.

        Raises:
            HeadInputError: `pca` is more than there is, or the estimator refuses something.
        """
        self.check()
        shared = shared.weighted(self.class_weight)
        weights = {} if shared.weights is None else {"sample_weight": shared.weights}
        self.steps_ = fit_transforms(shared, standardize=self.standardize, pca=self.pca)
        self.estimator_ = clone(self.estimator)
        if "random_state" in self.estimator_.get_params(deep=False):
            self.estimator_.set_params(random_state=self.random_state)
        # Some libraries take labels from 0 on alone: a class that these images lack would leave a gap.
        class_weight = self.estimator_.get_params(deep=False).get("class_weight")
        if isinstance(class_weight, Mapping):
            known = weights_of_classes(class_weight, shared.counts, shared.classes.tolist())
            self.estimator_.set_params(class_weight=dict(enumerate(known.tolist())))
        with one_line_errors():
            self.estimator_.fit(transform(self.steps_, shared.X), shared.positions, **weights)
        self.classes_, self.n_features_in_ = shared.classes, shared.X.shape[1]
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes) in the order of `classes_`.

        An estimator that has none gives the softmax of its decision function: the right order, but not calibrated.
        """
        X = self._inputs(X)
        if not len(X):  # libraries refuse an empty table, or forget its columns
            return np.empty((0, len(self.classes_)), np.float32)
        from sklearn import config_context

        with config_context(working_memory=_WORKING_MEMORY_MB):
            return self._answer(transform(self.steps_, X))

    def _answer(self, inputs: np.ndarray) -> np.ndarray:
        """Returns the estimator's probabilities of transformed features."""
        if hasattr(self.estimator_, "predict_proba"):
            return np.asarray(self.estimator_.predict_proba(inputs), np.float32)
        if hasattr(self.estimator_, "decision_function"):
            decision = np.asarray(self.estimator_.decision_function(inputs))
            return softmax(np.stack([-decision, decision], 1) / 2 if decision.ndim == 1 else decision)
        predicted = self.estimator_.predict(inputs)
        return np.asarray(predicted[:, None] == self.estimator_.classes_[None], np.float32)

    def keras_layers_(self, tensor: Any) -> Any:
        """Adds a linear estimator to a graph, with the steps before it, as one dense layer; see `Head.keras_layers_`.

        Raises:
            HeadError: the estimator is not linear.
        """
        import keras

        logits = dense(flat(tensor), *self.linear_scores_(), "head_logits")
        if self._link(*self._coefficients()) == "softmax":
            return logits
        return keras.layers.Activation("log_sigmoid", name="head_log")(logits)

    def linear_scores_(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns weights and bias of a linear estimator, with the steps before it; see `Head.linear_scores_`.

        Raises:
            HeadError: the estimator is not linear, or its probabilities do not follow from its coefficients alone.
        """
        weights, bias = self._coefficients()
        self._link(weights, bias)
        for step in reversed(self.steps_):
            weights = step.components_.T @ weights if isinstance(step, PCA) else weights / step.scale_[:, None]
            bias = bias - np.asarray(step.mean_, np.float64) @ weights
        return weights, bias

    def keras_scores_(self, tensor: Any) -> Any:
        """Adds a linear estimator to a graph without the link to its probabilities; see `Head.keras_scores_`."""
        return dense(flat(tensor), *self.linear_scores_(), "head_logits")

    def _coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns weights (d, classes) and intercepts (classes,), float64, of transformed features."""
        estimator = self.estimator_
        if not (hasattr(estimator, "coef_") and hasattr(estimator, "intercept_")):
            message = f"{type(estimator).__name__} is no linear function of the features"
            raise HeadError(message)
        weights = np.atleast_2d(np.asarray(estimator.coef_, np.float64)).T
        bias = np.broadcast_to(np.asarray(estimator.intercept_, np.float64), weights.shape[1:])
        if weights.shape[1] > 1:
            return weights, bias
        halves = np.array([[-0.5, 0.5]])  # for two classes scikit-learn returns only the second
        return weights @ halves, bias @ halves

    def _link(self, weights: np.ndarray, bias: np.ndarray) -> str:
        """Returns how probabilities follow from the logits: by "softmax", or by a "sigmoid" for each class.

        The estimator itself shows it, on rows that are drawn: what its class and its options mean is its own affair.

        Raises:
            HeadError: they follow in another way.
        """
        rows = np.random.default_rng(0).normal(size=(8, len(weights)))
        rows /= max(1e-12, float(np.abs(rows @ weights).max()))
        rows -= np.linalg.lstsq(weights.T, bias)[0]  # where no class is sure, and all show
        logits = rows @ weights + bias
        probabilities, sigmoid = self._answer(rows), (1 + np.tanh(logits / 2)) / 2
        for link, expected in (("softmax", softmax(logits)), ("sigmoid", sigmoid / sigmoid.sum(1, keepdims=True))):
            if probabilities.shape == expected.shape and np.allclose(probabilities, expected, atol=1e-5):
                return link
        message = f"the probabilities of {type(self.estimator_).__name__} do not follow from its coefficients alone"
        raise HeadError(message)


def fit_transforms(shared: Shared, *, standardize: bool, pca: int | None) -> list[Any]:
    """Returns the fitted steps that stand before an estimator; one decomposition serves every `pca`.

    Raises:
        HeadError: `pca` is more than there is.
    """
    steps: list[Any] = []
    if standardize:
        steps.append(
            shared.once("StandardScaler", lambda: StandardScaler().fit(shared.X, sample_weight=shared.weights))
        )
    if pca is not None:
        pca_steps = Steps(standardize=standardize, pca=pca)
        steps.append(shared.once(("PCA", pca_steps), lambda: _components(shared, pca_steps)))
    return steps


def _components(shared: Shared, steps: Steps) -> PCA:
    """Returns a fitted PCA from the decomposition that is shared."""
    scatter, fitted = gram(shared, steps), fitted_transform(shared, steps)
    assert fitted.axes is not None
    step, values = PCA(fitted.axes.shape[1]), scatter.spectrum[0][: fitted.axes.shape[1]]
    step.n_components_, step.n_features_in_, step.n_samples_ = len(values), scatter.d, scatter.n
    step.mean_ = (np.zeros(scatter.d) if steps.standardize else scatter.mean).astype(np.float32)
    step.components_ = np.ascontiguousarray(fitted.axes.T, np.float32)
    step.explained_variance_ = values / (scatter.n - 1)
    step.explained_variance_ratio_ = values / np.trace(scatter.matrix)
    step.singular_values_ = np.sqrt(values)
    return step


def transform(steps: list[Any], X: np.ndarray) -> np.ndarray:
    """Applies fitted steps in turn."""
    for step in steps:
        X = step.transform(X)
    return X
