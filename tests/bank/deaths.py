"""Ends a process at every one of its writes to the disk, and looks at what is left. Run by test_deaths.py.

Each scenario makes a bank, then does something to it in a forked process that is killed (SIGKILL) at the first, the
second, ... of its file operations; a file that is being written at that moment stays half-written. After each death the
bank must open, hold exactly what it held before or what it was to hold after, and the same operation must succeed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank import writer as limits
from featurebank.bank.catalog import bank_path
from featurebank.bank.items import Items
from featurebank.bank.maintenance.garbage import collect, plan_gc
from featurebank.bank.maintenance.merge import merge_banks
from featurebank.bank.maintenance.relabelling import relabel
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.bank.manifest import load_manifest
from featurebank.bank.pages import item_runs, shard_pages
from featurebank.bank.reader import Bank
from featurebank.bank.writer import BankWriter, row_keys

RECIPE = {"backbone": "net", "weights": "w", "views": None}
DATASET = {"name": "data", "spec": "folder:/data", "classes": ["a", "b"], "fractions": [0.7, 0.15, 0.15], "seed": 0}
State = dict[str, bytes]
STEP = 1
"""It dies at each operation of the file system; 3 means at each third."""


def digests(numbers: range) -> np.ndarray:
    return np.array([f"{n * 7919 % 10007:032x}".encode() for n in numbers], "S32")


def features(numbers: range) -> np.ndarray:
    return (np.array(list(numbers))[:, None] + np.arange(8) / 8).astype(np.float32)


def fill(path: Path, numbers: range, kept: range, dataset: dict[str, Any] = DATASET) -> None:
    """Adds rows to a bank in shards of four, and lists some of them as its items."""
    with BankWriter(path, RECIPE, dataset) as to:
        for start in range(numbers.start, numbers.stop, 4):
            some = range(start, min(start + 4, numbers.stop))
            to.append([str(n) for n in some], row_keys(digests(some)), {"pooled": features(some)}, {"pooled": None})
            to.flush()
        values = np.array(kept)
        table = Items(
            [f"{n}.png" for n in kept], digests(kept), (values % 2).astype(np.int32), (values % 3).astype("u1")
        )
        to.finish(table, ["pooled"], [], None)


def image(number: int, *, other: bool = False) -> bytes:
    """The features of an image and its label, or the other label."""
    return features(range(number, number + 1)).tobytes() + bytes([number % 2 ^ other])


def state(path: Path) -> State:
    """What a reader sees: the features and the label of each id."""
    bank = Bank(path)
    rows = zip(bank.ids(), bank.features(), bank.labels().tolist(), strict=True)
    return {name: row.tobytes() + bytes([label]) for name, row, label in rows}


def die_after(writes: int) -> None:
    """Lets this process live for so many more file operations."""
    left = writes

    def dying(original: Callable[..., Any], half: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                if half:
                    half(*arguments)
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        return call

    write = Path.write_bytes
    setattr(Path, "write_bytes", dying(write, lambda path, data: write(path, bytes(data)[: len(data) // 2])))  # noqa: B010
    opened = Path.open  # how a shard is written

    def open_or_die(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if "w" not in mode:
            return opened(path, mode, *arguments, **options)
        return dying(opened, lambda path, mode: os.truncate(opened(path, mode).fileno(), 1000))(path, mode)

    setattr(Path, "open", open_or_die)  # noqa: B010
    for owner, names in ((Path, ("replace", "unlink")), (os, ("link", "unlink", "rmdir"))):
        for name in names:
            setattr(owner, name, dying(getattr(owner, name)))


def dies(operate: Callable[[], object], writes: int) -> bool:
    """Runs an operation that dies after some writes; False where it came to its end before."""
    process = os.fork()
    if process == 0:
        try:
            die_after(writes)
            operate()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a forked process must not go on with what its parent does
            traceback.print_exc()
            os._exit(3)
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, -signal.SIGKILL}, code
    return code != 0


def every_death(
    make: Callable[[Path], Path], operate: Callable[[Path], object], before: State | None, after: State
) -> int:
    """Returns how many file operations the operation has, at each, or each third, of which it was ended."""
    writes = 0
    while True:
        root = Path(tempfile.mkdtemp())
        try:
            path = make(root)
            dead = dies(lambda here=root: operate(here), writes)
            seen = state(path) if (path / "manifest.json").is_file() and load_manifest(path).items else None
            assert seen in (before, after), f"after {writes} writes"
            if not dead:
                assert seen == after
                return writes
            operate(root)
            assert state(path) == after, f"again after {writes} writes"
            assert verify_bank(path).damaged == ()
            collect(path)
            assert not plan_gc(path), f"leftovers after {writes} writes"
            assert state(path) == after
        finally:
            shutil.rmtree(root)
        writes += STEP


def gc() -> int:
    def make(root: Path) -> Path:
        fill(root / "bank", range(20), range(3, 17))
        (root / "bank" / "shard-unlisted.h5").write_bytes(b"x")
        return root / "bank"

    expected = {f"{n}.png": image(n) for n in range(3, 17)}
    return every_death(make, lambda root: collect(root / "bank"), expected, expected)


def merge() -> int:
    def make(root: Path) -> Path:
        fill(root / "one" / "data--net--0", range(8), range(8))
        fill(root / "two" / "data--net--0", range(6, 14), range(6, 14))
        return bank_path(root / "cache", "data", RECIPE)

    def operate(root: Path) -> None:
        merge_banks([root / "one" / "data--net--0", root / "two" / "data--net--0"], root / "cache")

    after = {f"{n}.png": image(n) for n in range(14)}
    return every_death(make, operate, None, after)


def update() -> int:
    """Rows are added, images taken out: the manifest, the pages of shards and the table of items change."""

    def make(root: Path) -> Path:
        fill(root / "bank", range(20), range(20))
        assert (len(load_manifest(root / "bank").pages), len(list((root / "bank").glob("items-*")))) == (2, 1)
        return root / "bank"

    def operate(root: Path) -> None:
        fill(root / "bank", range(20, 24), range(1, 22))
        manifest = load_manifest(root / "bank")
        assert (len(manifest.pages), len((manifest.items or {})["pages"])) == (3, 2)

    before = {f"{n}.png": image(n) for n in range(20)}
    after = {f"{n}.png": image(n) for n in range(1, 22)}
    return every_death(make, operate, before, after)


def relabelling() -> int:
    """Some labels are corrected: a reader sees all of the corrections, or none."""
    wrong = range(3, 20, 4)

    def make(root: Path) -> Path:
        fill(root / "bank", range(20), range(20))
        return root / "bank"

    def operate(root: Path) -> None:
        relabel(root / "bank", {bytes(digests(range(n, n + 1))[0]): (n % 2, 1 - n % 2) for n in wrong})

    before = {f"{n}.png": image(n) for n in range(20)}
    return every_death(make, operate, before, {f"{n}.png": image(n, other=n in wrong) for n in range(20)})


if __name__ == "__main__":
    STEP = int(sys.argv[2])
    limits.SHARD_ROWS = 4
    shard_pages.SHARDS_A_PAGE, item_runs.ONE_RUN = 2, 4  # as in a large bank: shards in pages, images in runs
    sys.stdout.write(f"{globals()[sys.argv[1]]()}\n")
