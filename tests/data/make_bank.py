"""Makes a stored bank of the present format: `python tests/data/make_bank.py tests/data/bank-vN`, once a version.

It was run once for each version, and is not to be run again for it: banks that users have do not change either.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.pages import item_runs, shard_pages
from featurebank.bank.writer import BankWriter, event, row_keys
from featurebank.system import digest

RECIPE = {
    "backbone": "net",
    "architecture": "net:v1",
    "weights": "0" * 32,
    "preprocessing": "caffe:v1",
    "image_size": 32,
    "resize": "crop:0.875:bicubic:antialias:v1",
    "precision": "float32",
    "views": {"augment": "flip,rotate=10", "rule": "v1"},
}
DATASET = {
    "name": "stored", "spec": "folder:/stored", "classes": ["ant", "bee", "ünï 图"], "fractions": [0.6, 0.2, 0.2],
    "seed": 0, "subset": {},
}  # fmt: skip
COUNT = 30


def features(tap: str, view: int) -> np.ndarray:
    """Rows that a test can compute again: exact in float16."""
    rows = np.arange(COUNT, dtype=np.float32)[:, None] % 3 * 8 + np.arange(4, dtype=np.float32) / 4 + view
    return rows if tap == "pooled" else rows.reshape(COUNT, 1, 2, 2)


def items() -> Items:
    """Thirty images, two of them the same."""
    digests = np.array([digest.of_recipe(["stored", n]) for n in range(COUNT)], "S32")
    digests[29] = digests[26]
    numbers = np.arange(COUNT)
    ids = [f"{DATASET['classes'][n % 3]}/{n}.png" for n in range(COUNT)]
    metadata = {"camera": np.array([f"c{n % 2}" for n in range(COUNT)]), "metres": numbers * 0.5}
    return Items(ids, digests, (numbers % 3).astype(np.int32), (numbers // 3 % 3).astype(np.uint8), metadata)


def make(path: Path) -> None:
    """Makes the bank, with pages in spite of its size."""
    shard_pages.SHARDS_A_PAGE, item_runs.ONE_RUN = 3, 8
    table = items()
    with BankWriter(path, RECIPE, DATASET, source={"weights": "random:0"}) as to:
        for tap, dtype in (("pooled", "float32"), ("block/a:max", "float16")):
            for view in (0, 1):
                keys = row_keys(table.digests[:29], view)
                to.append(list(table.ids)[:29], keys, {tap: features(tap, view)[:29]}, {tap: dtype})
        skipped = [{"id": "ant/bad.jpg", "reason": "truncated or damaged"}]
        few = np.flatnonzero(np.arange(COUNT) % 10 != 3)
        before = replace(table, labels=np.where(np.arange(COUNT) == 7, 0, table.labels).astype(np.int32)).select(few)
        to.finish(before, ["pooled", "block/a:max"], [], None, views=1)  # so that the table has two runs
        done = event(added=29, taps=["pooled", "block/a:max"], views=1, seconds=1.0, engine="tensorflow")
        to.finish(table, ["pooled", "block/a:max"], skipped, done, views=1)
    train_heads(Bank(path), [{"kind": "ridge"}, {"kind": "softmax", "epochs": 2}])
    shutil.rmtree(path / "__pycache__", ignore_errors=True)
    (path / ".writer.lock").unlink(missing_ok=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
