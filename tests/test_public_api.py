"""The facade: what `import featurebank as fb` offers, and what it costs."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import featurebank as fb

pytestmark = pytest.mark.heavy


def test_names_are_sorted_and_all_there() -> None:
    assert fb.__all__ == sorted(fb.__all__)
    for name in fb.__all__:
        assert getattr(fb, name).__name__ == name


def test_no_module_is_named_as_a_public_name_is() -> None:
    """The import system would put the module in the place of the function."""
    modules = {path.stem for path in Path(fb.__file__).parent.iterdir()}
    assert modules & set(fb.__all__) == set()


def test_the_names_for_type_checkers_are_the_names_at_run_time() -> None:
    assert set(fb.__all__) == set(fb._HOMES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'extrakt'"):
        fb.extrakt  # noqa: B018


def test_the_version_is_the_installed_one() -> None:
    assert fb.__version__ == importlib.metadata.version("featurebank")


@pytest.mark.parametrize("name", ["extract", "train_heads", "select", "load_backbone", "load_dataset", "open_bank"])
def test_no_public_name_imports_tensorflow(name: str) -> None:
    code = f"import sys, featurebank as fb; fb.{name}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
