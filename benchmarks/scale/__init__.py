"""How fast is featurebank beyond one machine, and what limits it?

`made` writes a bank of made rows. Open `options` for what can be asked.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def run(rounds: int, *, quick: bool, output: Path, options: argparse.Namespace) -> None:
    """Runs the benchmark, or only writes a made bank."""
    from benchmarks.scale.made import MadeRows, make_bank

    if options.make:
        made = MadeRows(options.rows or 10_000_000, options.width, options.dtype, options.classes)
        print(make_bank(options.make, made))
