"""Writes a true bank of made features: 10 million rows take two minutes, where a network would take hours.

Rows are in the order of their digests, the numbers in the ids are not; classes are random, and so is the split. The
features of a class lie around its centre and are never negative, as behind a ReLU. Each block of rows depends on its
number alone, so that the same command continues what was interrupted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.pages.packed_text import PackedText
from featurebank.bank.shard import ShardEntry, write_shard
from featurebank.bank.writer import SHARD_BYTES, SHARD_ROWS, BankWriter, event, row_keys
from featurebank.dataset.splits import DEFAULT_FRACTIONS, assign

TAP = "pooled"
LISTED_TOGETHER = 64
"""Shards that are listed at once: what an interruption costs at most."""
_STEP = 7_368_787
"""A prime: the numbers of the ids jump by it from row to row, so that ids and digests have different orders."""
_HEXADECIMAL = np.array([f"{byte:02x}" for byte in range(256)], "S2")


@dataclass(frozen=True)
class MadeRows:
    """The rows of a made bank."""

    rows: int
    width: int
    dtype: str = "float16"
    classes: int = 100

    @property
    def block_rows(self) -> int:
        """Rows of a shard, as a writer would choose them."""
        return max(1, min(SHARD_ROWS, SHARD_BYTES // (self.width * np.dtype(self.dtype).itemsize)))

    @property
    def blocks(self) -> int:
        """The number of shards."""
        return -(-self.rows // self.block_rows)

    def positions(self, block: int) -> np.ndarray:
        """Returns the positions of a block's rows among all: (b,) int64."""
        return np.arange(block * self.block_rows, min((block + 1) * self.block_rows, self.rows))

    def digests(self, block: int) -> np.ndarray:
        """Returns the digests of a block's rows, in ascending order over all blocks: (b,) "S32"."""
        positions, random = self.positions(block), np.random.default_rng([1, block])
        step = (1 << 64) // self.rows
        words = np.empty((len(positions), 2), ">u8")
        words[:, 0] = positions.astype(np.uint64) * np.uint64(step) + random.integers(
            0, step, len(positions), np.uint64
        )
        words[:, 1] = random.integers(0, 1 << 64, len(positions), np.uint64, endpoint=False)
        return _HEXADECIMAL[words.view(np.uint8)].view("S32").ravel()

    def labels(self, block: int) -> np.ndarray:
        """Returns the classes of a block's rows: (b,) int32."""
        return np.random.default_rng([2, block]).integers(0, self.classes, len(self.positions(block)), np.int32)

    def features(self, block: int) -> np.ndarray:
        """Returns the features of a block's rows: (b, width) of `dtype`."""
        centres = np.random.default_rng(3).standard_normal((self.classes, self.width), np.float32) / 4
        noise = np.random.default_rng([4, block]).standard_normal((len(self.positions(block)), self.width), np.float32)
        return np.maximum(noise + centres[self.labels(block)], 0).astype(self.dtype)

    def ids(self) -> PackedText:
        """Returns the names of all images, as `images/0123/01234567.jpg`."""
        step = _STEP if self.rows % _STEP else 1
        numbers = np.arange(self.rows, dtype=np.int64) * step % self.rows
        digits = (numbers[:, None] // 10 ** np.arange(8)[::-1] % 10 + ord("0")).astype(np.uint8)
        columns = [_text("images/"), digits[:, :4], _text("/"), digits, _text(".jpg")]
        text = np.concatenate([np.broadcast_to(part, (self.rows, part.shape[1])) for part in columns], axis=1)
        return PackedText(text.ravel(), np.arange(1, self.rows + 1, dtype=np.int64) * text.shape[1])

    def items(self) -> Items:
        """Returns the table of images."""
        digests = np.concatenate([self.digests(block) for block in range(self.blocks)])
        labels = np.concatenate([self.labels(block) for block in range(self.blocks)])
        return Items(self.ids(), digests, labels, assign(digests, None, DEFAULT_FRACTIONS, seed=0).astype(np.uint8))


def make_bank(path: Path, made: MadeRows) -> Bank:
    """Writes a bank of made rows, or what is missing of it.

    Raises:
        ConfigError: the directory holds another bank.
    """
    began = time.perf_counter()
    recipe = {"backbone": "made", "rows": made.rows, "width": made.width, "dtype": made.dtype, "classes": made.classes}
    dataset = {
        "name": "made", "spec": "made", "classes": [f"class{number:03d}" for number in range(made.classes)],
        "fractions": list(DEFAULT_FRACTIONS), "seed": 0,
    }  # fmt: skip
    with BankWriter(path, recipe, dataset) as writer:
        firsts = np.array([made.digests(block)[0] for block in range(made.blocks)])
        missing = np.flatnonzero(~np.isin(firsts, writer.stored(TAP))).tolist()
        for start in range(0, len(missing), LISTED_TOGETHER):
            _write(writer, made, missing[start : start + LISTED_TOGETHER])
        if missing or writer.manifest.items is None:
            spent = round(time.perf_counter() - began, 2)
            writer.finish(made.items(), [TAP], [], event(added=made.rows, computed=made.rows, seconds=spent))
    return Bank(path)


def _write(writer: BankWriter, made: MadeRows, blocks: list[int]) -> None:
    entries: list[ShardEntry] = []
    keys = [row_keys(made.digests(block)) for block in blocks]
    for block, column in zip(blocks, keys, strict=True):
        entries.append(write_shard(writer.path, column, {TAP: [made.features(block)]}))
    writer.adopt(entries, keys)


def _text(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)[None]
