"""XGBoost's own model file (UBJSON), checked before XGBoost reads it.

XGBoost trusts its files: children or classes out of range make its compiled code read outside of its arrays, and a
cycle never ends. The format is described at https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank.heads.storage.estimator_checks import check_branches, require

_TYPES = {"d": ">f4", "D": ">f8", "i": "i1", "U": "u1", "I": ">i2", "l": ">i4", "L": ">i8"}
"""Of numbers, by their letters."""
_CONSTANTS = {"T": True, "F": False, "Z": None}
_MOST_DEPTH = 32
_NO_PARENT = 2**31 - 1
_OF_NODES = (
    "left_children", "right_children", "parents", "split_indices", "split_conditions", "split_type", "default_left",
    "base_weights", "loss_changes", "sum_hessian",
)  # fmt: skip


def check_booster(data: bytes, features: int, classes: int) -> None:
    """Checks a file of trees that answers with one probability a class.

    Args:
        data: the whole file.
        features: how many numbers a row has.
        classes: how many there are.

    Raises:
        ValueError, KeyError, TypeError, IndexError: it is damaged, of another kind of booster, or its trees are not
            sound.
    """
    reader = _Reader(data)
    learner = reader.value()["learner"]
    require(reader.at == len(data), "nothing after the end")
    shape, objective, booster = learner["learner_model_param"], learner["objective"], learner["gradient_booster"]
    require(int(shape["num_feature"]) == features, "its features")
    require(int(shape.get("num_target", 1)) == 1 and booster["name"] == "gbtree", "a booster of trees")
    outputs = _check_objective(objective, int(shape["num_class"]), classes)
    require(str(shape["base_score"]).count(",") + 1 in {1, outputs}, "a start for each class")
    require(len(learner["feature_names"]) == len(learner["feature_types"]) == 0, "features without names")
    _check_model(booster["model"], features, outputs)


def _check_objective(objective: dict[str, Any], num_class: int, classes: int) -> int:
    """Returns how many outputs the trees have: one for each class, or the second class's alone."""
    if objective["name"] == "binary:logistic":
        require(num_class == 0 and classes == 2, "two classes")  # noqa: PLR2004
        return 1
    require(objective["name"] == "multi:softprob", "probabilities")
    require(num_class == classes == int(objective["softmax_multiclass_param"]["num_class"]), "its classes")
    return classes


def _check_model(model: dict[str, Any], features: int, outputs: int) -> None:
    trees, info, sizes = model["trees"], np.asarray(model["tree_info"]), model["gbtree_model_param"]
    require(int(sizes["num_trees"]) == len(trees) == len(info) and int(sizes["num_parallel_tree"]) == 1, "its trees")
    require(info.ndim == 1 and ((info >= 0) & (info < outputs)).all(), "trees of its classes")
    rounds = np.asarray(model.get("iteration_indptr", [0, len(trees)]))
    require(rounds[0] == 0 and rounds[-1] == len(trees) and (np.diff(rounds) >= 0).all(), "rounds of its trees")
    require(not any(len(part) for part in model.get("cats", {}).values()), "features without categories")
    for tree in trees:
        _check_tree(tree, features)


def _check_tree(tree: dict[str, Any], features: int) -> None:
    count = int(tree["tree_param"]["num_nodes"])
    require(count > 0 and int(tree["tree_param"]["size_leaf_vector"]) in {0, 1}, "a tree of numbers")
    for name in _OF_NODES:
        require(len(tree[name]) == count, "as many nodes as the tree says")
    require(not any(len(part) for name, part in tree.items() if name.startswith("categories")), "no categories")
    left, right = np.asarray(tree["left_children"]), np.asarray(tree["right_children"])
    leaf, split = left == -1, np.asarray(tree["split_indices"])
    check_branches(left, right, leaf)
    require((right[leaf] == -1).all() and not np.any(tree["split_type"]), "splits at numbers")
    require(((split[~leaf] >= 0) & (split[~leaf] < features)).all(), "splits of its features")
    _check_parents(np.asarray(tree["parents"]), left[~leaf], right[~leaf], np.flatnonzero(~leaf))


def _check_parents(parents: np.ndarray, left: np.ndarray, right: np.ndarray, inner: np.ndarray) -> None:
    """Checks that each node but the first is the child of one, and names it as its parent."""
    children = np.concatenate([left, right])
    require(np.array_equal(np.sort(children), np.arange(1, len(parents))), "one parent for each node")
    require(parents[0] == _NO_PARENT and np.array_equal(parents[children], np.tile(inner, 2)), "parents that match")


class _Reader:
    """Reads values of UBJSON, as XGBoost writes them: counted arrays, of one type where they hold numbers."""

    def __init__(self, data: bytes) -> None:
        self.at = 0
        self._data = data

    def value(self, depth: int = 0) -> Any:
        """Returns the next value."""
        require(depth < _MOST_DEPTH, "values that are not nested deeply")
        letter = self._letter()
        if letter == "{":
            return self._object(depth)
        if letter == "[":
            return self._array(depth)
        if letter == "S":
            return self._text()
        return _CONSTANTS[letter] if letter in _CONSTANTS else self._numbers(letter, 1)[0].item()

    def _letter(self) -> str:
        return self._read(1).decode("ascii")

    def _read(self, count: int) -> bytes:
        require(0 <= count <= len(self._data) - self.at, "more bytes")
        self.at += count
        return self._data[self.at - count : self.at]

    def _numbers(self, letter: str, count: int) -> np.ndarray:
        dtype = np.dtype(_TYPES[letter])
        return np.frombuffer(self._read(count * dtype.itemsize), dtype)

    def _length(self) -> int:
        letter = self._letter()
        require(letter in "iUIlL", "a length")
        return int(self._numbers(letter, 1)[0])

    def _text(self) -> str:
        return self._read(self._length()).decode()

    def _object(self, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while self._data[self.at : self.at + 1] != b"}":
            key = self._text()
            require(key not in values, "each name once")
            values[key] = self.value(depth + 1)
        self.at += 1
        return values

    def _array(self, depth: int) -> Any:
        letter = self._letter()
        kind = self._letter() if letter == "$" else ""
        require(letter == "#" or (letter == "$" and self._letter() == "#"), "a counted array")
        count = self._length()
        if kind:
            return self._numbers(kind, count)
        require(count <= len(self._data) - self.at, "more bytes")
        return [self.value(depth + 1) for _ in range(count)]
