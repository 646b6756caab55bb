"""Builds the site and opens it: `python -m docs`."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
STRICT = ("--fail-on-warning", "--keep-going", "--nitpicky", "--fresh-env")


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the site; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs", description="Build the documentation and open it.")
    parser.add_argument("folder", nargs="?", type=Path, default=HERE / "_build" / "html", help="where the site goes")
    parser.add_argument("--strict", action="store_true", help="take every warning as an error, as the tests do")
    parser.add_argument("--no-open", action="store_true", help="do not open the site in a browser")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("sphinx") is None:
        sys.stderr.write("Error: Sphinx is not installed: pip install '.[docs]' installs what the site needs\n")
        return 1
    code = build(options.folder, strict=options.strict)
    if code == 0:
        start = options.folder / "index.html"
        sys.stdout.write(f"the site: {start}\n")
        if not options.no_open:
            webbrowser.open(start.resolve().as_uri())
    return code


def build(folder: Path, *, strict: bool = False) -> int:
    """Builds the site into a folder.

    Args:
        folder: where the pages go.
        strict: take every warning as an error, and every page anew.

    Returns:
        The exit code of Sphinx, 0 for success.
    """
    from sphinx.cmd.build import build_main

    doctrees = folder.parent / f"{folder.name}-doctrees"
    return build_main(["-q", "-b", "html", "-d", str(doctrees), *(STRICT if strict else ()), str(HERE), str(folder)])


if __name__ == "__main__":
    sys.exit(main())
