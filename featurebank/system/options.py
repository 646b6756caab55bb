"""The foundation of all stages' options: each stage has one frozen dataclass, which validates itself.

A pipeline file's section, a command and a Python call all build that dataclass. The annotation of a field states the
type, range or choices of its value, and pydantic checks it. The class itself checks how several options fit together.
Every problem carries the option's name, so that a message can call the option as the user knows it: by the key in a
file, the option of a command or the argument of a function.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen

from featurebank.errors import ConfigError
from featurebank.words import described_arguments, problem_lines, shown

ClusterAddress = Annotated[str, MinLen(1), "local:N, as local:2, or the address of a Dask scheduler"] | None
"""Where a stage works: the address of a Dask scheduler, "local:N" for N workers on this machine, or None for here."""


class OptionProblem(NamedTuple):
    """One problem with the options of a stage."""

    name: str
    """Name of the option; empty if `text` is a whole sentence."""
    text: str
    """The rest of the sentence after the name, as "is 0: expected a whole number of 1 or more"."""

    def sentence(self, call: Callable[[str], str] = str) -> str:
        """Returns the problem as a sentence.

        Args:
            call: maps an option's name to the name that the user knows, as "--batch-size".
        """
        return f"{call(self.name)} {self.text}" if self.name else self.text


class OptionsError(ConfigError):
    """The options of a stage are wrong; the message has one line for each problem.

    Args:
        message: the text for people.
        problems: the single problems, for callers that use other names for the options.
    """

    def __init__(self, message: str, problems: Iterable[OptionProblem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


@dataclass(frozen=True, kw_only=True)
class StageOptions:
    """Base of the options of a stage.

    Lists become tuples, numpy numbers become Python numbers, and whole numbers become floats in float fields.

    Raises:
        OptionsError: a value is wrong, or several do not fit together; the message lists every problem.

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
        """Yields the problems between options; each single option has already been checked."""
        yield from ()


def refuse(problems: Iterable[OptionProblem]) -> None:
    """Raises OptionsError if there are problems; repeated ones appear once."""
    if unique := list(dict.fromkeys(problems)):
        raise OptionsError(problem_lines(problem.sentence() for problem in unique), unique)


def unreadable(name: str, text: str | None, read: Callable[[str], object]) -> Iterator[OptionProblem]:
    """Yields a problem if `read` raises ConfigError on the text of an option."""
    try:
        if text is not None:
            read(text)
    except ConfigError as error:
        yield OptionProblem(name, f"is {shown(text)}: {error}")


def checked_values(kind: type[StageOptions], values: Mapping[str, Any]) -> tuple[dict[str, Any], list[OptionProblem]]:
    """Checks values one by one, each against its field.

    Args:
        kind: the class of the options.
        values: values by field name.

    Returns:
        The valid values, converted to the types of their fields, and the problems with the others.
    """
    import pydantic

    any_kind: Any = kind  # mypy would doubt that it is hashable
    checks = _checks(any_kind)
    valid, problems = {}, []
    for name, value in values.items():
        validate, expected = checks[name]
        try:
            valid[name] = validate(to_plain(value))
        except pydantic.ValidationError:
            problems.append(OptionProblem(name, f"is {shown(value)}: expected {expected}"))
    return valid, problems


@functools.cache
def _checks(kind: Any) -> dict[str, tuple[Callable[[Any], Any], str]]:
    """Returns, for each field, the function that checks and converts its value, and a description of valid values."""
    import pydantic

    strict = pydantic.ConfigDict(strict=True)
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: (pydantic.TypeAdapter(hint, config=strict).validate_python, expected_of(hint))
        for name, hint in hints.items()
    }


def to_plain(value: Any) -> Any:
    """Converts a value to built-in types, and every iterable to a tuple."""
    if hasattr(value, "tolist"):  # numpy arrays and numbers
        value = value.tolist()
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return tuple(map(to_plain, value))
    return value


_NOUNS: Mapping[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
_RANGES: Mapping[type, tuple[str, str]] = {
    Ge: ("ge", " of {} or more"),
    Gt: ("gt", " above {}"),
    Le: ("le", ", {} at most"),
    Lt: ("lt", ", below {}"),
}


def expected_of(annotation: Any) -> str:
    """Describes in words which values an annotation allows; a text in its metadata takes precedence.

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
    if origin is not None and issubclass(origin, Mapping):
        return "a dictionary"
    return f"a list, each {expected_of(parts[0])}" if parts else _NOUNS.get(annotation) or f"a {annotation.__name__}"


def option_schemas(kind: Any) -> dict[str, dict[str, Any]]:
    """Returns the JSON Schema of each option of a stage, by the name of its field.

    A schema has the meaning of the option as its description, and its default where it is not None: files have no
    value for None, so that an option is left out instead.

    Example:
        >>> option_schemas(StageOptions)
        {}
    """
    import pydantic

    hints, meanings = get_type_hints(kind, include_extras=True), field_meanings(kind)
    schemas = {}
    for one in fields(kind):
        schema = _without_none(pydantic.TypeAdapter(hints[one.name]).json_schema())
        default = {} if one.default in (MISSING, None) else {"default": to_json(one.default)}
        schemas[one.name] = {"description": meanings.get(one.name, ""), **schema, **default}
    return schemas


def _without_none(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a value without None."""
    choices = [_without_none(one) for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in {"anyOf", "title", "default"}}
    if not choices:
        return rest
    return {**rest, **choices[0]} if len(choices) == 1 else {**rest, "anyOf": choices}


def to_json(value: Any) -> Any:
    """Returns a default as JSON has it: a list in place of a tuple."""
    return [to_json(one) for one in value] if isinstance(value, tuple) else value


def field_meanings(kind: type) -> dict[str, str]:
    """Returns what each field of a dataclass means: the text below the field, or its entry in "Args" of the class.

    The text of a class takes precedence over that of its bases.
    """
    meanings: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        meanings |= dict(described_arguments(owner.__doc__ or ""))
        meanings |= dict(_texts_below_fields(owner))
    return meanings


def _texts_below_fields(owner: type) -> Iterator[tuple[str, str]]:
    """Yields the name of each field of a class with the text below it in the source."""
    try:
        tree = ast.parse(inspect.getsource(owner))
    except (OSError, SyntaxError, TypeError):  # a class that was made without a file, or inside a function
        return
    for field, below in itertools.pairwise(getattr(tree.body[0], "body", [])):
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            yield field.target.id, " ".join(str(below.value.value).split())
