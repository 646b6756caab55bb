"""Locks of a cache in a bucket: of two, one wins; who dies is followed, who lives is not, whatever the clocks say."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from buckets import BUCKET, Machine, environment, server_with_bucket

from featurebank.bank.locks import lease, note
from featurebank.bank.locks.claims import Claims, hold_run
from featurebank.bank.locks.lease import SESSIONS, Lease, note_bytes
from featurebank.bank.locks.note import NoteTakenError, parse_note, read_note
from featurebank.bank.locks.writer_lock import NOTE, WriterLock, read_holder
from featurebank.errors import BankLockedError, RunLockedError, StorageError
from featurebank.storage.caches import cache_directory, mirror_of
from featurebank.storage.mirror import Mirror
from featurebank.system.files import write_bytes

RUN, OTHER_RUN = "00000000a1", "00000000b2"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with server_with_bucket() as url:
        yield url


@pytest.fixture
def address(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A cache in a bucket; locks are renewed fast, and their holders die fast."""
    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(note, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(note, "DEAD_AFTER_S", 1.0)
    monkeypatch.setattr(note, "LOOK_AGAIN_S", 0.02)
    monkeypatch.setattr(note, "NOTE_WITHIN_S", 0.05)
    return f"s3://{BUCKET}/locks/{abs(hash(request.node.name))}"


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Machine, Machine]:
    return Machine(tmp_path / "one"), Machine(tmp_path / "two")


def opened(address: str) -> tuple[Path, Mirror]:
    root = cache_directory(address)
    mirror = mirror_of(root)
    assert mirror is not None
    return root, mirror


def leave_behind(mirror: Mirror, path: Path, *, identity: str = "", host: str | None = None) -> str:
    """Writes the note of a process that died; returns its token."""

    class Dead:
        pass

    holder: Any = Dead()
    holder.identity = identity or mirror.identity
    with pytest.MonkeyPatch.context() as patch:
        if host:
            patch.setattr(lease.socket, "gethostname", lambda: host)
        patch.setattr(lease.time, "time", lambda: 4e9)  # by a clock that is decades off
        assert mirror.replace(path, note_bytes(holder, "dead"), None)
    return "dead"


def test_a_bank_has_one_writer_on_all_machines(address: str, machines: tuple[Machine, Machine]) -> None:
    with machines[0].used():
        root, _ = opened(address)
        with WriterLock(root / "bank") as lock:
            lock.check()
            holder = read_holder(root / "bank")
            assert holder is not None
            with machines[1].used():
                there, _ = opened(address)
                assert read_holder(there / "bank") == holder or read_holder(there / "bank") is not None
                with (
                    pytest.raises(BankLockedError, match=r"process \d+ on .* writes the bank"),
                    WriterLock(there / "bank"),
                ):
                    pass
            with pytest.raises(BankLockedError), WriterLock(root / "bank"):
                pass
    with machines[1].used(), WriterLock(there / "bank"):
        pass
    assert read_holder(there / "bank") is None


def test_a_waiting_writer_follows_the_first(address: str, machines: tuple[Machine, Machine]) -> None:
    said: list[str] = []
    with machines[1].used():
        there, _ = opened(address)
        with WriterLock(there / "bank"):
            pass  # knows the conditions of the bucket
    with machines[0].used():
        root, mirror = opened(address)
        first = Lease(mirror, root / "bank" / NOTE)
        first.__enter__()
    ends = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        ends.set()

    def end() -> None:
        ends.wait()
        first.__exit__(None, None, None)

    ender = threading.Thread(target=end)
    ender.start()
    with machines[1].used(), WriterLock(there / "bank", wait=True, say=say):
        pass
    ender.join()
    assert said[0].startswith("waiting: process ") or "watching" in said[0]


@pytest.mark.parametrize("where", ["another machine", "this mirror"])
def test_a_dead_writer_is_followed(address: str, machines: tuple[Machine, Machine], where: str) -> None:
    with machines[0].used():
        root, mirror = opened(address)
        if where == "this mirror":
            leave_behind(mirror, root / "bank" / NOTE)
        else:
            leave_behind(mirror, root / "bank" / NOTE, identity="other", host="elsewhere")
        said: list[str] = []
        began = time.monotonic()
        with WriterLock(root / "bank", say=said.append):
            assert (time.monotonic() - began >= note.DEAD_AFTER_S) == (where == "another machine")
        name = "elsewhere" if where == "another machine" else lease.socket.gethostname()
        assert any(line.startswith("process ") and f"on {name} ended without releasing 'bank'" in line for line in said)


def test_a_process_of_the_same_host_name_and_another_mirror_is_watched(
    address: str, machines: tuple[Machine, Machine]
) -> None:
    """Containers may have the same host name, and each its own first process."""
    with machines[0].used():
        root, mirror = opened(address)
        leave_behind(mirror, root / "bank" / NOTE, identity="other")
        began = time.monotonic()
        with WriterLock(root / "bank"):
            assert time.monotonic() - began >= note.DEAD_AFTER_S


def test_of_two_that_follow_a_dead_holder_one_wins(address: str, machines: tuple[Machine, Machine]) -> None:
    with machines[0].used():
        root, mirror = opened(address)
        path = root / "bank" / NOTE
        leave_behind(mirror, path, identity="gone", host="elsewhere")
        results: list[str] = []
        entered = threading.Barrier(4)
        done = threading.Event()

        def follow() -> None:
            entered.wait()
            try:
                with Lease(mirror, path):
                    results.append("holds")
                    done.wait()
            except NoteTakenError:
                results.append("refused")
                if results.count("refused") == 3:
                    done.set()

        threads = [threading.Thread(target=follow) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == ["holds", "refused", "refused", "refused"]
        assert mirror.read(path) is None, "the winner has removed its note"


def test_a_holder_that_was_taken_for_dead_cannot_replace_the_manifest(
    address: str, machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop sleeps, another machine takes over: what the sleeper writes afterwards is refused, not mixed."""
    from featurebank.bank.locks.writer_lock import explain_conflict

    with machines[0].used():
        root, _ = opened(address)
        sleeper = WriterLock(root / "bank")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Lease, "_keep_renewing", lambda self: None)
            sleeper.__enter__()
        write_bytes(root / "bank" / "manifest.json", b"1")
    with machines[1].used():
        there, _ = opened(address)
        other = WriterLock(there / "bank")
        other.__enter__()
        write_bytes(there / "bank" / "manifest.json", b"2")
    with machines[0].used():
        locked = pytest.raises(BankLockedError, match=r"process \d+ on .* has taken over and writes the bank")
        with locked, explain_conflict(root / "bank"):
            write_bytes(root / "bank" / "manifest.json", b"3")
        assert (root / "bank" / "manifest.json").read_bytes() in {b"1", b"2"}
        sleeper.__exit__(None, None, None)
    with machines[1].used():
        holder = read_note(there / "bank" / NOTE)
        assert holder is not None, "the sleeper has not removed the note of the other"
        write_bytes(there / "bank" / "manifest.json", b"4")
        other.__exit__(None, None, None)


def test_a_renewed_lease_that_was_lost_names_the_other(address: str, machines: tuple[Machine, Machine]) -> None:
    with machines[0].used():
        root, mirror = opened(address)
        path = root / "bank" / NOTE
        with Lease(mirror, path) as mine:
            assert mine.other() is None
            stored = mirror.read(path)
            while stored is not None and mirror.replace(path, note_bytes(mirror, "usurper"), stored[1]) is None:
                stored = mirror.read(path)
            while not mine._lost:
                time.sleep(0.01)
            other = mine.other()
            assert other is not None
            assert other.token == "usurper"
        left = mirror.read(path)
        assert left is not None
        assert parse_note(left[0]) == other


def test_a_bucket_that_does_not_answer_for_a_while_costs_no_lease(
    address: str, machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    with machines[0].used():
        root, mirror = opened(address)
        path = root / "bank" / NOTE
        failures: list[int] = []
        replace = mirror.replace

        def failing(path: Path, data: bytes, version: str | None) -> str | None:
            if version is not None and len(failures) < 3:
                failures.append(1)
                message = "no answer"
                raise StorageError(message)
            return replace(path, data, version)

        monkeypatch.setattr(mirror, "replace", failing)
        with Lease(mirror, path) as held:
            first = held._version
            while held._version == first:
                time.sleep(0.01)
            assert len(failures) == 3
            assert not held._lost


def test_a_renewal_that_arrived_without_an_answer_costs_no_lease(
    address: str, machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    with machines[0].used():
        root, mirror = opened(address)
        path = root / "bank" / NOTE
        arrived: list[str | None] = []
        replace = mirror.replace

        def unanswered(path: Path, data: bytes, version: str | None) -> str | None:
            new = replace(path, data, version)
            if version is not None and len(arrived) < 2:
                arrived.append(new)
                message = "no answer"
                raise StorageError(message)
            return new

        monkeypatch.setattr(mirror, "replace", unanswered)
        with Lease(mirror, path) as held:
            first = held._version
            while held._version in {first, *arrived}:
                assert not held._lost
                time.sleep(0.01)
            assert held.other() is None
        assert mirror.read(path) is None, "it is removed at the end"


def test_a_run_is_claimed_once_on_all_machines(address: str, machines: tuple[Machine, Machine]) -> None:
    with machines[0].used():
        root, mirror = opened(address)
        runs = root / "bank" / "runs"
        with Claims(runs) as mine:
            assert mine.claim(RUN)
            assert mine.claim(RUN), "it is ours already"
            with machines[1].used():
                there, _ = opened(address)
                with Claims(there / "bank" / "runs") as theirs:
                    assert theirs.claim_all([RUN, OTHER_RUN]) == [OTHER_RUN]
                    with machines[0].used():
                        assert mine.claim_all([OTHER_RUN, RUN]) == [RUN]
                    theirs.release([OTHER_RUN, RUN])
            while not mine.claim(OTHER_RUN):  # the answer of a moment ago still counts
                time.sleep(note.LOOK_AGAIN_S)
        assert mirror.objects.list() == {}, "claims and sessions are removed"


def test_a_dead_process_loses_its_claims(address: str, machines: tuple[Machine, Machine]) -> None:
    with machines[0].used():
        root, mirror = opened(address)
        runs = root / "bank" / "runs"
        leave_behind(mirror, runs / ".claimed" / f"{RUN}.json", identity="other", host="elsewhere")
        token = leave_behind(mirror, runs / SESSIONS / "dead.json", identity="other", host="elsewhere")
        assert token == "dead"
        leave_behind(mirror, runs / ".claimed" / f"{OTHER_RUN}.json")
        with Claims(runs) as claims:
            assert claims.claim(OTHER_RUN), "of this mirror: the kernel knows that its process has died"
            began = time.monotonic()
            while not claims.claim(RUN):
                time.sleep(note.LOOK_AGAIN_S)
            assert time.monotonic() - began >= note.DEAD_AFTER_S


def test_a_session_that_has_ended_leaves_no_claim(address: str, machines: tuple[Machine, Machine]) -> None:
    with machines[0].used():
        root, mirror = opened(address)
        runs = root / "bank" / "runs"
        leave_behind(mirror, runs / ".claimed" / f"{RUN}.json", identity="other", host="elsewhere")
        with Claims(runs) as claims:
            assert claims.claim(RUN)


def test_a_fine_tune_runs_once_on_all_machines(address: str, machines: tuple[Machine, Machine]) -> None:
    with machines[0].used():
        root, _ = opened(address)
        with hold_run(root / "bank" / "runs", RUN, lambda line: None), machines[1].used():
            there, _ = opened(address)
            taken = pytest.raises(RunLockedError, match=r"process \d+ on .* has been doing this fine-tune .*since 20")
            with taken, hold_run(there / "bank" / "runs", RUN, lambda line: None):
                pass
            with hold_run(there / "bank" / "runs", OTHER_RUN, lambda line: None):
                pass
    with machines[1].used(), hold_run(there / "bank" / "runs", RUN, lambda line: None):
        pass


def test_the_fine_tune_of_a_dead_process_is_continued(address: str, machines: tuple[Machine, Machine]) -> None:
    with machines[0].used():
        root, mirror = opened(address)
        runs = root / "bank" / "runs"
        for place in (runs / ".claimed" / f"{RUN}.json", runs / SESSIONS / "dead.json", runs / f"{RUN}.holder"):
            leave_behind(mirror, place, identity="other", host="elsewhere")
        with hold_run(runs, RUN, lambda line: None):
            pass
