"""Which datasets there are, and the way from a text as "folder:photos" to a `Dataset`."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from featurebank.dataset.core import Contents, Dataset
from featurebank.dataset.splits import check_fractions, check_seed
from featurebank.errors import ConfigError, DatasetError, UnknownNameError, unknown_name

_KINDS = {
    "digits": "featurebank.dataset.arrays:load_digits",
    "cifar10": "featurebank.dataset.cifar:load_cifar10",
    "cifar100": "featurebank.dataset.cifar:load_cifar100",
    "folder:": "featurebank.dataset.folder:load",
    "npz:": "featurebank.dataset.arrays:load_npz",
}
"""Each kind of dataset and its loader, (argument) -> Contents, imported on use. After a colon an argument follows."""

_HINT = "or give the path of a folder that holds a folder for each class"


@dataclass(frozen=True)
class DatasetInfo:
    """A line of the table of datasets.

    Args:
        name: what to give to `load_dataset`.
        what: one line about it.
        images: how many there are, where that is known beforehand.
        available: whether it can be loaded without a download.
        where: the place it comes from.
    """

    name: str
    what: str
    images: int | None
    available: bool
    where: str


def load_dataset(spec: str | os.PathLike[str], *, split: Sequence[float] | None = None, seed: int = 0) -> Dataset:
    """Loads a dataset: lists it, and reads no image yet.

    Args:
        spec: "digits", "cifar10", "cifar100", "folder:PATH", "npz:FILE", or the path of a folder or a .npz file.
        split: the fractions (train, val, test), or (train, val) for no test, of images whose split is not given;
            default (.7, .15, .15).
        seed: decides together with an image's content in which split it is.

    Returns:
        The dataset.

    Raises:
        ConfigError: `split` or `seed` is wrong.
        UnknownNameError: there is no dataset of this name.
        DatasetError: the dataset is missing, damaged, or not laid out as expected.
    """
    fractions = check_fractions(split)
    number = check_seed(seed)
    kind, argument = _resolve(os.fspath(spec))
    return Dataset(_loader(kind)(argument), fractions, number)


def list_datasets() -> list[DatasetInfo]:
    """Returns the known datasets and kinds of datasets."""
    from featurebank.dataset import cifar

    digits = importlib.util.find_spec("sklearn") is not None
    lines = [DatasetInfo("digits", "handwritten digits, 8 x 8, 10 classes", 1797, digits, "bundled with scikit-learn")]
    for name, classes in (("cifar10", 10), ("cifar100", 100)):
        place = cifar.find(name)
        where = "downloaded by Keras on first use (170 MB)" if place is None else str(place)
        lines.append(DatasetInfo(name, f"small photos, 32 x 32, {classes} classes", 60000, place is not None, where))
    files = "a path on this machine"
    return [
        *lines,
        DatasetInfo("folder:PATH", "image files, a folder for each class", None, available=True, where=files),
        DatasetInfo("npz:FILE", "arrays x and y in a .npz file", None, available=True, where=files),
    ]


def _resolve(spec: str) -> tuple[str, str]:
    """Returns the kind of a dataset, a key of the table, and its argument."""
    if spec in _KINDS and not spec.endswith(":"):
        return spec, ""
    head, colon, argument = spec.partition(":")
    if colon and f"{head}:" in _KINDS:
        if not argument:
            message = f"dataset '{spec}' names no path: expected {spec}PATH"
            raise ConfigError(message)
        return f"{head}:", argument
    if colon and head in _KINDS:
        message = f"dataset '{spec}': '{head}' takes nothing after it; give '{head}' alone"
        raise ConfigError(message)
    return _resolve_path(spec)


def _resolve_path(spec: str) -> tuple[str, str]:
    path = os.path.expanduser(spec)  # noqa: PTH111 - a Path would drop the "./" that says that this is a path
    if os.path.isdir(path):  # noqa: PTH112
        return "folder:", spec
    if os.path.isfile(path):  # noqa: PTH113
        if path.lower().endswith(".npz"):
            return "npz:", spec
        message = f"dataset '{spec}' is a file: expected a folder of class folders, or a .npz file; give one of these"
        raise DatasetError(message)
    if "/" in spec or os.sep in spec or spec.startswith((".", "~")):
        message = f"dataset '{spec}' does not exist: expected a folder or a .npz file at this path; check it"
        raise DatasetError(message)
    raise _unknown(spec)


def _unknown(spec: str) -> UnknownNameError:
    return unknown_name("dataset", spec, [f"{kind}PATH" if kind.endswith(":") else kind for kind in _KINDS], _HINT)


def _loader(kind: str) -> Callable[[str], Contents]:
    module, _, function = _KINDS[kind].partition(":")
    return cast("Callable[[str], Contents]", getattr(importlib.import_module(module), function))
