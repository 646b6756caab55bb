"""Datasets of TensorFlow Datasets. Their files are read directly, so that listing them needs no TensorFlow."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from featurebank.dataset.core import Contents
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
from featurebank.errors import DatasetError, MissingDependencyError, unknown_name
from featurebank.system.downloads import SECONDS_WITHOUT_ANSWER, reason_of, sockets_with_limit
from featurebank.system.files import open_regular

_HEADER = struct.Struct("<Q4x")  # length of the record, checksum of the length
_FOOTER_BYTES = 4
_RETRIES = 1
_CONNECT_S = 8.0


class TfRecords:
    """The records of .tfrecord files, by number.

    Args:
        paths: the files.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(paths)
        spans = [_spans(path) for path in paths]
        self._files = np.repeat(np.arange(len(paths)), [len(span) for span in spans])
        self._spans = np.concatenate([np.empty((0, 2), np.int64), *spans])

    def __len__(self) -> int:
        return len(self._spans)

    def __call__(self, row: int) -> bytes:
        """Returns a record; raises OSError."""
        start, size = self._spans[row].tolist()
        with open_regular(self._paths[self._files[row]]) as file:
            file.seek(start)
            data = file.read(size)
        if len(data) < size:
            message = "the file is shorter than it was"
            raise OSError(message)
        return data


class ArrayRecords:
    """The records of .array_record files, by number.

    Args:
        paths: the files.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(paths)

    def __len__(self) -> int:
        return len(_array_records(self._paths))

    def __call__(self, row: int) -> bytes:
        """Returns a record; raises OSError."""
        with _lock:  # its documentation does not say whether readers may be shared
            return bytes(_array_records(self._paths)[row])


_lock = threading.Lock()


@functools.lru_cache(maxsize=8)
def _array_records(paths: tuple[str, ...]) -> Any:
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    return ArrayRecordDataSource(list(paths))


_FORMATS: dict[str, Callable[[Sequence[str]], Any]] = {"tfrecord": TfRecords, "array_record": ArrayRecords}


class RecordReader:
    """Reads the encoded images of one split.

    Args:
        records: returns serialized examples by number.
        column: name of the image column.
    """

    def __init__(self, records: Callable[[int], bytes], column: str) -> None:
        self._records = records
        self._column = column

    def __call__(self, row: int) -> bytes:
        """Returns the bytes of an image file; raises OSError."""
        values = _example(self._records(row))[self._column].bytes_list.value
        if len(values) != 1:
            message = "no image in this row"
            raise OSError(message)
        return bytes(values[0])


def load(argument: str) -> Contents:
    """Loads a dataset of TensorFlow Datasets; downloads and prepares it first if needed.

    Args:
        argument: NAME, NAME/CONFIG or NAME/CONFIG:VERSION; their directory is `$TFDS_DATA_DIR`.

    Raises:
        MissingDependencyError: the package is not installed.
        DatasetError: there is no such dataset, or it does not consist of images with labels.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        message = (
            "datasets of TensorFlow Datasets need the package tensorflow-datasets: pip install 'featurebank[tfds]'"
        )
        raise MissingDependencyError(message) from error
    spec = f"tfds:{argument}"
    with foreign(spec, "tensorflow-datasets"), _short_waits():
        builder = _builder(tfds, argument)
        image, label = _columns(spec, tfds, builder.info.features)
        builder.download_and_prepare()
        splits, notes = choose_splits(spec, list(builder.info.splits))
        parts = []
        for name, code in splits:
            records = _records(spec, builder.info, name)
            check_rows(spec, len(records))
            labels = [_label(_example(records(row))[label]) for row in range(len(records))]
            parts.append(EncodedSplit(name if code is not None else "", code, labels, RecordReader(records, image)))
        names = getattr(builder.info.features[label], "names", None)
    return contents(spec, parts, names, notes)


@contextlib.contextmanager
def _short_waits() -> Iterator[None]:
    """Gives downloads of the package a time limit, which they lack, and two tries in place of ten in three minutes."""
    from tensorflow_datasets.core.download import downloader

    logger, names = logging.getLogger("urllib3.connectionpool"), ("MAX_RETRIES", "_open_url")
    before, level = [getattr(downloader, name) for name in names], logger.level
    downloader.MAX_RETRIES = _RETRIES
    downloader._open_url = functools.partial(downloader._open_url, timeout=(_CONNECT_S, SECONDS_WITHOUT_ANSWER))
    logger.setLevel(logging.ERROR)  # it warns of each further try
    try:
        with sockets_with_limit():
            yield
    except OSError as error:
        if not type(error).__module__.startswith("requests"):
            raise
        server = urlsplit(str(getattr(getattr(error, "request", None), "url", "") or "")).netloc
        message = f"{server or 'a server'} could not be reached ({reason_of(error)})"
        raise OSError(message) from error
    finally:
        logger.setLevel(level)
        for name, value in zip(names, before, strict=True):
            setattr(downloader, name, value)


def _builder(tfds: Any, argument: str) -> Any:
    try:
        return tfds.builder(argument, data_dir=os.environ.get("TFDS_DATA_DIR") or None)
    except tfds.core.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        raise unknown_name("dataset of TensorFlow Datasets", argument, known) from error


def _records(spec: str, info: Any, split: str) -> Any:
    kind = info.file_format.value
    if kind not in _FORMATS:
        message = f"'{spec}' is prepared as {kind}: expected tfrecord or array_record; prepare it as one of these"
        raise DatasetError(message)
    return _FORMATS[kind]([str(path) for path in info.splits[split].filepaths])


def _columns(spec: str, tfds: Any, features: Any) -> tuple[str, str]:
    """Returns the names of the image column and of the label column."""

    def of_type(kind: Any) -> list[str]:
        return [name for name, feature in features.items() if type(feature) is kind]

    kinds = tfds.features
    images = [name for name in of_type(kinds.Image) if features[name].np_dtype in (np.uint8, np.uint16)]
    plain = [*of_type(kinds.Text), *(name for name in of_type(kinds.Scalar) if features[name].np_dtype.kind in "iu")]
    image = choose_column(spec, "image", images, IMAGE_NAMES, [])
    return image, choose_column(spec, "label", of_type(kinds.ClassLabel), LABEL_NAMES, plain)


def _example(record: bytes) -> Any:
    """Returns the features of a serialized example, by name."""
    from tensorflow_datasets.proto import tf_example_pb2

    return tf_example_pb2.Example.FromString(record).features.feature


def _label(feature: Any) -> str | int | None:
    if feature.bytes_list.value:
        return str(feature.bytes_list.value[0], "utf-8", "backslashreplace")
    return int(feature.int64_list.value[0]) if feature.int64_list.value else None


def _spans(path: str) -> np.ndarray:
    """Returns the start and length of each record of a .tfrecord file: (n, 2) int64.

    Raises:
        DatasetError: the file ends in the middle of a record.
    """
    size = Path(path).stat().st_size
    spans = []
    with open_regular(path) as file:
        start = 0
        while start < size:
            file.seek(start)
            header = file.read(_HEADER.size)
            length = _HEADER.unpack(header)[0] if len(header) == _HEADER.size else size
            spans.append((start + _HEADER.size, length))
            start += _HEADER.size + length + _FOOTER_BYTES
    if start != size:
        message = f"'{path}' ends in the middle of a record: delete the dataset and prepare it again"
        raise DatasetError(message)
    return np.array(spans, np.int64).reshape(-1, 2)
