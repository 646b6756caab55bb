"""Notes tell who holds something, or nothing: whatever stands in them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from featurebank.bank.locks import note
from featurebank.bank.locks.note import Heartbeat, NoteTakenError, is_unsealed_note, read_note, watch
from featurebank.system.sealed_json import write_sealed

GOOD: dict[str, Any] = {"host": "a-host.b", "process": 7, "heartbeat": 1.5, "token": "x"}


@pytest.mark.parametrize(
    "change",
    [
        {"host": "../../etc"}, {"host": "\x1b[2J"}, {"host": ""}, {"host": None}, {"process": "7"}, {"process": True},
        {"process": 1.5}, {"heartbeat": "now"}, {"heartbeat": 10**400}, {"since": 3}, {"token": None}, {"more": 1},
    ],
)  # fmt: skip
def test_a_note_that_nobody_can_have_written_names_nobody(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "note"
    write_sealed(path, GOOD)
    holder = read_note(path)
    assert holder
    assert (holder.name, holder.is_here, holder.token) == ("process 7 on a-host.b", False, "x")
    write_sealed(path, {**GOOD, **change})
    assert read_note(path) is None


def test_every_flipped_byte_makes_it_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "note"
    write_sealed(path, GOOD)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert read_note(path) in {None, read_note_of(whole, path)}, place
        assert not is_unsealed_note(path), place


def read_note_of(data: bytes, path: Path) -> Any:
    other = path.with_name("whole")
    other.write_bytes(data)
    return read_note(other)


@pytest.mark.parametrize("key", ["heartbeat", "since"])
def test_notes_of_an_earlier_featurebank_are_read(tmp_path: Path, key: str) -> None:
    path = tmp_path / "note"
    path.write_text(json.dumps({"host": "a", "process": 7, key: {"heartbeat": 2.0, "since": "today"}[key]}))
    holder = read_note(path)
    assert holder
    assert (holder.process, holder.token) == (7, "")
    assert is_unsealed_note(path)


def test_it_is_kept_alive_and_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(note, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(note, "LOOK_AGAIN_S", 0.02)
    path = tmp_path / "note"
    with Heartbeat(path, since="today"):
        holder = read_note(path)
        assert holder
        assert (holder.process, holder.since, holder.is_here) == (os.getpid(), "today", True)
        assert watch(path, holder)
    assert not path.exists()
    assert not watch(path, holder), "it has gone"


def test_of_two_at_once_the_one_goes_on_whose_note_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "note"

    def settle(seconds: float) -> None:
        write_sealed(path, GOOD)

    monkeypatch.setattr(time, "sleep", settle)
    with pytest.raises(NoteTakenError, match="process 7 on a-host"), Heartbeat(path, locked=False):
        pass
    holder = read_note(path)
    assert holder
    assert holder.process == 7, "which stays"
