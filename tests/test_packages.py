"""The packages that are published hold what they need, and nothing else."""

from __future__ import annotations

import email
import importlib.util
import os
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import pytest

import featurebank

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns a function that builds a wheel or a source archive with the declared build system."""
    if importlib.util.find_spec("hatchling") is None:
        message = "hatchling is not installed: pip install '.[test]'"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("packages")

    def built(kind: str) -> Path:
        builder = (WheelBuilder if kind == "wheel" else SdistBuilder)(str(ROOT))
        return Path(next(builder.build(directory=str(folder), versions=["standard"])))

    return built


def package_files() -> set[str]:
    """Returns the files of the package: modules, the type marker, grids, templates and tables."""
    files = (path for path in (ROOT / "featurebank").rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}


def test_the_wheel_holds_the_package_and_its_metadata(build: Callable[[str], Path]) -> None:
    with zipfile.ZipFile(build("wheel")) as wheel:
        info = f"featurebank-{featurebank.__version__}.dist-info"
        names = {name for name in wheel.namelist() if not name.startswith(info)}
        metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
        scripts = wheel.read(f"{info}/entry_points.txt").decode()
        assert f"{info}/licenses/LICENSE" in wheel.namelist()
    assert names == package_files()
    assert {"featurebank/py.typed", "featurebank/grid/builtin/default.toml"} <= names
    assert {"featurebank/reporting/templates/report.html.jinja"} <= names
    assert "featurebank = featurebank.cli:main" in scripts
    check_metadata(metadata)


def check_metadata(metadata: Message) -> None:
    assert metadata["Version"] == featurebank.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Author"]
    assert metadata["Summary"] == PROJECT["description"]
    versions = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line}
    assert versions == {"3.11", "3.12", "3.13"}
    assert set(metadata.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])


@pytest.mark.slow
def test_the_source_archive_holds_everything_that_git_has(build: Callable[[str], Path]) -> None:
    """But for hidden files, and for the default folder of banks."""
    with tarfile.open(build("sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    top = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")} & {
        name.split("/")[0] for name in names
    }
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CITATION.cff", "LICENSE"} <= top
    assert package_files() <= names
    assert {
        ".github/ISSUE_TEMPLATE/bug.yml",
        "tests/conftest.py",
        "docs/conf.py",
        "docs/style.toml",
        "pipelines/quickstart.toml",
    } <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("docs/_build", "cache/", ".git/"))]
