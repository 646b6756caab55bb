"""The options of `python -m benchmarks scale`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark to those of all."""
    made = parser.add_argument_group("scale: a made bank")
    made.add_argument("--make", type=Path, metavar="DIR", help="only write a bank of made rows, or what it lacks")
    made.add_argument("--rows", type=count, help="rows of the made bank, as 10_000_000 or 1e7")
    made.add_argument("--width", type=count, default=256, help="features of a row; default: 256")
    made.add_argument("--dtype", choices=("float16", "float32"), default="float16")
    made.add_argument("--classes", type=count, default=100)


def count(text: str) -> int:
    """Reads a whole number that may be written as 10_000_000 or 1e7.

    Example:
        >>> count("10_000_000"), count("1e9")
        (10000000, 1000000000)
    """
    value = float(text)
    if value < 1 or value != int(value):
        message = f"expected a whole number above 0, got {text}"
        raise argparse.ArgumentTypeError(message)
    return int(value)
