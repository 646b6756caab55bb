"""Interprets a folder tree: which folders are classes, and whether those above them are splits or folds.

A folder is a class if there are images below it. Sibling folders that contain the same class folders are never classes:
they are splits (train, val, test in their usual spellings) or folds (numbered folders). A folder that contains only one
other folder, which contains the class folders, is a wrapper, as left by an unpacked archive. An ambiguous tree is
refused, with the option that decides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from featurebank.dataset.readers.folder_tree import Folder, join_path, unwrap
from featurebank.dataset.splits import TEST, TRAIN, VAL
from featurebank.errors import DatasetError, unknown_name
from featurebank.system.alike import enumerate_some

LAYOUTS = ("classes", "splits")
"""Possible meanings of the first-level folders."""

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "devel", "development"), VAL),
    **dict.fromkeys(("test", "testing", "tst"), TEST),
}
"""The names of splits, in any case."""

EXPECTED = "expected FOLDER/CLASS/image.jpg, or FOLDER/train/CLASS/image.jpg with val and test beside train"

_NEUTRAL = frozenset(
    {
        "set", "sets", "data", "dataset", "image", "images", "img", "imgs", "photo", "photos", "picture", "pictures",
        "split", "seg",
    }
)  # fmt: skip
"""Words beside the name of a split, as in "training_set" and "seg_train"."""
_FOLD_WORDS = frozenset({"", "fold", "folds", "f", "k", "cv", "part", "split", "set", "group", "batch", "subset"})
_NUMBERED = re.compile(r"(\D*?)[\W_]*([0-9]{1,6})")


@dataclass(frozen=True)
class ClassTree:
    """A folder whose subfolders are classes.

    Args:
        path: path relative to the root with "/"; "" is the root.
        split: the code of its split; None if its name is not that of a split.
        fold: the number of its fold, or None.
    """

    path: str
    split: int | None = None
    fold: int | None = None


@dataclass(frozen=True)
class FolderLayout:
    """The location of the class folders.

    Args:
        parts: the folders that contain them.
        notes: notes for the user.
        left_out: folders, named in the notes, whose images belong to no part.
    """

    parts: tuple[ClassTree, ...]
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def split_code(name: str) -> int | None:
    """Returns the code of the split that a name means, as "train", "Training_Set", "seg_train", "val2017"; else None.

    Example:
        >>> split_code("seg_train"), split_code("Test-Images"), split_code("trainset"), split_code("trains")
        (0, 2, 0, None)
    """
    words = [word for word in re.split(r"[\W_\d]+", name.casefold()) if word and word not in _NEUTRAL]
    if len(words) != 1:
        return None
    word = words[0] if words[0] in SPLIT_WORDS else re.sub(r"(data)?(sets?|images?|imgs?|data)$", "", words[0])
    return SPLIT_WORDS.get(word)


def find_layout(root: str, tree: Folder, choice: str | None = None) -> FolderLayout:
    """Decides how to interpret a folder tree.

    Args:
        root: path of the tree, for messages.
        tree: the folders with images.
        choice: one of `LAYOUTS`, if the user stated the meaning of the first-level folders.

    Raises:
        UnknownNameError: there is no such layout.
        DatasetError: there are no class folders, or the tree is ambiguous.
    """
    if choice is not None and choice not in LAYOUTS:
        raise unknown_name("layout", choice, LAYOUTS)
    if choice == "classes":
        if not tree.folders:
            raise _flat(root)
        return FolderLayout((ClassTree(""),))
    start, here = unwrap("", tree)
    if not here.folders:
        raise _flat(root)
    place = _Place(root, start, here)
    layout = place.as_splits(forced=choice == "splits") or place.as_folds()
    if layout is None:
        if choice == "splits":
            raise place.no_splits()
        place.refuse_second_reading()
        layout = FolderLayout((ClassTree(start),), place.passed_over())
    last = start.rpartition("/")[2]
    wrapper = [f"the class folders are those in '{start}'"] if start and split_code(last) is None else []
    return FolderLayout(layout.parts, (*wrapper, *layout.notes), layout.left_out)


class _Place:
    """The folders that may be classes, splits or folds.

    Args:
        root: path of the dataset, for messages.
        path: path of the folder that contains them, relative to the root.
        here: that folder.
    """

    def __init__(self, root: str, path: str, here: Folder) -> None:
        self._root, self._path, self._here = root, path, here
        self._full = f"{root}/{path}" if path else root
        self._inner = {name: unwrap(join_path(path, name), folder) for name, folder in here.folders.items()}
        self._classes = {name: set(folder.folders) for name, (_, folder) in self._inner.items()}
        codes = {name: split_code(name) for name in sorted(here.folders)}
        self._codes = {name: code for name, code in codes.items() if code is not None}
        self._strangers = [name for name in sorted(here.folders) if name not in self._codes]

    def as_splits(self, *, forced: bool) -> FolderLayout | None:
        """Returns the layout if the folders are splits: train is one of them, with class folders in it."""
        train = [name for name, code in self._codes.items() if code == TRAIN]
        if not train or (self._strangers and len(self._codes) == 1 and not forced):
            return None
        known = set().union(*(self._classes[name] for name in train))
        if not known:
            if not self._strangers:
                raise _flat(self._full, train[0])
            return None
        rivals = [name for name in self._strangers if self._classes[name] & known]
        if rivals and not forced:
            raise self._two_readings([train[0], rivals[0]])
        return self._splits(known)

    def _splits(self, known: set[str]) -> FolderLayout:
        parts, notes = [], []
        for name in sorted(self._here.folders):
            code = self._codes.get(name)
            if code is None:
                notes.append(f"folder '{name}' is neither train, val nor test: {self._left_out(name)}")
            elif self._classes[name] and not self._classes[name] & known:
                notes.append(f"folder '{name}' has none of the class folders of train: {self._left_out(name)}")
            else:
                parts.append(ClassTree(self._inner[name][0], code))
        used = {part.path for part in parts}
        left_out = [join_path(self._path, name) for name, (path, _) in self._inner.items() if path not in used]
        return FolderLayout(tuple(parts), tuple(notes), tuple(left_out))

    def as_folds(self) -> FolderLayout | None:
        """Returns the layout if the folders are folds: they are numbered and contain the same class folders."""
        numbers: dict[str, int] = {}
        stems = set()
        for name in self._here.folders:
            if not (match := _NUMBERED.fullmatch(name.casefold())):
                return None
            stems.add(match[1])
            numbers[name] = int(match[2])
        if len(numbers) < 2 or len(stems) > 1 or not stems <= _FOLD_WORDS or len(set(numbers.values())) < len(numbers):  # noqa: PLR2004
            return None
        shared = {name for name, count in self._holders().items() if count > 1}
        if not all(self._classes[name] & shared for name in numbers) or not self._branching():
            return None
        order = sorted(numbers, key=numbers.__getitem__)
        note = (
            f"folders {enumerate_some(order)} are folds: 'heads --folds given' validates on each in turn, "
            "and the splits are independent of them"
        )
        return FolderLayout(tuple(ClassTree(self._inner[name][0], None, numbers[name]) for name in order), (note,))

    def refuse_second_reading(self) -> None:
        """Raises DatasetError if folders that would be classes contain class folders themselves."""
        branching = self._branching()
        if not branching:
            return
        shared = {name for name, count in self._holders().items() if count > 1}
        alike = [name for name in sorted(self._classes) if self._classes[name] & shared]
        if set(alike) & set(branching):
            raise self._two_readings(alike)
        first, others = branching[0], len(branching) - 1
        more = f", and {others} more {'has' if others == 1 else 'have'} their own" if others else ""
        message = (
            f"class '{first}' has class folders of its own ({enumerate_some(sorted(self._classes[first]))}){more}: "
            f"did you mean '{self._full}/{first}'? {self._option('classes')} uses the folders of '{self._full}' as "
            "the classes nevertheless"
        )
        raise DatasetError(message)

    def no_splits(self) -> DatasetError:
        """Returns the error for folders that are splits according to the user, but not by their names."""
        names = enumerate_some(sorted(self._here.folders))
        message = (
            f"'{self._full}' contains {names}, which are not splits: expected train, with val and test beside it, or "
            "numbered folders with the same class folders"
        )
        return DatasetError(message)

    def passed_over(self) -> tuple[str, ...]:
        """Returns a note if folders have the names of splits, but are classes."""
        if len(self._codes) < 2 or not self._strangers:  # noqa: PLR2004 - a single one may be a class of vehicles
            return ()
        names = ", ".join(self._codes)
        return (f"folders {names} are classes, not splits, because '{self._strangers[0]}' is beside them",)

    def _branching(self) -> list[str]:
        """Returns the folders that contain at least two folders of images, and no images themselves."""
        return [
            name
            for name, (_, folder) in sorted(self._inner.items())
            if len(folder.folders) > 1 and not folder.images and not self._here.folders[name].images
        ]

    def _holders(self) -> Mapping[str, int]:
        return Counter(name for names in self._classes.values() for name in names)

    def _left_out(self, name: str) -> str:
        total = self._here.folders[name].total
        return f"its {'image is' if total == 1 else f'{total} images are'} omitted"

    def _two_readings(self, alike: Sequence[str]) -> DatasetError:
        shared = sorted(set.intersection(*(self._classes[name] for name in alike[:2])) or self._classes[alike[0]])
        message = (
            f"'{self._full}' is ambiguous, because {enumerate_some(alike)} contain the same folders: "
            f"{enumerate_some(shared)} are the classes, and the folders above them splits ({self._option('splits')}); "
            "or "
            f"{enumerate_some(sorted(self._here.folders))} are the classes ({self._option('classes')})"
        )
        return DatasetError(message)

    def _option(self, choice: str) -> str:
        return f"--layout {choice}"


def place_files(files: Sequence[str], parts: Sequence[ClassTree]) -> list[tuple[ClassTree, str] | None]:
    """Returns the part and the class of each file; None for a file outside the class folders.

    Args:
        files: paths relative to the root, with "/".
        parts: the parts of the layout; none of them is inside another.
    """
    prefixes = [(f"{part.path}/" if part.path else "", part) for part in parts]
    by_folder: dict[str, tuple[ClassTree, str] | None] = {}  # a million files share some thousand entries

    def place(folder: str) -> tuple[ClassTree, str] | None:
        for prefix, part in prefixes:
            if f"{folder}/".startswith(prefix) and (inside := folder[len(prefix) :]):
                return part, inside.split("/", 1)[0]
        return None

    places = []
    for name in files:
        folder = name.rpartition("/")[0]
        if folder not in by_folder:
            by_folder[folder] = place(folder)
        places.append(by_folder[folder])
    return places


def _flat(root: str, path: str = "") -> DatasetError:
    return DatasetError(f"images are directly in '{join_path(root, path)}', not in a class folder: {EXPECTED}")
