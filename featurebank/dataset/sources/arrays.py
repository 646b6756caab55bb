"""Datasets that are arrays: the digits of scikit-learn, and the user's .npz files."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.dataset.class_names import in_order
from featurebank.dataset.core import Contents, path_name
from featurebank.dataset.decoding.decode import Facts
from featurebank.dataset.decoding.image_bytes import as_expected, with_digest
from featurebank.dataset.decoding.levels import Levels
from featurebank.dataset.grouping.further_columns import ArrayReader, FurtherColumns
from featurebank.dataset.readers.npz import read_npz
from featurebank.dataset.sources.folder import absolute
from featurebank.dataset.splits import SPLITS
from featurebank.errors import DatasetError
from featurebank.system import digest

_GREY_NDIM = 3
_COLOUR_NDIM = 4
_BLOCK_BYTES = 1 << 26
_NAMES = (("x", "y"), ("images", "labels"))


class Arrays:
    """Images in memory.

    Args:
        images: (n, h, w) or (n, h, w, 3) uint8.
        spec: the specification that loads them again, in the same order; empty if there is none.
    """

    in_threads = False
    in_memory = True

    def __init__(self, images: np.ndarray, spec: str = "") -> None:
        self._images, self.spec = images, spec

    def cut(self, indices: Sequence[int]) -> Arrays:
        """Returns a copy of some of the images; see `featurebank.dataset.cutting`."""
        return Arrays(self._images[np.asarray(indices, np.int64)])

    def digest(self, index: int) -> str:
        """Returns the digest of the image as `image` returns it, so that grey stored with 1 or 3 channels is equal."""
        return digest.of_array(self.image(index, None))

    def image(self, index: int, expected: bytes | None, levels: Levels | None = None) -> np.ndarray:
        """Returns a copy of one image: (h, w, 3) uint8; raises LostImageError if its digest is not the expected one."""
        image: np.ndarray = self._images[index]
        colour = image.ndim == _COLOUR_NDIM - 1
        return as_expected(image.copy() if colour else np.repeat(image[:, :, np.newaxis], 3, axis=2), expected)

    def image_with_digest(self, index: int, levels: Levels | None = None) -> tuple[np.ndarray, bytes]:
        """Returns a copy of one image, with its digest."""
        return with_digest(self.image(index, None))

    def facts(self, index: int, expected: bytes | None, levels: Levels | None = None) -> Facts:
        """Returns the properties of an image, from the shape of the array."""
        height, width = self._images.shape[1:3]
        return Facts(width, height, "array", "RGB" if self._images.ndim == _COLOUR_NDIM else "L", rotated=False)


@dataclass(frozen=True)
class ArraySplit:
    """The images of one split, or of no split.

    Args:
        split: its code, or None.
        images: (n, h, w) or (n, h, w, 3) uint8.
        labels: (n,) class names or whole numbers.
    """

    split: int | None
    images: np.ndarray
    labels: np.ndarray


def load_digits(argument: str) -> Contents:
    """Loads the 1797 handwritten digits of 8 x 8 pixels that come with scikit-learn."""
    from sklearn.datasets import load_digits as bundled

    bundle = bundled()
    images = np.rint(bundle.images * (255 / 16)).astype(np.uint8)
    return from_parts("digits", "digits", [ArraySplit(None, images, bundle.target)], None)


def load_npz(argument: str) -> Contents:
    """Loads a .npz file with the arrays x and y, or x_train and y_train and optionally x_val, y_val, x_test, y_test.

    The names may also be images and labels. x is (n, h, w), (n, h, w, 1) or (n, h, w, 3): uint8, other whole numbers
    from 0 to 255, or floats from 0 to 1 (they are multiplied by 255 and rounded; other floats are refused, because
    their meaning would be a guess). y is (n,) or (n, 1): names or whole numbers. `classes`, if it exists, names the
    numbers 0, 1, ... Named classes are sorted by name, classes without names by number. Nothing is unpickled.

    Args:
        argument: the file's path; `~` is the home directory.

    Raises:
        DatasetError: the file is missing, damaged, or holds something else.
    """
    path = absolute(argument)
    members = read_npz(path)
    parts = npz_parts(path, members)
    names = _class_names(path, members["classes"]) if "classes" in members else None
    contents = from_parts(path_name(path.removesuffix(".npz")), f"npz:{path}", parts, names)
    return dataclasses.replace(contents, further=_further(members, parts))


def _further(members: Mapping[str, np.ndarray], parts: Sequence[ArraySplit]) -> FurtherColumns:
    """Returns the further arrays that have a value for each image: `patient`, or `patient_train` and `patient_test`."""
    sizes = {"" if part.split is None else f"_{SPLITS[part.split]}": len(part.labels) for part in parts}
    first, used = next(iter(sizes)), {*itertools.chain(*_NAMES), "classes"}

    def is_whole(name: str) -> bool:
        columns = [(members.get(name + suffix), size) for suffix, size in sizes.items()]
        return all(column is not None and column.shape == (size,) for column, size in columns)

    names = [key.removesuffix(first) for key in members if key.endswith(first)]
    names = [name for name in names if name not in used and is_whole(name)]
    which = np.repeat(np.arange(len(sizes)), list(sizes.values()))
    rows = np.concatenate([np.arange(size) for size in sizes.values()])
    return FurtherColumns(tuple(names), [ArrayReader(members, suffix) for suffix in sizes], which, rows)


def npz_parts(path: str, members: Mapping[str, np.ndarray]) -> list[ArraySplit]:
    """Returns the images and labels among the arrays of a .npz file.

    Raises:
        DatasetError: they are missing, or have an unusable shape or type.
    """
    for x, y in _NAMES:
        whole = [(None, x, y)]
        split: list[tuple[int | None, str, str]] = [(c, f"{x}_{s}", f"{y}_{s}") for c, s in enumerate(SPLITS)]
        for names in (whole, split):
            present = [name for name in names if name[1] in members and name[2] in members]
            if present and present[0] == names[0]:  # train is required
                return [_part(path, members, *name) for name in present]
    message = (
        f"'{path}' holds the arrays {', '.join(members) or '(none)'}: expected x and y, "
        "or x_train and y_train with x_test and y_test; write it with numpy.savez(file, x=images, y=labels)"
    )
    raise DatasetError(message)


def from_parts(name: str, spec: str, parts: Sequence[ArraySplit], names: Sequence[str] | None) -> Contents:
    """Joins the splits of an array dataset into columns.

    Args:
        name: slug for directory names.
        spec: the canonical specification that loads it again.
        parts: the splits; a single part without a split if there are none.
        names: names of the labels 0, 1, ...; None if the labels are names, or numbers without names.

    Raises:
        DatasetError: there are no images, a label has no name, or the parts differ in shape.
    """
    if len({part.images.shape[1:] for part in parts}) > 1:
        shapes = ", ".join(str(part.images.shape[1:]) for part in parts)
        message = f"the splits of '{spec}' have images of shapes {shapes}: expected the same shape in each"
        raise DatasetError(message)
    raw = np.concatenate([part.labels for part in parts])
    if not len(raw):
        message = f"'{spec}' holds no images: expected at least one of each of two classes"
        raise DatasetError(message)
    classes, labels = encode(spec, raw, names)
    images = parts[0].images if len(parts) == 1 else np.concatenate([part.images for part in parts])
    codes = None
    if len(parts) > 1:
        codes = np.concatenate([np.full(len(part.labels), part.split, np.int8) for part in parts])
    return Contents(name, spec, classes, tuple(_ids(parts)), labels, Arrays(images, spec), codes)


def _ids(parts: Sequence[ArraySplit]) -> list[str]:
    prefixes = ["" if part.split is None else f"{SPLITS[part.split]}/" for part in parts]
    return [f"{prefix}{row}" for prefix, part in zip(prefixes, parts, strict=True) for row in range(len(part.labels))]


def encode(spec: str, raw: np.ndarray, names: Sequence[str] | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Turns labels into class names and indices.

    Args:
        spec: the dataset, for messages.
        raw: (n,) names or whole numbers.
        names: names of the labels 0, 1, ...; None if the labels are names, or numbers without names.

    Returns:
        The class names, sorted by name or by number, and (n,) int32 indices into them.

    Raises:
        DatasetError: a label has no name.
    """
    values, codes = np.unique(raw, return_inverse=True)
    if names is None:
        texts = [str(value) for value in values]
        classes = in_order(texts)
        return classes, np.array([classes.index(name) for name in texts], np.int32)[codes]
    if values.dtype.kind == "U":
        unknown = next((value for value in values if value not in names), None)
        positions = [] if unknown is not None else [names.index(value) for value in values]
    else:
        unknown = next((value for value in values if not 0 <= value < len(names)), None)
        positions = [] if unknown is not None else values.tolist()
    if unknown is not None:
        message = (
            f"'{spec}' has the label {str(unknown)!r}: expected one of the {len(names)} in classes; fix y or classes"
        )
        raise DatasetError(message)
    classes = in_order(names)
    table = np.array([classes.index(names[position]) for position in positions], np.int32)
    return classes, table[codes]


def _part(path: str, members: Mapping[str, np.ndarray], split: int | None, x: str, y: str) -> ArraySplit:
    images = images_as_bytes(path, x, members[x])
    labels = members[y]
    if labels.ndim == 2 and labels.shape[1] == 1:  # noqa: PLR2004 - as in Keras's datasets
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != len(images):
        message = f"{y} of '{path}' has the shape {labels.shape}: expected ({len(images)},), one label for each of {x}"
        raise DatasetError(message)
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "backslashreplace")
    if labels.dtype.kind not in "iuU":
        message = f"{y} of '{path}' is of type {labels.dtype}: expected whole numbers or strings"
        raise DatasetError(message)
    return ArraySplit(split, images, labels)


def images_as_bytes(path: str, key: str, array: np.ndarray) -> np.ndarray:
    """Returns images as uint8.

    Args:
        path: what messages call their file.
        key: what messages call them.
        array: (n, h, w), (n, h, w, 1) or (n, h, w, 3): uint8, other whole numbers from 0 to 255, or floats from 0 to 1.

    Raises:
        DatasetError: they are none of these.
    """
    if array.ndim == _COLOUR_NDIM and array.shape[3] == 1:
        array = array[:, :, :, 0]
    colour = array.ndim == _COLOUR_NDIM and array.shape[3] == 3  # noqa: PLR2004 - red, green and blue
    if not (colour or array.ndim == _GREY_NDIM) or 0 in array.shape[1:]:
        message = f"{key} of '{path}' has the shape {array.shape}: expected (n, h, w), (n, h, w, 1) or (n, h, w, 3)"
        raise DatasetError(message)
    if array.dtype == np.uint8:
        return array
    images = np.empty(array.shape, np.uint8)
    step = max(1, _BLOCK_BYTES // max(1, array[:1].nbytes))  # in blocks: a copy of all floats would double the memory
    for start in range(0, len(array), step):
        images[start : start + step] = _to_bytes(path, key, array[start : start + step])
    return images


def _to_bytes(path: str, key: str, block: np.ndarray) -> np.ndarray:
    kind = block.dtype.kind
    most = {"f": 1, "i": 255, "u": 255}.get(kind)
    if most is None:
        message = f"{key} of '{path}' is of type {block.dtype}: expected uint8 from 0 to 255, or floats from 0 to 1"
        raise DatasetError(message)
    low, high = block.min(), block.max()
    if kind == "f" and not (np.isfinite(low) and np.isfinite(high)):
        message = f"{key} of '{path}' holds NaN or infinity: expected floats from 0 to 1; fix it and save it as uint8"
        raise DatasetError(message)
    if low < 0 or high > most:
        name = "floats" if kind == "f" else "whole numbers"
        message = (
            f"{key} of '{path}' has values from {low} to {high}: expected {name} from 0 to {most}; save it as uint8"
        )
        raise DatasetError(message)
    return np.rint(block * 255.0).astype(np.uint8) if kind == "f" else block.astype(np.uint8)


def _class_names(path: str, names: Any) -> list[str]:
    if names.dtype.kind == "S":
        names = np.char.decode(names, "utf-8", "backslashreplace")
    if names.ndim != 1 or names.dtype.kind != "U" or len(set(names.tolist())) != len(names):
        message = (
            f"classes of '{path}' is of type {names.dtype} and shape {names.shape}: "
            "expected one list of different strings, the names of the labels 0, 1, ..."
        )
        raise DatasetError(message)
    return [str(name) for name in names]
