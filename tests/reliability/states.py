"""A bank that changes without end, and readers that look at it all the while. Run by test_concurrency.py.

    python states.py write|read|share PATH SECONDS

State k of the bank has the images first(k) to last(k); the label and the split of image n follow from n and k, its
features from n alone. So whatever a reader gets, it can tell whether it belongs together. Each role prints how much it
has done; what must not be seen ends it with an error.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

from featurebank.bank.items import Items
from featurebank.bank.maintenance.garbage import collect
from featurebank.bank.pages import item_runs, item_table, shard_pages
from featurebank.bank.reader import Bank
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.dataset.splits import SPLITS
from featurebank.errors import BankDamagedError

RECIPE = {"backbone": "net", "weights": "w", "views": None}
TAPS = ("pooled", "block:max")
THREADS = 4
LEAST = 5
"""Each role does so much after its deadline, too, if a busy machine has not let it do that before."""
# Small banks go through what large ones do: shards in pages, images in runs, and tables that are mapped.
shard_pages.SHARDS_A_PAGE, shard_pages.MOST_LISTED, item_runs.ONE_RUN, item_table.EAGER_BYTES = 2, 4, 8, 1 << 12


def numbers(state: int) -> range:
    """The images of a state: some leave and some come from one to the next, and after four the first is back."""
    first = (0, 30, 10, 50)[state % 4]
    return range(first, first + 60 + state % 3)


def digests(of: range | list[int]) -> np.ndarray:
    return np.array([f"{n * 7919 % 10007:032x}".encode() for n in of], "S32")


def features(of: list[int], tap: str) -> np.ndarray:
    return (np.array(of)[:, None] + np.arange(8) / 8 + 1000 * TAPS.index(tap)).astype(np.float32)


def labels(of: list[int], state: int) -> np.ndarray:
    return ((np.array(of) + state) % 3).astype(np.int32)


def write(path: Path, deadline: float) -> Counter[str]:
    """Brings the bank from state to state as an extraction does, and cleans up after every other."""
    done: Counter[str] = Counter()
    while time.time() < deadline or done["states"] < LEAST:
        state = done["states"] + 1
        here = list(numbers(state))
        dataset = {"name": "data", "spec": "folder:/data", "classes": ["a", "b", "c"], "fractions": [], "seed": state}
        with BankWriter(path, RECIPE, dataset) as to:
            known = set(to.stored("pooled").tolist())
            missing = [n for n in here if digests([n])[0] not in known]
            for start in range(0, len(missing), 6):
                some = missing[start : start + 6]
                blocks = {tap: features(some, tap) for tap in TAPS}
                to.append([str(n) for n in some], row_keys(digests(some)), blocks, dict.fromkeys(TAPS))
                to.flush()
            table = Items([f"{n}.png" for n in here], digests(here), labels(here, state), labels(here, state + 1))
            to.finish(Items(table.ids, table.digests, table.labels, table.splits.astype(np.uint8)), TAPS, [], None)
        done["states"] = state
        if state % 2:
            done["rewritten shards"] += len(collect(path).rewrites)
    return done


def check_tables(bank: Bank) -> None:
    """What was opened is one state, whole."""
    state = bank.manifest.dataset["seed"]
    seen = [int(name.removesuffix(".png")) for name in bank.ids()]
    assert sorted(seen) == list(numbers(state)), f"images of no state: {seen}"
    assert bank.labels().tolist() == labels(seen, state).tolist(), "labels of another state"
    assert bank.splits().tolist() == [SPLITS[code] for code in labels(seen, state + 1)], "splits of another state"


def check_rows(bank: Bank, moments: random.Random) -> bool:
    """Reads features: the right ones, or, where a clean-up took images that this bank still lists, the error for it."""
    tap, split = moments.choice(TAPS), moments.choice([None, *SPLITS])
    seen = np.array([int(name.removesuffix(".png")) for name in bank.ids(split)])
    try:
        if moments.random() < 0.5:
            found = bank.features(tap, split)
        else:
            blocks = list(bank.blocks(tap, split, seed=moments.randrange(9), block_bytes=400))
            seen = seen[np.concatenate([block.positions for block in blocks])]
            found = np.concatenate([block.features for block in blocks])
    except BankDamagedError as error:
        if " of tap " not in str(error):  # "lacks 1 row of tap ..."
            raise
        return False
    assert found.tolist() == features(seen.tolist(), tap).tolist(), "rows of other images"
    return True


def read(path: Path, deadline: float, seed: int = 0) -> Counter[str]:
    """Opens the bank again and again, and reads what was opened now and some time ago."""
    done: Counter[str] = Counter()
    moments = random.Random(seed)
    old = Bank(path)
    while time.time() < deadline or done["opened"] < LEAST:
        bank = Bank(path)
        done["opened"] += 1
        check_tables(bank)
        for one in (bank, old):
            done["read" if check_rows(one, moments) else "taken away"] += 1
        if done["opened"] % 5 == 0:
            old = bank
    return done


def share(path: Path, deadline: float) -> Counter[str]:
    """Threads read one bank together; it is opened anew now and then."""
    done: Counter[str] = Counter()
    failures: list[str] = []
    shared = [Bank(path)]
    sys.setswitchinterval(1e-5)

    def look(seed: int) -> None:
        moments = random.Random(seed)
        count = 0
        try:
            while (time.time() < deadline or count < LEAST) and not failures:
                count += check_rows(shared[0], moments)
                if moments.random() < 0.02:
                    shared[0] = Bank(path)
        except BaseException:  # noqa: BLE001 - told by the main thread
            failures.append(traceback.format_exc())
        done["read"] += count

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    return done


if __name__ == "__main__":
    role, place, end = sys.argv[1:]
    sys.stdout.write(json.dumps({"write": write, "read": read, "share": share}[role](Path(place), float(end))))
