"""Checks the arguments of public functions against their annotations, before anything else happens.

The annotation of a parameter is the only place that says what it accepts. `checked` reads it, and reports every wrong
argument of a call at once, by the name of its parameter.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from featurebank.errors import WrongTypeError
from featurebank.system.options import expected_of, to_plain
from featurebank.words import problem_lines, shown

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_SCALARS = (int, float, bool, str, types.NoneType)
_SHOWN = (*_SCALARS, bytes, list, tuple, dict)
"""Types whose values are shown in messages."""


class Accepts:
    """Metadata of an annotation: a test of the type of a value, where a class alone does not tell.

    Args:
        test: returns whether a value is of an accepted type; it reads no file.

    Example:
        >>> from typing import Annotated
        >>> Even = Annotated[int, Accepts(lambda value: value in (2, 4)), "an even number"]
        >>> def half(number: Even) -> float:
        ...     return number / 2
        >>> half.__annotations__ = {"number": Even}
        >>> checked(half)(3)
        Traceback (most recent call last):
        featurebank.errors.WrongTypeError: number is 3: expected an even number
    """

    def __init__(self, test: Callable[[Any], bool]) -> None:
        self.test = test

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Lets pydantic ask `test` alone, whatever class is annotated."""
        from pydantic_core import core_schema

        def check(value: Any) -> Any:
            if not self.test(value):
                message = "not accepted"
                raise ValueError(message)
            return value

        return core_schema.no_info_plain_validator_function(check)


class _Check(NamedTuple):
    """How the argument of one parameter is checked."""

    validate: Callable[[Any], Any]
    is_plain: bool
    """Whether the parameter takes built-in types alone; then numpy values and lists are converted to them before."""
    expected: str


def checked(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Makes a function check its arguments against its annotations.

    Whole numbers become floats where a float is annotated, numpy numbers Python numbers, and lists of numbers tuples.

    Raises:
        WrongTypeError: from a call with wrong arguments; the message has one line for each of them.

    Example:
        >>> @checked
        ... def repeated(word: str, times: int = 2) -> str:
        ...     return word * times
        >>> repeated("ho", times="3")
        Traceback (most recent call last):
        featurebank.errors.WrongTypeError: times is '3': expected a whole number
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        bound = None
        with contextlib.suppress(TypeError):
            bound = signature.bind(*args, **options)
        if bound is None:
            return function(*args, **options)  # Python's own message names the function
        checks, problems = _checks_of(function), []
        for name in [name for name in bound.arguments if name in checks]:
            value = bound.arguments[name]
            try:
                bound.arguments[name] = checks[name].validate(to_plain(value) if checks[name].is_plain else value)
            except (ValueError, TypeError):  # pydantic's errors are ValueErrors
                problems.append(f"{name} is {_described(value)}: expected {checks[name].expected}")
        if problems:
            raise WrongTypeError(problem_lines(problems))
        return function(*bound.args, **bound.kwargs)

    return call


@functools.cache
def _checks_of(function: Callable[..., Any]) -> Mapping[str, _Check]:
    """Returns the check of each parameter; a parameter that takes anything has none."""
    import pydantic

    config = pydantic.ConfigDict(strict=True, arbitrary_types_allowed=True)
    hints = get_type_hints(function, include_extras=True)
    checks = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints[name]
        if parameter.kind is not parameter.VAR_KEYWORD and hint is not Any:
            validate = pydantic.TypeAdapter(hint, config=config).validate_python
            checks[name] = _Check(validate, _is_plain(hint), expected_of(hint))
    return checks


def _is_plain(hint: Any) -> bool:
    """Returns whether an annotation consists of built-in types alone."""
    metadata = getattr(hint, "__metadata__", ())
    if hint in _SCALARS or get_origin(hint) is Literal:
        return True
    parts = get_args(hint)[:1] if metadata else get_args(hint)
    return bool(parts) and all(map(_is_plain, parts)) and not any(isinstance(part, Accepts) for part in metadata)


def _described(value: Any) -> str:
    """Returns a value in one line, or its type where the value itself would say little."""
    if not isinstance(value, _SHOWN):
        return f"of type {_type_name(value)}"
    strange = [one for one in value if not isinstance(one, _SHOWN)] if isinstance(value, list | tuple) else []
    return f"a {type(value).__name__} with an element of type {_type_name(strange[0])}" if strange else shown(value)


def _type_name(value: Any) -> str:
    """Returns the name of a type with the package that defines it."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
