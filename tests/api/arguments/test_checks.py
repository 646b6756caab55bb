"""Calls are checked against the annotations of a function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from featurebank.api.arguments.checks import Accepts, checked
from featurebank.errors import ConfigError, WrongTypeError

Even = Annotated[int, Accepts(lambda value: value in (2, 4)), "an even number"]


@checked
def call(
    seeds: int | Sequence[int] = 1,
    rate: float | None = None,
    store: Literal["a", "b"] = "a",
    even: Even | None = None,
    anything: Any = None,
    **more: Any,
) -> dict[str, Any]:
    """Returns its arguments."""
    return {"seeds": seeds, "rate": rate, "store": store, "even": even, "anything": anything, **more}


def test_values_become_the_annotated_types() -> None:
    found = call(np.int64(3), rate=2, even=4, anything=object, other=1)
    assert found == {"seeds": 3, "rate": 2.0, "store": "a", "even": 4, "anything": object, "other": 1}
    assert type(found["seeds"]) is int
    assert type(found["rate"]) is float
    assert call(range(2))["seeds"] == call(np.arange(2))["seeds"] == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": "12"}, "seeds is '12': expected a whole number or a list, each a whole number"),
        ({"seeds": True}, "seeds is True"),
        ({"seeds": [1, "2"]}, r"seeds is \[1, '2'\]"),
        ({"rate": "1"}, "rate is '1': expected a number"),
        ({"store": "c"}, "store is 'c': expected 'a' or 'b'"),
        ({"even": 3}, "even is 3: expected an even number"),
        ({"seeds": [1, object()]}, "seeds is a list with an element of type object"),
        ({"rate": np.zeros(2)}, r"rate is of type numpy\.ndarray: expected a number"),
    ],
)
def test_a_wrong_value_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongTypeError, match=message):
        call(**arguments)


def test_all_problems_are_named_at_once_and_are_both_kinds_of_errors() -> None:
    with pytest.raises(TypeError, match=r"(?s)seeds is 'x'.*store is 3") as caught:
        call("x", store=3)  # type: ignore[arg-type]
    assert isinstance(caught.value, ConfigError)
    assert isinstance(caught.value, ValueError)


def test_missing_and_unknown_arguments_have_the_message_of_python() -> None:
    @checked
    def one(number: int) -> int:
        return number

    with pytest.raises(TypeError, match=r"one\(\) missing 1 required positional argument: 'number'"):
        one()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"one\(\) got an unexpected keyword argument 'other'"):
        one(1, other=2)  # type: ignore[call-arg]
