"""What an explanation of a run consists of: for each image a class, its probability, and the heat map of the class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np

from featurebank.explanation.overlay import Frame, overlaid, spread
from featurebank.system.html import PICTURES, Pictures, never_fails, picture, render
from featurebank.words import counted, one_line


@dataclass(frozen=True, repr=False, eq=False)
class Explanation:
    """Why a run gives an image a class: the parts of the image that raise the score of this class.

    Example:
        >>> run = fb.train_heads(fb.extract("photos", "my_networks:small", ["pooled", "map"]), "logistic")[0]
        >>> one = fb.explain(run, "photos/rose/1.jpg")[0]
        >>> one
        <Explanation of photos/rose/1.jpg: rose 0.9..., by cam>
        >>> one.heat_map.shape, one.heat_map.dtype, one.overlay.shape == (*one.heat_map.shape, 3)
        ((160, 160), dtype('float32'), True)
    """

    file: str
    """The path as the caller wrote it; for an array, its index."""
    class_name: str
    """The class that is explained."""
    probability: float
    """Of this class."""
    predicted: str
    """The most probable class."""
    label: str | None
    """The class that the bank has for an image of this content; None if the bank lacks it, and for test images of a run
    that was not evaluated on the test split."""
    method: str
    """"cam", "gradcam" or "occlusion"."""
    picture: np.ndarray = field(repr=False)
    """(h, w, 3) uint8: the image, shrunk to 800 pixels at most; a tiny one is enlarged to 160 at least."""
    cells: np.ndarray = field(repr=False)
    """(rows, columns) float32 from 0 to 1: the heat map before it is enlarged, over the square input of the network. It
    is 0 everywhere if no part of the image raises the score of the class."""
    frame: Frame = field(repr=False)
    """Where this square lies in the image."""

    def __repr__(self) -> str:
        return f"<Explanation of {one_line(self.file)}: {self.class_name} {self.probability:.4f}, by {self.method}>"

    @property
    def heat_map(self) -> np.ndarray:
        """(h, w) float32 from 0 to 1: how much each pixel of `picture` raises the score of the class.

        It is 0 where the network does not see the image.
        """
        height, width = self.picture.shape[:2]
        return spread(self.cells, self.frame, width, height)[0]

    @property
    def overlay(self) -> np.ndarray:
        """(h, w, 3) uint8: the heat map over `picture`."""
        return overlaid(self.picture, self.cells, self.frame)

    def to_dict(self) -> dict[str, Any]:
        """Returns the explanation as JSON values, without the pictures."""
        return {
            "file": self.file, "class": self.class_name, "probability": round(self.probability, 6),
            "predicted": self.predicted, "label": self.label, "heat": bool(self.cells.any()),
        }  # fmt: skip

    @property
    def summary(self) -> str:
        """Class, probability and label in one line."""
        other = "" if self.class_name == self.predicted else f", predicted {self.predicted}"
        return f"{self.class_name} {self.probability:.1%}{other}"


class Explanations(Sequence[Explanation]):
    """The explanations of several images, in their order; a notebook shows the first of them.

    Example:
        >>> run = fb.train_heads(fb.extract("photos", "my_networks:small", ["pooled", "map"]), "logistic")[0]
        >>> explanations = fb.explain(run, ["photos/rose/1.jpg", "photos/tulip/1.jpg"])
        >>> explanations
        <Explanations of 2 images by cam: logistic on pooled>
        >>> explanations.save("why.html")
        [PosixPath('why.html')]
    """

    def __init__(
        self, items: Sequence[Explanation], *, run: str, head: str, method: str, layer: str | None = None,
        skipped: Sequence[tuple[str, str]] = (),
    ) -> None:  # fmt: skip
        self._items = tuple(items)
        self.run = run
        """The id of the run."""
        self.head = head
        """Its head and tap, in words."""
        self.method = method
        self.layer = layer
        """The layer whose maps were used; None without gradients."""
        self.skipped = tuple(skipped)
        """The images that cannot be read, each with the reason."""

    @overload
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> Explanations: ...
    def __getitem__(self, index: int | slice) -> Explanation | Explanations:
        """Returns one explanation, or some of them."""
        if not isinstance(index, slice):
            return self._items[index]
        items = self._items[index]
        return Explanations(items, run=self.run, head=self.head, method=self.method, layer=self.layer)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self._items)

    def __repr__(self) -> str:
        return f"<Explanations of {counted(len(self), 'image')} by {self.method}: {self.head}>"

    @never_fails
    def _repr_html_(self) -> str:
        """Returns the display of notebooks."""
        tiles = [picture(one.overlay, one.summary, one.file) for one in self._items[:PICTURES]]
        hidden = len(self) - PICTURES
        facts = [self.head, *([f"layer {self.layer}"] if self.layer else [])]
        more = [f"and {counted(hidden, 'more image')}: save('explanations.html') shows all"] if hidden > 0 else []
        warnings = [f"{name}: {reason}" for name, reason in self.skipped[:PICTURES]]
        title = f"{counted(len(self), 'image')} explained by {self.method}"
        return render(title, facts=[*facts, *more], warnings=warnings, blocks=[Pictures(tiles)])

    def save(self, path: str | Path, *, force: bool = False) -> list[Path]:
        """Writes the pictures.

        Args:
            path: a file that ends with ".html", for one page with all pictures; or a directory, for one PNG file each,
                with the image on the left and the heat map over it on the right. The directory is created.
            force: whether existing files are replaced.

        Returns:
            The files, in the order of the images; for a page, the page alone.

        Raises:
            ConfigError: a file exists, the folder of the page does not exist, or the path is of the wrong kind.
            DiskFullError: no space is left.
        """
        from featurebank.explanation.output import Output

        return Output.of(Path(path).expanduser(), [one.file for one in self], force=force).write(self)
