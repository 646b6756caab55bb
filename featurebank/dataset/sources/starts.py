"""Where the paths of a table start: beside it, above it; and what to say where none of its images is there."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from featurebank.dataset.sources.remote import is_url
from featurebank.dataset.sources.rows import Problems
from featurebank.words import counted

_SAMPLE = 64
_FOREIGN = re.compile(r"[A-Za-z]:[\\/]|\\\\")
"""How absolute paths of Windows begin."""


def with_slashes(paths: Sequence[str], folder: str) -> tuple[list[str], list[str]]:
    """Replaces backslashes, which Windows puts between folders, unless files are called so.

    Args:
        paths: as a table has them.
        folder: that the table lies in.

    Returns:
        The paths with "/", and a line about it where something was replaced.
    """
    written = [path for path in paths if "\\" in path and not is_url(path)]
    if not written or (os.sep != "\\" and any(_is_there(folder, path) for path in _some(written))):
        return list(paths), []
    found = [path if is_url(path) else path.replace("\\", "/") for path in paths]
    return found, [] if os.sep == "\\" else [f"paths have backslashes, as '{written[0]}': they are read as '/'"]


def find_start(paths: Sequence[str], folder: str, problems: Problems) -> tuple[str, list[str]]:
    """Finds the folder that relative paths start from.

    Args:
        paths: with "/".
        folder: that the table lies in; it is the answer if any image is there.
        problems: of the table.

    Returns:
        The folder, and a line about it where it is another one.

    Raises:
        DatasetError: none of the images is there.
    """
    local = [path for path in paths if not is_url(path)]
    if len(local) < len(paths) or any(_is_there(folder, path) for path in _some(local)):
        return folder, []  # of a URL nothing is known before it is fetched
    relative = [path for path in local if not _is_absolute(path)]
    above = os.path.dirname(folder)  # noqa: PTH120 - strings, for a million paths
    places = [f"{folder}/images", above, f"{above.rstrip('/')}/images"]
    hits = [sum(_is_there(place, path) for path in _some(relative)) for place in places]
    if best := max(hits):
        place = places[hits.index(best)]
        return place, [f"paths start from '{place}', where the images are, and not from the folder of the table"]
    if not any(_is_there(folder, path) for path in local):
        problems.stop(_nothing(local, relative, [folder, *places]))
    return folder, []


def _nothing(local: Sequence[str], relative: Sequence[str], places: Sequence[str]) -> str:
    """Says why no image was found: they are elsewhere, or the paths are those of another machine."""
    first = f"none of its {counted(len(local), 'image')} is there, the first is '{local[0]}'"
    here = os.getcwd()  # noqa: PTH109
    if not relative:
        return f"{first}: absolute paths, of another machine? Write them relative to the table"
    if any(_is_there(here, path) for path in _some(relative)):
        return (
            f"{first}: looked in '{places[0]}', the folder of the table; they are in the current directory '{here}': "
            "move the table there, or write the paths relative to the table"
        )
    looked = ", ".join(f"'{place}'" for place in places)
    return f"{first}: looked in {looked}; write the paths relative to the table"


def _some(paths: Sequence[str]) -> Sequence[str]:
    return paths[:: max(1, len(paths) // _SAMPLE)]


def _is_absolute(path: str) -> bool:
    return os.path.isabs(path) or bool(_FOREIGN.match(path))  # noqa: PTH117


def _is_there(folder: str, path: str) -> bool:
    return os.path.isfile(path if os.path.isabs(path) else f"{folder}/{path}")  # noqa: PTH113, PTH117
