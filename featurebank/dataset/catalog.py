"""The kinds of datasets, and `load_images`, which turns a specification as "folder:photos" into a `Dataset`.

A specification is one of

    digits  cifar10  cifar100  flowers  birds         by name
    folder:PATH  folder:PATH#layout=splits            one folder per class
    manifest:FILE.csv  manifest:FILE.parquet          a table with the columns path,label[,split][,weight]; also a URL
    manifest:FILE.csv#path=file,label=class           the same, with other column names
    lists:DIR  lists:TRAIN.txt,TEST.txt               text files of paths, and of labels unless folders are classes
    npz:FILE                                          arrays x and y
    hf:NAME[:CONFIG][@REVISION]  hf:./FOLDER          Hugging Face, if the package datasets is installed
    tfds:NAME[/CONFIG]                                TensorFlow Datasets, if its package is installed
    PATH                                              a folder, a .csv, .tsv, .parquet or .npz file
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from featurebank.dataset.core import Contents, Dataset
from featurebank.dataset.grouping.rule import check_apart, with_groups
from featurebank.dataset.held_out import with_test
from featurebank.dataset.options import DatasetOptions
from featurebank.dataset.readers.column_names import KNOWN
from featurebank.dataset.remote.fetching import is_url
from featurebank.dataset.spec_options import join_options, split_options
from featurebank.dataset.splits import UNLABELLED
from featurebank.dataset.subset import select_subset
from featurebank.dataset.unlabelled_option import KEEP, keeps_unlabelled
from featurebank.dataset.values.registry import contents_for, is_value_spec
from featurebank.errors import ConfigError, DatasetError, UnknownNameError, unknown_name


@dataclass(frozen=True)
class _Kind:
    """A kind of dataset.

    Args:
        loader: MODULE:FUNCTION, (argument) -> Contents, imported on use.
        argument: the part after the colon, for people; "" if there is none.
        what: one-line description of a kind that takes an argument.
        where: where such a dataset comes from.
        package: the package that it needs beyond featurebank's own.
        extra: the extra of featurebank that installs that package.
    """

    loader: str
    argument: str = ""
    what: str = ""
    where: str = "a path on this machine"
    package: str = ""
    extra: str = ""


_HUB = "the hub, downloaded on first use, or a path on this machine"
_PREPARED = "$TFDS_DATA_DIR, downloaded and prepared on first use"
_KINDS = {
    "digits": _Kind("sources.arrays:load_digits"),
    "cifar10": _Kind("sources.cifar:load_cifar10"),
    "cifar100": _Kind("sources.cifar:load_cifar100"),
    "flowers": _Kind("sources.photos:load_flowers"),
    "birds": _Kind("sources.photos:load_birds"),
    "folder:": _Kind("sources.folder:load", "PATH", "image files, one folder per class"),
    "manifest:": _Kind(
        "sources.table:load",
        "FILE.csv",
        "a table path,label[,split][,weight]: .csv, .tsv, .parquet",
        "a path on this machine or a URL",
    ),
    "lists:": _Kind("sources.lists:load", "DIR", "text files of paths, train.txt and test.txt"),
    "npz:": _Kind("sources.arrays:load_npz", "FILE", "arrays x and y in a .npz file"),
    "hf:": _Kind(
        "sources.huggingface:load", "NAME", "Hugging Face, NAME[:CONFIG][@REVISION] or a folder", _HUB, "datasets", "hf"
    ),
    "tfds:": _Kind(
        "sources.tensorflow_datasets:load",
        "NAME",
        "TensorFlow Datasets, NAME[/CONFIG]",
        _PREPARED,
        "tensorflow_datasets",
        "tfds",
    ),
}

OPTIONS = {"folder:": ("layout", UNLABELLED), "manifest:": (*KNOWN, UNLABELLED)}
"""Names of the options that may follow "#" in a specification, by kind."""

_BY_SUFFIX = {".npz": "npz:", ".csv": "manifest:", ".tsv": "manifest:", ".parquet": "manifest:"}
_PATHS = "a folder of class folders, or a .csv, .parquet or .npz file"
_HINT = "no folder or table has this name, either: expected the path of one; a folder holds one folder per class"


@dataclass(frozen=True)
class DatasetInfo:
    """One line of the table of datasets.

    Args:
        name: the name for `load_dataset`.
        what: one-line description.
        images: number of images, if it is known beforehand.
        available: whether it can be loaded without a download.
        where: where it comes from.
    """

    name: str
    what: str
    images: int | None
    available: bool
    where: str


def load_images(spec: str, options: DatasetOptions) -> Dataset:
    """Loads a dataset; see `featurebank.load_dataset`.

    Args:
        spec: see the top of this module.
        options: which of its images, and how they are split.
    """
    layout = {"layout": options.layout} if options.layout else {}
    if is_value_spec(spec):
        return _split(contents_for(spec), options)
    kind, argument = _resolve(spec)
    argument = _with_options(kind, argument, layout, dict(options.columns or {}))
    argument = _with_unlabelled(kind, argument, options.unlabelled)
    try:
        contents = _loader(kind)(argument)
        unused = _unused_lists(argument, contents) if kind == "folder:" else []
        notes = (*contents.notes, *_overlooked(kind), *unused)
        return _split(dataclasses.replace(contents, notes=notes), options)
    except DatasetError as error:
        argument = split_options(argument, OPTIONS["folder:"])[0]
        if kind == "folder:" and _holds_lists(argument):
            message = f"{error}; it holds lists of images: try 'lists:{argument}'"
            raise DatasetError(message) from error
        raise


def _split(contents: Contents, options: DatasetOptions) -> Dataset:
    """Returns the wanted part of the images as a dataset."""
    contents, rule = select_subset(contents, options.subset), options.group_rule
    if rule is not None:
        contents = with_groups(contents, rule)
    if options.test is not None:
        test = load_images(options.test, DatasetOptions()).contents
        if rule is not None:  # its own splits do not count, all of its images are test images
            test = with_groups(dataclasses.replace(test, predefined=None), rule, several=False)
            check_apart(contents, test)
        contents = with_test(contents, test)
    return Dataset(contents, options.fractions, options.seed)


def dataset_kinds() -> list[str]:
    """Returns the beginnings of dataset specifications: the built-in names, and the other kinds with their colon.

    Example:
        >>> dataset_kinds()[:3]
        ['digits', 'cifar10', 'cifar100']
    """
    return list(_KINDS)


def known_datasets() -> list[DatasetInfo]:
    """Returns the built-in datasets and the kinds of datasets."""
    from featurebank.dataset.sources import cifar, photos

    digits = importlib.util.find_spec("sklearn") is not None
    lines = [DatasetInfo("digits", "handwritten digits, 8 x 8, 10 classes", 1797, digits, "bundled with scikit-learn")]
    small = "small photos, 32 x 32, {} classes"
    for name, what, images, place, download in (
        ("cifar10", small.format(10), 60000, cifar.find("cifar10"), "by Keras on first use (170 MB)"),
        ("cifar100", small.format(100), 60000, cifar.find("cifar100"), "by Keras on first use (170 MB)"),
        ("flowers", "photos of flowers, 5 classes", 3670, photos.where_flowers(), "on first use (229 MB)"),
        ("birds", "photos of birds, 200 classes (CUB-200)", 6033, photos.where_birds(), "on first use (680 MB)"),
    ):
        where = f"downloaded {download}" if place is None else str(place)
        lines.append(DatasetInfo(name, what, images, place is not None, where))
    return [*lines, *(_kind_line(name, kind) for name, kind in _KINDS.items() if kind.argument)]


def _kind_line(name: str, kind: _Kind) -> DatasetInfo:
    missing = kind.package and importlib.util.find_spec(kind.package) is None
    where = f"needs the package {kind.package}: pip install 'featurebank[{kind.extra}]'" if missing else kind.where
    return DatasetInfo(f"{name}{kind.argument}", kind.what, None, not missing, where)


def _resolve(spec: str) -> tuple[str, str]:
    """Returns the kind of a dataset, a key of the table, and its argument."""
    if spec in _KINDS and not spec.endswith(":"):
        return spec, ""
    head, colon, argument = spec.partition(":")
    if colon and f"{head}:" in _KINDS:
        if not argument:
            message = f"dataset '{spec}' names no path: expected {spec}{_KINDS[spec].argument}"
            raise ConfigError(message)
        return f"{head}:", argument
    if colon and head in _KINDS:
        message = f"dataset '{spec}': '{head}' takes no argument; use '{head}' alone"
        raise ConfigError(message)
    return _resolve_path(spec)


def _with_options(kind: str, argument: str, layout: Mapping[str, str], columns: Mapping[str, str]) -> str:
    """Writes options into a dataset's specification, so that loading it again includes them."""
    for name, options, home in (("layout", layout, "folder:"), ("columns", columns, "manifest:")):
        if options and kind != home:
            message = f"{name} is given for the dataset '{kind}{argument}': it applies only to '{home}'; leave it out"
            raise ConfigError(message)
    for name, column in columns.items():
        if name not in KNOWN:
            raise unknown_name("column", name, KNOWN, "write path=file,label=class")
        if not column or set(column) & set("#,="):
            message = f"the column '{column}' for {name}: expected a name without '#', ',' and '='; rename the column"
            raise ConfigError(message)
    path, written = split_options(argument, OPTIONS.get(kind, ()))
    return join_options(path, {**written, **layout, **columns})


def _with_unlabelled(kind: str, argument: str, value: str | None) -> str:
    """Writes into a dataset's specification that images without a label stay in it."""
    if not keeps_unlabelled(value):
        return argument
    if kind not in OPTIONS:
        message = (
            f"{UNLABELLED} is given for the dataset '{kind}{argument}': only a folder and a table can have images "
            "without a label; leave it out"
        )
        raise ConfigError(message)
    path, written = split_options(argument, OPTIONS[kind])
    return join_options(path, {**written, UNLABELLED: KEEP})


def _overlooked(kind: str) -> list[str]:
    """Returns a note if a built-in dataset has the name of a folder of the user's, which is not read."""
    if kind.endswith(":") or not os.path.isdir(kind):  # noqa: PTH112
        return []
    return [f"this is the built-in dataset '{kind}', not the folder '{kind}' here: write './{kind}' for the folder"]


def _resolve_path(spec: str) -> tuple[str, str]:
    bare = split_options(spec, [name for names in OPTIONS.values() for name in names])[0]
    path = os.path.expanduser(bare)  # noqa: PTH111 - a Path would drop the "./" that marks a path
    if os.path.isdir(path):  # noqa: PTH112
        return "folder:", spec
    suffix = os.path.splitext(bare.split("?", 1)[0] if is_url(bare) else path)[1].lower()  # noqa: PTH122
    if suffix in _BY_SUFFIX and (os.path.isfile(path) or (is_url(spec) and suffix != ".npz")):  # noqa: PTH113
        return _BY_SUFFIX[suffix], spec
    if os.path.isfile(path):  # noqa: PTH113
        message = f"dataset '{spec}' is a file: expected {_PATHS}; use one of these"
        raise DatasetError(message)
    if is_url(spec):
        message = (
            f"'{spec}' is a URL of no table: expected a .csv, .tsv or .parquet file; list the addresses of images in "
            "such a table, in the columns path and label"
        )
        raise DatasetError(message)
    if "/" in spec or os.sep in spec or spec.startswith((".", "~")):
        message = f"dataset '{spec}' does not exist: expected {_PATHS} at this path; check it"
        raise DatasetError(message)
    raise _unknown(spec)


def _unused_lists(argument: str, contents: Contents) -> list[str]:
    """Returns a note if a folder that is read by its subfolders also holds lists of images.

    Raises:
        DatasetError: the subfolders do not look like class folders, so the lists are probably intended.
    """
    folder = split_options(argument, OPTIONS["folder:"])[0]
    if contents.predefined is not None or not _holds_lists(folder):
        return []
    first = {name.partition("/")[0] for name in contents.ids}
    if len(first) == 1 and folder == argument:
        message = f"'{folder}' holds one folder, '{first.pop()}'"
        raise DatasetError(message)
    return [f"the lists of images in '{folder}' are not read: 'lists:{folder}' takes classes and splits from them"]


def _holds_lists(folder: str) -> bool:
    from featurebank.dataset.sources.lists import holds_lists

    return holds_lists(os.path.expanduser(folder))  # noqa: PTH111


def _unknown(spec: str) -> UnknownNameError:
    return unknown_name("dataset", spec, [f"{name}{kind.argument}" for name, kind in _KINDS.items()], _HINT)


def _loader(kind: str) -> Callable[[str], Contents]:
    module, _, function = _KINDS[kind].loader.partition(":")
    loader = getattr(importlib.import_module(f"featurebank.dataset.{module}"), function)
    return cast("Callable[[str], Contents]", loader)
