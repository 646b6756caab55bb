"""The kinds of heads by name: what `--head`, `kind` in a grid file and `make_head` take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from featurebank.errors import UnknownNameError, unknown_name
from featurebank.heads.kinds import CAM, DENSE, LAYERED, MAPS, Family, HeadKind


def _trained_revision(params: Mapping[str, Any], classes: int) -> int:
    """Returns the revision of a training with early stopping.

    Revision 2 monitors a `val_loss` that includes penalties and label smoothing. In revision 3 an epoch is the
    best only if it is better by more than `min_delta`, as in Keras.
    """
    if params.get("min_delta"):
        return 3
    more = any(params.get(name) for name in ("l1", "l2", "l2_sp", "label_smoothing"))
    return 2 if more and params.get("monitor", "val_loss") == "val_loss" else 1


def _svm_revision(params: Mapping[str, Any], classes: int) -> int:
    """Returns the revision of support vectors: in revision 2 linear ones count votes and do not add margins."""
    return 2 if params.get("kernel") == "linear" else 1


def _boosted_revision(params: Mapping[str, Any], classes: int) -> int:
    """Returns the revision of a booster: in revision 2 two classes have XGBoost's own objective, binary:logistic."""
    return 2 if classes == 2 else 1  # noqa: PLR2004


def _trained(name: str, target: str, what: str, family: Family) -> HeadKind:
    """Returns a kind of heads that is trained by gradient descent."""
    return HeadKind(name, target, what, family=family, revised=_trained_revision)


def _exact(name: str, target: str, what: str, counterpart: str, **more: Any) -> HeadKind:
    """Returns a kind of heads with an exact solution, in which the seed changes nothing."""
    return HeadKind(name, target, what, random=False, counterpart=counterpart, **more)


def _boosted(name: str, what: str, **defaults: Any) -> HeadKind:
    target = "featurebank.heads.boosted:XGBoostHead"
    # XGBClassifier's signature hides defaults
    return HeadKind(name, target, what, defaults, revised=_boosted_revision, added=_WEIGHTED)


_WEIGHTED = ("class_weight",)

_KINDS = (
    _trained(
        "softmax",
        "featurebank.heads.neural.softmax:SoftmaxHead",
        "one dense layer with softmax, by gradient descent",
        DENSE,
    ),
    _trained(
        "mlp", "featurebank.heads.neural.mlp:MLPHead", "hidden dense layers, then softmax, by gradient descent", DENSE
    ),
    _trained(
        "conv", "featurebank.heads.maps.conv:ConvHead", "convolutions on a map, then dense layers and softmax", MAPS
    ),
    _trained(
        "attention_pool",
        "featurebank.heads.maps.pooling:AttentionPoolHead",
        "averages of a map that learn where to look",
        MAPS,
    ),
    _trained(
        "gem_pool",
        "featurebank.heads.maps.pooling:GemPoolHead",
        "a mean of a map's powers, between average and maximum",
        MAPS,
    ),
    _trained(
        "cam",
        "featurebank.heads.neural.cam:CamHead",
        "one map a class and its average: shows what speaks for a class",
        CAM,
    ),
    _trained(
        "tail", "featurebank.heads.layered.tail:TailHead", "the backbone's own layers after a cut, trained on", LAYERED
    ),
    _trained(
        "residual_stage",
        "featurebank.heads.layered.residual_stage:ResidualStageHead",
        "fresh residual blocks on a map",
        LAYERED,
    ),
    _exact(
        "logistic",
        "featurebank.heads.exact.logistic:LogisticHead",
        "multinomial logistic regression, to its optimum",
        "sklearn.linear_model:LogisticRegression",
        defaults={"C": 0.1},
        added=_WEIGHTED,
    ),
    _exact(
        "ridge",
        "featurebank.heads.exact.closed_form:RidgeHead",
        "least squares on the labels, with an L2 penalty",
        "sklearn.linear_model:RidgeClassifier",
        defaults={"standardize": True, "alpha": 1000.0},
        added=_WEIGHTED,
    ),
    _exact(
        "lda",
        "featurebank.heads.exact.closed_form:LDAHead",
        "linear discriminants with a shrunk covariance",
        "sklearn.discriminant_analysis:LinearDiscriminantAnalysis",
        added=_WEIGHTED,
    ),
    _exact(
        "svm",
        "featurebank.heads.exact.kernels:SVMHead",
        "support vectors, with a kernel",
        "sklearn.svm:SVC",
        revised=_svm_revision,
        added=_WEIGHTED,
    ),
    _exact(
        "kernel_ridge",
        "featurebank.heads.exact.kernels:KernelRidgeHead",
        "least squares on the labels, with a kernel",
        "sklearn.kernel_ridge:KernelRidge",
        added=_WEIGHTED,
    ),
    HeadKind("knn", "sklearn.neighbors:KNeighborsClassifier", "the nearest training images", parallel=True),
    HeadKind("random_forest", "sklearn.ensemble:RandomForestClassifier", "the vote of random trees", parallel=True),
    _exact(
        "nearest_mean",
        "featurebank.heads.exact.closed_form:NearestMeanHead",
        "the class with the nearest mean",
        "sklearn.neighbors:NearestCentroid",
        added=_WEIGHTED,
    ),
    _boosted("xgboost", "boosted trees on the features themselves; minutes"),
    _boosted("xgboost_pca", "boosted trees on 128 principal components, 64 bins; seconds", pca=128, max_bin=64),
    _boosted(
        "xgboost_coarse",
        "boosted trees, 32 bins, a tenth of the features a split; seconds",
        max_bin=32,
        colsample_bynode=0.1,
    ),
)
HEADS: Mapping[str, HeadKind] = {kind.name: kind for kind in _KINDS}


def kind_of(name: str) -> HeadKind:
    """Returns a kind of head.

    Args:
        name: one of `HEADS`, or the import path of a scikit-learn classifier. A record may hold any other, too: of
            such a kind little is known, and what needs its class raises UnknownNameError.

    Example:
        >>> kind_of("softmax").is_neural, kind_of("sklearn.svm:LinearSVC").is_random
        (True, True)
    """
    if name in HEADS:
        return HEADS[name]
    return HeadKind(name, name, "a classifier by its import path") if ":" in name else _Unknown(name, name, "")


def saved_class(name: str) -> Any:
    """Returns the class of heads that a file names, of those that the catalog makes.

    Raises:
        ValueError: there is none of this name.
    """
    for kind in _KINDS:
        if kind.head_target.endswith(f":{name}"):
            return kind.head_class
    message = f"there is no head {name[:50]!r}"
    raise ValueError(message)


@dataclass(frozen=True)
class _Unknown(HeadKind):
    """What a record calls a head that this version does not have."""

    @property
    def target_class(self) -> Any:
        """Raises UnknownNameError, which says what there is."""
        module, dot, name = self.name.rpartition(".")
        if dot and name[:1].isupper():
            message = f"unknown head '{self.name}': the class comes after a colon, as '{module}:{name}'"
            raise UnknownNameError(message)
        hint = "or the import path of a classifier, as sklearn.svm:LinearSVC"
        raise unknown_name("head", self.name, HEADS, hint, where_listed="see 'featurebank heads --list'")
