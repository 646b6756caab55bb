"""Drawings as SVG: boxes, arrows and texts in the colours of a light or a dark page."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.sax.saxutils import escape

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'Liberation Mono', monospace"
SIZE = 16
"""Height of the usual text. Drawings are 640 wide, so that a telephone of 390 pixels shows nine pixels of it."""
WIDTHS = {False: 0.56, True: 0.62}
"""Width of a letter as a share of its height, at most: of usual and of monospaced text."""


@dataclass(frozen=True)
class Palette:
    """The colours of a drawing for one kind of page."""

    ink: str
    soft: str
    """Of the second lines."""
    line: str
    frozen: str
    """Fill of what does not change."""
    trained: str
    """Fill of what is trained."""
    stored: str
    """Fill of what lies on the disk."""
    plain: str


PALETTES = {
    "light": Palette("#1b1f24", "#57606a", "#6e7781", "#e7ebef", "#ffdf9e", "#bfe3f7", "#ffffff"),
    "dark": Palette("#e6edf3", "#a9b4bf", "#8b949e", "#30363d", "#6b4a00", "#0b4a6b", "#161b22"),
}


class TooWideError(ValueError):
    """A text does not fit into its box."""


@dataclass
class Canvas:
    """A drawing that grows. All lengths are in units of the drawing, from its upper left corner."""

    width: int
    height: int
    title: str
    """What the picture shows, for readers who do not see it."""
    palette: Palette
    parts: list[str] = field(default_factory=list)

    def box(
        self, x: float, y: float, width: float, height: float, *lines: str, fill: str = "plain", mono: bool = False,
        dashed: bool = False, size: float = SIZE,
    ) -> None:  # fmt: skip
        """Draws a box with lines of text in its middle; the first is bold if others follow, which are smaller."""
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"'
            f' fill="{getattr(self.palette, fill)}" stroke="{self.palette.line}" stroke-width="1.5"{dash}/>'
        )
        step = size * 1.3
        top = y + height / 2 - step * (len(lines) - 1) / 2 + size * 0.35
        for number, line in enumerate(lines):
            second = number > 0
            self.text(
                x + width / 2, top + number * step, line, size=size - 2 if second else size, mono=mono,
                bold=not second and len(lines) > 1, soft=second, room=width - 8,
            )  # fmt: skip

    def text(
        self, x: float, y: float, line: str, *, size: float = SIZE, bold: bool = False, soft: bool = False,
        mono: bool = False, anchor: str = "middle", room: float | None = None,
    ) -> None:  # fmt: skip
        """Writes a line, whose baseline is at `y`.

        Raises:
            TooWideError: If it needs more than `room`.
        """
        needed = len(line) * size * WIDTHS[mono] * (1.04 if bold else 1)
        if room is not None and needed > room:
            message = f"{line!r} may need {needed:.0f} of {room:.0f}: write less, or draw a wider box"
            raise TooWideError(message)
        weight = ' font-weight="600"' if bold else ""
        colour = self.palette.soft if soft else self.palette.ink
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" font-family="{MONO if mono else FONT}"{weight}'
            f' fill="{colour}" text-anchor="{anchor}">{escape(line)}</text>'
        )

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """Draws a line through points with a head at its end."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{self.palette.line}" stroke-width="2"{dash}'
            ' marker-end="url(#head)"/>'
        )

    def line(self, start: tuple[float, float], end: tuple[float, float], *, strong: bool = False) -> None:
        """Draws a straight line."""
        colour, width = (self.palette.ink, 3) if strong else (self.palette.line, 1.5)
        self.parts.append(
            f'<line x1="{start[0]:g}" y1="{start[1]:g}" x2="{end[0]:g}" y2="{end[1]:g}" stroke="{colour}"'
            f' stroke-width="{width}"/>'
        )

    def stack(self, x: float, y: float, width: float, height: float, *lines: str, fill: str = "plain") -> None:
        """Draws three boxes, one behind another, of which the first has the text."""
        for back in (12, 6):
            self.box(x + back, y - back, width, height, fill=fill)
        self.box(x, y, width, height, *lines, fill=fill)

    def svg(self) -> str:
        """Returns the whole drawing; it names no font and no file of the network."""
        head = (
            '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"'
            f' orient="auto-start-reverse"><path d="M0,0 L10,5 L0,10 z" fill="{self.palette.line}"/></marker>'
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}"'
                f' width="{self.width}" height="{self.height}" role="img">',
                f"<title>{escape(self.title)}</title>",
                f"<defs>{head}</defs>",
                *self.parts,
                "</svg>\n",
            ]
        )
