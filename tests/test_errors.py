"""Each error is a built-in exception, too, and messages help."""

from __future__ import annotations

import inspect
import pickle

import pytest

from featurebank import errors
from featurebank.errors import FeatureBankError, FeatureBankWarning, unknown_name

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, Exception)]
BUILT_IN = {
    "ConfigError": "ValueError",
    "UnknownNameError": "LookupError",
    "WrongTypeError": "TypeError",
    "DatasetError": "ValueError",
    "BadImageError": None,
    "LostImageError": None,
    "WeightsError": "OSError",
    "BankError": "OSError",
    "BankNotFoundError": "FileNotFoundError",
    "BankLockedError": "BlockingIOError",
    "BankReadOnlyError": "PermissionError",
    "BankDamagedError": None,
    "BankUnreadableError": None,
    "BankIncompleteError": None,
    "FormatVersionError": None,
    "DiskFullError": "OSError",
    "RamLimitError": "MemoryError",
    "FeatureRangeError": "ArithmeticError",
    "EngineError": "RuntimeError",
    "HeadError": "RuntimeError",
    "HeadInputError": "ValueError",
    "NotFittedError": "AttributeError",
    "RunLockedError": "BlockingIOError",
    "ClusterError": "RuntimeError",
    "StorageError": "OSError",
    "ArchiveError": "ValueError",
    "MissingDependencyError": "ImportError",
    "DatasetWarning": None,
    "BadImageWarning": None,
    "BackboneWarning": None,
    "BankWarning": None,
    "HeadWarning": None,
    "TestSplitWarning": None,
}
"""The built-in exception that each class is as well; None where only its base decides."""


def test_every_class_is_in_the_table() -> None:
    assert {c.__name__ for c in CLASSES} == {"FeatureBankError", "FeatureBankWarning", *BUILT_IN}


@pytest.mark.parametrize(("name", "builtin"), BUILT_IN.items())
def test_each_is_the_built_in_of_the_table(name: str, builtin: str | None) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, FeatureBankWarning if name.endswith("Warning") else FeatureBankError)
    if builtin:
        assert issubclass(kind, getattr(__import__("builtins"), builtin))


@pytest.mark.parametrize("kind", CLASSES)
def test_message_survives_the_way_to_another_process(kind: type[Exception]) -> None:
    found = pickle.loads(pickle.dumps(kind("what failed")))
    assert type(found) is kind
    assert str(found) == "what failed"


@pytest.mark.parametrize("kind", CLASSES)
def test_dask_can_send_each(kind: type[Exception]) -> None:
    """Dask restores an exception by its class's own constructor, which of two built-in bases may be the wrong one."""
    found = kind.__new__(kind, "what failed")
    assert (type(found), found.args) == (kind, ("what failed",))


def test_unknown_name_suggests_near_ones() -> None:
    assert str(unknown_name("tap", "poled", ["pooled", "map"])) == "unknown tap 'poled': did you mean 'pooled'?"


@pytest.mark.parametrize("got", [None, 5, float("nan"), ["pooled"], {}, b"x", object()])
def test_what_is_no_text_is_an_unknown_name(got: object) -> None:
    assert str(unknown_name("tap", got, ["first", "second"])).endswith("': known: first, second")


def test_unknown_name_lists_few_and_counts_many() -> None:
    assert "known: pooled, map; see there" in str(unknown_name("tap", "xyz", ["pooled", "map"], "see there"))
    assert "40 are known" in str(unknown_name("tap", "xyz", [str(n) * 9 for n in range(40)]))
