"""The command line in the process of a test."""

from __future__ import annotations

import sys

import pytest

from featurebank import set_ram, set_threads
from featurebank.cli import main


def run_command(
    words: tuple[object, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, code: int = 0
) -> tuple[str, str]:
    """Runs the command with some words, expects its exit code; returns what it writes on both streams."""
    monkeypatch.setattr(sys, "argv", ["featurebank", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    set_threads(None)
    set_ram(None)
    out, errors = capsys.readouterr()
    assert stop.value.code == code, errors
    return out, errors
