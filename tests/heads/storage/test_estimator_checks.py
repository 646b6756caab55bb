"""Parts of an estimator that do not fit each other are refused: compiled code would follow them out of its arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from featurebank.errors import HeadError
from featurebank.heads.estimators import EstimatorHead
from featurebank.heads.storage.estimator_state import StateWriter, restore
from featurebank.system.runtime import threads

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
Y = np.repeat([0, 1, 2], 20)

ESTIMATORS = {
    "forest": RandomForestClassifier(3, n_jobs=1000),
    "boosting": GradientBoostingClassifier(n_estimators=2),
    "histogram": HistGradientBoostingClassifier(max_iter=2),
    "svc": SVC(),
    "knn": KNeighborsClassifier(algorithm="kd_tree"),
    "brute": KNeighborsClassifier(algorithm="brute"),
}


@pytest.fixture(scope="module")
def written() -> dict[str, StateWriter]:
    found = {}
    for name, estimator in ESTIMATORS.items():
        found[name] = StateWriter()
        found[name].value(EstimatorHead(estimator).fit(X, Y))
    return found


def changed(writer: StateWriter, owner: str, attribute: str, change: Any) -> Any:
    """Restores a head in which one array, or one value, of the last object of a class is another."""
    nodes, arrays = [dict(node) for node in writer.nodes], {key: array.copy() for key, array in writer.arrays.items()}
    objects = [place for place, node in enumerate(nodes) if node.get("class", "").endswith(f".{owner}")]
    place = max(place for place in objects if attribute in nodes[place]["state"] or attribute in {"_in_fit", "_impl"})
    value = nodes[place]["state"].get(attribute)
    if callable(change) and isinstance(value, list) and nodes[value[0]]["kind"] == "array":
        name = nodes[value[0]]["name"]
        result = change(arrays[name])
        arrays[name] = arrays[name] if result is None else result
    else:
        nodes[place]["state"] = {**nodes[place]["state"], attribute: change}
    return restore(nodes, arrays, "a.head")


def put(field: str | None, value: Any, place: Any = 0) -> Any:
    def change(array: np.ndarray) -> None:
        (array[field] if field else array)[place] = value

    change.__name__ = f"{field}={value}"
    return change


CHANGES: list[tuple[str, str, str, Any]] = [
    ("forest", "Tree", "nodes", put("left_child", 0)),  # a cycle
    ("forest", "Tree", "nodes", put("left_child", 10**6)),
    ("forest", "Tree", "nodes", put("right_child", -7)),
    ("forest", "Tree", "nodes", put("feature", 4)),
    ("forest", "Tree", "nodes", put("feature", -5)),
    ("forest", "Tree", "nodes", put("threshold", np.nan)),
    ("forest", "Tree", "nodes", lambda array: array[:-1]),
    ("forest", "Tree", "nodes", lambda array: array["threshold"].copy()),
    ("forest", "Tree", "values", lambda array: array[:, :, :2]),
    ("forest", "Tree", "n_features", 10**6),
    ("forest", "DecisionTreeClassifier", "n_features_in_", 3),
    ("forest", "RandomForestClassifier", "n_features_in_", 400),
    ("forest", "RandomForestClassifier", "estimators_", 1),
    ("boosting", "Tree", "nodes", put("right_child", 0)),
    ("boosting", "GradientBoostingClassifier", "n_trees_per_iteration_", 2),
    ("boosting", "DummyClassifier", "class_prior_", lambda array: array[:2]),
    ("boosting", "GradientBoostingClassifier", "classes_", lambda array: array[:2]),
    ("histogram", "TreePredictor", "nodes", put("left", 0)),
    ("histogram", "TreePredictor", "nodes", put("right", 10**6)),
    ("histogram", "TreePredictor", "nodes", put("feature_idx", 1000)),
    ("histogram", "TreePredictor", "nodes", put("is_categorical", 1)),
    ("histogram", "HistGradientBoostingClassifier", "_in_fit", True),
    ("svc", "SVC", "support_vectors_", lambda array: array[:-1]),
    ("svc", "SVC", "support_vectors_", lambda array: array[:, :-1].copy()),
    ("svc", "SVC", "_n_support", put(None, 10**6)),
    ("svc", "SVC", "_n_support", put(None, -1)),
    ("svc", "SVC", "_dual_coef_", lambda array: array[:1]),
    ("svc", "SVC", "_intercept_", lambda array: array[:1]),
    ("svc", "SVC", "classes_", lambda array: np.arange(9)),
    ("svc", "SVC", "kernel", "precomputed"),
    ("svc", "SVC", "_impl", "one_class"),
    ("knn", "KNeighborsClassifier", "_fit_X", lambda array: array[:, :-1].copy()),
    ("knn", "KNeighborsClassifier", "_y", put(None, 10**6)),
    ("brute", "KNeighborsClassifier", "_y", put(None, -1)),
    ("brute", "KNeighborsClassifier", "_y", lambda array: array[:-1]),
    ("brute", "KNeighborsClassifier", "_fit_X", lambda array: array[:-1]),
    ("brute", "KNeighborsClassifier", "n_neighbors", 10**9),
    ("brute", "KNeighborsClassifier", "n_neighbors", 0),
    ("brute", "KNeighborsClassifier", "metric", 5),
    ("brute", "EstimatorHead", "n_features_in_", 10**12),
    ("brute", "EstimatorHead", "steps_", 1),
    ("brute", "EstimatorHead", "estimator_", None),
]


@pytest.mark.parametrize(
    ("kind", "owner", "attribute", "change"), CHANGES,
    ids=[f"{kind}-{attribute}-{getattr(change, '__name__', change)}" for kind, _, attribute, change in CHANGES],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(
    written: dict[str, StateWriter], kind: str, owner: str, attribute: str, change: Any
) -> None:
    with pytest.raises(HeadError, match=r"cannot be restored|is no attribute") as caught:
        changed(written[kind], owner, attribute, change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_what_is_not_changed_is_restored(written: dict[str, StateWriter], kind: str) -> None:
    """Or the test above could not fail."""
    head = changed(written[kind], "EstimatorHead", "random_state", 3)
    assert head.predict_proba(X).shape == (60, 3)


def test_a_file_does_not_say_how_many_threads_are_started(written: dict[str, StateWriter]) -> None:
    assert changed(written["forest"], "EstimatorHead", "random_state", 0).estimator_.n_jobs == threads()
