"""What the tests of trust share: `extract` in a process of its own, its end, and banks compared byte for byte."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from featurebank.bank import Bank

NETWORK = ("--weights", "random:0", "--image-size", 32)
TAPS = ("--tap", "pooled", "--tap", "map:max")


def load_script(path: Path) -> ModuleType:
    """Imports what is a program of its own too."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def bombs() -> ModuleType:
    return load_script(Path(__file__).with_name("bombs.py"))


@pytest.fixture(scope="session")
def deaths() -> ModuleType:
    return load_script(Path(__file__).parents[1] / "bank" / "deaths.py")


@pytest.fixture
def extracts(child: Callable[..., subprocess.Popen[str]], photos: Path, tmp_path: Path) -> Callable[..., Any]:
    """Starts `extract` of the photos into a cache, with the pixel engine and two taps; see `DRIVER` for more."""

    def start(
        *more: object, cache: Path = tmp_path / "cache", dataset: Path = photos, backbone: str = "efficientnet_lite0",
        quiet: bool = True, **environment: object,
    ) -> subprocess.Popen[str]:  # fmt: skip
        what = ("--backbone", backbone, "--dataset", dataset, *NETWORK, *TAPS, "--batch-size", 2, "--json")
        command = (*(("-q",) if quiet else ()), "--cache", cache, "extract", *what, *more)
        return child(*command, **{"PAUSE": 0, **environment})

    return start


@pytest.fixture
def ended() -> Callable[..., tuple[str, str]]:
    """Waits for the end of a process, and returns what it has told on both ways; its exit code is as expected."""

    def wait(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
        out, error = process.communicate(timeout=120)
        assert process.returncode == code, error
        return out, error

    return wait


@pytest.fixture
def all_of() -> Callable[[Bank | Path], dict[str, Any]]:
    """Returns everything that a bank tells, to be compared: features as bytes."""

    def contents(bank: Bank | Path) -> dict[str, Any]:
        bank = bank if isinstance(bank, Bank) else Bank(bank)
        views = range(bank.views + 1)
        return {
            "ids": bank.ids(),
            "labels": bank.labels().tolist(),
            "splits": bank.splits().tolist(),
            "digests": bank.digests().tolist(),
            "classes": bank.classes,
            "skipped": [(entry["id"], entry["reason"]) for entry in bank.skipped],
            **{f"{tap} {view}": bank.features(tap, view=view).tobytes() for tap in bank.taps for view in views},
        }

    return contents
