"""Functions that tests send to workers: a module of `tests`, unlike this one, may be missing there."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from featurebank.errors import DatasetError, DiskFullError


def problem_in(path: str) -> dict[str, str]:
    """Returns what `read_answer` reads: the problem that is written into a file, if there is one."""
    return {"problem": Path(path).read_text() if Path(path).exists() else ""}


def wait_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.01)


def double(log: str, numbers: Sequence[int]) -> list[int]:
    """Ends its process at a 13, raises at other unlucky numbers, and notes what it computes."""
    for number in numbers:
        if number == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 666 and not Path(log, "forgiven").exists():
            Path(log, "forgiven").touch()
            raise OSError("once")
        if number == 667:
            raise DiskFullError("no space left")
        if number == 668:
            raise DatasetError("final")
        with Path(log, "computed").open("a") as file:
            file.write(f"{number}\n")
    return [2 * number for number in numbers]
