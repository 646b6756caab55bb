"""The command line in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from featurebank import set_ram, set_threads
from featurebank.cli import main


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Runs the command with some words; returns what it writes on both streams."""

    def run(*words: object, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["featurebank", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        set_threads(None)
        set_ram(None)
        out, errors = capsys.readouterr()
        assert stop.value.code == code, errors
        return out, errors

    return run
