"""What the parts of a restored estimator must be, before compiled code that does not look may use them.

scikit-learn checks the images of a prediction, and trusts its own fitted attributes. An index out of range in a tree, a
support vector that is counted but missing, or a label beyond the last class makes compiled code read or write outside
of its arrays; a cycle in a tree never ends. So whatever such code follows without a check is checked here.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from featurebank.system.runtime import threads

_MOST_CLASSES = 1_000_000
_MOST_FEATURES = 1 << 27
_KERNELS = ("linear", "poly", "rbf", "sigmoid")
_LOSSES = ("HalfMultinomialLoss", "HalfBinomialLoss", "ExponentialLoss")


def require(holds: Any, expected: str) -> None:
    """Raises ValueError with what was expected, unless it holds."""
    if not holds:
        message = f"expected {expected}"
        raise ValueError(message)


def check_object(estimator: Any) -> None:
    """Checks the attributes of an instance, and completes those that are not in files.

    Raises:
        ValueError: an attribute is out of its range, or does not fit the others.
        AttributeError, TypeError, KeyError: one is missing, or of another type.
    """
    state = vars(estimator)
    require(state.get("memory") is None, "a pipeline without a cache")
    if isinstance(state.get("n_jobs"), int):
        estimator.n_jobs = threads()  # how many another machine had, or a file asks for, is not followed
    check = _CHECKS.get(type(estimator).__name__)
    if check is not None and _is_fitted(state):
        check(estimator)


def built_tree(state: dict[str, Any]) -> Any:
    """Returns scikit-learn's compiled tree, whose nodes were checked: (n,) records, values (n, 1, classes).

    Raises:
        ValueError: a child is no later node, a feature or a size is out of range, or a threshold is not finite.
    """
    from sklearn.tree._tree import Tree

    nodes, values = state["nodes"], state["values"]
    features, classes = whole(state["n_features"], 1, _MOST_FEATURES), np.asarray(state["n_classes"])
    require(state["n_outputs"] == 1 and classes.shape == (1,), "a tree of one output")
    require(nodes.ndim == 1 and len(nodes) == state["node_count"] > 0, "as many nodes as the tree says")
    require(values.shape == (len(nodes), 1, whole(classes[0], 1, _MOST_CLASSES)), "values for each node and class")
    leaf = nodes["left_child"] == -1
    check_branches(nodes["left_child"], nodes["right_child"], leaf)
    _check_splits(nodes["feature"][~leaf], nodes["threshold"][~leaf], features)
    tree = Tree(features, classes.astype(np.intp), 1)
    tree.__setstate__(
        {"max_depth": whole(state["max_depth"], 0, len(nodes)), "node_count": len(nodes), "nodes": nodes,
         "values": np.ascontiguousarray(values, np.float64)}
    )  # fmt: skip
    return tree


def check_branches(left: np.ndarray, right: np.ndarray, leaf: np.ndarray) -> None:
    """Checks that each node is a leaf or has two children that come after it, so that every way down ends.

    Raises:
        ValueError: it is not so.
    """
    places = np.arange(len(leaf))
    for children in (left[~leaf].astype(np.int64), right[~leaf].astype(np.int64)):
        require((children > places[~leaf]).all() and (children < len(leaf)).all(), "a tree whose children follow it")


def whole(value: Any, least: int, most: int) -> int:
    """Returns a whole number within bounds; ValueError otherwise."""
    sound = isinstance(value, numbers.Integral) and not isinstance(value, bool) and least <= int(value) <= most
    require(sound, f"a whole number from {least} to {most}, got {str(value)[:30]}")
    return int(value)


def _is_fitted(state: dict[str, Any]) -> bool:
    """Returns whether attributes are more than parameters; names of fitted ones end with a line, or begin with one."""
    return any(key.endswith("_") or key.startswith("_") for key in state)


def _check_splits(features: np.ndarray, thresholds: np.ndarray, width: int) -> None:
    require(((features >= 0) & (features < width)).all(), f"splits of the features 0 to {width - 1}")
    require(not np.isnan(thresholds).any(), "thresholds that are numbers")


def _check_head(head: Any) -> None:
    whole(head.n_features_in_, 1, _MOST_FEATURES)
    require(isinstance(head.classes_, np.ndarray) and head.classes_.ndim == 1 and len(head.classes_), "some classes")
    require(type(head.steps_) is list, "a list of steps")
    require(hasattr(head.estimator_, "predict"), "an estimator")
    for step in head.steps_:
        require(type(step).__name__ in {"StandardScaler", "PCA"}, "steps that scale or project")


def _check_decision_tree(estimator: Any) -> None:
    tree, classes = estimator.tree_, getattr(estimator, "classes_", None)
    require(type(tree).__name__ == "Tree" and tree.n_features == estimator.n_features_in_, "a tree of as many features")
    require(estimator.n_outputs_ == 1, "a tree of one output")
    if classes is not None:
        require(len(classes) == estimator.n_classes_ == tree.n_classes[0], "a tree of as many classes")


def _check_forest(estimator: Any) -> None:
    kinds = {"DecisionTreeClassifier", "ExtraTreeClassifier"}
    require(type(estimator.estimators_) is list and estimator.estimators_, "a list of trees")
    for tree in estimator.estimators_:
        require(
            type(tree).__name__ in kinds and tree.n_features_in_ == estimator.n_features_in_, "trees of its features"
        )
        require(tree.n_classes_ == estimator.n_classes_ == len(estimator.classes_), "trees of its classes")
    require(estimator.n_outputs_ == 1, "a forest of one output")


def _check_gradient_boosting(estimator: Any) -> None:
    trees, first = estimator.estimators_, estimator.init_
    outputs = 1 if len(estimator.classes_) == 2 else len(estimator.classes_)  # noqa: PLR2004
    is_table = trees.ndim == 2 and trees.shape[1] == estimator.n_trees_per_iteration_ == outputs  # noqa: PLR2004
    require(is_table, "a tree a round and class")
    for tree in trees.ravel():
        require(type(tree).__name__ == "DecisionTreeRegressor", "trees of regression")
        require(
            tree.n_features_in_ == estimator.n_features_in_ and tree.tree_.value.shape[2] == 1, "trees of its features"
        )
    require(type(estimator._loss).__name__ in _LOSSES, "a loss of classes")
    prior = type(first).__name__ == "DummyClassifier" and first.strategy == "prior"
    require(
        first == "zero" or (prior and np.shape(first.class_prior_) == (len(estimator.classes_),)),
        "a start of its classes",
    )


def _check_histogram_boosting(estimator: Any) -> None:
    require(getattr(estimator, "_preprocessor", None) is None, "features without categories")
    require(not np.any(estimator._bin_mapper.is_categorical_), "features without categories")
    require(np.shape(estimator._bin_mapper.is_categorical_) == (estimator.n_features_in_,), "bins of its features")
    require(
        not getattr(estimator, "_in_fit", False) and type(estimator._loss).__name__ in _LOSSES,
        "a fitted loss of classes",
    )
    for row in estimator._predictors:
        for predictor in row:
            require(type(predictor).__name__ == "TreePredictor", "trees")
            nodes = predictor.nodes
            leaf = nodes["is_leaf"] != 0
            require(nodes.ndim == 1 and len(nodes) > 0 and not nodes["is_categorical"].any(), "splits at numbers")
            check_branches(nodes["left"], nodes["right"], leaf)
            _check_splits(nodes["feature_idx"][~leaf], nodes["num_threshold"][~leaf], estimator.n_features_in_)


def _check_support_vectors(estimator: Any) -> None:
    classes, vectors, counts = len(estimator.classes_), estimator.support_vectors_, estimator._n_support
    pairs = classes * (classes - 1) // 2
    require(classes > 1 and estimator.kernel in _KERNELS and estimator._sparse is False, "a kernel by its name")
    require(counts.shape == (classes,) and counts.dtype == np.int32 and (counts >= 0).all(), "a count for each class")
    require(vectors.shape == (counts.sum(), estimator.n_features_in_), "as many support vectors as are counted")
    require(estimator.support_.shape == (len(vectors),), "an index for each support vector")
    require(estimator._dual_coef_.shape == (classes - 1, len(vectors)), "coefficients for each support vector")
    require(
        estimator._intercept_.shape == estimator.intercept_.shape == (pairs,), "an intercept for each pair of classes"
    )
    require(estimator.shape_fit_[1] == estimator.n_features_in_, "vectors of its features")
    for name in ("_probA", "_probB"):
        require(getattr(estimator, name).shape in {(0,), (pairs,)}, "a slope for each pair of classes")


def _check_neighbours(estimator: Any) -> None:
    points, labels = estimator._fit_X, getattr(estimator, "_y", None)
    require(isinstance(points, np.ndarray) and points.dtype.kind == "f", "points as numbers")
    require(points.ndim == 2 and points.shape[1] == estimator.n_features_in_, "points of its features")  # noqa: PLR2004
    require(estimator.n_samples_fit_ == len(points) > 0, "as many points as it says")
    if type(estimator).__name__ != "RadiusNeighborsClassifier":
        whole(estimator.n_neighbors, 1, len(points))
    if labels is not None:
        require(labels.shape == (len(points),) and labels.dtype.kind == "i", "a label for each point")
        require(
            estimator.outputs_2d_ is False and ((labels >= 0) & (labels < len(estimator.classes_))).all(),
            "known labels",
        )
        require(np.ndim(estimator.classes_) == 1, "classes in a row")
    for name in ("metric", "effective_metric_"):
        require(isinstance(getattr(estimator, name), str), "a metric by its name")
    for name in ("metric_params", "effective_metric_params_"):
        params = getattr(estimator, name) or {}
        require(
            all(isinstance(value, numbers.Real) for value in params.values()), "a metric with numbers as parameters"
        )
    estimator._tree = _search_tree(estimator, np.ascontiguousarray(points))


def _search_tree(estimator: Any, points: np.ndarray) -> Any:
    """Returns the tree that finds neighbours, built from the points as `fit` does; None where there is none."""
    from sklearn.neighbors import BallTree, KDTree

    if estimator._fit_method == "brute":
        return None
    kinds = {"kd_tree": KDTree, "ball_tree": BallTree}
    require(estimator._fit_method in kinds, "a known way to find neighbours")
    leaf_size = whole(estimator.leaf_size, 1, _MOST_FEATURES)
    return kinds[estimator._fit_method](
        points, leaf_size, metric=estimator.effective_metric_, **estimator.effective_metric_params_
    )


def _check_isotonic(estimator: Any) -> None:
    estimator._build_f(estimator.X_thresholds_, estimator.y_thresholds_)


_CHECKS = {
    "EstimatorHead": _check_head,
    "DecisionTreeClassifier": _check_decision_tree,
    "DecisionTreeRegressor": _check_decision_tree,
    "ExtraTreeClassifier": _check_decision_tree,
    "ExtraTreeRegressor": _check_decision_tree,
    "RandomForestClassifier": _check_forest,
    "ExtraTreesClassifier": _check_forest,
    "GradientBoostingClassifier": _check_gradient_boosting,
    "HistGradientBoostingClassifier": _check_histogram_boosting,
    "SVC": _check_support_vectors,
    "NuSVC": _check_support_vectors,
    "KNeighborsClassifier": _check_neighbours,
    "RadiusNeighborsClassifier": _check_neighbours,
    "NearestNeighbors": _check_neighbours,
    "IsotonicRegression": _check_isotonic,
}
"""By the class of a fitted part. All others compute with numpy, which checks shapes and indices by itself."""
