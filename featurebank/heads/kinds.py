"""The kinds of heads by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


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
    random: bool = True
    """Whether the seed changes anything; of scikit-learn's, those that take one are taken for random."""
    family: str = ""
    """Of heads with epochs, which are trained together where they can be: see `featurebank.heads.families`."""
    revised: Callable[[Mapping[str, Any]], bool] | None = None
    """Tells by its parameters whether a head is fitted by another rule than in the first version; None is no head."""

    @property
    def own(self) -> bool:
        """Whether the class is a head by itself, not to be wrapped."""
        return self.target.startswith("featurebank.")


def _watches_more(params: Mapping[str, Any]) -> bool:
    """Tells whether `val_loss` decides about a head and has more than the cross-entropy, which once was left out."""
    more = any(params.get(name) for name in ("l1", "l2", "l2_sp", "label_smoothing"))
    return more and params.get("monitor", "val_loss") == "val_loss"


def _trained(target: str, what: str, family: str) -> HeadKind:
    """Returns the entry of a kind of heads that is trained by gradient descent."""
    return HeadKind(target, what, family=family, revised=_watches_more)


HEADS: dict[str, HeadKind] = {
    "softmax": _trained(
        "featurebank.heads.linear:SoftmaxHead", "one dense layer with softmax, by gradient descent", "dense"
    ),
    "mlp": _trained("featurebank.heads.mlp:MLPHead", "hidden dense layers, then softmax, by gradient descent", "dense"),
    "conv": _trained(
        "featurebank.heads.conv:ConvHead", "convolutions on a map, then dense layers and softmax", "maps"
    ),
    "attention_pool": _trained(
        "featurebank.heads.pooling:AttentionPoolHead", "averages of a map that learn where to look", "maps"
    ),
    "gem_pool": _trained(
        "featurebank.heads.pooling:GemPoolHead", "a mean of a map's powers, between average and maximum", "maps"
    ),
    "cam": _trained(
        "featurebank.heads.cam:CamHead", "one map a class and its average: shows what speaks for a class", "cam"
    ),
    "tail": _trained("featurebank.heads.tail:TailHead", "the backbone's own layers after a cut, trained on", "layered"),
    "residual_stage": _trained(
        "featurebank.heads.residual:ResidualStageHead", "fresh residual blocks on a map", "layered"
    ),
    "logistic": HeadKind(
        "featurebank.heads.logistic:LogisticHead", "multinomial logistic regression, to its optimum", {"C": 0.1},
        random=False,
    ),
    "ridge": HeadKind(
        "featurebank.heads.closed_form:RidgeHead", "least squares on the labels, with an L2 penalty",
        {"standardize": True, "alpha": 1000.0}, random=False,
    ),
    "lda": HeadKind(
        "featurebank.heads.closed_form:LDAHead", "linear discriminants with a shrunk covariance", random=False
    ),
    "svm": HeadKind(
        "featurebank.heads.support:SVMHead", "support vectors, with a kernel", random=False,
        revised=lambda params: params.get("kernel") == "linear",  # once it added margins, and counted no votes
    ),
    "kernel_ridge": HeadKind(
        "featurebank.heads.support:KernelRidgeHead", "least squares on the labels, with a kernel", random=False
    ),
    "knn": HeadKind("sklearn.neighbors:KNeighborsClassifier", "the nearest training images", parallel=True),
    "random_forest": HeadKind("sklearn.ensemble:RandomForestClassifier", "the vote of random trees", parallel=True),
    "nearest_mean": HeadKind(
        "featurebank.heads.closed_form:NearestMeanHead", "the class with the nearest mean", random=False
    ),
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
