"""Directives whose content is made from the code, in Markdown, when the site is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

Maker = Callable[[str], str]
"""Returns Markdown for the argument of a directive, which may be empty."""


def register(app: Sphinx, name: str, make: Maker) -> dict[str, Any]:
    """Registers a directive that stands for Markdown; if that has headings, it begins with one.

    Args:
        app: Sphinx.
        name: the name of the directive.
        make: makes its content.

    Returns:
        What `setup` of an extension returns.
    """
    from sphinx.util.docutils import SphinxDirective

    class Generated(SphinxDirective):
        """The content of the page at this place."""

        optional_arguments = 1
        final_argument_whitespace = True

        def run(self) -> list[Any]:
            """Returns the nodes of the content."""
            text = make(self.arguments[0] if self.arguments else "")
            return self.parse_text_to_nodes(text, allow_section_headings=True)

    app.add_directive(name, Generated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Returns a table in Markdown.

    Example:
        >>> print(table(["name", "meaning"], [["a", "one|two"]]))
        | name | meaning |
        |---|---|
        | a | one\|two |
    """
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("|---" * len(line) + "|" if line[0] == "---" else f"| {' | '.join(line)} |" for line in lines)
