"""Heads are made from their names and parameters: what `--head`, `kind` in a grid file and `make_head` take."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from featurebank import digest
from featurebank.errors import ConfigError, UnknownNameError, unknown_name
from featurebank.heads.kinds import HEADS, HeadKind
from featurebank.runtime import threads

_KNOWN_PACKAGES = frozenset({"sklearn", "xgboost"})
_BEFORE = ("standardize", "pca")
"""Parameters of the steps before a scikit-learn estimator."""

CALIBRATE = "calibrate"
"""A parameter that every head takes: "temperature", or "none" (as None, which a grid file cannot say)."""
_NOT_RECORDED = ("self", "random_state", "n_jobs")
"""The seed is the run's, and threads change nothing."""


def make_head(kind: str, params: Mapping[str, Any] | None = None, *, random_state: int = 0) -> Any:
    """Returns an unfitted head.

    Args:
        kind: a name of `HEADS`, or the import path of a scikit-learn classifier, as
            "sklearn.ensemble:ExtraTreesClassifier".
        params: its parameters, as far as they differ from the defaults, and perhaps `calibrate`.
        random_state: its seed.

    Raises:
        UnknownNameError: there is no such head or parameter.
        ConfigError: the import path leads to nothing, or to something that is no classifier.
    """
    if CALIBRATE in (params := params or {}):
        plain = make_head(kind, uncalibrated(params), random_state=random_state)
        return _calibrated(plain, params[CALIBRATE], random_state) if is_calibrated(params) else plain
    entry = _entry(kind)
    factory = _load(kind, entry.target)
    given = {**entry.defaults, **params}
    problems = list(wrong_names(kind, given).values())
    if problems:
        raise problems[0] if len(problems) == 1 else ConfigError("; ".join(map(str, problems)))
    if entry.own:
        return factory(**given, random_state=random_state)
    from featurebank.heads.estimators import EstimatorHead

    before = {name: given.pop(name) for name in _BEFORE if name in given}
    if entry.parallel:
        given.setdefault("n_jobs", threads())
    return EstimatorHead(_made(kind, factory, given), **before, random_state=random_state)


def full_params(kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters of a run's record: those given, over all the defaults of the head.

    A whole number stands for the same fraction in a head of featurebank (`l2 = 0`); scikit-learn may tell them apart
    (`max_features = 1` is one feature, 1.0 is all of them).
    """
    defaults = default_params(kind)
    found = {**defaults, **(params if is_calibrated(params) else uncalibrated(params))}
    if _entry(kind).own:
        for name, value in params.items():
            if type(value) is int and type(defaults.get(name)) is float:
                found[name] = float(value)
    return found


def changed_params(kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those parameters that differ from the head's defaults: what a person needs to be told."""
    try:
        defaults = default_params(kind) if runs_no_foreign_code(kind) else {}
    except ConfigError:  # the library that has it is not installed here
        return dict(params)
    same = {name for name, value in params.items() if name in defaults and _text(value) == _text(defaults[name])}
    return {name: value for name, value in params.items() if name not in same}


@lru_cache(maxsize=256)
def default_params(kind: str) -> Mapping[str, Any]:
    """Returns the defaults of a head's parameters, as far as a record can hold them.

    Raises:
        UnknownNameError, ConfigError: as `make_head`.
    """
    entry = _entry(kind)
    found = {} if entry.own else {"standardize": False, "pca": None}
    for name, parameter in inspect.signature(_load(kind, entry.target)).parameters.items():
        known = name not in _NOT_RECORDED and parameter.default is not parameter.empty
        if known and _text(parameter.default) is not None:
            found[name] = parameter.default
    return {**found, **entry.defaults}


def runs_no_foreign_code(kind: str) -> bool:
    """Tells whether a head may be looked up that only a file names, as the record of a run that may be a stranger's.

    It may where that imports nothing new: a kind of the table, a class of scikit-learn or XGBoost, or one of a module
    that this process has imported, because the user named it.
    """
    module = kind.partition(":")[0]
    return ":" not in kind or module.partition(".")[0] in _KNOWN_PACKAGES or module in sys.modules


def wrong_names(kind: str, names: Iterable[str]) -> dict[str, ConfigError]:
    """Returns for each name that is no parameter of a head the error that says so.

    Raises:
        UnknownNameError, ConfigError: as `make_head`.
    """
    entry = _entry(kind)
    factory = _load(kind, entry.target)
    known = [*inspect.signature(factory).parameters, *(() if entry.own else _BEFORE)]
    known = [name for name in [*known, CALIBRATE] if name not in {"self", "random_state"}]
    refused: Mapping[str, str] = getattr(factory, "refused", {})
    problems: dict[str, ConfigError] = {}
    for name in names:
        if name == "random_state":
            message = f"head '{kind}' takes its seed from --seeds (or 'seeds'), not from the parameter random_state"
            problems[name] = ConfigError(message)
        elif name in refused:
            problems[name] = ConfigError(f"head '{kind}' takes no {name}: {refused[name]}")
        elif name not in known:
            listed = f"see 'featurebank heads --list {kind}'"
            problems[name] = unknown_name(f"parameter of head '{kind}'", name, known, where_listed=listed)
    return problems


def is_calibrated(params: Mapping[str, Any]) -> bool:
    """Tells whether parameters ask for calibration."""
    return params.get(CALIBRATE) not in (None, "none")


def revision_of(kind: str, params: Mapping[str, Any]) -> int:
    """Returns by which rule a head is fitted: 1, or 2 where the first rule was mended.

    Runs of the first rule are left out of the leaderboard then, and the head is trained again when it is asked for.
    """
    revised = HEADS[kind].revised if kind in HEADS else None
    return 2 if revised is not None and revised(params) else 1


def uncalibrated(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns parameters without `calibrate`."""
    return {name: value for name, value in params.items() if name != CALIBRATE}


def is_neural(kind: str) -> bool:
    """Tells whether heads of this kind have epochs."""
    return bool(family_of(kind))


def family_of(kind: str) -> str:
    """Returns the family of a kind of heads with epochs; "" for all others."""
    return HEADS[kind].family if kind in HEADS else ""


def is_random(kind: str) -> bool:
    """Tells whether the seed changes anything in a head of this kind."""
    entry = _entry(kind)
    if entry.own or not entry.random:
        return entry.random
    names = inspect.signature(_load(kind, entry.target)).parameters
    return "random_state" in names


def _entry(kind: str) -> HeadKind:
    if kind in HEADS:
        return HEADS[kind]
    if ":" in kind:
        return HeadKind(kind, "a classifier by its import path")
    module, dot, name = kind.rpartition(".")
    if dot and name[:1].isupper():
        message = f"unknown head '{kind}': the class comes after a colon, as '{module}:{name}'"
        raise UnknownNameError(message)
    hint = "or the import path of a classifier, as sklearn.svm:LinearSVC"
    raise unknown_name("head", kind, HEADS, hint, where_listed="see 'featurebank heads --list'")


def head_class(kind: str) -> Any:
    """Returns the class of a kind of head: featurebank's, or that of the classifier.

    Raises:
        UnknownNameError, ConfigError: as `make_head`.
    """
    return _load(kind, _entry(kind).target)


def _load(kind: str, target: str) -> Any:
    module, _, name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:
        message = f"head '{kind}' cannot be imported ({error}): expected MODULE:CLASS, as sklearn.svm:LinearSVC"
        raise ConfigError(message) from error
    if not (inspect.isclass(found) and hasattr(found, "fit") and hasattr(found, "predict")):
        message = f"head '{kind}' is no classifier class: expected one with fit and predict, as sklearn.svm:LinearSVC"
        raise ConfigError(message)
    return found


def _calibrated(head: Any, method: Any, random_state: int) -> Any:
    from featurebank.heads.calibration import CalibratedHead

    return CalibratedHead(head, method=method, random_state=random_state)


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


def _text(value: Any) -> str | None:
    """Returns the canonical text of a value; None where a record cannot hold it."""
    try:
        return digest.canonical_json(value)
    except (TypeError, ValueError):
        return None
