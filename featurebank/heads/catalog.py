"""The heads by name: what `--head`, `kind` in a grid file and `make_head` take."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from featurebank.errors import ConfigError, unknown_name
from featurebank.runtime import threads

_BEFORE = ("standardize", "pca")
"""Parameters of the steps before a scikit-learn estimator."""


@dataclass(frozen=True)
class HeadKind:
    """One entry of the table."""

    target: str
    """"module:Class": a head of featurebank, or a scikit-learn classifier."""
    what: str
    """One line for people."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Where they differ from the class's own."""
    parallel: bool = False
    """Whether the estimator takes `n_jobs` and uses it."""

    @property
    def own(self) -> bool:
        """Whether the class is a head by itself, not to be wrapped."""
        return self.target.startswith("featurebank.")


HEADS: dict[str, HeadKind] = {
    "softmax": HeadKind("featurebank.heads.linear:SoftmaxHead", "one dense layer with softmax, by gradient descent"),
    "mlp": HeadKind("featurebank.heads.mlp:MLPHead", "hidden dense layers, then softmax, by gradient descent"),
    "logistic": HeadKind(
        "sklearn.linear_model:LogisticRegression", "multinomial logistic regression, to its optimum",
        {"max_iter": 1000, "C": 0.1},
    ),
    "ridge": HeadKind(
        "sklearn.linear_model:RidgeClassifier", "least squares on the labels, with an L2 penalty",
        {"standardize": True, "alpha": 1000.0},
    ),
    "svm": HeadKind("sklearn.svm:SVC", "support vectors, with a kernel", {"C": 10.0}),
    "knn": HeadKind("sklearn.neighbors:KNeighborsClassifier", "the nearest training images", parallel=True),
    "random_forest": HeadKind("sklearn.ensemble:RandomForestClassifier", "the vote of random trees", parallel=True),
    "nearest_mean": HeadKind("sklearn.neighbors:NearestCentroid", "the class with the nearest mean"),
    "xgboost": HeadKind("featurebank.heads.boosted:XGBoostHead", "boosted trees on the features themselves; minutes"),
    "xgboost_pca": HeadKind(
        "featurebank.heads.boosted:XGBoostHead", "boosted trees on 128 principal components, 64 bins; seconds",
        {"pca": 128, "max_bin": 64},
    ),
    "xgboost_coarse": HeadKind(
        "featurebank.heads.boosted:XGBoostHead", "boosted trees, 32 bins, a tenth of the features a split; seconds",
        {"max_bin": 32, "colsample_bynode": 0.1},
    ),
}  # fmt: skip


def make_head(kind: str, params: Mapping[str, Any] | None = None, *, random_state: int = 0) -> Any:
    """Returns an unfitted head.

    Args:
        kind: a name of `HEADS`, or the import path of a scikit-learn classifier, as
            "sklearn.ensemble:ExtraTreesClassifier".
        params: its parameters, as far as they differ from the defaults.
        random_state: its seed.

    Raises:
        UnknownNameError: there is no such head or parameter.
        ConfigError: the import path leads to nothing, or to something that is no classifier.
    """
    entry = _entry(kind)
    factory = _load(kind, entry.target)
    given = {**entry.defaults, **(params or {})}
    _check_names(kind, factory, entry, given)
    if entry.own:
        return factory(**given, random_state=random_state)
    from featurebank.heads.estimators import EstimatorHead

    before = {name: given.pop(name) for name in _BEFORE if name in given}
    if entry.parallel:
        given.setdefault("n_jobs", threads())
    return EstimatorHead(_made(kind, factory, given), **before, random_state=random_state)


def full_params(kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters of a run's record: those given, over the defaults that differ from the class's own."""
    return {**_entry(kind).defaults, **params}


def is_neural(kind: str) -> bool:
    """Tells whether heads of this kind are trained together by one program."""
    return kind in {"softmax", "mlp"}


def is_random(kind: str) -> bool:
    """Tells whether the seed changes anything in a head of this kind."""
    entry = _entry(kind)
    if entry.own:
        return True
    names = inspect.signature(_load(kind, entry.target)).parameters
    return "random_state" in names and kind not in {"logistic", "ridge", "svm"}  # theirs is used by other solvers alone


def _entry(kind: str) -> HeadKind:
    if kind in HEADS:
        return HEADS[kind]
    if ":" in kind:
        return HeadKind(kind, "a classifier by its import path")
    raise unknown_name("head", kind, HEADS, "or the import path of a classifier, as sklearn.svm:LinearSVC")


def _load(kind: str, target: str) -> Any:
    module, _, name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        message = f"head '{kind}' cannot be imported ({error}): expected MODULE:CLASS, as sklearn.svm:LinearSVC"
        raise ConfigError(message) from error
    if not (inspect.isclass(found) and hasattr(found, "fit") and hasattr(found, "predict")):
        message = f"head '{kind}' is no classifier class: expected one with fit and predict, as sklearn.svm:LinearSVC"
        raise ConfigError(message)
    return found


def _made(kind: str, factory: Any, given: Mapping[str, Any]) -> Any:
    from sklearn.base import is_classifier

    try:
        estimator = factory(**given)
    except (TypeError, ValueError) as error:
        message = f"head '{kind}' cannot be made from its parameters: {error}"
        raise ConfigError(message) from error
    if hasattr(estimator, "__sklearn_tags__") and not is_classifier(estimator):
        message = f"head '{kind}' is no classifier: expected one, as sklearn.svm:LinearSVC"
        raise ConfigError(message)
    return estimator


def _check_names(kind: str, factory: Any, entry: HeadKind, given: Mapping[str, Any]) -> None:
    known = [*inspect.signature(factory).parameters, *(() if entry.own else _BEFORE)]
    known = [name for name in known if name not in {"self", "random_state"}]
    problems: list[ConfigError] = []
    for name in given:
        if name == "random_state":
            message = f"head '{kind}' takes its seed from --seeds (or 'seeds'), not from the parameter random_state"
            problems.append(ConfigError(message))
        elif name not in known:
            problems.append(unknown_name(f"parameter of head '{kind}'", name, known))
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ConfigError("; ".join(map(str, problems)))
