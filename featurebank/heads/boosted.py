"""The XGBoost head: gradient-boosted trees on the features or on their principal components.

Threads: several boosters beside each other, each on one, are faster than one booster on all of them. Measured on two
busy cores, four boosters of up to 100 rounds on 2700 images x 128 components x 5 classes: 4 to 7 s side by side, 27 to
49 s one by one on two threads, which wait for each other at every split; 20,000 images: 6 and 18 s; raw, 2700 x 2048:
48 and 81 to 100 s. So a booster takes `runtime.threads()`, which is one inside `side_by_side`.

What a round costs grows with features x bins: on 2700 x 2048 x 5, one thread, 2.2 s with 256 bins, 0.50 with 64, 0.26
with 32, and 0.13 where each split chooses from a tenth of the features.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.decomposition import PCA

from featurebank.bank.locks.scratch import LEAST_FREE, check_space
from featurebank.errors import HeadError
from featurebank.heads.base import MOST_ROUNDS, State
from featurebank.heads.estimator_traits import size_of_steps
from featurebank.heads.estimators import fit_transforms, transform
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.streamed import StreamedShared
from featurebank.heads.memory import check_bytes, check_memory
from featurebank.heads.storage.booster_file import check_booster
from featurebank.heads.streamed.binned import LabelledVectors, quantile_matrix
from featurebank.heads.streamed.labels import known_vectors
from featurebank.heads.streamed.vectors import StoredVectors
from featurebank.heads.weighted import WeightedHead
from featurebank.system.progress import detail
from featurebank.system.runtime import threads
from featurebank.system.validation import ParameterCheck, count, number, optional
from featurebank.training.class_weights import ClassWeight, class_weight_check
from featurebank.words import counted

_SCORE_BYTES = 16
"""Of a class and an image: the score, and the gradient and the curvature of the loss, with what is made of them."""


def _do_nothing() -> None:
    pass


@dataclass(kw_only=True, eq=False, repr=False)
class XGBoostHead(WeightedHead):
    """Boosted trees with histogram splits, stopped early on validation data where there is any.

    The objective is that of `xgboost.XGBClassifier`: "multi:softprob", and "binary:logistic" for two classes. (Heads of
    two classes that were saved with "multi:softprob", as featurebank trained them at first, keep it.)

    Args:
        n_estimators: rounds of boosting at most.
        max_depth: of a tree.
        learning_rate: shrinkage of each tree.
        max_bin: histogram bins a feature.
        subsample: share of the images that each tree sees.
        colsample_bynode: share of the features that each split may choose from.
        reg_lambda: L2 penalty of the leaves.
        pca: boost on so many principal components, or on all of them where images or features are fewer, which is
            another and much faster model; None is the raw one.
        class_weight: "balanced", a list of numbers in the order of `classes_`, or a dictionary {label: number}.
        early_stopping_rounds: rounds without a better validation loss before it stops.
        random_state: seed.
    """

    saved_as = "booster"
    streams = True

    n_estimators: int = 100
    max_depth: int = 6
    learning_rate: float = 0.3
    max_bin: int = 256
    subsample: float = 1.0
    colsample_bynode: float = 1.0
    reg_lambda: float = 1.0
    pca: int | None = None
    early_stopping_rounds: int = 10
    class_weight: ClassWeight = None
    random_state: int = 0

    def fit_shared(self, shared: Shared, validation_data: tuple[np.ndarray, np.ndarray] | None = None) -> Self:
        """Boosts on images of which others may have computed components and bins; see `Head.fit_shared`.

        Heads of one `pca` and `max_bin` share them. The head is the same without.

        Raises:
            HeadError: a parameter is wrong, or XGBoost refuses something.
            RamLimitError: it takes more memory than `--ram` allows.
        """
        import xgboost

        self.check()
        self._check_memory(shared)
        shared = shared.weighted(self.class_weight)
        components = None if self.pca is None else min(self.pca, *shared.X.shape)
        self.steps_ = fit_transforms(shared, standardize=False, pca=components)
        on_block = shared.passes.on_block if isinstance(shared, StreamedShared) else _do_nothing
        try:
            train = shared.once(
                ("xgboost", *self._bins),
                lambda: self._binned(shared.X, shared.positions, weights=shared.weights, on_block=on_block),
            )
            watched = self._validation(train, validation_data, shared, on_block)
            self.booster_ = xgboost.train(
                self._options(len(shared.classes)), train, self.n_estimators, evals=watched, verbose_eval=False,
                early_stopping_rounds=self.early_stopping_rounds if watched else None,
                callbacks=[_shown_rounds(self.n_estimators, on_block)],
            )  # fmt: skip
        except xgboost.core.XGBoostError as error:
            if isinstance(shared, StreamedShared):
                check_space(shared.passes.vectors.bank_path, LEAST_FREE)
            raise _refusal(error) from error
        if watched:  # the trees after the best round are dropped, so that a saved model needs no note of it
            self.booster_ = self.booster_[: self.booster_.best_iteration + 1]
        self.classes_, self.n_features_in_ = shared.classes, shared.X.shape[1]
        return self

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        shares = [(name, getattr(self, name)) for name in ("subsample", "colsample_bynode")]
        return [
            count("n_estimators", self.n_estimators),
            count("max_depth", self.max_depth, least=0),
            number("learning_rate", self.learning_rate, above=0),
            count("max_bin", self.max_bin, least=2),
            *(number(name, share, above=0, most=1) for name, share in shares),
            number("reg_lambda", self.reg_lambda),
            optional(count("pca", self.pca)),
            count("early_stopping_rounds", self.early_stopping_rounds),
            count("random_state", self.random_state, least=0),
            class_weight_check(self.class_weight),
        ]

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes boosting takes: scores, gradients and curvatures, and the features in bins."""
        return images * (_SCORE_BYTES * classes + 2 * (self.pca or math.prod(shape)))

    def _check_memory(self, shared: Shared) -> None:
        """Checks that `--ram` allows the training; bins of vectors in the bank are in files if they need too much."""
        if not isinstance(shared, StreamedShared):
            check_memory(self, len(shared.X), shared.X.shape[1:], len(shared.classes), shared.nbytes)
            return
        bins = self._labelled(shared.passes.vectors, shared.positions)
        working = len(shared.y) * _SCORE_BYTES * len(shared.classes)
        working += bins.binned_bytes if bins.fit_into_memory else 0
        check_bytes(f"{type(self).__name__} with {counted(len(shared.classes), 'class')}", working, shared.nbytes)

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int = 0) -> float:
        """Returns about how many nanoseconds its training takes; see `Head.cost`."""
        return 2.0 * min(self.n_estimators, MOST_ROUNDS) * images * (self.pca or math.prod(shape)) * classes

    @property
    def n_parameters_(self) -> int:
        """How many trained numbers it holds: a feature and a threshold a split, a value a leaf, and the components."""
        text = "".join(self.booster_.get_dump())
        leaves = text.count("leaf=")
        return int(2 * (text.count("\n") - leaves) + leaves) + size_of_steps(self.steps_)

    def state(self) -> State:
        """Returns the trees in XGBoost's own format, as bytes, and the components; see `Head.state`."""
        arrays = {"booster": np.frombuffer(self.booster_.save_raw("ubj"), np.uint8)}
        for number_, step in enumerate(self.steps_):  # only ever one PCA
            arrays |= {f"pca{number_}_mean": step.mean_, f"pca{number_}_components": step.components_}
        return State(arrays, {"features": self.n_features_in_})

    def set_state(self, state: State, classes: np.ndarray) -> None:
        """Takes what `state` returned; the trees are checked before XGBoost sees them."""
        import xgboost

        arrays, inputs = state.arrays, state.facts["features"]
        self.classes_, self.n_features_in_, self.steps_ = classes, inputs, []
        if "pca0_mean" in arrays:
            step, inputs = PCA(len(arrays["pca0_components"])), len(arrays["pca0_components"])
            step.mean_, step.components_ = arrays["pca0_mean"], arrays["pca0_components"]
            step.n_components_, step.explained_variance_ = inputs, np.ones(inputs)
            self.steps_ = [step]
        raw = arrays["booster"].tobytes()
        check_booster(raw, inputs, len(classes))
        self.booster_ = xgboost.Booster(model_file=bytearray(raw))

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes) float32 in the order of `classes_`."""
        X = self._inputs(X)
        if not len(X):  # libraries refuse an empty table, or forget its columns
            return np.empty((0, len(self.classes_)), np.float32)
        found = np.asarray(self.booster_.inplace_predict(transform(self.steps_, X)), np.float32)
        return np.stack([1 - found, found], axis=1) if found.ndim == 1 else found

    def _options(self, classes: int) -> dict[str, Any]:
        names = ("max_depth", "learning_rate", "max_bin", "subsample", "colsample_bynode", "reg_lambda")
        objective: dict[str, Any] = {"objective": "binary:logistic", "eval_metric": "logloss"}
        if classes > 2:  # noqa: PLR2004 - of two classes XGBoost predicts the second
            objective = {"objective": "multi:softprob", "num_class": classes, "eval_metric": "mlogloss"}
        return {
            **{name: getattr(self, name) for name in names}, **objective,
            "tree_method": "hist", "nthread": threads(), "seed": self.random_state, "verbosity": 0,
        }  # fmt: skip

    @property
    def _bins(self) -> tuple[Any, ...]:
        """What the features in bins depend on."""
        return self.pca, self.max_bin

    def _labelled(
        self, vectors: StoredVectors, labels: np.ndarray, weights: np.ndarray | None = None,
        on_block: Callable[[], None] = _do_nothing,
    ) -> LabelledVectors:  # fmt: skip
        width = min(self.pca or vectors.shape[1], vectors.shape[1])
        return LabelledVectors(
            vectors, labels, weights, width, lambda X: np.asarray(transform(self.steps_, X), np.float32), on_block
        )

    def _binned(
        self, X: np.ndarray | StoredVectors, labels: np.ndarray, like: Any = None, weights: np.ndarray | None = None,
        on_block: Callable[[], None] = _do_nothing,
    ) -> Any:  # fmt: skip
        """Returns features in bins, those of another matrix where `like` is one."""
        import xgboost

        if isinstance(X, StoredVectors):
            rows = self._labelled(X, labels, weights, on_block)
            return quantile_matrix(rows, max_bin=self.max_bin, threads=threads(), like=like)
        inputs = transform(self.steps_, X)
        return xgboost.QuantileDMatrix(
            inputs, labels, weight=weights, ref=like, max_bin=self.max_bin, nthread=threads()
        )

    def _validation(
        self, train: Any, data: tuple[Any, np.ndarray] | None, shared: Shared, on_block: Callable[[], None]
    ) -> list[tuple[Any, str]]:
        if data is None:
            return []

        def make() -> tuple[Any, Any]:
            known = known_vectors(shared.classes, *data, shared.X.shape[1])
            binned = known and self._binned(*known, like=train, on_block=on_block)
            return data, binned  # data: while it is kept, no other has its ids

        matrix = shared.once(("xgboost", "val", *map(id, data), *self._bins), make)[1]
        return [(matrix, "val")] if matrix is not None else []


def _shown_rounds(rounds: int, on_round: Callable[[], None]) -> Any:
    """Returns what XGBoost calls after each round, so that a booster that takes minutes shows how far it is."""
    from xgboost.callback import TrainingCallback

    class Rounds(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            detail(f"round {epoch + 1} of {rounds}")
            on_round()
            return False

        def after_training(self, model: Any) -> Any:
            detail("")
            return model

    return Rounds()


def _refusal(error: Exception) -> HeadError:
    """Returns the error for what XGBoost refuses, without its place in the source and its stack."""
    reason = str(error).partition("Stack trace:")[0]
    return HeadError("XGBoost refused: " + " ".join(re.sub(r"^\[[\d:]+\] \S+: ", "", reason).split()))
