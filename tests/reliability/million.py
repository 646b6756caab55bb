"""A bank of very many rows, looked at in a process of its own. Run by test_million.py.

    python million.py PATH

Prints as JSON: seconds of opening it (from the disk, and again), of the first access to a row, of a search for similar
images (from the disk, and again) and of one shuffled pass over all rows, how many rows that has seen, and the most
memory that the process has had, in bytes: before, by the search, and by all.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

import numpy as np

from featurebank.bank.reader import Bank
from featurebank.similarity.search import nearest


def forget_pages(path: Path) -> None:
    """Drops what the system remembers of the files in a directory, so that they come from the disk."""
    for file in path.iterdir():
        handle = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def timed_open(path: Path) -> tuple[Bank, float]:
    began = time.perf_counter()
    bank = Bank(path)
    return bank, time.perf_counter() - began


def timed_search(bank: Bank, position: int) -> float:
    """Searches for the images that are most similar to one, which is itself the most similar."""
    vector = bank.rows("pooled", [position])
    began = time.perf_counter()
    ((positions, cosines),) = nearest(bank, "pooled", vector, 12)
    assert cosines[0] == 1
    assert position in positions[cosines == 1]
    return time.perf_counter() - began


def shuffled_pass(bank: Bank) -> tuple[int, float]:
    """Looks at every row once, in the order of a seed; returns how many distinct ones there were, and the seconds."""
    began = time.perf_counter()
    seen = np.zeros(len(bank), np.uint8)
    for block in bank.blocks(seed=1):
        seen[block.positions] += 1
        number = bank_number(block.features)
        assert np.array_equal(block.labels, number % 10), "labels of other rows"
        assert not np.array_equal(np.sort(block.positions), block.positions), "shuffled"
    assert seen.max() == 1, "twice"
    return int(seen.sum()), time.perf_counter() - began


def bank_number(features: np.ndarray) -> np.ndarray:
    """The number of each row, which is written in its first two features."""
    return (features[:, 0] * 1024 + features[:, 1]).astype(np.int64)


def peak_memory() -> int:
    """The most memory that this process has had, in bytes; `ru_maxrss` would count what its parent had."""
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) << 10


def main(path: Path) -> None:
    forget_pages(path)
    figures = {"base": peak_memory()}
    _, figures["open_cold"] = timed_open(path)
    bank, figures["open_warm"] = timed_open(path)
    began = time.perf_counter()
    for position in (0, len(bank) // 2, len(bank) - 1):
        (row,) = bank.rows("pooled", [position])
        assert bank.labels()[position] == bank_number(row[np.newaxis])[0] % 10
    figures["first_rows"] = time.perf_counter() - began
    figures["similar_cold"] = timed_search(bank, len(bank) // 3)
    figures["similar_warm"] = timed_search(bank, len(bank) // 3)
    figures["similar_peak"] = peak_memory()
    figures["rows"], figures["pass"] = shuffled_pass(bank)
    figures["peak"] = peak_memory()
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
