"""Finds the root of a table's paths: beside, above or below it; and explains if none of its images exists."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from featurebank.dataset.remote.fetching import is_url
from featurebank.dataset.sources.rows import Problems
from featurebank.system.alike import enumerate_some
from featurebank.words import counted

_SAMPLE = 64
_MOST_FOLDERS = 100
"""If more folders are beside a table, none of them is searched for its images."""
_FOREIGN = re.compile(r"[A-Za-z]:[\\/]|\\\\")
"""Beginnings of absolute paths on Windows."""


def with_slashes(paths: Sequence[str], folder: str) -> tuple[list[str], list[str]]:
    """Replaces backslashes, the separator of Windows, unless they are part of existing file names.

    Args:
        paths: the paths of the table.
        folder: folder of the table.

    Returns:
        The paths with "/", and a note if any were replaced.
    """
    written = [path for path in paths if "\\" in path and not is_url(path)]
    if not written or (os.sep != "\\" and any(_is_there(folder, path) for path in _some(written))):
        return list(paths), []
    clean = [path if is_url(path) else path.replace("\\", "/") for path in paths]
    return clean, [] if os.sep == "\\" else [f"paths have backslashes, as '{written[0]}': they are read as '/'"]


def find_start(paths: Sequence[str], folder: str, problems: Problems) -> tuple[str, list[str]]:
    """Finds the root of relative paths.

    Args:
        paths: the paths with "/".
        folder: folder of the table; it is the root if any image exists there.
        problems: collects the problems of the table.

    Returns:
        The root, and a note if it is another folder.

    Raises:
        DatasetError: none of the images exists, or several folders beside the table have such images.
    """
    local = [path for path in paths if not is_url(path)]
    if len(local) < len(paths) or any(_is_there(folder, path) for path in _some(local)):
        return folder, []  # URLs are unknown before they are downloaded
    relative = [path for path in local if not _is_absolute(path)]
    above = os.path.dirname(folder)  # noqa: PTH120 - strings, for a million paths
    places = [f"{folder}/images", above, f"{above.rstrip('/')}/images"]
    beside = _folders_beside(folder)
    if place := _best(places, relative) or _only_one(beside, relative, problems):
        return place, [f"paths are relative to '{place}', where the images are, not to the folder of the table"]
    if not any(_is_there(folder, path) for path in local):
        problems.stop(_nothing(local, relative, [folder, *places, *([f"{folder}/*"] if beside else [])]))
    return folder, []


def _best(places: Sequence[str], paths: Sequence[str]) -> str | None:
    """Returns the first of the places that have the most images; None if none has any."""
    hits = [sum(_is_there(place, path) for path in _some(paths)) for place in places]
    return places[hits.index(max(hits))] if any(hits) else None


def _folders_beside(folder: str) -> list[str]:
    """Returns the folders beside the table, without hidden ones; none if there are too many to search them all."""
    try:
        with os.scandir(folder) as entries:
            beside = sorted(entry.path for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError:  # a folder that may be entered, but not listed
        return []
    return beside if len(beside) <= _MOST_FOLDERS else []


def _only_one(folders: Sequence[str], paths: Sequence[str], problems: Problems) -> str | None:
    """Returns the one of these folders that has images of these paths; None if none has any."""
    found = [folder for folder in folders if any(_is_there(folder, path) for path in _some(paths))]
    if len(found) > 1:
        names = enumerate_some([os.path.basename(folder) for folder in found])  # noqa: PTH119
        problems.stop(
            f"its images may be those of {counted(len(found), 'folder')} beside it, {names}: write the paths relative "
            "to the table"
        )
    return found[0] if found else None


def _nothing(local: Sequence[str], relative: Sequence[str], places: Sequence[str]) -> str:
    """Explains why no image exists: they are elsewhere, or the paths are those of another machine."""
    first = f"none of its {counted(len(local), 'image')} exists, the first is '{local[0]}'"
    here = os.getcwd()  # noqa: PTH109
    if not relative:
        return f"{first}: are these absolute paths of another machine? Write them relative to the table"
    if any(_is_there(here, path) for path in _some(relative)):
        return (
            f"{first}: searched '{places[0]}', the folder of the table; they are in the current directory '{here}': "
            "move the table there, or write the paths relative to the table"
        )
    looked = ", ".join(f"'{place}'" for place in places)
    return f"{first}: searched {looked}; write the paths relative to the table"


def _some(paths: Sequence[str]) -> Sequence[str]:
    return paths[:: max(1, len(paths) // _SAMPLE)]


def _is_absolute(path: str) -> bool:
    return os.path.isabs(path) or bool(_FOREIGN.match(path))  # noqa: PTH117


def _is_there(folder: str, path: str) -> bool:
    return os.path.isfile(path if os.path.isabs(path) else f"{folder}/{path}")  # noqa: PTH113, PTH117
