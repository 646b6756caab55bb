"""The console on which rich draws tables and bars; it escapes their text like `terminal.printable`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from featurebank.system.drawing.text import printable
from featurebank.system.hints import with_global_options


class SafeConsole(Console):
    """A console on which only rich itself can control the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Renders an object and escapes control characters in its text."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text == "\n":
                yield segment
            else:
                yield Segment("\n".join(map(printable, segment.text.split("\n"))), segment.style)

    def print_line(self, text: str, **options: Any) -> None:
        """Prints one line without interpreting markup and without wrapping it."""
        self.print(printable(with_global_options(text)), markup=False, soft_wrap=True, **options)
