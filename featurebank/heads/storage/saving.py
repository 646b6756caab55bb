"""Trained heads on disk, as arrays and JSON: NPZ files, and XGBoost's own format for trees.

A saved head is data: loading one runs no code from the file, whoever wrote it and its checksum. Nothing in a file is
unpickled, and what a file names is looked up in closed lists: the heads of the catalog, `estimator_classes.CLASSES`.

What a head is made of, it says itself (`Head.state`); here is only how that is written. `Head.saved_as` is one of:

- "neural", "on_maps", "exact": an NPZ file with a JSON text of this name, which has the class, the parameters and the
  facts of the state, and beside it the classes and the arrays.
- "estimator": the same without class and parameters, which are part of the state.
- "booster": an archive of XGBoost's own file, an NPZ file of the other arrays, and the parameters.
- "calibrated": an archive of the temperature and the file of the head inside.
- "joined": an archive of the scale of joined features and the file of the head inside, which may be calibrated.

Estimators that were saved with skops, as featurebank did at first, are read as well.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featurebank.backbone.naming import check_named
from featurebank.errors import ArchiveError, ConfigError, HeadError
from featurebank.heads.catalog import saved_class
from featurebank.system.archive import Archive, open_archive, read_npy, read_npz
from featurebank.system.files import write_bytes

if TYPE_CHECKING:  # it imports scikit-learn, which a list of runs does not need
    from featurebank.heads.base import Head

SUFFIX = ".head"
_INSIDE = "inside.head"
_CALIBRATED, _JOINED, _ARRAYS = "calibrated.json", "joined.json", "arrays.npz"
_COLUMNS = "feature_names"
"""The array of the names of the training features, of heads that were fitted on a table."""


def save_head(head: Head, path: Path) -> None:
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


def _bytes(head: Head) -> bytes:
    """Returns the file of a fitted head."""
    archives = {"calibrated": _calibrated_bytes, "joined": _joined_bytes, "booster": _boosted_bytes}
    return archives.get(head.saved_as, _npz_bytes)(head)


def _read(archive: Archive, source: str, around: Sequence[str] = ()) -> Any:
    """Returns the head of an archive; `around` are the members that may not occur, of the heads around this one."""
    readers: dict[str, Callable[[Archive, str], Any]] = {
        _JOINED: _load_joined,
        _CALIBRATED: _load_calibrated,
        "booster.ubj": _load_boosted,
        "neural.npy": lambda *file: _load_npz("neural", *file),
        "on_maps.npy": lambda *file: _load_npz("on_maps", *file),
        "exact.npy": lambda *file: _load_npz("exact", *file),
        "estimator.npy": lambda *file: _load_npz("estimator", *file),
        "schema.json": _load_old_estimator,
    }
    for name, reader in readers.items():
        if name in archive.names and name not in around:
            return reader(archive, source)
    message = f"the saved head '{source}' cannot be read (it is of no known kind): train it again"
    raise HeadError(message)


def _check_answer(head: Head) -> None:
    """Lets a head answer for one row or map of zeros.

    Raises:
        ValueError: the answer is not one probability a class; any other error of a head whose parts do not fit.
    """
    shape = head.trial_shape()
    with warnings.catch_warnings(action="ignore"):  # the zeros have no column names
        answer = np.shape(head.predict_proba(np.zeros((1, *shape), np.float32))) if shape else ()
    if shape and answer != (1, len(head.classes_)):
        message = "its answer has another number of classes"
        raise ValueError(message)


def _npz_bytes(head: Head) -> bytes:
    """Returns an NPZ file of what is known of a head, its classes, and arrays; the name of the first is the form."""
    state = head.state()
    known, names = {}, {}
    if head.saved_as != "estimator":  # whose state has them
        known, names = {"class": type(head).__name__, "params": head.get_params()}, _column_names(head)
    text, buffer = np.frombuffer(_json({**known, **state.facts}).encode(), np.uint8), io.BytesIO()
    columns: dict[str, Any] = {head.saved_as: text, "classes": _plain_classes(head), **names, **state.arrays}
    np.savez(buffer, **columns)
    return buffer.getvalue()


def _load_npz(form: str, archive: Archive, source: str) -> Any:
    arrays = {name.removesuffix(".npy"): read_npy(archive.read(name), name) for name in archive.names}
    facts, classes = json.loads(arrays.pop(form).tobytes()), arrays.pop("classes")
    module, _, name = str(facts.pop("class", "EstimatorHead")).rpartition(":")  # once with its module, which has moved
    if module and not module.startswith("featurebank.heads."):
        message = f"there is no head {name[:50]!r} of {module[:50]!r}"
        raise ValueError(message)
    head, names = _unfitted(name, form, facts.pop("params", {}), source), arrays.pop(_COLUMNS, None)
    _restore(head, classes, arrays, facts, source)
    _set_column_names(head, names)
    return head


def _column_names(head: Head) -> dict[str, np.ndarray]:
    """Returns the names of the training features, if they were a table's."""
    names = getattr(head, "feature_names_in_", None)
    return {} if names is None else {_COLUMNS: np.asarray(names.tolist(), np.str_)}


def _set_column_names(head: Head, names: np.ndarray | None) -> None:
    """Sets the names of the training features; raises ValueError if there is not one for each."""
    if names is None:
        return
    if names.shape != (head.n_features_in_,) or names.dtype.kind != "U":
        message = "there is not one name for each feature"
        raise ValueError(message)
    head.feature_names_in_ = names.astype(object)


def _unfitted(name: str, form: str, params: dict[str, Any], source: str) -> Head:
    """Returns a head of the catalog with parameters from a file.

    Raises:
        ValueError: there is no such head, it has no such parameter, or it is saved in another form.
        ConfigError: the parameters name a function, which builds a network, that the user has not named.
    """
    check_named(str(params.get("backbone")), f"'{source}'")
    head: Head = saved_class(name)()
    if head.saved_as != form:
        message = f"{name} is not saved as {form}"
        raise ValueError(message)
    as_text = {name: json.loads(_json(value)) for name, value in head.get_params().items()}
    head.set_params(**{name: value for name, value in params.items() if value != as_text[name]})  # tuples stay tuples
    return head


def _restore(head: Head, classes: Any, arrays: dict[str, np.ndarray], facts: dict[str, Any], source: str) -> None:
    from featurebank.heads.base import State

    head.set_state(State(arrays, facts, source), classes)


def _boosted_bytes(head: Head) -> bytes:
    state, extra, buffer = head.state(), io.BytesIO(), io.BytesIO()
    arrays: dict[str, Any] = dict(state.arrays)
    booster = arrays.pop("booster").tobytes()
    columns: dict[str, Any] = {**_column_names(head), **state.facts, **arrays}
    np.savez(extra, classes=_plain_classes(head), **columns)
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("booster.ubj", booster)
        archive.writestr(_ARRAYS, extra.getvalue())
        archive.writestr("params.json", _json(head.get_params()))
    return buffer.getvalue()


def _load_boosted(archive: Archive, source: str) -> Any:
    arrays = dict(read_npz(archive.read(_ARRAYS)))
    head = _unfitted("XGBoostHead", "booster", json.loads(archive.read("params.json")), source)
    classes, facts = arrays.pop("classes"), {"features": int(arrays.pop("features"))}
    arrays["booster"], names = np.frombuffer(archive.read("booster.ubj"), np.uint8), arrays.pop(_COLUMNS, None)
    _restore(head, classes, arrays, facts, source)
    _set_column_names(head, names)
    return head


def _calibrated_bytes(head: Any) -> bytes:
    about = {"method": head.method, "random_state": head.random_state, **head.state().facts}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(_CALIBRATED, _json(about))
        archive.writestr(_INSIDE, _bytes(head.head_))
    return buffer.getvalue()


def _load_calibrated(archive: Archive, source: str) -> Any:
    from sklearn.base import clone

    from featurebank.heads.calibration import CalibratedHead

    facts = json.loads(archive.read(_CALIBRATED))
    with open_archive(archive.read(_INSIDE)) as part:
        inside = _read(part, source, (_CALIBRATED, _JOINED))
    head = CalibratedHead(clone(inside), method=facts["method"], random_state=facts["random_state"])
    head.head_ = inside
    _restore(head, inside.classes_, {}, facts, source)
    return head


def _joined_bytes(head: Any) -> bytes:
    state, buffer, arrays = head.state(), io.BytesIO(), io.BytesIO()
    np.savez(arrays, **state.arrays)
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(_JOINED, _json(state.facts))
        archive.writestr(_ARRAYS, arrays.getvalue())
        archive.writestr(_INSIDE, _bytes(head.head_))
    return buffer.getvalue()


def _load_joined(archive: Archive, source: str) -> Any:
    from sklearn.base import clone

    from featurebank.heads.joined.head import JoinedHead

    facts, arrays = json.loads(archive.read(_JOINED)), dict(read_npz(archive.read(_ARRAYS)))
    with open_archive(archive.read(_INSIDE)) as part:
        inside = _read(part, source, (_JOINED,))
    head = JoinedHead(clone(inside))
    head.head_ = inside
    _restore(head, inside.classes_, arrays, facts, source)
    return head


def _load_old_estimator(archive: Archive, source: str) -> Any:
    from featurebank.heads.storage.estimator_skops import load_skops

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
