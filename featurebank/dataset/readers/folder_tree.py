"""The tree of the folders that contain images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Folder:
    """A folder with images below it.

    Args:
        images: number of images directly in it.
        folders: its subfolders with images below them, by name.
    """

    images: int = 0
    folders: dict[str, Folder] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of images at any depth."""
        return self.images + sum(folder.total for folder in self.folders.values())


def tree_of(files: Iterable[str]) -> Folder:
    """Builds the folder tree of files.

    Args:
        files: paths relative to the root, with "/".
    """
    root = Folder()
    for path, count in Counter(name.rpartition("/")[0] for name in files).items():
        here = root
        for part in path.split("/") if path else ():
            here = here.folders.setdefault(part, Folder())
        here.images += count
    return root


def unwrap(path: str, folder: Folder) -> tuple[str, Folder]:
    """Follows folders that contain only one other folder, if several folders are at the end."""
    name, here = path, folder
    while len(here.folders) == 1 and (here is folder or not here.images):
        last, here = next(iter(here.folders.items()))
        name = join_path(name, last)
        if len(here.folders) > 1:
            return name, here
    return path, folder


def join_path(path: str, name: str) -> str:
    """Joins two relative paths with "/"; each may be empty."""
    return f"{path}/{name}" if path and name else path or name
