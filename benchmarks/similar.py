"""How long does it take to find the images of a bank that are most similar to one image, or to 32?

The bank has 200,000 rows of 1280 float32 features. featurebank reads them from the disk each time, that is, from the
system's file cache; the others have them in memory before the clock runs. scikit-learn is `NearestNeighbors` by brute
force with the cosine metric, which normalises a copy of all features in each call. "numpy" is one product with
normalised features, the least that any search of features in memory can do, with twice their memory. All find the same
images, which is checked.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Contest, conditions, report
from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import SHARD_ROWS, BankWriter, row_keys
from featurebank.similarity.search import nearest
from featurebank.system.runtime import limited_blas

ROWS, WIDTH = 200_000, 1280
TOP = 12


def run(rounds: int, *, quick: bool, output: Path) -> None:
    """Runs the benchmark."""
    from sklearn.neighbors import NearestNeighbors

    about = conditions() | {"engine": "none"}
    rows, width = (20_000, 64) if quick else (ROWS, WIDTH)
    with tempfile.TemporaryDirectory() as directory:
        bank = made_bank(Path(directory) / "bank", rows, width)
        features = bank.features("pooled")
        model = NearestNeighbors(n_neighbors=TOP, metric="cosine", algorithm="brute").fit(features)
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        nearest(bank, "pooled", features[:1], TOP)  # it finds where the rows are, once for each open bank
        contests = []
        for count in (1, 32):
            queries = features[:: rows // count][:count]
            contest = Contest(
                f"{rows:,} x {width}, {TOP} nearest of {count}", count, "images", "scikit-learn, in memory"
            )
            contests.append(contest)
            for _ in range(rounds):
                with limited_blas():
                    reference = contest.time("scikit-learn, in memory", lambda q=queries: model.kneighbors(q)[1])
                    plain = contest.time("numpy, normalised in memory", lambda q=queries: _plain(unit, q))
                found = contest.time("featurebank, from disk", lambda q=queries: nearest(bank, "pooled", q, TOP))
                _compare(reference, plain, [positions for positions, _ in found])
    report(contests, about, output, {"rounds": rounds, "rows": rows, "width": width})


def made_bank(path: Path, rows: int, width: int) -> Bank:
    """Writes random features of ten classes, in the order of their digests, as an extraction does."""
    random = np.random.default_rng(0)
    digests = np.array([f"{number:08x}{0:024x}" for number in range(rows)], "S32")
    centres = random.normal(size=(10, width)).astype(np.float32)
    labels = (np.arange(rows) % 10).astype(np.int32)
    with BankWriter(
        path, {"backbone": "none"}, {"name": "data", "spec": "made", "classes": list("0123456789")}
    ) as bank:
        for start in range(0, rows, SHARD_ROWS):
            here = slice(start, min(start + SHARD_ROWS, rows))
            block = random.standard_normal((len(labels[here]), width), np.float32) + centres[labels[here]] / 2
            bank.append([""] * len(block), row_keys(digests[here]), {"pooled": np.maximum(block, 0)}, {"pooled": None})
        items = Items([f"{number}.jpg" for number in range(rows)], digests, labels, (labels == 9).astype(np.uint8))
        bank.finish(items, ["pooled"], [], None)
    return Bank(path)


def _plain(unit: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Returns the nearest rows of each query, (q, TOP)."""
    cosines = queries @ unit.T
    likely = np.argpartition(cosines, -TOP, axis=1)[:, -TOP:]
    order = np.argsort(-np.take_along_axis(cosines, likely, axis=1), axis=1, kind="stable")
    return np.take_along_axis(likely, order, axis=1)


def _compare(*answers: Any) -> None:
    """Raises AssertionError if contestants find other images."""
    sets = [[set(np.asarray(positions).tolist()) for positions in answer] for answer in answers]
    assert all(other == sets[0] for other in sets), "the contestants find different images"
