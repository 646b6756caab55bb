"""`python -m docs.tutorials [NAME ...]`: executes the tutorials whose code has changed, and stores their results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from docs.tutorials.notebooks import TutorialError, checked, execute, is_up_to_date, notebooks, read


def main(words: Sequence[str] | None = None) -> int:
    """Executes or checks tutorials; returns the exit status."""
    known = {path.stem: path for path in notebooks()}
    parser = argparse.ArgumentParser(prog="python -m docs.tutorials", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"Default: all. Known: {', '.join(known)}.")
    parser.add_argument("--all", action="store_true", help="Execute also those whose code has not changed.")
    parser.add_argument("--check", action="store_true", help="Execute nothing; say what is wrong with stored results.")
    parser.add_argument("--data", type=Path, metavar="DIR", help="Folder of the folders of images that they read.")
    options = parser.parse_args(words)
    if unknown := sorted(set(options.names) - set(known)):
        parser.error(f"unknown tutorial {unknown[0]!r}: expected one of {', '.join(known)}")
    failed = False
    for path in [known[name] for name in options.names or known]:
        wrong = _outcome(path, options)
        failed = failed or bool(wrong)
        say(f"{path.stem}: {wrong or 'up to date'}")
    return int(failed)


def say(line: str) -> None:
    """Prints a line at once: an execution takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _outcome(path: Path, options: argparse.Namespace) -> str:
    """Returns what is wrong with a tutorial after it was executed, if it has to be; an empty text if nothing is."""
    if not options.check and (options.all or not is_up_to_date(read(path))):
        say(f"{path.stem}: executing")
        try:
            execute(path, options.data)
        except TutorialError as error:
            return str(error)
    return "\n".join(checked(read(path)))


if __name__ == "__main__":
    sys.exit(main())
