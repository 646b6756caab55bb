"""The options of a stage: one dataclass, checked when it is made, whoever makes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from annotated_types import Ge

from featurebank.errors import ConfigError
from featurebank.system.options import OptionProblem, OptionsError, StageOptions, expected_of


@dataclass(frozen=True, kw_only=True)
class Cake(StageOptions):
    """Options of a stage that bakes."""

    layers: Annotated[int, Ge(1)] = 1
    sugar: float = 0.5
    fruit: Annotated[Sequence[str], "a list of fruit"] = ()
    oven: Literal["gas", "wood"] | None = None
    served: bool = False

    def problems(self) -> Iterator[OptionProblem]:
        if self.served and self.oven is None:
            yield OptionProblem("", "an unbaked cake is served: give an oven")


def test_values_are_of_the_types_that_the_fields_say() -> None:
    cake = Cake(layers=np.int64(3), sugar=1, fruit=["plum"], served=np.bool_(False))  # type: ignore[arg-type]
    assert [type(value) for value in vars(cake).values()] == [int, float, tuple, type(None), bool]
    assert cake == replace(cake) == Cake(layers=3, sugar=1.0, fruit=("plum",))
    assert len({cake, replace(cake, layers=2)}) == 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"layers": 0}, "layers is 0: expected a whole number of 1 or more"),
        ({"layers": True}, "layers is True: expected a whole number of 1 or more"),
        ({"layers": 1.5, "oven": "gsa"}, "layers is 1.5: .*\noven is 'gsa': expected 'gas' or 'wood'$"),
        ({"sugar": "much"}, "sugar is 'much': expected a number$"),
        ({"fruit": "plum"}, "fruit is 'plum': expected a list of fruit"),
        ({"fruit": ["plum", 3]}, r"fruit is \['plum', 3\]: expected a list of fruit"),
        ({"served": 1}, "served is 1: expected true or false"),
        ({"served": True}, "^an unbaked cake is served"),
    ],
)
def test_each_problem_is_a_line(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Cake(**given)


def test_what_is_wrong_can_be_told_with_other_names() -> None:
    with pytest.raises(OptionsError) as caught:
        Cake(layers=0)
    assert [problem.sentence(lambda name: f"--{name}") for problem in caught.value.problems] == [
        "--layers is 0: expected a whole number of 1 or more"
    ]


@pytest.mark.parametrize(
    ("annotation", "words"), [(float | None, "a number"), (Literal["a", "b", "c"], "'a', 'b' or 'c'"), (str, "a text")]
)
def test_what_is_expected_is_read_from_the_annotation(annotation: Any, words: str) -> None:
    assert expected_of(annotation) == words
