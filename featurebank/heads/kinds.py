"""What a kind of head is: everything that can be asked about heads of one name before one is made.

A `HeadKind` is the only answer to such a question. Who holds one (a `HeadSpec` does) asks it, and never compares names.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from featurebank.errors import ConfigError, unknown_name
from featurebank.system.runtime import threads
from featurebank.training.class_weights import CLASS_WEIGHT
from featurebank.training.common_parameters import (
    CALIBRATE,
    SAMPLE_WEIGHT,
    changed_from_default,
    is_calibrated,
    own_params,
)
from featurebank.training.common_parameters import canonical_text as _text

_BEFORE = ("standardize", "pca")
"""Parameters of the steps before a scikit-learn estimator."""
_NOT_RECORDED = ("self", "random_state", "n_jobs")
"""The seed is the run's, and threads change nothing."""
_KNOWN_PACKAGES = frozenset({"sklearn", "xgboost"})
_WRAPPER = "featurebank.heads.estimators:EstimatorHead"


class Family(NamedTuple):
    """A family of heads with epochs: one function, their `train_heads`, trains them, many in one program."""

    name: str
    in_memory: bool = False
    """Whether all features must be in memory; otherwise batches are read from the bank during the training."""


DENSE, CAM, MAPS, LAYERED = Family("dense", in_memory=True), Family("cam"), Family("maps"), Family("layered")


def first_revision(params: Mapping[str, Any], classes: int) -> int:
    """Returns 1: heads of the kind are fitted as in the first version."""
    return 1


@dataclass(frozen=True)
class HeadKind:
    """A kind of head; the kinds of featurebank are in `featurebank.heads.catalog`.

    What the class decides (its trainer, size, cost, state on disk) a head answers itself: see
    `featurebank.heads.base.Head`.

    Example:
        >>> from featurebank.heads.catalog import kind_of
        >>> kind = kind_of("ridge")
        >>> kind.is_random, kind.needs, kind.default_params["alpha"]
        (False, 'vectors', 1000.0)
    """

    name: str
    """In grids and records: a name of the catalog, or the import path of a classifier."""
    target: str
    """"module:Class": a head of featurebank, or a scikit-learn classifier."""
    what: str
    """One line for people."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that differ from the class's own defaults."""
    parallel: bool = False
    """Whether the estimator takes `n_jobs` and uses it."""
    random: bool = True
    """Whether the seed may change anything; of scikit-learn's classifiers, those that take a seed: see `is_random`."""
    family: Family | None = None
    """Of heads with epochs: which of them are trained together."""
    revised: Callable[[Mapping[str, Any], int], int] = first_revision
    """Returns the revision of the fitting algorithm; see `revision`."""
    added: tuple[str, ...] = ()
    """Parameters that the first version did not have: a record omits them where they have their default, so that the
    runs of the first version are runs of the same head."""
    counterpart: str = ""
    """"module:Class" of another package whose predictions a head of featurebank makes; see `differing_defaults`."""

    @property
    def own(self) -> bool:
        """Whether the class is a head by itself, which is not wrapped."""
        return self.target.startswith("featurebank.")

    @property
    def head_target(self) -> str:
        """The class of the heads that `make` returns, as `target`."""
        return self.target if self.own else _WRAPPER

    @property
    def is_neural(self) -> bool:
        """Whether heads of this kind have epochs."""
        return self.family is not None

    @cached_property
    def target_class(self) -> Any:
        """The class: featurebank's, or that of the classifier.

        Raises:
            UnknownNameError: there is no such kind.
            ConfigError: the import path leads to nothing, or to something that is no classifier.
        """
        target = self._imported(self.target)
        if not (inspect.isclass(target) and hasattr(target, "fit") and hasattr(target, "predict")):
            expected = "expected one with fit and predict, as sklearn.svm:LinearSVC"
            message = f"head '{self.name}' is no classifier class: {expected}"
            raise ConfigError(message)
        return target

    @property
    def head_class(self) -> Any:
        """The class of the heads that `make` returns; raises what `target_class` raises."""
        target = self.target_class
        return target if self.own else self._imported(_WRAPPER)

    @property
    def needs(self) -> str:
        """What heads of this kind are trained on, as `Head.needs`; raises what `target_class` raises."""
        return str(self.head_class.needs)

    @cached_property
    def is_random(self) -> bool:
        """Whether the seed changes anything; raises what `target_class` raises."""
        if self.own or not self.random:
            return self.random
        return "random_state" in inspect.signature(self.target_class).parameters

    @property
    def runs_no_foreign_code(self) -> bool:
        """Whether it may be looked up although only a file names it, as the record of a run that may be a stranger's.

        It may where that imports nothing new: a kind of the catalog, a class of scikit-learn or XGBoost, or one of a
        module that this process has imported, because the user named it.
        """
        module = self.name.partition(":")[0]
        return ":" not in self.name or module.partition(".")[0] in _KNOWN_PACKAGES or module in sys.modules

    @cached_property
    def default_params(self) -> Mapping[str, Any]:
        """The defaults of the parameters, as far as a record can hold them; raises what `target_class` raises."""
        params = {} if self.own else dict.fromkeys(self._before) | {"standardize": False}
        for name, parameter in inspect.signature(self.target_class).parameters.items():
            known = name not in _NOT_RECORDED and parameter.default is not parameter.empty
            if known and _text(parameter.default) is not None:
                params[name] = parameter.default
        return {**params, **self.defaults}

    def full_params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the parameters of a run's record: those given, over all the defaults of the head.

        A whole number stands for the same fraction in a head of featurebank (`l2 = 0`); scikit-learn may distinguish
        them (`max_features = 1` is one feature, 1.0 is all of them).
        """
        defaults = self.default_params
        full = {**defaults, **changed_from_default(params)}
        full = {
            name: value
            for name, value in full.items()
            if name not in (*self.added, *self._before[2:]) or value != defaults[name]
        }
        if self.own:
            for name, value in params.items():
                if type(value) is int and type(defaults.get(name)) is float:
                    full[name] = float(value)
        return full

    def changed_params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns those parameters that differ from the head's defaults: those that a person needs to see."""
        try:
            defaults = self.default_params if self.runs_no_foreign_code else {}
        except ConfigError:  # the library that has it is not installed here
            return dict(params)
        same = {name for name, value in params.items() if name in defaults and _text(value) == _text(defaults[name])}
        return {name: value for name, value in params.items() if name not in same}

    @cached_property
    def parameter_names(self) -> tuple[str, ...]:
        """The names of the parameters that a grid may set; raises what `target_class` raises."""
        known = [*inspect.signature(self.target_class).parameters, *self._before, CALIBRATE, SAMPLE_WEIGHT]
        return tuple(dict.fromkeys(name for name in known if name not in {"self", "random_state"}))

    def wrong_names(self, names: Iterable[str]) -> dict[str, ConfigError]:
        """Returns for each name that is no parameter of the head the error that says so.

        Raises:
            UnknownNameError, ConfigError: as `target_class`.
        """
        known, refused = self.parameter_names, self.target_class.refused if self.own else {}
        problems: dict[str, ConfigError] = {}
        for name in names:
            if name == "random_state":
                message = (
                    f"head '{self.name}' takes its seed from --seeds (or 'seeds'), not from the parameter random_state"
                )
                problems[name] = ConfigError(message)
            elif name in refused:
                problems[name] = ConfigError(f"head '{self.name}' takes no {name}: {refused[name]}")
            elif name not in known:
                listed = f"see 'featurebank heads --list {self.name}'"
                problems[name] = unknown_name(f"parameter of head '{self.name}'", name, known, where_listed=listed)
        return problems

    @property
    def weights_images(self) -> bool:
        """Whether `fit` takes `sample_weight`; raises what `target_class` raises."""
        return "sample_weight" in inspect.signature(self.target_class.fit).parameters

    @cached_property
    def _before(self) -> tuple[str, ...]:
        """The parameters of what is done before a scikit-learn classifier is fitted; none for a head of featurebank."""
        if self.own:
            return ()
        by_images = self.weights_images and CLASS_WEIGHT not in inspect.signature(self.target_class).parameters
        return (*_BEFORE, CLASS_WEIGHT) if by_images else _BEFORE

    @property
    def counterpart_name(self) -> str:
        """The class that the defaults are compared with."""
        return (self.counterpart or self.target).rpartition(":")[2]

    def differing_defaults(self) -> dict[str, tuple[Any, Any]]:
        """Returns the defaults that differ from those of the counterpart, by name: the default here, and there.

        Raises:
            UnknownNameError, ConfigError: see `target_class`.
        """
        if self.own and not self.counterpart:
            return {}
        theirs = inspect.signature(self._imported(self.counterpart or self.target)).parameters
        return {
            name: (ours, theirs[name].default)
            for name, ours in self.default_params.items()
            if name in theirs and _text(ours) != _text(theirs[name].default)
        }

    def revision(self, params: Mapping[str, Any], classes: int) -> int:
        """Returns the revision of the algorithm that fits such a head: 1, or more where it was corrected.

        The leaderboard omits runs of other revisions, and a grid trains these heads again.

        Args:
            params: of the head.
            classes: number of classes of the bank.
        """
        return self.revised(params, classes)

    def make(self, params: Mapping[str, Any], *, random_state: int = 0) -> Any:
        """Returns an unfitted head; see `featurebank.make_head`."""
        plain = self._plain(own_params(params), random_state)
        if not is_calibrated(params):
            return plain
        from featurebank.heads.calibration import CalibratedHead

        return CalibratedHead(plain, method=params[CALIBRATE], random_state=random_state)

    def _plain(self, params: Mapping[str, Any], random_state: int) -> Any:
        """Returns an unfitted head without calibration."""
        factory, values = self.target_class, {**self.defaults, **params}
        problems = list(self.wrong_names(values).values())
        if problems:
            raise problems[0] if len(problems) == 1 else ConfigError("; ".join(map(str, problems)))
        if self.own:
            return factory(**values, random_state=random_state)
        before = {name: values.pop(name) for name in self._before if name in values}
        if self.parallel:
            values.setdefault("n_jobs", threads())
        return self.head_class(self._estimator(values), **before, random_state=random_state)

    def _estimator(self, params: Mapping[str, Any]) -> Any:
        from sklearn.base import is_classifier

        try:
            estimator = self.target_class(**params)
        except (TypeError, ValueError) as error:
            message = f"head '{self.name}' cannot be made from its parameters: {error}"
            raise ConfigError(message) from error
        if hasattr(estimator, "__sklearn_tags__") and not is_classifier(estimator):
            message = f"head '{self.name}' is no classifier: expected one, as sklearn.svm:LinearSVC"
            raise ConfigError(message)
        return estimator

    def _imported(self, target: str) -> Any:
        module, _, name = target.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except Exception as error:
            message = (
                f"head '{self.name}' cannot be imported ({error}): expected MODULE:CLASS, as sklearn.svm:LinearSVC"
            )
            raise ConfigError(message) from error
