"""The displays of objects in notebooks: HTML from plain values, with pictures, bars and curves.

Callers describe what to show; only the template writes HTML, and it escapes every text, because class names and file
names may come from strangers. The result is one self-contained element without scripts, style sheets or addresses. Its
colours work on light and on dark pages.

>>> print(render("Bank photos", facts=["700 images"]).count("<script"))
0
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from featurebank.words import counted, one_line

COLOURS = {"train": "#5b8ff9", "val": "#e8a33d", "test": "#a679e0", "good": "#3aa675", "bad": "#e06c5f"}
"""The colours of bars and curves, each with enough contrast to white and to black."""
SPLIT_WORDS = {"train": "training", "val": "validation", "test": "test"}
"""What people call the splits."""
_SHADES = {"good": "58,166,117", "bad": "224,108,95"}
SIDE = 72
"""The side of a picture in CSS pixels."""
CLASSES = 12
"""Maximum number of classes with a bar."""
PICTURES = 8
"""Maximum number of pictures in a row."""
_PIXELS = 2 * SIDE
"""The largest side of a picture's file, so that it is sharp on dense screens."""
TINY = 40
"""Images up to this side are enlarged without smoothing, and stored losslessly: at 32 pixels, artefacts of JPEG are
visible."""
_LONGEST = 90
"""Largest number of characters of one text."""
_WIDTH, _HEIGHT = 260, 80

_Displayed = TypeVar("_Displayed")


@dataclass(frozen=True)
class Picture:
    """A thumbnail with a caption; without a `source`, a grey box."""

    source: str | None
    """A data URI, from `data_uri`."""
    caption: str
    title: str = ""
    """The text that appears under the mouse."""
    tiny: bool = False
    """Whether it is enlarged without smoothing."""


@dataclass(frozen=True)
class Bar:
    """A horizontal bar of one or several parts."""

    parts: Sequence[tuple[str, float, str]]
    """A name of `COLOURS`, the fraction of the full width from 0 to 1, and the text under the mouse, of each part."""
    text: str = ""
    """The text after the bar."""


@dataclass(frozen=True)
class Shade:
    """A cell of a table with a background that is the stronger, the larger a number is."""

    text: str
    share: float
    """From 0 to 1."""
    kind: str = "good"
    """"good" or "bad"."""


@dataclass(frozen=True)
class Bars:
    """Bars with names, below each other."""

    rows: Sequence[tuple[str, Bar]]
    title: str = ""
    more: str = ""
    """A last line, as "and 90 more classes"."""
    kind: str = field(default="bars", init=False)


@dataclass(frozen=True)
class Pictures:
    """Thumbnails, side by side."""

    pictures: Sequence[Picture]
    title: str = ""
    kind: str = field(default="pictures", init=False)


@dataclass(frozen=True)
class CellTable:
    """A table; each cell is a text, a `Bar`, a `Shade` or a `Picture`."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""
    more: str = ""
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class LineChart:
    """Curves over epochs in one small diagram."""

    lines: Mapping[str, Sequence[float]]
    """The values of each epoch by a name; the colour is that of the split in the name."""
    title: str = ""
    mark: int = 0
    """An epoch to mark, from 1; 0 for none."""
    kind: str = field(default="curves", init=False)

    @property
    def drawn(self) -> list[dict[str, str]]:
        """The points, colour and label of each curve; values that are not finite are left out."""
        values = {name: np.asarray(line, np.float64) for name, line in self.lines.items()}
        finite = {name: np.flatnonzero(np.isfinite(line)) for name, line in values.items()}
        known = np.concatenate([values[name][places] for name, places in finite.items()] or [np.empty(0)])
        low, span = known.min(initial=np.inf), max(float(np.ptp(known)) if len(known) else 0.0, 1e-9)
        return [
            {
                "points": " ".join(
                    f"{self.x(place):.1f},{_HEIGHT - 4 - (_HEIGHT - 8) * (values[name][place] - low) / span:.1f}"
                    for place in places.tolist()
                ),
                "colour": COLOURS["val" if name.startswith("val") else "train"],
                "label": f"{name} {values[name][places[-1]]:.4g}",
            }
            for name, places in finite.items()
            if len(places)
        ]

    def x(self, place: int) -> float:
        """Returns the horizontal position of an epoch, counted from 0."""
        epochs = max(map(len, self.lines.values()), default=0)
        return 2 + (_WIDTH - 4) * place / max(1, epochs - 1)


Block = Bars | Pictures | CellTable | LineChart


def render(
    title: str, *, facts: Iterable[str] = (), notes: Iterable[str] = (), warnings: Iterable[str] = (),
    blocks: Iterable[Block | None] = (),
) -> str:  # fmt: skip
    """Renders a display.

    Args:
        title: the name of the object.
        facts: short texts that follow the title.
        notes: whole sentences, one line each.
        warnings: one line each.
        blocks: the parts below; None is left out.

    Returns:
        One HTML element.
    """
    text: str = environment().get_template("display.html.jinja").render(
        title=title, facts=list(facts), notes=list(notes), warnings=list(warnings),
        blocks=[block for block in blocks if block], shades=_SHADES, side=SIDE, width=_WIDTH, height=_HEIGHT,
    )  # fmt: skip
    return text


def class_bars(classes: Sequence[str], counts: Mapping[str, Sequence[int]], title: str = "") -> Bars:
    """Returns a bar for each of the first classes, relative to the largest class.

    Args:
        classes: their names.
        counts: the number of images of each class, by the name of a split; "" if splits are not known.
        title: the title; the number of images in each split follows it.
    """
    table = np.array([list(row) for row in counts.values()], np.int64).reshape(len(counts), len(classes))
    totals = table.sum(axis=0)
    most = max(1, int(totals.max(initial=0)))
    rows = []
    for place, name in enumerate(classes[:CLASSES]):
        cells = [(split, int(row[place])) for split, row in zip(counts, table, strict=True) if row[place]]
        parts = [(split or "train", number / most, f"{split} {number}".strip()) for split, number in cells]
        rows.append((name, Bar(parts, str(totals[place]))))
    hidden = len(classes) - CLASSES
    of_splits = " + ".join(f"{int(row.sum())} {split}" for split, row in zip(counts, table, strict=True) if split)
    heading = f"{title}: {of_splits}" if of_splits else title
    return Bars(rows, heading, f"and {counted(hidden, 'more class')}" if hidden > 0 else "")


def picture(image: np.ndarray | None, caption: str, title: str = "", *, side: int = _PIXELS) -> Picture:
    """Returns an image as a `Picture`, shrunk to a thumbnail.

    Args:
        image: (h, w, 3) uint8; None for a grey box.
        caption: the text below.
        title: the text under the mouse.
        side: the largest side of the picture's file in pixels.
    """
    if image is None:
        return Picture(None, caption, title)
    return Picture(data_uri(image, side), caption, title, tiny=max(image.shape[:2]) <= TINY)


def data_uri(image: np.ndarray, side: int | None = None, *, quality: int = 85) -> str:
    """Returns an image (h, w, 3) uint8 as a data URI: JPEG, or PNG if it is so small that artefacts would be visible.

    Args:
        image: the image.
        side: shrink it to this side at most.
        quality: of the JPEG file.
    """
    from PIL import Image

    small, buffer = Image.fromarray(image), io.BytesIO()
    if side:
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
    kind = "PNG" if max(image.shape[:2]) <= TINY else "JPEG"
    small.save(buffer, kind, quality=quality, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def never_fails(method: Callable[[_Displayed], str]) -> Callable[[_Displayed], str | None]:
    """Wraps a method `_repr_html_`: if it fails, the notebook shows the text of `repr` instead of a traceback."""

    @functools.wraps(method)
    def show(self: _Displayed) -> str | None:
        try:
            return method(self)
        except Exception:  # a display must not end a cell, whatever the object refers to
            logging.getLogger(__name__).debug("%s has no display", type(self).__name__, exc_info=True)
            return None

    return show


@functools.cache
def environment(*folders: Path) -> Any:
    """Returns the Jinja environment of displays and pages; it escapes every text.

    Args:
        folders: where a room has its own templates. They may extend those of this room, such as `page.html.jinja`.
    """
    import jinja2

    jinja = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, Path(__file__).parent / "templates"]),
        autoescape=True,  # names of classes and files may hold anything
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.globals["colours"] = COLOURS
    jinja.filters["short"] = functools.partial(one_line, most=_LONGEST)
    jinja.filters["line"] = one_line
    jinja.filters["percent"] = lambda share: f"{100 * min(1.0, max(0.0, share)):.2f}"
    jinja.filters["sha256"] = lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    jinja.tests["bar"] = lambda cell: isinstance(cell, Bar)
    jinja.tests["shade"] = lambda cell: isinstance(cell, Shade)
    jinja.tests["picture"] = lambda cell: isinstance(cell, Picture)
    return jinja
