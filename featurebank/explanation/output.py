"""The files of explanations: a directory of PNG files, or one HTML page. Checked before the work, written after it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featurebank.errors import ConfigError
from featurebank.system.files import PAGES, atomic_path, check_output
from featurebank.system.html import picture
from featurebank.system.pages.contact_sheet import PIXELS, PictureGroup, Tile, write_contact_sheet
from featurebank.words import counted, one_line

_PICTURES = (".png", ".jpg", ".jpeg", ".svg", ".pdf")
"""Suffixes of what is meant as one picture, never as a folder."""
if TYPE_CHECKING:
    from featurebank.explanation.explanations import Explanation, Explanations

_NAME_BYTES, _CLASS_BYTES = 80, 60
_GAP = 6
"""Pixels between the image and its overlay."""


@dataclass(frozen=True)
class Output:
    """Where explanations are written."""

    path: Path
    images: tuple[tuple[str, str], ...]
    """The name of each image, and the beginning of the name of its file."""

    @property
    def is_page(self) -> bool:
        """Whether the output is one HTML page."""
        return self.path.suffix.lower() in PAGES

    @classmethod
    def of(cls, path: Path, files: Sequence[str], *, force: bool = False) -> Output:
        """Checks a path before anything is computed.

        Args:
            path: a directory, or an HTML file.
            files: the names of the images.
            force: whether existing files are replaced.

        Raises:
            ConfigError: files exist, the folder does not exist, or the path is of the wrong kind.
        """
        starts = [f"{number:03d}_{safe_name(Path(name).stem)}__" for number, name in enumerate(files, 1)]
        output = cls(path, tuple(zip(files, starts, strict=True)))
        output._check(force=force)
        return output

    def _check(self, *, force: bool) -> None:
        if self.is_page:
            check_output(self.path, force=force)
            return
        path, parent = self.path, self.path.parent
        if not parent.is_dir():
            message = f"cannot write into '{path}': there is no folder '{parent}'; create it, or choose another path"
            raise ConfigError(message)
        if path.exists() and not path.is_dir():
            message = (
                f"cannot write into '{path}': it is a file; expected a folder for PNG files, or a page that ends with "
                ".html"
            )
            raise ConfigError(message)
        if path.suffix.lower() in _PICTURES and not path.exists():
            message = (
                f"cannot write '{path}': each image has a PNG file of its own; expected a folder for them, or a page "
                "that ends with .html"
            )
            raise ConfigError(message)
        existing = self._existing()
        if existing and not force:
            more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
            message = (
                f"'{existing[0]}' exists{more}: choose another path, or replace it with --force (in Python, force=True)"
            )
            raise ConfigError(message)

    def _existing(self) -> list[Path]:
        """Returns the existing files of the same images in the directory; the names may end with another class."""
        present = sorted(self.path.glob("*.png")) if self.path.is_dir() else []
        starts = {start for _, start in self.images}
        return [file for file in present if f"{file.name.partition('__')[0]}__" in starts]

    def write(self, explanations: Explanations) -> list[Path]:
        """Writes the files; returns their paths, in the order of the images.

        Raises:
            DiskFullError: no space is left; files that are complete stay.
        """
        if self.is_page:
            write_page(self.path, explanations)
            return [self.path]
        self.path.mkdir(exist_ok=True)
        replaced, paths, images = self._existing(), [], iter(self.images)
        for one in explanations:
            start = next(start for name, start in images if name == one.file)  # those that cannot be read are left out
            path = self.path / f"{start}{safe_name(one.class_name, _CLASS_BYTES)}_{one.probability:.2f}.png"
            write_picture(path, one)
            paths.append(path)
            for old in replaced:  # beside a picture of another class, nobody could tell which one is true
                if old != path and old.name.startswith(start):
                    old.unlink(missing_ok=True)
        return paths


def safe_name(text: str, most: int = _NAME_BYTES) -> str:
    """Returns a text as a part of a file name: letters and digits of any script, "-", "." and "_".

    Args:
        text: any text, such as the name of a file or of a class.
        most: the largest number of bytes in UTF-8.

    Example:
        >>> safe_name("../../etc/<b>rosé</b> 1"), safe_name("   "), safe_name("x" * 300, 5)
        ('etc_b_rosé_b_1', 'image', 'xxxxx')
    """
    plain = re.sub(r"[^\w.-]|_", " ", unicodedata.normalize("NFC", text))
    plain = re.sub(r"\.\.+", ".", "_".join(plain.split())).strip("._-")
    return plain.encode()[:most].decode(errors="ignore").strip("._-") or "image"


def write_picture(path: Path, one: Explanation) -> None:
    """Writes one PNG file: the image on the left, and the heat map over it on the right."""
    from PIL import Image

    gap = np.full((len(one.picture), _GAP, 3), 255, np.uint8)
    with atomic_path(path) as temporary:
        Image.fromarray(np.concatenate([one.picture, gap, one.overlay], axis=1)).save(temporary, "PNG")


def write_page(path: Path, explanations: Explanations) -> None:
    """Writes one page with all images, each beside its heat map."""
    groups = [PictureGroup(list(_tiles(one)), Path(one.file).name) for one in explanations]
    groups += [
        PictureGroup([Tile(picture(None, "", reason))], Path(name).name) for name, reason in explanations.skipped
    ]
    facts = [explanations.head, f"run {explanations.run}", f"method: {explanations.method}"]
    facts += [f"layer: {explanations.layer}"] if explanations.layer else []
    write_contact_sheet(path, "What the model looks at", sentence(explanations), groups, facts=facts)


def sentence(explanations: Iterable[Explanation]) -> str:
    """Returns what a reader should conclude from the page."""
    items = list(explanations)
    known = [one for one in items if one.label is not None]
    wrong = sum(one.label != one.predicted for one in known)
    images = f"{wrong} of {counted(len(known), 'image')} with a known label"
    rates = f" {images} {'is' if wrong == 1 else 'are'} classified wrongly." if known else ""
    cut = any(one.frame.box != (0, 0, 1, 1) for one in items)
    fog = " White fog covers what the network does not see." if cut else ""
    return (
        "Bright colours mark what raises the score of the class: they should lie on the object, not on its "
        f"surroundings.{fog}{rates}"
    )


def _tiles(one: Explanation) -> Iterator[Tile]:
    of_prediction = one.label is not None and one.class_name == one.predicted
    kind = ("good" if one.label == one.predicted else "bad") if of_prediction else ""
    label = "" if one.label is None else f"label: {one.label}"
    lines = [] if one.class_name == one.predicted else [f"predicted: {one.predicted}"]
    lines += [] if one.cells.any() else [f"no part of the image raises the score of {one_line(one.class_name)}"]
    yield Tile(picture(one.picture, "image", one.file, side=PIXELS), [label] if label else [])
    heat = picture(one.overlay, one.class_name, f"heat map of {one.class_name}", side=PIXELS)
    yield Tile(heat, [*lines, f"{one.probability:.1%}"], one.probability, kind)
