"""Reads estimators that were saved with skops, as featurebank did at first, without skops: its nodes become ours.

skops calls types trusted whose constructors read files or unpickle, and makes what a file names. Here the description
is only data: what is no value, array, or instance of `estimator_classes.CLASSES` is refused before anything is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from featurebank.errors import HeadError
from featurebank.heads.storage.estimator_classes import is_training_only, known_class
from featurebank.heads.storage.estimator_state import VERSION_ATTRIBUTE, StateWriter, foreign, restore
from featurebank.system.archive import Archive, read_npy

SCHEMA = "schema.json"
_MOST_DEPTH = 200
_KEYS: Mapping[str, Callable[[str], Any]] = {
    "str": str, "int": int, "float": float, "bool": lambda text: text.lower() == "true",
}  # fmt: skip
"""What the keys of a dictionary are made of, by the name of their type; numpy's are numbers too."""


def load_skops(archive: Archive, source: str) -> Any:
    """Returns the head of an archive that skops wrote.

    Args:
        archive: the file.
        source: its name, for messages.

    Raises:
        HeadError: it holds something that featurebank does not restore, or is damaged.
        ArchiveError: a member is damaged.
    """
    reader = _SkopsReader(archive)
    try:
        reader.value(json.loads(archive.read(SCHEMA)), 0)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, HeadError):
            raise
        message = f"the saved head '{source}' cannot be read ({type(error).__name__}): train it again"
        raise HeadError(message) from error
    if reader.strangers:
        raise foreign(reader.strangers, f"'{source}'")
    return restore(reader.writer.nodes, reader.writer.arrays, source)


class _SkopsReader:
    """Turns the nodes of skops into those of `estimator_state`, and collects what may not be restored."""

    def __init__(self, archive: Archive) -> None:
        self.writer = StateWriter()
        self.strangers: list[str] = []
        self._archive = archive
        self._files: dict[str, list[int]] = {}

    def value(self, node: Mapping[str, Any], depth: int) -> Any:
        """Returns a plain value, or what refers to the node that was added."""
        if depth > _MOST_DEPTH:
            message = "it is nested too deeply"
            raise ValueError(message)
        module, name, loader = str(node["__module__"]), str(node["__class__"]), node["__loader__"]
        if is_training_only(module, name):
            return None
        if loader not in _LOADERS or ((types := _TYPES.get(loader)) is not None and f"{module}.{name}" not in types):
            self.strangers.append(f"{module}.{name}"[:100])
            return None
        return _LOADERS[loader](self, node, depth + 1)

    def plain(self, node: Mapping[str, Any], _: int) -> Any:
        value = json.loads(node["content"])
        if type(value) not in {type(None), bool, int, float, str}:
            message = "a plain value is none"
            raise ValueError(message)
        return value

    def sequence(self, node: Mapping[str, Any], depth: int) -> Any:
        items = [self.value(item, depth) for item in node["content"]]
        return self.writer.add({"kind": node["__class__"], "items": items})

    def mapping(self, node: Mapping[str, Any], depth: int) -> Any:
        items = self._items(node, depth)
        if node["__class__"] == "Bunch":
            return self.writer.add({"kind": "object", "class": "sklearn.utils.Bunch", "state": items})
        kinds = [f"{kind['__module__']}.{kind['__class__']}" for kind in node["key_types"]["content"]]
        keys = [_KEYS[_plain_kind(kind)](key) for kind, key in zip(kinds, items, strict=True)]
        return self.writer.add({"kind": "dict", "keys": keys, "items": list(items.values())})

    def array(self, node: Mapping[str, Any], depth: int) -> Any:
        if node["__module__"] != "numpy":
            self.strangers.append(f"{node['__module__']}.{node['__class__']}"[:100])
            return None
        if node["type"] == "json":
            shape, content = [int(item["content"]) for item in node["shape"]["content"]], node["content"]
            for _ in shape[1:]:  # rows of rows
                content = [item for row in content for item in row["content"]]
            items = [self.value(item, depth) for item in content]
            return self.writer.add({"kind": "objects", "shape": shape, "items": items})
        name = str(node["file"])
        if name not in self._files:
            array = read_npy(self._archive.read(name), name)
            number = array.ndim == 0 and node["__class__"] != "ndarray"
            self._files[name] = self.writer.add(_number(array) if number else self.writer.array(array))
        return self._files[name]

    def instance(self, node: Mapping[str, Any], depth: int) -> Any:
        known = known_class(node["__module__"], node["__class__"])
        if known is None:
            self.strangers.append(f"{node['__module__']}.{node['__class__']}"[:100])
            return None
        content = node.get("content") or {}
        items = self._items(content, depth) if content.get("__loader__") == "DictNode" else {}  # none: no attributes
        state = {key: part for key, part in items.items() if key != VERSION_ATTRIBUTE}
        return self.writer.add({"kind": "object", "class": known, "state": state})

    def tree(self, node: Mapping[str, Any], depth: int) -> Any:
        features, classes, outputs = (self.value(part, depth) for part in node["__reduce__"]["args"]["content"])
        state = {"n_features": features, "n_classes": classes, "n_outputs": outputs}
        state |= self._items(node["content"], depth)
        return self.writer.add({"kind": "object", "class": "sklearn.tree._tree.Tree", "state": state})

    def _items(self, node: Mapping[str, Any], depth: int) -> dict[str, Any]:
        return {key: self.value(part, depth) for key, part in node["content"].items()}


_LOADERS: Mapping[str, Callable[[_SkopsReader, Mapping[str, Any], int], Any]] = {
    "JsonNode": _SkopsReader.plain,
    "ListNode": _SkopsReader.sequence,
    "TupleNode": _SkopsReader.sequence,
    "DictNode": _SkopsReader.mapping,
    "NdArrayNode": _SkopsReader.array,
    "ObjectNode": _SkopsReader.instance,
    "TreeNode": _SkopsReader.tree,
}
"""Those of functions, types, bytes, partial calls and constructors are not here."""
_TYPES: Mapping[str, tuple[str, ...]] = {
    "ListNode": ("builtins.list",),
    "TupleNode": ("builtins.tuple",),
    "DictNode": ("builtins.dict", "sklearn.utils._bunch.Bunch"),
}
"""What may be made of containers; the others look at the type themselves."""


def _plain_kind(path: str) -> str:
    """Returns "int" for numpy.int64, "float" for numpy.float32, and so on.

    Raises:
        KeyError: it is no plain type.
    """
    module, _, name = path.rpartition(".")
    if module not in {"builtins", "numpy"}:
        raise KeyError(path)
    return name.lstrip("u").rstrip("0123456789_")


def _number(array: np.ndarray) -> dict[str, Any]:
    return {"kind": "number", "dtype": array.dtype.str, "value": array.item()}
