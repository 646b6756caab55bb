"""Calls as bytes; what a worker without the function does: `test_checks`."""

from __future__ import annotations

import pickle
import pickletools
from typing import Any

import pytest

from featurebank.cluster.remote_call import packed_call, run_packed


def fail(text: str) -> None:
    raise OSError(text)


def test_the_call_is_made_where_it_is_unpacked() -> None:
    assert run_packed(packed_call(divmod, (7, 2))) == (3, 1)
    with pytest.raises(OSError, match=r"^its own error$"):
        run_packed(packed_call(fail, ("its own error",)))


def test_the_worker_needs_nothing_but_the_function_to_unpack_it() -> None:
    names: set[Any] = {argument for _, argument, _ in pickletools.genops(packed_call(pickle.dumps, (1,)))}
    assert not [name for name in names if "featurebank" in str(name)]


def test_a_function_without_a_module_travels_whole() -> None:
    assert run_packed(packed_call(lambda number: number + 1, (1,))) == 2
