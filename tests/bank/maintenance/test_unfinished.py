"""What dead and given-up fine-tunes leave goes; what one uses or may go on from stays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from featurebank.bank.locks.claims import Claims
from featurebank.bank.maintenance.garbage import collect, plan_gc
from featurebank.bank.maintenance.unfinished import remove_temporaries
from featurebank.heads.storage.saving import SUFFIX

DAY_S = 24 * 3600.0


def put(path: Path, name: str, *, days: float = 0.0) -> Path:
    file = path / "runs" / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"x" * 100)
    then = time.time() - days * DAY_S
    os.utime(file, (then, then))
    return file


def test_finished_and_given_up_ones_go(make: Callable[..., Path]) -> None:
    path = make()
    kept = [
        put(path, "0000000001.checkpoint", days=29),
        put(path, "0000000001.keras", days=29),  # its record is still to come
        *(put(path, f"0000000002{end}", days=99) for end in (".json", ".keras", SUFFIX)),
        *(put(path, f"0000000003{end}") for end in (".keras", SUFFIX)),  # just written
        put(path, "mine.checkpoint", days=99),
        put(path, "mine.keras", days=99),
    ]
    gone = [
        put(path, "0000000001.holder"),
        put(path, "0000000002.checkpoint"),
        put(path, "0000000004.checkpoint", days=31),
        *(put(path, f"0000000005{end}", days=1) for end in (".keras", SUFFIX)),
    ]
    plan = plan_gc(path)
    assert set(plan.files) == set(gone)
    assert plan.bytes == 500
    done = collect(path)
    assert set(done.files) == set(gone)
    assert not any(file.exists() for file in gone)
    assert all(file.exists() for file in kept)
    assert not plan_gc(path)


def test_what_is_in_use_stays(make: Callable[..., Path]) -> None:
    path = make()
    used = [put(path, "0000000001.holder"), put(path, "0000000001.checkpoint", days=31)]
    gone = put(path, "0000000002.checkpoint", days=31)
    with Claims(path / "runs") as claims:
        assert claims.claim("0000000001")
        assert plan_gc(path).files == (gone,)
        collect(path)
        assert all(file.exists() for file in used)
        assert not gone.exists()
    assert set(plan_gc(path).files) == set(used)


def test_who_holds_a_fine_tune_removes_what_a_killed_process_was_writing_for_it(make: Callable[..., Path]) -> None:
    path = make()
    gone = [put(path, f".writing-0123456789ab-0000000001{end}") for end in (".checkpoint", ".keras")]
    kept = [
        put(path, ".writing-0123456789ab-0000000002.checkpoint"),  # of a living one
        *(put(path, f".writing-0123456789ab-0000000001{end}") for end in (".json", ".holder")),  # a test, a heartbeat
    ]
    remove_temporaries(path / "runs", "0000000001")
    assert not any(file.exists() for file in gone)
    assert all(file.exists() for file in kept)
