"""Estimators of scikit-learn as data: all classifiers come back as they were, and nothing else can be made."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from sklearn.utils import all_estimators

from featurebank.errors import HeadError
from featurebank.heads.estimators import EstimatorHead
from featurebank.heads.storage.estimator_classes import CLASSES, ROOT, class_of, known_class
from featurebank.heads.storage.estimator_state import restore
from featurebank.heads.storage.saving import load_head, save_head

pytestmark = pytest.mark.heavy

X = np.abs(np.random.default_rng(0).normal(size=(48, 4))).astype(np.float32)
Y = np.repeat([0, 1, 2], 16)
X[np.arange(48), Y] += 2

NOT_OF_ONE_LABEL = {"ClassifierChain", "MultiOutputClassifier"}
NOT_KEPT = {"FixedThresholdClassifier", "TunedThresholdClassifierCV"}
"""Of two classes alone; they hold scorers, which are functions."""
QUICK: dict[str, dict[str, Any]] = {
    "AdaBoostClassifier": {"n_estimators": 3}, "BaggingClassifier": {"n_estimators": 3},
    "ExtraTreesClassifier": {"n_estimators": 3, "n_jobs": 64}, "GradientBoostingClassifier": {"n_estimators": 3},
    "HistGradientBoostingClassifier": {"max_iter": 3}, "RandomForestClassifier": {"n_estimators": 3},
    "RadiusNeighborsClassifier": {"radius": 9.0}, "MLPClassifier": {"max_iter": 5},
    "CalibratedClassifierCV": {"estimator": GaussianNB()}, "SelfTrainingClassifier": {"estimator": GaussianNB()},
    "OneVsOneClassifier": {"estimator": LinearSVC()}, "OneVsRestClassifier": {"estimator": LinearSVC()},
    "OutputCodeClassifier": {"estimator": LinearSVC()},
    "StackingClassifier": {"estimators": [("a", GaussianNB())]},
    "VotingClassifier": {"estimators": [("a", GaussianNB()), ("b", LinearSVC())]},
}  # fmt: skip
CLASSIFIERS = dict(all_estimators(type_filter="classifier"))
PARTICULAR = {
    "KNeighborsClassifier ball tree": KNeighborsClassifier(algorithm="ball_tree", weights="distance"),
    "KNeighborsClassifier brute": KNeighborsClassifier(algorithm="brute", metric="cosine"),
    "CalibratedClassifierCV isotonic": CalibratedClassifierCV(GaussianNB(), method="isotonic"),
}


def made(name: str) -> Any:
    return PARTICULAR.get(name) or CLASSIFIERS[name](**QUICK.get(name, {}))


@pytest.mark.parametrize("name", sorted({*CLASSIFIERS, *PARTICULAR} - NOT_OF_ONE_LABEL - NOT_KEPT))
@pytest.mark.filterwarnings("ignore")
def test_every_classifier_comes_back(name: str, tmp_path: Path) -> None:
    labels = np.array(["ant", "bee", "cat"], object)[Y]
    head = EstimatorHead(made(name)).fit(X, labels)
    save_head(head, tmp_path / "a.head")
    loaded = load_head(tmp_path / "a.head")
    assert np.array_equal(loaded.predict_proba(X), head.predict_proba(X))
    assert loaded.predict(X).tolist() == head.predict(X).tolist()


def test_steps_come_back(tmp_path: Path) -> None:
    head = EstimatorHead(KNeighborsClassifier(), standardize=True, pca=2).fit(X, Y)
    save_head(head, tmp_path / "a.head")
    assert np.array_equal(load_head(tmp_path / "a.head").predict_proba(X), head.predict_proba(X))


@pytest.mark.parametrize("name", sorted(NOT_KEPT))
def test_what_holds_functions_is_not_saved(name: str, tmp_path: Path) -> None:
    head = EstimatorHead(CLASSIFIERS[name](LogisticRegression())).fit(X, (Y > 0).astype(int))
    with pytest.raises(HeadError, match=f"{name}, which featurebank does not restore"):
        save_head(head, tmp_path / "a.head")


def test_every_class_of_the_list_is_installed_and_known_by_its_own_name() -> None:
    for name in CLASSES:
        found = class_of(name)
        assert found is not None, name
        assert known_class(found.__module__, found.__name__) == name


def test_no_function_or_type_is_of_the_list() -> None:
    assert known_class("os", "system") is None
    assert known_class("sklearn.datasets", "load_files") is None
    assert known_class("sklearn.svmx", "SVC") is None
    assert known_class("sklearn.calibration", "partial") is None


def parts(head: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a file of a head says, to be changed."""
    from featurebank.heads.storage.estimator_state import StateWriter

    writer = StateWriter()
    writer.value(head)
    return json.loads(json.dumps({"nodes": writer.nodes})), writer.arrays


@pytest.fixture
def plain() -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    about, arrays = parts(EstimatorHead(GaussianNB()).fit(X, Y))
    return about["nodes"], arrays


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "object", "class": "os.system", "state": {}}, "holds os.system, which featurebank does not restore"),
        ({"kind": "object", "class": "subprocess.Popen", "state": {"args": "ls"}}, "holds subprocess.Popen"),
        ({"kind": "object", "class": "numpy.lib._npyio_impl.NpzFile", "state": {}}, "holds numpy.lib._npyio_impl"),
        ({"kind": "object", "class": ROOT, "state": {"__class__": "x"}}, "'__class__' is no attribute"),
        ({"kind": "object", "class": ROOT, "state": {"predict_proba": 1}}, "'predict_proba' is no attribute"),
        ({"kind": "object", "class": "sklearn.pipeline.Pipeline", "state": {"memory": "/tmp"}}, "without a cache"),
        ({"kind": "pickle", "items": []}, "is of no known kind"),
        ({"kind": "list", "items": [[0], [5000]]}, "expected an earlier node"),
        ({"kind": "list", "items": [[-1]]}, "expected an earlier node"),
        ({"kind": "list", "items": [{"kind": "list"}]}, "holds a dict"),
        ({"kind": "number", "dtype": "O", "value": 1}, "a number is of the type object"),
        ({"kind": "array", "name": "none"}, "KeyError"),
        ({"kind": "objects", "shape": [3], "items": [1]}, "cannot reshape"),
        ([], "is of no known kind"),
    ],
    ids=str,
)  # fmt: skip
def test_other_nodes_are_refused(plain: Any, change: Any, message: str) -> None:
    nodes, arrays = plain
    nodes[0] = change
    with pytest.raises(HeadError, match=message) as caught:
        restore(nodes, arrays, "a.head")
    assert "\n" not in str(caught.value)


def test_a_cycle_cannot_be_said(plain: Any) -> None:
    nodes, arrays = plain
    nodes[-1]["state"]["estimator"] = [len(nodes) - 1]
    with pytest.raises(HeadError, match="expected an earlier node"):
        restore(nodes, arrays, "a.head")


def test_paths_without_number_are_refused(plain: Any) -> None:
    """Sixty lists of the list before, twice, have 2^60 paths; a prediction that follows them would not end."""
    nodes, arrays = plain
    lists = [{"kind": "list", "items": []}, *({"kind": "list", "items": [[n], [n]]} for n in range(60))]
    with pytest.raises(HeadError, match="refer to each other too often"):
        restore([*lists, *nodes], arrays, "a.head")


def test_nothing_is_built_before_all_is_checked(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, arrays = plain
    built: list[Any] = []
    monkeypatch.setattr("featurebank.heads.storage.estimator_state._build", lambda *_: built.append(1))
    nodes.insert(-1, {"kind": "object", "class": "os.system", "state": {}})
    with pytest.raises(HeadError, match=r"os\.system"):
        restore(nodes, arrays, "a.head")
    assert not built


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_an_array_of_pickles_is_refused(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "a.head"
    save_head(EstimatorHead(GaussianNB()).fit(X, Y), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    np.save(buffer := io.BytesIO(), np.array([Bomb(mark)], object), allow_pickle=True)
    for name in members:
        with zipfile.ZipFile(path, "w") as archive:
            for other, data in members.items():
                archive.writestr(other, buffer.getvalue() if other == name else data)
        with pytest.raises(HeadError, match=r"cannot be read \(its array .* Python objects"):
            load_head(path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()
