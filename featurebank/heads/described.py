"""Describes an unfitted head or scikit-learn estimator by its kind and its parameters, as a grid names it.

A run records its head as a kind and parameters, and trains many copies of it. So an object stands for its description.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator, is_classifier
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from featurebank.errors import ConfigError
from featurebank.heads.base import Head
from featurebank.heads.calibration import CalibratedHead
from featurebank.heads.catalog import HEADS
from featurebank.heads.estimators import EstimatorHead
from featurebank.heads.kinds import HeadKind
from featurebank.system import digest
from featurebank.training.common_parameters import CALIBRATE

_NOT_DESCRIBED = ("random_state", "n_jobs", "verbose")
"""The seed is that of the run; the others change no result."""
_EXPECTED = "expected an unfitted classifier, as LinearSVC(C=1.0)"


def describe_head(head: Any) -> dict[str, Any]:
    """Returns the `kind` of a head, and its parameters as far as they differ from the defaults of the kind.

    Args:
        head: a head of `make_head`; a classifier of scikit-learn or of a library with its interface; or a pipeline of
            `StandardScaler()`, `PCA(n)` and a classifier.

    Raises:
        ConfigError: it is fitted, no classifier, or cannot be recorded.

    Example:
        >>> from sklearn.svm import LinearSVC
        >>> describe_head(LinearSVC(C=0.5))
        {'kind': 'sklearn.svm:LinearSVC', 'C': 0.5}
    """
    _check(head)
    if isinstance(head, CalibratedHead):
        return {**describe_head(head.head), CALIBRATE: head.method}
    if isinstance(head, Pipeline):
        return _of_pipeline(head)
    if isinstance(head, EstimatorHead):
        steps = {name: getattr(head, name) for name in ("standardize", "pca") if getattr(head, name)}
        _check_seed(head)
        return {**describe_head(head.estimator), **steps}
    _check_seed(head)
    if isinstance(head, Head):
        kinds = [kind for kind in HEADS.values() if kind.own and kind.target_class is type(head)]
        found = [{"kind": kind.name, **_changed(head, kind.default_params)} for kind in kinds]
        return min(found, key=len)  # several kinds may be of one class: the one whose defaults are nearest
    kind = _kind(type(head))
    defaults = {name: one.default for name, one in inspect.signature(type(head)).parameters.items()}
    return {"kind": kind, **_changed(head, defaults)}


def _check(head: Any) -> None:
    """Raises ConfigError unless an object is an unfitted classifier that a run can record."""
    if isinstance(head, type):
        message = f"{head.__name__} is a class: write {head.__name__}()"
        raise ConfigError(message)
    kind = type(head)
    if not (hasattr(head, "fit") and hasattr(head, "predict") and hasattr(head, "get_params")):
        message = f"a head is of type {kind.__name__}: {_EXPECTED}"
        raise ConfigError(message)
    if isinstance(head, BaseEstimator) and not is_classifier(head):
        message = f"{kind.__name__} is no classifier: {_EXPECTED}"
        raise ConfigError(message)
    if _is_fitted(head):
        message = f"{kind.__name__} is fitted: {_EXPECTED}, or the result of sklearn.base.clone"
        raise ConfigError(message)
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        message = (
            f"{kind.__name__} is defined in this session, where no other finds it: put the class into a module, and "
            "import it from there"
        )
        raise ConfigError(message)


def _is_fitted(head: Any) -> bool:
    try:
        check_is_fitted(head)
    except (NotFittedError, TypeError):  # TypeError: it is no estimator of scikit-learn
        return False
    return any(name.endswith("_") and not name.startswith("__") for name in vars(head))


def _check_seed(head: Any) -> None:
    seed = head.get_params(deep=False).get("random_state")
    if seed not in (None, 0):
        message = (
            f"{type(head).__name__} has random_state={seed!r}, but the seeds of heads are those of train_heads: leave "
            f"it out, or pass seeds=[{seed!r}] to train_heads"
        )
        raise ConfigError(message)


def _of_pipeline(pipeline: Pipeline) -> dict[str, Any]:
    """Returns the description of a classifier after a standardisation, a PCA or both."""
    *steps, last = [step for _, step in pipeline.steps if step != "passthrough"]
    described: dict[str, Any] = {}
    order = [type(step) for step in steps]
    if order not in ([], [StandardScaler], [PCA], [StandardScaler, PCA]):
        names = ", ".join(kind.__name__ for kind in order)
        message = (
            f"a pipeline begins with {names}: expected StandardScaler, PCA, or both in this order, then a classifier"
        )
        raise ConfigError(message)
    for step in steps:
        changed = _changed(step, type(step)().get_params())
        components = changed.pop("n_components", None)
        if changed or (isinstance(step, PCA) and type(components) is not int):
            message = f"a pipeline has the step {step}: expected StandardScaler(), or PCA(n) with a whole number n"
            raise ConfigError(message)
        described |= {"pca": components} if isinstance(step, PCA) else {"standardize": True}
    return {**describe_head(last), **described}


def _changed(head: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters that differ from defaults."""
    params = head.get_params(deep=False)
    return {
        name: value
        for name, value in params.items()
        if name not in _NOT_DESCRIBED and not (name in defaults and _is_same(value, defaults[name]))
    }


def _is_same(value: Any, default: Any) -> bool:
    if value is default:
        return True
    try:
        return type(value) is type(default) and digest.canonical_json(value) == digest.canonical_json(default)
    except (TypeError, ValueError):
        return False


def _kind(found: type) -> str:
    """Returns the kind of the heads of a class: a name of the catalog, or the shortest path that leads to the class."""
    parts = found.__module__.split(".")
    modules = [".".join(parts[: count + 1]) for count in range(len(parts))]
    module = next((name for name in modules if getattr(sys.modules.get(name), found.__name__, None) is found), None)
    if module is None:
        message = f"{found.__name__} is not found in its module '{found.__module__}': expected a class of a module"
        raise ConfigError(message)
    path = f"{module}:{found.__name__}"
    own = (kind.name for kind in HEADS.values() if _is_plain(kind) and kind.target == path)
    return next(own, path)


def _is_plain(kind: HeadKind) -> bool:
    """Returns whether a kind is a classifier as its library has it."""
    return not kind.own and not kind.defaults
