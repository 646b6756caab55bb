"""An interruption waits for the end of an import, and for nothing else."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from featurebank.api.display import showing

SLOW = "import signal\nsignal.raise_signal(signal.SIGINT)\nfor _ in range(1000): pass\nDONE = True\n"


@pytest.fixture
def slow_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that is interrupted while it is imported."""
    (tmp_path / "slow_to_import.py").write_text(SLOW)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "slow_to_import", raising=False)
    return "slow_to_import"


def import_and_wait(name: str) -> None:
    importlib.import_module(name)
    for _ in range(500):
        time.sleep(0.01)


def test_an_import_ends_first(slow_module: str) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), showing():
        import_and_wait(slow_module)
    assert sys.modules[slow_module].DONE
    assert signal.getsignal(signal.SIGINT) is before


def test_other_work_is_interrupted_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), showing():
        signal.raise_signal(signal.SIGINT)


def test_an_import_of_the_user_around_the_call_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "script_to_import.py").write_text(
        "import signal\nfrom featurebank.api.display import showing\n"
        "with showing():\n    signal.raise_signal(signal.SIGINT)\n    raise AssertionError\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        importlib.import_module("script_to_import")


def test_a_handler_of_the_user_is_called() -> None:
    received = []
    before = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        with showing():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert received == [signal.SIGINT]


def test_another_thread_has_no_handler() -> None:
    errors = []

    def call() -> None:
        try:
            with showing():
                pass
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert errors == []
