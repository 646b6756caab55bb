"""How much faster are heads together than one by one, are they as good, and how long do whole grids take?

Made features of the size that ResNet50 gives for a small photo collection: 2700 images, 2048 features, 5 classes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.harness import conditions, report, tensorflow


def run(rounds: int, *, quick: bool, output: Path) -> None:
    """Runs the benchmark."""
    tensorflow()
    from benchmarks.heads import conv, convex, dense, grids
    from benchmarks.heads.made import made

    about, data = conditions(), made()
    found = [*dense.contests(rounds, data, quick=quick), *convex.contests(rounds, data, quick=quick)]
    found += conv.contests(rounds, quick=quick)
    with tempfile.TemporaryDirectory() as directory:
        found += grids.contests(Path(directory), quick=quick)
    report(found, about, output, {"rounds": rounds})
