"""The command line in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from commands import run_command


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Runs the command with some words; returns what it writes on both streams."""

    def run(*words: object, code: int = 0) -> tuple[str, str]:
        return run_command(words, monkeypatch, capsys, code=code)

    return run
