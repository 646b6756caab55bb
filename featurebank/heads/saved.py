"""Trained heads on disk, without pickle: NPZ for featurebank's, skops for scikit-learn's, XGBoost's own for trees.

A saved head is data: loading one runs no code from the file. skops restores only types that the reader trusts; here
those are featurebank's wrapper and the classes (not the functions) of scikit-learn, numpy and scipy.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from featurebank.errors import ConfigError, HeadError
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
_TRUSTED = ("featurebank.heads.estimators.", "sklearn.", "numpy.", "scipy.")


def save_head(head: Any, path: Path) -> None:
    """Writes a fitted head atomically.

    Raises:
        HeadError: the head is of a class that cannot be restored safely.
    """
    from featurebank.heads.calibration import CalibratedHead
    from featurebank.heads.neural import NeuralHead

    if isinstance(head, CalibratedHead):
        write_bytes(path, _calibrated_bytes(head))
    elif isinstance(head, NeuralHead):
        write_bytes(path, _neural_bytes(head))
    elif type(head).__module__ == "featurebank.heads.boosted":
        write_bytes(path, _boosted_bytes(head))
    elif type(head).__name__ in _ON_MAPS:
        write_bytes(path, _on_maps_bytes(head))
    elif type(head).__name__ in _EXACT:
        write_bytes(path, _exact_bytes(head))
    else:
        _save_estimator(head, path)


def load_head(path: Path) -> Any:
    """Reads what `save_head` wrote.

    Raises:
        HeadError: the file is missing or damaged, or holds types that are not trusted.
        ConfigError: it names a function, which builds the network of a tail, that the user has not named.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if "calibrated.json" in names:
                return _load_calibrated(archive)
            if "booster.ubj" in names:
                return _load_boosted(archive)
            if "neural.npy" in names:
                return _load_neural(path)
            if "on_maps.npy" in names:
                return _load_on_maps(path)
            if "exact.npy" in names:
                return _load_exact(path)
        return _load_estimator(path)
    except (HeadError, ConfigError):
        raise
    except Exception as error:  # a damaged file fails anywhere in three libraries
        message = f"the saved head '{path}' cannot be read ({type(error).__name__}): train it again"
        raise HeadError(message) from error


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


def _read_npz(kind: str, path: Path) -> tuple[Any, np.ndarray, dict[str, np.ndarray]]:
    """Returns what `_npz` was given: what is known of the head, its classes, and arrays."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    return json.loads(arrays.pop(kind).tobytes()), arrays.pop("classes"), arrays


def _load_neural(path: Path) -> Any:
    from featurebank.heads.cam import CamHead
    from featurebank.heads.linear import SoftmaxHead
    from featurebank.heads.mlp import MLPHead
    from featurebank.heads.neural import Dense, History

    about, classes, arrays = _read_npz("neural", path)
    known = {f"{c.__module__}:{c.__name__}": c for c in (SoftmaxHead, MLPHead, CamHead)}
    head = known[about["class"]](**about["params"])
    layers = sum(1 for name in arrays if name.endswith("_kernel"))
    weights = [Dense(arrays[f"layer{i}_kernel"], arrays[f"layer{i}_bias"]) for i in range(layers)]
    head.set_fitted(weights, classes, History(**about["history"]))
    return head


def _exact_bytes(head: Any) -> bytes:
    about = {"class": type(head).__name__, "params": head.get_params(), "features": head.n_features_in_}
    return _npz("exact", about, head, head.state())


def _load_exact(path: Path) -> Any:
    about, classes, arrays = _read_npz("exact", path)
    head = getattr(importlib.import_module(_EXACT[about["class"]]), about["class"])(**about["params"])
    head.set_state(arrays, classes, about["features"])
    return head


def _on_maps_bytes(head: Any) -> bytes:
    about = {
        "class": type(head).__name__, "params": head.get_params(), "shape": head.map_shape_,
        "history": head.history_.to_dict(),
    }  # fmt: skip
    return _npz("on_maps", about, head, head.state())


def _load_on_maps(path: Path) -> Any:
    from featurebank.backbone.user_source import check_named
    from featurebank.heads.neural import History

    about, classes, arrays = _read_npz("on_maps", path)
    factory = getattr(importlib.import_module(_ON_MAPS[about["class"]]), about["class"])
    check_named(str(about["params"].get("backbone")), f"'{path.name}'")
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


def _load_boosted(archive: zipfile.ZipFile) -> Any:
    import xgboost
    from sklearn.decomposition import PCA

    from featurebank.heads.boosted import XGBoostHead

    head = XGBoostHead(**json.loads(archive.read("params.json")))
    with np.load(io.BytesIO(archive.read("arrays.npz")), allow_pickle=False) as arrays:
        head.classes_, head.n_features_in_, head.steps_ = arrays["classes"], int(arrays["features"]), []
        if "pca0_mean" in arrays.files:
            step = PCA(len(arrays["pca0_components"]))
            step.mean_, step.components_ = arrays["pca0_mean"], arrays["pca0_components"]
            step.n_components_, step.explained_variance_ = len(step.components_), np.ones(len(step.components_))
            head.steps_ = [step]
    head.booster_ = xgboost.Booster(model_file=bytearray(archive.read("booster.ubj")))
    return head


def _calibrated_bytes(head: Any) -> bytes:
    """Returns an archive of the temperature and the file of the head inside."""
    about = {"method": head.method, "random_state": head.random_state, "temperature": head.temperature_}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, TemporaryDirectory() as folder:
        archive.writestr("calibrated.json", _json(about))
        save_head(head.head_, Path(folder, _INSIDE))
        archive.write(Path(folder, _INSIDE), _INSIDE)
    return buffer.getvalue()


def _load_calibrated(archive: zipfile.ZipFile) -> Any:
    from sklearn.base import clone

    from featurebank.heads.calibration import CalibratedHead

    about = json.loads(archive.read("calibrated.json"))
    with TemporaryDirectory() as folder:
        inside = load_head(Path(archive.extract(_INSIDE, folder)))
    head = CalibratedHead(clone(inside), method=about["method"], random_state=about["random_state"])
    head.head_, head.classes_, head.n_features_in_ = inside, inside.classes_, inside.n_features_in_
    head.temperature_ = about["temperature"]
    return head


def _save_estimator(head: Any, path: Path) -> None:
    import skops.io

    try:
        data = skops.io.dumps(head)
    except Exception as error:  # whatever an unknown class does
        message = f"{head.estimator!r} cannot be saved without pickle ({type(error).__name__}: {error})"
        raise HeadError(message) from error
    _refuse_untrusted(skops.io.get_untrusted_types(data=data), path)
    write_bytes(path, data)


def _load_estimator(path: Path) -> Any:
    import skops.io

    data = path.read_bytes()
    found = skops.io.get_untrusted_types(data=data)
    _refuse_untrusted(found, path)
    return skops.io.loads(data, trusted=found)


def _json(value: Any) -> str:
    return json.dumps(value, default=lambda number: number.item())  # of numpy


def _plain_classes(head: Any) -> np.ndarray:
    """Returns a head's classes as an array without Python objects, which NPZ files would keep as a pickle."""
    classes = np.asarray(head.classes_.tolist())
    if classes.dtype.hasobject:
        message = f"classes of the type {type(head.classes_[0]).__name__} cannot be saved without pickle: use strings"
        raise HeadError(message)
    return classes


def _is_trusted(name: str) -> bool:
    """Tells whether a name is that of a class of the trusted packages; their functions could do anything."""
    module, _, attribute = name.rpartition(".")
    return name.startswith(_TRUSTED) and inspect.isclass(getattr(importlib.import_module(module), attribute, None))


def _refuse_untrusted(found: list[str], path: Path) -> None:
    foreign = [name for name in found if not _is_trusted(name)]
    if foreign:
        message = (
            f"'{path.name}' holds {', '.join(foreign)}, which featurebank does not restore from a file: "
            "only heads of featurebank, scikit-learn and XGBoost are kept; train it again where you need it"
        )
        raise HeadError(message)
