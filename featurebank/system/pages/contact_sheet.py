"""Contact sheets: groups of pictures with captions on one HTML page, which holds everything that it shows.

The page has no script and loads nothing. Callers give plain values; only the template writes HTML, and it escapes every
text, because class names and file names may come from strangers.

>>> page = contact_sheet("Flowers", "Two roses.", [PictureGroup([Tile(Picture(None, "rose"))])])
>>> page.count("<figure"), page.count("<script")
(1, 0)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from featurebank.system.files import write_bytes
from featurebank.system.html import Picture, environment

PIXELS = 256
"""The largest side of a picture's file: a picture is about 130 CSS pixels wide, and is sharp on dense screens."""


@dataclass(frozen=True)
class Tile:
    """A picture of a contact sheet with the lines below it."""

    picture: Picture
    """Its caption is the first line, and its title the alternative text; without a source, the title is shown in the
    picture's place and says why there is none."""
    lines: Sequence[str] = ()
    """Smaller lines below the caption."""
    share: float | None = None
    """The length of a bar below the picture, from 0 to 1, as for a probability or a similarity; None for no bar."""
    kind: str = ""
    """A name of `html.COLOURS` for the bar and for a dot before the last line; "" for a grey bar without a dot."""


@dataclass(frozen=True)
class PictureGroup:
    """Pictures that belong together: a row, or as many rows as the width of the page requires."""

    tiles: Sequence[Tile]
    title: str = ""
    sentence: str = ""
    """One sentence below the title."""
    lead: Tile | None = None
    """A larger picture before the others, such as the image that they resemble."""


def contact_sheet(title: str, sentence: str, groups: Iterable[PictureGroup], *, facts: Iterable[str] = ()) -> str:
    """Renders a contact sheet.

    Args:
        title: the heading of the page.
        sentence: what a reader should conclude, below the heading.
        groups: the pictures. Small groups stand side by side where the page is wide enough.
        facts: short texts below the sentence, as the bank and the tap.

    Returns:
        A whole HTML document.
    """
    template = environment().get_template("contact_sheet.html.jinja")
    text: str = template.render(title=title, sentence=sentence, groups=list(groups), facts=list(facts))
    return text


def write_contact_sheet(
    path: Path, title: str, sentence: str, groups: Iterable[PictureGroup], *, facts: Iterable[str] = ()
) -> None:
    """Writes a contact sheet to a file, atomically; see `contact_sheet`.

    Raises:
        DiskFullError: no space is left on the disk.
    """
    write_bytes(path, contact_sheet(title, sentence, groups, facts=facts).encode())
