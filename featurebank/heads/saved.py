"""Trained heads on disk, as arrays and JSON: NPZ files, and XGBoost's own format for trees.

A saved head is data: loading one runs no code from the file, whoever wrote it and its checksum. Nothing in a file is
unpickled, and what a file names is looked up in closed lists: `_EXACT`, `_ON_MAPS`, `estimator_state.CLASSES`.
"""

from __future__ import annotations

import importlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.archive import Archive, open_archive, read_npy, read_npz
from featurebank.errors import ArchiveError, ConfigError, HeadError
from featurebank.files import write_bytes

SUFFIX = ".head"
_INSIDE = "inside.head"
_EXACT = {
    "RidgeHead": "featurebank.heads.closed_form",
    "LDAHead": "featurebank.heads.closed_form",
    "NearestMeanHead": "featurebank.heads.closed_form",
    "LogisticHead": "featurebank.heads.logistic",
    "SVMHead": "featurebank.heads.support",
    "KernelRidgeHead": "featurebank.heads.support",
}
"""Where the heads are that are their parameters, their classes and arrays with names (`state` and `set_state`)."""
_ON_MAPS = {
    "ConvHead": "featurebank.heads.conv",
    "AttentionPoolHead": "featurebank.heads.pooling",
    "GemPoolHead": "featurebank.heads.pooling",
    "TailHead": "featurebank.heads.tail",
    "ResidualStageHead": "featurebank.heads.residual",
}
"""Where the heads on maps are that have a history beside that (`state` and `set_state`, too)."""


def save_head(head: Any, path: Path) -> None:
    """Writes a fitted head atomically.

    Raises:
        HeadError: the head is of a class that cannot be restored safely.
    """
    write_bytes(path, _bytes(head))


def load_head(path: Path) -> Any:
    """Reads what `save_head` wrote, and lets the head answer once, so that parts that do not fit are found here.

    Raises:
        HeadError: the file is missing or damaged, or holds classes that are not restored from files.
        ConfigError: it names a function, which builds the network of a tail, that the user has not named.
    """
    try:
        with open_archive(path) as archive:
            head = _read(archive, path.name)
        _check_answer(head)
    except (HeadError, ConfigError):
        raise
    except Exception as error:  # a damaged or hostile file fails anywhere in three libraries
        reason = str(error) if isinstance(error, ArchiveError) else type(error).__name__
        message = f"the saved head '{path}' cannot be read ({reason}): train it again"
        raise HeadError(message) from error
    return head


def _bytes(head: Any) -> bytes:
    """Returns the file of a fitted head."""
    from featurebank.heads.calibration import CalibratedHead
    from featurebank.heads.neural import NeuralHead

    if isinstance(head, CalibratedHead):
        return _calibrated_bytes(head)
    if isinstance(head, NeuralHead):
        return _neural_bytes(head)
    if type(head).__module__ == "featurebank.heads.boosted":
        return _boosted_bytes(head)
    if type(head).__name__ in _ON_MAPS:
        return _on_maps_bytes(head)
    return _exact_bytes(head) if type(head).__name__ in _EXACT else _estimator_bytes(head)


def _read(archive: Archive, source: str, *, inside: bool = False) -> Any:
    """Returns the head of an archive; `inside` is one in the file of a calibrated head, which is not calibrated."""
    readers: dict[str, Callable[[Archive, str], Any]] = {
        "calibrated.json": _load_calibrated,
        "booster.ubj": _load_boosted,
        "neural.npy": _load_neural,
        "on_maps.npy": _load_on_maps,
        "exact.npy": _load_exact,
        "estimator.npy": _load_estimator,
        "schema.json": _load_old_estimator,
    }
    for name, reader in readers.items():
        if name in archive.names and not (inside and name == "calibrated.json"):
            return reader(archive, source)
    message = f"the saved head '{source}' cannot be read (it is of no known kind): train it again"
    raise HeadError(message)


def _check_answer(head: Any) -> None:
    """Lets a head answer for one row or map of zeros.

    Raises:
        ValueError: the answer is not one probability a class; any other error of a head whose parts do not fit.
    """
    from featurebank.heads.layered import LayeredHead

    plain = getattr(head, "head_", head)
    if isinstance(plain, LayeredHead):  # it builds a network, which checks its weights, when it is first asked
        return
    if type(getattr(plain, "estimator_", None)).__name__ == "RadiusNeighborsClassifier":  # none may be near zeros
        return
    shape = getattr(plain, "map_shape_", (1, 1, head.n_features_in_) if hasattr(plain, "needs_map") else ())
    shape = shape or (head.n_features_in_,)
    if np.shape(head.predict_proba(np.zeros((1, *shape), np.float32))) != (1, len(head.classes_)):
        message = "its answer has another number of classes"
        raise ValueError(message)


def _neural_bytes(head: Any) -> bytes:
    about = {"class": f"{type(head).__module__}:{type(head).__name__}", "params": head.get_params()}
    about["history"] = head.history_.to_dict()
    arrays: dict[str, Any] = {
        f"layer{i}_{part}": getattr(d, part) for i, d in enumerate(head.layers_) for part in ("kernel", "bias")
    }
    return _npz("neural", about, head, arrays)


def _npz(kind: str, about: Any, head: Any, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns an NPZ file of what is known of a head, its classes, and arrays; `kind` tells who reads it."""
    text, buffer = np.frombuffer(_json(about).encode(), np.uint8), io.BytesIO()
    columns: dict[str, Any] = {kind: text, "classes": _plain_classes(head), **arrays}
    np.savez(buffer, **columns)
    return buffer.getvalue()


def _parts(kind: str, archive: Archive) -> tuple[Any, np.ndarray, dict[str, np.ndarray]]:
    """Returns what `_npz` was given: what is known of the head, its classes, and arrays."""
    arrays = {name.removesuffix(".npy"): read_npy(archive.read(name), name) for name in archive.names}
    return json.loads(arrays.pop(kind).tobytes()), arrays.pop("classes"), arrays


def _load_neural(archive: Archive, _: str) -> Any:
    from featurebank.heads.cam import CamHead
    from featurebank.heads.linear import SoftmaxHead
    from featurebank.heads.mlp import MLPHead
    from featurebank.training.history import Dense, History

    about, classes, arrays = _parts("neural", archive)
    known = {f"{c.__module__}:{c.__name__}": c for c in (SoftmaxHead, MLPHead, CamHead)}
    head = known[about["class"]](**about["params"])
    layers = sum(1 for name in arrays if name.endswith("_kernel"))
    weights = [Dense(arrays[f"layer{i}_kernel"], arrays[f"layer{i}_bias"]) for i in range(layers)]
    head.set_fitted(weights, classes, History(**about["history"]))
    return head


def _exact_bytes(head: Any) -> bytes:
    about = {"class": type(head).__name__, "params": head.get_params(), "features": head.n_features_in_}
    return _npz("exact", about, head, head.state())


def _load_exact(archive: Archive, _: str) -> Any:
    about, classes, arrays = _parts("exact", archive)
    head = getattr(importlib.import_module(_EXACT[about["class"]]), about["class"])(**about["params"])
    head.set_state(arrays, classes, about["features"])
    return head


def _on_maps_bytes(head: Any) -> bytes:
    about = {
        "class": type(head).__name__, "params": head.get_params(), "shape": head.map_shape_,
        "history": head.history_.to_dict(),
    }  # fmt: skip
    return _npz("on_maps", about, head, head.state())


def _load_on_maps(archive: Archive, source: str) -> Any:
    from featurebank.backbone.naming import check_named
    from featurebank.training.history import History

    about, classes, arrays = _parts("on_maps", archive)
    factory = getattr(importlib.import_module(_ON_MAPS[about["class"]]), about["class"])
    check_named(str(about["params"].get("backbone")), f"'{source}'")
    head = factory()
    as_text = {name: json.loads(_json(value)) for name, value in head.get_params().items()}
    head.set_params(**{name: v for name, v in about["params"].items() if v != as_text[name]})  # tuples stay tuples
    head.set_state(arrays, tuple(about["shape"]), classes, History(**about["history"]))
    return head


def _boosted_bytes(head: Any) -> bytes:
    arrays: dict[str, Any] = {}
    for number, step in enumerate(head.steps_):  # only ever one PCA
        arrays |= {f"pca{number}_mean": step.mean_, f"pca{number}_components": step.components_}
    extra = io.BytesIO()
    np.savez(extra, classes=_plain_classes(head), features=head.n_features_in_, **arrays)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("booster.ubj", bytes(head.booster_.save_raw("ubj")))
        archive.writestr("arrays.npz", extra.getvalue())
        archive.writestr("params.json", _json(head.get_params()))
    return buffer.getvalue()


def _load_boosted(archive: Archive, _: str) -> Any:
    import xgboost
    from sklearn.decomposition import PCA

    from featurebank.heads.boosted import XGBoostHead
    from featurebank.heads.booster_file import check_booster

    head, arrays = XGBoostHead(**json.loads(archive.read("params.json"))), read_npz(archive.read("arrays.npz"))
    head.classes_, head.n_features_in_, head.steps_ = arrays["classes"], int(arrays["features"]), []
    inputs = head.n_features_in_
    if "pca0_mean" in arrays:
        step, inputs = PCA(len(arrays["pca0_components"])), len(arrays["pca0_components"])
        step.mean_, step.components_ = arrays["pca0_mean"], arrays["pca0_components"]
        step.n_components_, step.explained_variance_ = inputs, np.ones(inputs)
        head.steps_ = [step]
    raw = archive.read("booster.ubj")
    check_booster(raw, inputs, len(head.classes_))
    head.booster_ = xgboost.Booster(model_file=bytearray(raw))
    return head


def _calibrated_bytes(head: Any) -> bytes:
    """Returns an archive of the temperature and the file of the head inside."""
    about = {"method": head.method, "random_state": head.random_state, "temperature": head.temperature_}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("calibrated.json", _json(about))
        archive.writestr(_INSIDE, _bytes(head.head_))
    return buffer.getvalue()


def _load_calibrated(archive: Archive, source: str) -> Any:
    from sklearn.base import clone

    from featurebank.heads.calibration import CalibratedHead

    about = json.loads(archive.read("calibrated.json"))
    with open_archive(archive.read(_INSIDE)) as part:
        inside = _read(part, source, inside=True)
    head = CalibratedHead(clone(inside), method=about["method"], random_state=about["random_state"])
    head.head_, head.classes_, head.n_features_in_ = inside, inside.classes_, inside.n_features_in_
    head.temperature_ = float(about["temperature"])
    return head


def _estimator_bytes(head: Any) -> bytes:
    """Returns the file of a scikit-learn classifier: see `estimator_state`."""
    import sklearn

    from featurebank.heads.estimator_state import StateWriter

    writer = StateWriter()
    writer.value(head)
    about = {"scikit-learn": sklearn.__version__, "nodes": writer.nodes}
    return _npz("estimator", about, head, writer.arrays)


def _load_estimator(archive: Archive, source: str) -> Any:
    from featurebank.heads.estimator_state import restore

    about, _, arrays = _parts("estimator", archive)
    return restore(about["nodes"], arrays, source)


def _load_old_estimator(archive: Archive, source: str) -> Any:
    from featurebank.heads.estimator_skops import load_skops

    return load_skops(archive, source)


def _json(value: Any) -> str:
    return json.dumps(value, default=lambda number: number.item())  # of numpy


def _plain_classes(head: Any) -> np.ndarray:
    """Returns a head's classes as an array without Python objects, which NPZ files would keep as a pickle."""
    classes = np.asarray(head.classes_.tolist())
    if classes.dtype.hasobject:
        message = f"classes of the type {type(head.classes_[0]).__name__} cannot be saved without pickle: use strings"
        raise HeadError(message)
    return classes
