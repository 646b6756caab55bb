"""What the pages for contributors show works: in a copy of the source, their tests and the contract suites pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from additions import PAGES, Change, apply, changes, copy_source

pytestmark = pytest.mark.heavy

CONTRACTS = {
    "tests/heads/test_contract.py": "extra_trees",
    "tests/engine/test_contract.py": "eager and not threads",
    "tests/backbone/test_contract.py": "all_conv",
    "tests/test_architecture.py": "",
}
"""The suites that the additions have to pass, and which of their tests."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Returns a copy of the source with everything that the pages add."""
    copy_source(tmp_path)
    for page in PAGES:
        for change in changes(page):
            apply(change, tmp_path)
    return tmp_path


def run(source: Path, *words: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(source)}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *words]
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_a_page_for_each_kind_of_addition() -> None:
    names = {page.stem.removeprefix("add-") for page in PAGES}
    assert names == {"backbone", "dataset-source", "engine", "head", "library", "metric", "optimizer"}


WITHOUT_NETWORKS = ["tests/dataset/sources/test_idx.py", "tests/heads/test_extra_trees.py"]
"""Tests of the pages that take a second, because they import no TensorFlow."""


def shown_tests() -> list[str]:
    paths = [change.path for page in PAGES for change in changes(page) if change.language == "python"]
    return [path for path in paths if path.startswith("tests/")]


def test_tests_of_the_pages_pass(source: Path) -> None:
    assert len(shown_tests()) == len(PAGES)
    run(source, *WITHOUT_NETWORKS)


@pytest.mark.slow
def test_tests_of_the_pages_with_networks_pass(source: Path) -> None:
    run(source, *sorted({*shown_tests()} - {*WITHOUT_NETWORKS}))


@pytest.mark.slow
@pytest.mark.parametrize(("suite", "tests"), CONTRACTS.items())
def test_the_additions_keep_the_contracts(suite: str, tests: str, source: Path) -> None:
    run(source, suite, "-k", tests)


def test_a_page_that_is_out_of_date_is_found(tmp_path: Path) -> None:
    (tmp_path / "names.py").write_text("ONE = 1\nTWO = 2\n")
    change = Change("names.py", "diff", " ONE = 1\n-THREE = 3\n+THREE = 4\n")
    with pytest.raises(AssertionError, match="does not hold once"):
        apply(change, tmp_path)
    apply(Change("names.py", "diff", " ONE = 1\n-TWO = 2\n+TWO = 3\n"), tmp_path)
    assert (tmp_path / "names.py").read_text() == "ONE = 1\nTWO = 3\n"
