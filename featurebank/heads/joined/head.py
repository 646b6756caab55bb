"""A fitted head on joined features, which takes them as they are stored and scales them itself."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np

from featurebank.errors import HeadError, HeadInputError
from featurebank.heads.base import Head, State
from featurebank.heads.inputs import check_fitted
from featurebank.heads.joined.encoding import ColumnEncoding
from featurebank.heads.joined.scaling import JoinedScaling
from featurebank.heads.keras_layers import dense


@dataclass(eq=False, repr=False)
class JoinedHead(Head):
    """A head and the scale of the joined features that it was trained on.

    Grids make it: they fit the head inside on scaled features. It takes (n, d) features as they are stored, the taps
    one after another and then the encoded columns; `scaling_` says which.

    Args:
        head: an unfitted head; it is cloned by `fit`.
        random_state: seed of the head.
    """

    saved_as = "joined"

    head: Any = None
    _: KW_ONLY
    random_state: int = 0

    @classmethod
    def of(cls, head: Any, scaling: JoinedScaling) -> Self:
        """Returns a fitted head that scales features for another fitted head."""
        from sklearn.base import clone

        return cls(clone(head), random_state=head.random_state)._with(head, scaling)

    def _with(self, head: Any, scaling: JoinedScaling) -> Self:
        self.head_, self.scaling_ = head, scaling
        self.classes_, self.n_features_in_ = head.classes_, len(scaling.mean)
        return self

    def check(self) -> None:
        """Raises HeadError where a parameter of the head is wrong."""
        if self.head is None:
            message = "head is None: expected an unfitted head"
            raise HeadInputError(message)
        self.head.check()

    def _fit_checked(self, X: Any, y: Any, validation_data: tuple[Any, Any] | None, sample_weight: Any = None) -> Self:
        from sklearn.base import clone

        from featurebank.heads.inputs import checked_features, vectors_to_fit

        self.check()
        rows = vectors_to_fit(self, X, y)
        features = checked_features(rows.X, rows.y)
        scaling = JoinedScaling.fit([features], [("features", features.shape[1])])
        if validation_data is not None:
            validation_data = scaling.apply(self._validation_inputs(validation_data[0])), validation_data[1]
        head = clone(self.head).set_params(random_state=self.random_state)
        return self._with(head.fit(scaling.apply(features), rows.y, validation_data), scaling)

    @property
    def saw_validation(self) -> bool:  # type: ignore[override]
        """Whether that is so of the head inside; see `Head.saw_validation`."""
        return bool(self.head_.saw_validation)

    @property
    def gives_scores(self) -> bool:
        """Whether that is so of the head inside; see `Head.gives_scores`."""
        return bool(getattr(self, "head_", self.head).gives_scores)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of metadata that the head takes."""
        return self.scaling_.encoding.names if self.scaling_.encoding else ()

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes), in the order of `classes_`."""
        return np.asarray(self.head_.predict_proba(self._scaled(X)))

    def predict_validation(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns what the head inside returns; see `Head.predict_validation`."""
        return np.asarray(self.head_.predict_validation(self._scaled(X), y))

    def _scaled(self, X: Any) -> np.ndarray:
        check_fitted(self)
        return self.scaling_.apply(self._inputs(X))

    def linear_(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the head as one dense layer on features as they are stored; see `Head.linear_`."""
        return self._unscaled(*self.head_.linear_())

    def linear_scores_(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the scores as a function of features as they are stored; see `Head.linear_scores_`."""
        return self._unscaled(*self.head_.linear_scores_())

    def _unscaled(self, weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scaled = weights.astype(np.float64) * self.scaling_.factor[:, None]
        return scaled, bias - self.scaling_.mean.astype(np.float64) @ scaled

    def score_gradients_(self, X: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Returns the gradients by the features as they are stored; see `Head.score_gradients_`."""
        return np.asarray(self.head_.score_gradients_(self._scaled(X), places) * self.scaling_.factor)

    def keras_layers_(self, tensor: Any) -> Any:
        """Adds the scale and the head to a graph; of a linear head, one layer; see `Head.keras_layers_`."""
        try:
            weights, bias = self.linear_()
        except HeadError:
            return self.head_.keras_layers_(self._scaling_layer(tensor))
        return dense(tensor, weights, bias, "head_logits")

    def keras_scores_(self, tensor: Any) -> Any:
        """Adds the scale and the scores of the head to a graph; see `Head.keras_scores_`."""
        return self.head_.keras_scores_(self._scaling_layer(tensor))

    def _scaling_layer(self, tensor: Any) -> Any:
        import keras

        factor = self.scaling_.factor.astype(np.float64)
        offset = -self.scaling_.mean.astype(np.float64) * factor
        return keras.layers.Rescaling(factor.tolist(), offset.tolist(), name="head_scaling")(tensor)

    @property
    def history_(self) -> Any:
        """The history of the head, if it has one."""
        return self.head_.history_

    @property
    def n_parameters_(self) -> int | None:
        """How many trained numbers the head inside holds."""
        inside: int | None = self.head_.n_parameters_
        return inside

    def state(self) -> State:
        """Returns the scale; the head inside has a state of its own, see `Head.state`."""
        scaling = self.scaling_
        encoding = None if scaling.encoding is None else scaling.encoding.to_json()
        facts = {"taps": [list(tap) for tap in scaling.taps], "columns": encoding, "random_state": self.random_state}
        return State({"mean": scaling.mean, "factor": scaling.factor}, facts)

    def set_state(self, state: State, classes: np.ndarray) -> None:
        """Takes what `state` returned; `head_` is set before.

        Raises:
            ValueError: the parts do not fit each other.
        """
        columns, taps = state.facts["columns"], tuple((str(tap), int(width)) for tap, width in state.facts["taps"])
        encoding = None if columns is None else ColumnEncoding.from_json(columns)
        width = sum(width for _, width in taps) + (encoding.width if encoding else 0)
        mean, factor = (np.asarray(state.arrays[name], np.float32) for name in ("mean", "factor"))
        if not mean.shape == factor.shape == (width,) == (self.head_.n_features_in_,):
            message = "the scale has another width than the head"
            raise ValueError(message)
        if min((size for _, size in taps), default=1) < 1 or not np.isfinite([mean, factor]).all():
            message = "a tap has no features, or the scale is not finite"
            raise ValueError(message)
        self._with(self.head_, JoinedScaling(mean, factor, taps, encoding))
        self.random_state = int(state.facts["random_state"])
