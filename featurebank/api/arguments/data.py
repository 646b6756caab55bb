"""What the public functions accept as paths, texts, sizes, datasets and backbones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np

from featurebank.api.arguments.checks import Accepts
from featurebank.backbone import Backbone, BackboneOptions, load_network
from featurebank.dataset import Dataset, DatasetOptions, load_images
from featurebank.dataset.values.catalog import WORDS, is_dataset_value, spec_of_value
from featurebank.storage.caches import cache_directory

_PIXELS = 2


def is_path(value: Any) -> bool:
    """Returns whether a value may be a path."""
    return isinstance(value, str | os.PathLike)


def _is_whole(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _is_side(value: Any) -> bool:
    pair = isinstance(value, tuple | list) and len(value) == _PIXELS and all(map(_is_whole, value))
    return _is_whole(value) or pair


def _are_texts(value: Any) -> bool:
    is_list = isinstance(value, Sequence | np.ndarray) and not isinstance(value, bytes)
    return isinstance(value, str) or (is_list and all(isinstance(one, str) for one in value))


PathLike: TypeAlias = Annotated[str | os.PathLike[str], Accepts(is_path), "a path, as a text or a Path"]
SourceLike: TypeAlias = Annotated[
    str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | tuple[Any, Any] | Any,
    Accepts(lambda value: is_path(value) or is_dataset_value(value)),
    WORDS,
]
"""What `load_dataset` reads."""
DatasetLike: TypeAlias = Annotated[
    Dataset | SourceLike,
    Accepts(lambda value: isinstance(value, Dataset) or is_path(value) or is_dataset_value(value)),
    f"a Dataset, {WORDS}",
]
BackboneLike: TypeAlias = Annotated[
    Backbone | str | os.PathLike[str],
    Accepts(lambda value: isinstance(value, Backbone) or is_path(value)),
    "a Backbone, or its name, as 'resnet50'; backbone_from_model makes one of a Keras model",
]
ImageSize: TypeAlias = Annotated[
    int | tuple[int, int], Accepts(_is_side), "a whole number of pixels, or twice the same, as (224, 224)"
]
GroupsLike: TypeAlias = Annotated[
    str | Sequence[Any] | np.ndarray,
    Accepts(lambda value: isinstance(value, str | list | tuple) or hasattr(value, "__array__")),
    "the name of a column, 'path:REGEX', or a list with the group of each image",
]
Texts: TypeAlias = Annotated[str | Sequence[str], Accepts(_are_texts), "a text or a list of texts"]


def as_path(value: str | os.PathLike[str]) -> Path:
    """Returns a path; `~` is the home directory."""
    return Path(value).expanduser()


def as_cache(value: str | os.PathLike[str] | None) -> Path:
    """Returns the directory of the banks; None is the default; for a cache in a bucket, that of its mirror."""
    return cache_directory(None if value is None else os.path.expanduser(value))  # noqa: PTH111 - an address stays


def as_texts(value: str | Sequence[str]) -> list[str]:
    """Returns a list of texts; a single one is a list of one."""
    return [value] if isinstance(value, str) else list(value)


def as_spec(
    value: DatasetLike, columns: Mapping[str, str] | None = None, unlabelled: Literal["keep"] | None = None,
    groups: Any = None,
) -> str:  # fmt: skip
    """Returns the specification of a dataset that is not a `Dataset` yet.

    Raises:
        DatasetError: images, labels or paths are wrong.
    """
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    return spec_of_value(value, columns, unlabelled, groups)


def as_dataset(value: DatasetLike) -> Dataset:
    """Returns a dataset with the usual split.

    Raises:
        DatasetError, UnknownNameError: there is no such dataset, or its images, labels or paths are wrong.
    """
    return value if isinstance(value, Dataset) else load_images(as_spec(value), DatasetOptions())


def as_backbone(value: Backbone | str | os.PathLike[str]) -> Backbone:
    """Returns a backbone; a name stands for its usual weights and input.

    Raises:
        UnknownNameError: there is no such backbone.
    """
    return value if isinstance(value, Backbone) else load_network(os.fspath(value), BackboneOptions())
