"""Datasets that are text files of paths: one list for each split, beside the images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from featurebank.dataset.core import Contents, path_name
from featurebank.dataset.readers.cub import is_cub, read_cub
from featurebank.dataset.readers.text_lists import find_root, read_lines, split_line
from featurebank.dataset.remote.fetching import is_url
from featurebank.dataset.sources.folder import absolute
from featurebank.dataset.sources.paths import Paths
from featurebank.dataset.sources.rows import Problems, TableRows, columns
from featurebank.dataset.splits import TEST, TRAIN, UNDECIDED, VAL
from featurebank.errors import ConfigError, DatasetError

_NAMES = {TRAIN: ("train.txt",), VAL: ("val.txt", "valid.txt", "validation.txt"), TEST: ("test.txt",)}
_ORDERS = {1: (UNDECIDED,), 2: (TRAIN, TEST), 3: (TRAIN, VAL, TEST)}


def load(argument: str) -> Contents:
    """Loads lists of images: each line is a path, or a path and a label.

    Without labels, the class is the name of an image's folder. Paths are relative to the list's folder or to `images`
    in it (for a list in a folder named `lists`, also to those of the parent folder); absolute paths and URLs may be
    listed, too. The tables of CUB-200-2011 are also supported: images.txt, train_test_split.txt and their partners.

    Args:
        argument: a folder with train.txt and optionally val.txt and test.txt, in it or in `lists`; or such files
            themselves, separated by commas: train, test or train, val, test. A single file is split by content.

    Raises:
        ConfigError: there are more than three lists.
        DatasetError: a list is missing or wrong (several problems at once, with their lines), or no image exists.
    """
    place = absolute(argument)
    if os.path.isdir(place):  # noqa: PTH112
        if is_cub(place):
            problems = Problems(f"'{place}'")
            root, rows = read_cub(place, problems)
            return _contents(place, place, root, rows, problems)
        return _from_lists(place, place, _files(place))
    if os.path.isfile(place):  # noqa: PTH113 - also if its name contains a comma
        return _from_lists(os.path.dirname(place), place, {UNDECIDED: place})  # noqa: PTH120
    files = [absolute(part.strip()) for part in argument.split(",") if part.strip()]
    if len(files) not in _ORDERS:
        message = f"lists:{argument} names {len(files)} lists: expected TRAIN,TEST or TRAIN,VAL,TEST"
        raise ConfigError(message)
    order = dict(zip(_ORDERS[len(files)], files, strict=True))
    return _from_lists(os.path.dirname(files[0]), ",".join(files), order)  # noqa: PTH120


def holds_lists(folder: str) -> bool:
    """Returns whether `load` can load a folder."""
    return is_cub(folder) or bool(_find_lists(folder))


def _find_lists(folder: str) -> dict[int, str]:
    """Returns the list of each split, if there is one for train."""
    for place in (folder, f"{folder}/lists"):
        lists = {
            code: next((path for name in names if os.path.isfile(path := f"{place}/{name}")), "")  # noqa: PTH113
            for code, names in _NAMES.items()
        }
        if lists[TRAIN]:
            return {code: path for code, path in lists.items() if path}
    return {}


def _files(folder: str) -> dict[int, str]:
    lists = _find_lists(folder)
    if not lists:
        message = (
            f"no lists in '{folder}': expected train.txt and optionally val.txt and test.txt, in it or in 'lists'; "
            "or images.txt and train_test_split.txt, as in CUB-200-2011"
        )
        raise DatasetError(message)
    return lists if len(lists) > 1 else {UNDECIDED: lists[TRAIN]}


def _from_lists(folder: str, spec: str, files: Mapping[int, str]) -> Contents:
    read = {path: read_lines(path) for path in files.values()}
    roots = {path: find_root(path, lines, _places(path)) for path, lines in read.items()}
    common = os.path.commonpath(roots.values())
    problems = Problems(f"lists '{spec}'")
    images = [
        (code, _below(common, roots[path], image), label, f"{os.path.basename(path)}, line {line.number}")  # noqa: PTH119
        for code, path in files.items()
        for line in read[path]
        for image, label in [split_line(line.text, roots[path])]
    ]
    codes, paths, labels, places = zip(*images, strict=True)
    names = _class_names(paths, labels, places, problems)
    return _contents(folder, spec, common, TableRows(paths, names, codes, places.__getitem__), problems)


def _below(common: str, root: str, path: str) -> str:
    """Turns a path relative to one list's root into one relative to the common root."""
    path = path.replace(os.sep, "/")
    if root == common or os.path.isabs(path) or is_url(path):  # noqa: PTH117 - strings, for a million lines
        return path
    return f"{os.path.relpath(root, common).replace(os.sep, '/')}/{path}"


def _places(path: str) -> list[str]:
    """Returns the possible folders of a list's images."""
    folder = os.path.dirname(path)  # noqa: PTH120
    above, _, last = folder.rpartition("/")
    beside = [f"{above}/images", above or "/"] if last == "lists" else []
    return [folder, f"{folder}/images", *beside]


def _class_names(
    paths: Sequence[str], labels: Sequence[str | None], places: Sequence[str], problems: Problems
) -> list[str]:
    labelled = any(labels)
    names = list(labels) if labelled else [path.rpartition("/")[0].rpartition("/")[2] for path in paths]
    for path, name, place in zip(paths, names, places, strict=True):
        if not name:
            why = "has no label, but others have" if labelled else "has no label and is in no folder"
            problems.add(f"{place}: '{path}' {why}")
    return [name or "" for name in names]


def _contents(folder: str, spec: str, root: str, rows: TableRows, problems: Problems) -> Contents:
    table = columns(rows, problems)
    return Contents(
        name=path_name(folder, spec),
        spec=f"lists:{spec}",
        classes=table.classes,
        ids=table.ids,
        labels=table.labels,
        pixels=Paths(root, table.ids),
        predefined=table.predefined,
        notes=table.notes,
    )
