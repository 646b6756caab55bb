"""The examples in the docstrings of the package give what they show."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import featurebank

PACKAGE = Path(featurebank.__file__).parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> list[str]:
    """Returns the modules that have examples."""
    paths = sorted(path for path in PACKAGE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))
    return [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths]


def examples_of(module: ModuleType) -> str:
    """Returns the code of the examples in a module that are run."""
    tests = doctest.DocTestFinder().find(module)
    run = [example for test in tests for example in test.examples if doctest.SKIP not in example.options]
    return "".join(example.source for example in run)


@pytest.mark.parametrize("name", modules())
def test_examples(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_bank: Callable[..., featurebank.Bank]
) -> None:
    """In every example, `fb` is the package, `bank` a small bank in the cache, "photos", and `run` its best run."""
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name.removesuffix(".__init__"))
    names, code = {"fb": featurebank}, examples_of(module)
    if any(word in code for word in ("bank.", "(bank", "cache", "run.", "(run")):
        names["bank"] = make_bank("cache/photos", noise=4.0)
        names["run"] = featurebank.train_heads(names["bank"], [{"kind": "ridge"}, {"kind": "nearest_mean"}])[0]
    assert doctest.testmod(module, extraglobs=names, optionflags=FLAGS).failed == 0
