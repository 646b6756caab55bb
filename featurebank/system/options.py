"""What the options of all stages have in common: each stage has one frozen dataclass, which is checked when it is made.

A pipeline file's section, a command and a Python call all make that dataclass. The annotation of a field says what its
value may be (type, range, choices); pydantic checks that. What several options must be together is checked by the class
itself. Both kinds of problems carry the name of the option, so that a message has it as the user knows it: the key of a
file, the option of a command or the argument of a function.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from featurebank.errors import ConfigError
from featurebank.words import problem_lines, shown


class OptionProblem(NamedTuple):
    """One thing that is wrong with the options of a stage."""

    name: str
    """Of the option; empty where `text` is a whole sentence."""
    text: str
    """What follows the name, as "is 0: expected a whole number of 1 or more"."""

    def told(self, call: Callable[[str], str] = str) -> str:
        """Returns the problem as a sentence.

        Args:
            call: returns what the user calls an option, as "--batch-size".
        """
        return f"{call(self.name)} {self.text}" if self.name else self.text


class OptionsError(ConfigError):
    """Options of a stage are wrong; the message has a line for each problem.

    Args:
        message: for people.
        problems: the same one by one, for those that call options by other names.
    """

    def __init__(self, message: str, problems: Iterable[OptionProblem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


@dataclass(frozen=True, kw_only=True)
class StageOptions:
    """Base of the options of a stage.

    Lists become tuples, numbers of numpy become Python's, and whole numbers become floats where a field is a float.

    Raises:
        OptionsError: a value is wrong, or several do not fit together; the message has every problem.

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Options(StageOptions):
        ...     batch_size: Annotated[int, Ge(1)] = 32
        >>> Options(batch_size=0)
        Traceback (most recent call last):
        featurebank.system.options.OptionsError: batch_size is 0: expected a whole number of 1 or more
    """

    def __post_init__(self) -> None:
        values, problems = checked_values(type(self), {field.name: getattr(self, field.name) for field in fields(self)})
        for name, value in values.items():
            object.__setattr__(self, name, value)
        refuse(problems or self.problems())

    def problems(self) -> Iterator[OptionProblem]:
        """Yields what is wrong with the options together; each of them alone is of the right type and in its range."""
        yield from ()


def refuse(problems: Iterable[OptionProblem]) -> None:
    """Raises OptionsError where there are problems; each is told once."""
    if found := list(dict.fromkeys(problems)):
        raise OptionsError(problem_lines(problem.told() for problem in found), found)


def unreadable(name: str, text: str | None, read: Callable[[str], object]) -> Iterator[OptionProblem]:
    """Yields what is wrong with the text of an option, where a function that reads it raises ConfigError."""
    try:
        if text is not None:
            read(text)
    except ConfigError as error:
        yield OptionProblem(name, f"is {shown(text)}: {error}")


def checked_values(kind: type[StageOptions], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[OptionProblem]]:
    """Checks values one by one.

    Args:
        kind: the class of the options.
        given: values by the names of fields.

    Returns:
        The values as the options hold them, and what is wrong with the others.
    """
    import pydantic

    any_kind: Any = kind  # mypy asks whether its instances can be hashed
    checks = _checks(any_kind)
    values, problems = {}, []
    for name, value in given.items():
        validate, expected = checks[name]
        try:
            values[name] = validate(_plain(value))
        except pydantic.ValidationError:
            problems.append(OptionProblem(name, f"is {shown(value)}: expected {expected}"))
    return values, problems


@functools.cache
def _checks(kind: Any) -> dict[str, tuple[Callable[[Any], Any], str]]:
    """Returns for each field what checks and converts its value, and what is expected, for people."""
    import pydantic

    strict = pydantic.ConfigDict(strict=True)
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: (pydantic.TypeAdapter(hint, config=strict).validate_python, expected_of(hint))
        for name, hint in hints.items()
    }


def _plain(value: Any) -> Any:
    """Returns a value in Python's own types, with tuples for whatever is listed."""
    if hasattr(value, "tolist"):  # numpy's
        value = value.tolist()
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return tuple(map(_plain, value))
    return value


_NOUNS: Mapping[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
_RANGES: Mapping[type, tuple[str, str]] = {
    Ge: ("ge", " of {} or more"),
    Gt: ("gt", " above {}"),
    Le: ("le", ", {} at most"),
    Lt: ("lt", ", below {}"),
}


def expected_of(annotation: Any) -> str:
    """Returns in words what an annotation allows; a text among its metadata says it better.

    Example:
        >>> expected_of(Annotated[float, Gt(0), Le(1)] | None), expected_of(Annotated[str, "a city"])
        ('a number above 0, 1 at most', 'a city')
        >>> expected_of(bool | Literal["once"])
        "true or false or 'once'"
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        if words := next((part for part in parts[1:] if isinstance(part, str)), ""):
            return words
        limits = [(_RANGES[type(part)], part) for part in parts[1:]]
        return expected_of(parts[0]) + "".join(text.format(getattr(part, name)) for (name, text), part in limits)
    if origin is Literal:
        *before, last = [f"'{part}'" for part in parts]
        return f"{', '.join(before)} or {last}" if before else last
    if origin in (Union, types.UnionType):
        return " or ".join(expected_of(part) for part in parts if part is not types.NoneType)
    return _NOUNS[annotation]
