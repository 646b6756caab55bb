"""Files that were saved with skops open where they hold estimators, and no trick of theirs runs anything."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from featurebank.errors import HeadError
from featurebank.heads.estimators import EstimatorHead
from featurebank.heads.storage.saving import load_head

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = np.repeat([0, 1, 2, 2], 10)

Node = dict[str, Any]


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def node(loader: str, path: str, **rest: Any) -> Node:
    """A node of skops for a dotted name."""
    module, _, name = path.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": name, **rest}


def plain(value: Any) -> Node:
    return node("JsonNode", "builtins.str", content=json.dumps(value), is_json=True)


def items(*nodes: Node) -> Node:
    return node("TupleNode", "builtins.tuple", content=list(nodes))


def mapping(**nodes: Node) -> Node:
    kinds = node("ListNode", "builtins.list", content=[node("TypeNode", "builtins.str") for _ in nodes])
    return node("DictNode", "builtins.dict", content=nodes, key_types=kinds)


def call(path: str, *arguments: Any) -> Node:
    """A constructor, or any other function, and what it is called with."""
    given = [value if isinstance(value, dict) else plain(value) for value in arguments]
    return node("ConstructorFromReduceNode", path, content=items(*given))


def pickle_in_npz(mark: Path) -> Path:
    path = mark.with_suffix(".npz")
    np.savez(path, a=np.array([Bomb(mark)], object), allow_pickle=True)
    return path


def pickle_in_npy(mark: Path) -> Path:
    path = mark.with_suffix(".npy")
    np.save(path, np.array([Bomb(mark)], object), allow_pickle=True)
    return path


def plain_pickle(mark: Path) -> Path:
    path = mark.with_suffix(".pkl")
    path.write_bytes(pickle.dumps(Bomb(mark)))
    return path


def npz_file_in_a_container_that_is_exported_again(mark: Path) -> Node:
    """`OrderedDict`, imported by a module of scikit-learn, reads each value of `NpzFile`, which unpickles."""
    archive = call("numpy.lib._npyio_impl.NpzFile", str(pickle_in_npz(mark)), False, True)
    return call("sklearn.datasets._arff_parser.OrderedDict", archive)


def key_that_a_function_makes(mark: Path) -> Node:
    """The type of a key is called with it."""
    kinds = node("ListNode", "builtins.list", content=[node("TypeNode", "os.system")])
    return node("DictNode", "builtins.dict", content={f"touch {mark}": plain(1)}, key_types=kinds)


def loss_that_is_a_function(mark: Path) -> Node:
    arguments = {"args": items(plain(f"touch {mark}"))}
    return node("LossNode", "os.system", content=mapping(), __reduce__=arguments)


def partial_in_a_list(mark: Path) -> Node:
    """`map`, which skops trusts as a container, calls a function for each item when something reads it."""
    load = node(
        "PartialNode", "functools.partial",
        content={"func": node("FunctionNode", "numpy.load"), "args": items(), "namespace": plain(None),
                 "kwds": mapping(allow_pickle=plain(True))},
    )  # fmt: skip
    return call("builtins.list", call("builtins.map", load, items(plain(str(pickle_in_npy(mark))))))


def method_caller(mark: Path) -> Node:
    call_touch = node("OperatorFuncNode", "operator.methodcaller", attrs=items(plain("touch")))
    return call("builtins.list", call("builtins.map", call_touch, items(call("pathlib.Path", str(mark)))))


def bound_method(mark: Path) -> Node:
    place = call("pathlib.PosixPath", str(mark))
    method = node("MethodNode", "pathlib.PosixPath", content={"func": "touch", "obj": place})
    return call("builtins.list", call("builtins.map", method, items(plain(0o600))))


ATTACKS: dict[str, Callable[[Path], Node]] = {
    "NpzFile in OrderedDict": npz_file_in_a_container_that_is_exported_again,
    "a shell": lambda mark: call("os.system", f"touch {mark}"),
    "a process": lambda mark: call("subprocess.check_call", items(plain("touch"), plain(str(mark)))),
    "numpy.load": lambda mark: call("numpy.load", str(pickle_in_npy(mark)), None, True),
    "joblib.load": lambda mark: call("joblib.load", str(plain_pickle(mark))),
    "pandas.read_pickle": lambda mark: call("pandas.read_pickle", str(plain_pickle(mark))),
    "a memory map that writes": lambda mark: call("numpy.memmap", str(mark), "uint8", "w+", 0, 1),
    "a file of scipy that writes": lambda mark: call("scipy.io._netcdf.netcdf_file", str(mark), "w"),
    "a text file of numpy": lambda mark: call("numpy.savetxt", str(mark), items(plain(1.0))),
    "a function of scikit-learn": lambda mark: call("sklearn.datasets.dump_svmlight_file", *svmlight(mark)),
    "eval": lambda mark: call("builtins.eval", f"__import__('pathlib').Path({str(mark)!r}).touch()"),
    "the type of a key": key_that_a_function_makes,
    "a loss": loss_that_is_a_function,
    "functools.partial": partial_in_a_list,
    "operator.methodcaller": method_caller,
    "a bound method": bound_method,
}


def svmlight(mark: Path) -> tuple[Node, Node, str]:
    return items(items(plain(1.0))), items(plain(1)), str(mark)


def saved_by_skops(value: Any) -> bytes:
    """Imports skops only now: that takes more than a second, and each process of pytest imports this file."""
    import skops.io

    return bytes(skops.io.dumps(value))


def with_extra(extra: Node | None, head: Any = None, attribute: str = "estimator_") -> bytes:
    """A head that skops saved, in which a node stands in the place of an attribute."""
    head = head or EstimatorHead(LogisticRegression()).fit(X, Y)
    buffer = io.BytesIO(saved_by_skops(head))
    with zipfile.ZipFile(buffer) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members["schema.json"])
    if extra is not None:
        schema["content"]["content"][attribute] = extra
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        for name, data in {**members, "schema.json": json.dumps(schema).encode()}.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_leaves_no_mark(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    data = with_extra(ATTACKS[name](mark), attribute="steps_")
    (tmp_path / "a.head").write_bytes(data)
    with pytest.raises(HeadError, match=r"which featurebank does not restore from a file|cannot be read") as caught:
        load_head(tmp_path / "a.head")
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize("name", ATTACKS)
def test_the_attack_would_leave_a_mark(name: str, tmp_path: Path) -> None:
    """Or the test above could not fail: skops itself, told to trust what it finds, runs each."""
    import skops.io

    mark = tmp_path / "mark"
    data = with_extra(ATTACKS[name](mark), attribute="steps_")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception):  # it may well fail after the mark
            skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    assert mark.exists()


def test_a_pipeline_that_calls_a_function_is_refused(tmp_path: Path) -> None:
    model = Pipeline([("call", FunctionTransformer(np.save)), ("classify", LogisticRegression())])
    data = with_extra(None, EstimatorHead(LogisticRegression()).fit(X, Y))
    (tmp_path / "a.head").write_bytes(saved_by_skops(model))
    with pytest.raises(HeadError, match=r"holds .*FunctionTransformer, which featurebank does not restore"):
        load_head(tmp_path / "a.head")
    (tmp_path / "a.head").write_bytes(data)
    load_head(tmp_path / "a.head")


def test_deep_nesting_is_one_line(tmp_path: Path) -> None:
    deep = plain(1)
    for _ in range(400):
        deep = items(deep)
    (tmp_path / "a.head").write_bytes(with_extra(deep, attribute="steps_"))
    with pytest.raises(HeadError, match="cannot be read"):
        load_head(tmp_path / "a.head")


@pytest.mark.parametrize(
    "estimator",
    [
        KNeighborsClassifier(algorithm="kd_tree"), KNeighborsClassifier(algorithm="brute"),
        RandomForestClassifier(3, random_state=0), GradientBoostingClassifier(n_estimators=2),
        HistGradientBoostingClassifier(max_iter=2), MLPClassifier((3,), max_iter=3), SVC(), LogisticRegression(),
    ],
    ids=lambda estimator: type(estimator).__name__,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_old_files_open_and_answer_the_same(estimator: Any, tmp_path: Path) -> None:
    head = EstimatorHead(estimator, standardize=True, pca=2).fit(X, np.array(["a", "b", "c"], object)[Y])
    (tmp_path / "a.head").write_bytes(saved_by_skops(head))
    loaded = load_head(tmp_path / "a.head")
    assert np.array_equal(loaded.predict_proba(X), head.predict_proba(X))
    assert loaded.predict(X).tolist() == head.predict(X).tolist()
