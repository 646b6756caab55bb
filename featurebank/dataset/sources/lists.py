"""Datasets that are text files of paths: a list for each split, beside the images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from featurebank.dataset.core import Contents, path_name
from featurebank.dataset.readers.cub import is_cub, read_cub
from featurebank.dataset.readers.text_lists import find_root, read_lines, split_line
from featurebank.dataset.sources.folder import absolute
from featurebank.dataset.sources.paths import Paths
from featurebank.dataset.sources.remote import is_url
from featurebank.dataset.sources.rows import Problems, TableRows, columns
from featurebank.dataset.splits import TEST, TRAIN, UNDECIDED, VAL
from featurebank.errors import ConfigError, DatasetError

_NAMES = {TRAIN: ("train.txt",), VAL: ("val.txt", "valid.txt", "validation.txt"), TEST: ("test.txt",)}
_ORDERS = {1: (UNDECIDED,), 2: (TRAIN, TEST), 3: (TRAIN, VAL, TEST)}


def load(argument: str) -> Contents:
    """Reads lists of images: each line a path, or a path and a label.

    Without labels the class is the name of an image's folder. Paths start from the list's folder or from `images` in
    it (of a list in a folder called `lists`, from those of the folder above too); absolute paths and URLs may be
    listed. The tables of CUB-200-2011 are understood as well: images.txt, train_test_split.txt and their partners.

    Args:
        argument: a folder that holds train.txt, and val.txt and test.txt where there are any, itself or in `lists`; or
            such files themselves, with commas between them: train, test or train, val, test. One file alone is split
            by content.

    Raises:
        ConfigError: there are more than three lists.
        DatasetError: a list is missing or wrong (several problems at once, with their lines), or no image is there.
    """
    place = absolute(argument)
    if os.path.isdir(place):  # noqa: PTH112
        if is_cub(place):
            problems = Problems(f"'{place}'")
            root, rows = read_cub(place, problems)
            return _contents(place, place, root, rows, problems)
        return _from_lists(place, place, _files(place))
    if os.path.isfile(place):  # noqa: PTH113 - also where its name has a comma
        return _from_lists(os.path.dirname(place), place, {UNDECIDED: place})  # noqa: PTH120
    files = [absolute(part.strip()) for part in argument.split(",") if part.strip()]
    if len(files) not in _ORDERS:
        message = f"lists:{argument} names {len(files)} lists: expected TRAIN,TEST or TRAIN,VAL,TEST"
        raise ConfigError(message)
    order = dict(zip(_ORDERS[len(files)], files, strict=True))
    return _from_lists(os.path.dirname(files[0]), ",".join(files), order)  # noqa: PTH120


def holds_lists(folder: str) -> bool:
    """Says whether a folder is one for `load`."""
    return is_cub(folder) or bool(_found(folder))


def _found(folder: str) -> dict[int, str]:
    """Returns the list of each split, where train has one."""
    for place in (folder, f"{folder}/lists"):
        found = {
            code: next((path for name in names if os.path.isfile(path := f"{place}/{name}")), "")  # noqa: PTH113
            for code, names in _NAMES.items()
        }
        if found[TRAIN]:
            return {code: path for code, path in found.items() if path}
    return {}


def _files(folder: str) -> dict[int, str]:
    found = _found(folder)
    if not found:
        message = (
            f"no lists in '{folder}': expected train.txt, and val.txt and test.txt if there are any, in it or in "
            "'lists'; or images.txt and train_test_split.txt, as CUB-200-2011 has them"
        )
        raise DatasetError(message)
    return found if len(found) > 1 else {UNDECIDED: found[TRAIN]}


def _from_lists(folder: str, spec: str, files: Mapping[int, str]) -> Contents:
    read = {path: read_lines(path) for path in files.values()}
    roots = {path: find_root(path, lines, _places(path)) for path, lines in read.items()}
    common = os.path.commonpath(roots.values())
    problems = Problems(f"lists '{spec}'")
    found = [
        (code, _below(common, roots[path], image), label, f"{os.path.basename(path)}, line {line.number}")  # noqa: PTH119
        for code, path in files.items()
        for line in read[path]
        for image, label in [split_line(line.text, roots[path])]
    ]
    codes, paths, labels, places = zip(*found, strict=True)
    names = _class_names(paths, labels, places, problems)
    return _contents(folder, spec, common, TableRows(paths, names, codes, places.__getitem__), problems)


def _below(common: str, root: str, path: str) -> str:
    """Returns a path that starts from one list's root as one that starts from the root of all."""
    path = path.replace(os.sep, "/")
    if root == common or os.path.isabs(path) or is_url(path):  # noqa: PTH117 - strings, for a million lines
        return path
    return f"{os.path.relpath(root, common).replace(os.sep, '/')}/{path}"


def _places(path: str) -> list[str]:
    """Returns where the images of a list may lie."""
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
            why = "has no label, but others have" if labelled else "has no label and lies in no folder"
            problems.add(f"{place}: '{path}' {why}")
    return [name or "" for name in names]


def _contents(folder: str, spec: str, root: str, rows: TableRows, problems: Problems) -> Contents:
    found = columns(rows, problems)
    return Contents(
        name=path_name(folder, spec),
        spec=f"lists:{spec}",
        classes=found.classes,
        ids=found.ids,
        labels=found.labels,
        pixels=Paths(root, found.ids),
        given=found.given,
        notes=found.notes,
    )
