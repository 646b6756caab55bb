"""Fitted scikit-learn estimators as data: plain values and arrays, restored for a closed list of classes alone.

The objects of an estimator are written as a flat list of nodes in which each refers to earlier ones only, so that a
file holds no cycle and is read without recursion. What an object is made of on reading is decided here and not by the
file: it names one of `CLASSES`, an instance is made without calling anything of its own, and gets plain attributes.
Functions, types, pickles and constructor calls have no form in the file. What only training uses (random number
generators, optimizers, compiled losses) is left out, and the search trees of neighbours are built again from their
points.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from featurebank.errors import HeadError
from featurebank.heads.storage.estimator_checks import built_tree, check_object
from featurebank.heads.storage.estimator_classes import CLASSES, ROOT, class_of, is_training_only, known_class

VERSION_ATTRIBUTE = "_sklearn_version"
"""Added by scikit-learn to each state; the file says it once."""
_MOST_DEPTH = 60
_MOST_VISITS = 20_000_000
"""How many nodes a walk may meet that follows every reference: a small file could otherwise have 2^100 paths."""

Node = dict[str, Any]
_PLAIN = (type(None), bool, int, float, str)


class StateWriter:
    """Turns objects into nodes and arrays; `value` returns what refers to an object."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.arrays: dict[str, np.ndarray] = {}
        self._known: dict[int, tuple[Any, list[int]]] = {}

    def value(self, obj: Any, depth: int = 0) -> Any:
        """Returns a plain value, or a list of one number: the place of the node.

        Raises:
            HeadError: the object, or one that it holds, is not of `CLASSES`.
        """
        if type(obj) in _PLAIN:
            return obj
        kind = type(obj)
        if is_training_only(kind.__module__, kind.__name__):
            return None
        if id(obj) not in self._known:
            if depth > _MOST_DEPTH:
                message = f"an object of the type {kind.__name__} is nested too deeply to be saved"
                raise HeadError(message)
            node = self._node(obj, depth + 1)
            self._known[id(obj)] = (obj, self.add(node))  # the object: as long as it lives, no other has its id
        return self._known[id(obj)][1]

    def add(self, node: Node) -> list[int]:
        """Adds a node, and returns what refers to it."""
        self.nodes.append(node)
        return [len(self.nodes) - 1]

    def array(self, array: np.ndarray) -> Node:
        """Returns the node of an array without objects."""
        name = f"a{len(self.arrays)}"
        self.arrays[name] = array
        return {"kind": "array", "name": name}

    def _node(self, obj: Any, depth: int) -> Node:
        if isinstance(obj, np.ndarray) and type(obj) is np.ndarray:
            if obj.dtype.hasobject and obj.dtype.names is None:
                items = [self.value(item, depth) for item in obj.ravel()]
                return {"kind": "objects", "shape": list(obj.shape), "items": items}
            return self.array(obj)
        if isinstance(obj, np.generic):
            return {"kind": "number", "dtype": obj.dtype.str, "value": obj.item()}
        if type(obj) in {list, tuple}:
            return {"kind": type(obj).__name__, "items": [self.value(item, depth) for item in obj]}
        if type(obj) is dict:
            return self._mapping(obj, depth)
        return self._object(obj, depth)

    def _mapping(self, obj: Mapping[Any, Any], depth: int) -> Node:
        keys, items = ([self.value(part, depth) for part in parts] for parts in (obj.keys(), obj.values()))
        return {"kind": "dict", "keys": keys, "items": items}

    def _object(self, instance: Any, depth: int) -> Node:
        kind = type(instance)
        name = known_class(kind.__module__, kind.__name__)
        if name is None or class_of(name) is not kind:
            raise foreign([f"{kind.__module__}.{kind.__name__}"], f"a head of {kind.__name__}")
        state = {key: self.value(part, depth) for key, part in attributes(instance).items()}
        return {"kind": "object", "class": name, "state": state}


def attributes(obj: Any) -> dict[str, Any]:
    """Returns what an object of `CLASSES` is restored from by `restore`."""
    if type(obj).__name__ == "Tree":
        (features, classes, outputs), state = obj.__reduce__()[1], obj.__getstate__()
        return {**state, "n_features": features, "n_classes": classes, "n_outputs": outputs}
    if isinstance(obj, dict):  # a Bunch
        return dict(obj)
    state = obj.__getstate__() if hasattr(obj, "__getstate__") else vars(obj)
    return {key: value for key, value in (state or {}).items() if key != VERSION_ATTRIBUTE}


def restore(nodes: Sequence[Any], arrays: Mapping[str, np.ndarray], source: str) -> Any:
    """Returns the object of the last node, after all nodes have been checked.

    Args:
        nodes: what `StateWriter` made.
        arrays: those that the nodes name.
        source: the file, for messages.

    Raises:
        HeadError: a class is not of `CLASSES`; a node is malformed or refers to a later one; or the parts of an
            estimator do not fit each other.
    """
    try:
        _check_nodes(nodes, source)
        built: list[Any] = []
        for node in nodes:
            built.append(_build(node, arrays, built))
        return built[-1]
    except HeadError:
        raise
    except Exception as error:  # a damaged or hostile file fails anywhere in numpy and scikit-learn
        reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        message = f"the saved head '{source}' cannot be restored ({' '.join(reason.split())[:200]}): train it again"
        raise HeadError(message) from error


def foreign(names: Sequence[str], source: str) -> HeadError:
    """Returns the error of classes that are not restored from files."""
    listed = ", ".join(sorted(set(names))[:3]) + (" …" if len(set(names)) > 3 else "")  # noqa: PLR2004
    return HeadError(
        f"{source} holds {listed}, which featurebank does not restore from a file, because a file must not say which "
        "code is run: only heads of featurebank, scikit-learn and XGBoost are kept; train it again where you need it"
    )


def _check_nodes(nodes: Sequence[Any], source: str) -> None:
    """Raises HeadError or ValueError unless each node is of a known kind and class, and refers to earlier ones."""
    strangers: list[str] = []
    visits: list[int] = []
    for place, node in enumerate(nodes):
        known = isinstance(node, dict) and node.get("kind")
        if known == "object" and (node["class"] not in CLASSES or class_of(node["class"]) is None):
            strangers.append(str(node["class"])[:100])
        elif known not in {"object", "array", "objects", "number", "list", "tuple", "dict"}:
            message = f"node {place} is of no known kind"
            raise ValueError(message)
        visits.append(1)
        for value in _values(node):
            if type(value) is list:
                visits[place] += visits[_place(value, place)]
            elif type(value) not in _PLAIN:
                message = f"node {place} holds a {type(value).__name__}"
                raise ValueError(message)
        if visits[place] > _MOST_VISITS:
            message = "its objects refer to each other too often"
            raise ValueError(message)
    if strangers:
        raise foreign(strangers, f"'{source}'")
    if not nodes or nodes[-1].get("class") != ROOT:
        message = "it holds no estimator"
        raise ValueError(message)


def _values(node: Node) -> Iterator[Any]:
    """Yields what a node refers to or holds."""
    if node["kind"] == "object":
        owner = class_of(node["class"]) if node["class"] in CLASSES else object
        for key in node["state"]:
            if key.startswith("__") or (hasattr(owner, key) and not issubclass(owner, dict) and node["class"] != _TREE):
                message = f"'{key[:50]}' is no attribute of a fitted {node['class'].rpartition('.')[2]}"
                raise ValueError(message)
        yield from node["state"].values()
    yield from node.get("keys", ())
    yield from node.get("items", ())


_TREE = "sklearn.tree._tree.Tree"


def _place(value: list[Any], before: int) -> int:
    """Returns the place that a reference names, which must be an earlier one."""
    if len(value) != 1 or type(value[0]) is not int or not 0 <= value[0] < before:
        message = f"node {before} refers to {str(value)[:50]}, expected an earlier node"
        raise ValueError(message)
    return int(value[0])


def _build(node: Node, arrays: Mapping[str, np.ndarray], built: Sequence[Any]) -> Any:
    """Returns the object of one checked node."""

    def get(value: Any) -> Any:
        return built[value[0]] if type(value) is list else value

    kind = node["kind"]
    if kind == "array":
        return arrays[node["name"]]
    if kind == "number":
        return np.array(node["value"], _plain_dtype(node["dtype"]))[()]
    if kind == "object":
        return _object(class_of(node["class"]), {key: get(value) for key, value in node["state"].items()})
    items = [get(value) for value in node["items"]]
    if kind == "dict":
        return dict(zip(map(get, node["keys"]), items, strict=True))
    if kind == "objects":
        array = np.empty(len(items), object)
        for place, item in enumerate(items):
            array[place] = item
        return array.reshape(node["shape"])
    return tuple(items) if kind == "tuple" else items


def _object(owner: Any, state: dict[str, Any]) -> Any:
    """Returns an instance with attributes, none of which its class calls."""
    if owner.__name__ == "Tree":
        return built_tree(state)
    if issubclass(owner, dict):
        return owner(**state)
    instance = owner.__new__(owner)
    instance.__dict__.update(state)
    check_object(instance)
    return instance


def _plain_dtype(text: str) -> np.dtype[Any]:
    """Returns the type of a number; ValueError for one of objects, text or records."""
    dtype = np.dtype(str(text))
    if dtype.kind not in "biufc":
        message = f"a number is of the type {dtype}"
        raise ValueError(message)
    return dtype
