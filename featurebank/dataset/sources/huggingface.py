"""Datasets of Hugging Face, from its hub or from this machine, through the package `datasets`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from featurebank.dataset.core import Contents
from featurebank.dataset.readers.table_files import refuse_bombs
from featurebank.dataset.remote.fetching import fetch, is_url
from featurebank.dataset.sources.encoded_rows import (
    IMAGE_NAMES,
    LABEL_NAMES,
    EncodedSplit,
    check_rows,
    choose_column,
    choose_splits,
    contents,
    foreign,
)
from featurebank.dataset.sources.folder import absolute
from featurebank.errors import DatasetError, MissingDependencyError
from featurebank.system.downloads import hub_answers
from featurebank.system.files import read_regular
from featurebank.words import one_line

_SAVED = ("dataset_dict.json", "state.json")
"""Files that `save_to_disk` writes into a folder."""


class HubReader:
    """Reads the encoded images of one split.

    Args:
        table: a `datasets.Dataset` whose images are not decoded.
        column: name of the image column.
    """

    def __init__(self, table: Any, column: str) -> None:
        self._table = table
        self._column = column

    def __call__(self, row: int) -> bytes:
        """Returns the bytes of an image file; raises OSError."""
        image = self._table[row][self._column]
        data, path = (None, None) if image is None else (image["bytes"], image["path"])
        if data is not None:
            return bytes(data)
        if path is None:
            message = "no image in this row"
            raise OSError(message)
        return fetch(path) if is_url(path) else read_regular(path)


class HubColumn:
    """Reads columns of one split.

    Args:
        table: a `datasets.Dataset`.
    """

    def __init__(self, table: Any) -> None:
        self._table = table

    def __call__(self, name: str) -> Sequence[Any]:
        """Returns a column, a value per row."""
        values: Sequence[Any] = self._table[name][:]
        return values


def load(argument: str) -> Contents:
    """Loads a dataset of Hugging Face.

    Args:
        argument: NAME[:CONFIG][@REVISION] on the hub, or the path of a folder: one of `save_to_disk`, or one of images
            or Parquet files that `datasets.load_dataset` can read.

    Raises:
        MissingDependencyError: the package is not installed.
        DatasetError: there is no such dataset, or it does not consist of images with labels.
    """
    try:
        import datasets
    except ImportError as error:
        message = "datasets of Hugging Face need the package datasets: pip install 'featurebank[hf]'"
        raise MissingDependencyError(message) from error
    place = _place(argument)
    spec = f"hf:{argument if place is None else place}"
    with foreign(spec, "datasets"):
        loaded = _from_hub(datasets, argument) if place is None else _from_folder(datasets, place)
        tables = dict(loaded) if isinstance(loaded, dict) else {"": loaded}
        first = next(iter(tables.values()), None)
        if first is None:
            message = f"'{spec}' holds no data"
            raise DatasetError(message)
        image, label = _columns(spec, datasets, first.features)
        splits, notes = choose_splits(spec, list(tables))
        check_rows(spec, sum(len(tables[name]) for name, _ in splits))
        undecoded = datasets.Image(decode=False)
        parts = [
            EncodedSplit(
                name if code is not None else "",
                code,
                tables[name][label][:],
                HubReader(tables[name].select_columns([image]).cast_column(image, undecoded), image),
                HubColumn(tables[name]),
            )
            for name, code in splits
        ]
    used = [tables[name].features for name, _ in splits]
    plain = datasets.Value, datasets.ClassLabel
    columns = [
        name for name, kind in first.features.items() if name != label and all(name in one for one in used)
        and isinstance(kind, plain)
    ]  # fmt: skip
    return contents(spec, parts, getattr(first.features[label], "names", None), notes, columns)


def _place(argument: str) -> str | None:
    """Returns the absolute path of a folder, or None for a name on the hub."""
    looks_like_one = argument.startswith((".", "~")) or os.path.isabs(argument)  # noqa: PTH117
    path = absolute(argument)
    if not (looks_like_one or os.path.isdir(path)):  # noqa: PTH112
        return None
    if not os.path.isdir(path):  # noqa: PTH112
        message = f"there is no folder '{path}': expected one of save_to_disk, or one of images; check the path"
        raise DatasetError(message)
    return path


def _from_folder(datasets: Any, path: str) -> Any:
    if any((Path(path) / name).is_file() for name in _SAVED):
        return datasets.load_from_disk(path)
    refuse_bombs(Path(path).rglob("*.parquet"))
    return datasets.load_dataset(path)


def _from_hub(datasets: Any, argument: str) -> Any:
    name, _, revision = argument.partition("@")
    name, _, config = name.partition(":")
    with _cache_alone(datasets, argument) if not hub_answers() else contextlib.nullcontext():
        return datasets.load_dataset(name, config or None, revision=revision or None)


@contextlib.contextmanager
def _cache_alone(datasets: Any, name: str) -> Iterator[None]:
    """Lets the package take what it has in its cache, and ask no server; it says in one line what is missing there.

    Raises:
        DatasetError: the dataset is not in the cache.
    """
    from huggingface_hub import constants

    settings = (datasets.config, constants)
    before = [module.HF_HUB_OFFLINE for module in settings]
    for module in settings:
        module.HF_HUB_OFFLINE = True
    try:
        yield
    except (OSError, ValueError) as error:  # what there is may be another configuration
        message = (
            f"'hf:{name}' is not in the cache of the package datasets ({one_line(str(error), 160)}), and the hub of "
            "Hugging Face cannot be reached: check the network"
        )
        raise DatasetError(message) from error
    finally:
        for module, value in zip(settings, before, strict=True):
            module.HF_HUB_OFFLINE = value


def _columns(spec: str, datasets: Any, features: Any) -> tuple[str, str]:
    """Returns the names of the image column and of the label column."""

    def of_type(kind: Any) -> Sequence[str]:
        return [name for name, feature in features.items() if isinstance(feature, kind)]

    plain = [
        name for name in of_type(datasets.Value) if features[name].dtype.removeprefix("large_").startswith(_LABEL_TYPES)
    ]
    image = choose_column(spec, "image", of_type(datasets.Image), IMAGE_NAMES, [])
    return image, choose_column(spec, "label", of_type(datasets.ClassLabel), LABEL_NAMES, plain)


_LABEL_TYPES = ("string", "int", "uint", "bool")
