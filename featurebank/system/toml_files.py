"""TOML files: read, or refused with a reason."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from featurebank.errors import ConfigError
from featurebank.system.files import read_regular
from featurebank.words import one_line

_DEPTH = 8
_TOO_DEEP = f"tables and lists are nested more than {_DEPTH} deep"
_INT64 = 1 << 63


def read_toml(path: Path, what: str) -> tuple[str, dict[str, Any]]:
    """Reads a TOML file.

    Args:
        path: the file.
        what: the noun for the file in messages, as "grid file".

    Returns:
        The text and the value of the file.

    Raises:
        ConfigError: the file is missing, cannot be read or is not TOML.
    """
    try:
        text = read_regular(path).decode("utf-8-sig")  # some editors begin a file with a byte-order mark
        return text, _parsed(text)
    except FileNotFoundError as error:
        message = f"there is no {what} '{path}': expected the path of a TOML file"
        raise ConfigError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"the {what} '{path}' cannot be read: {one_line(error)}"
        raise ConfigError(message) from error
    except ValueError as error:
        message = f"the {what} '{path}' is not valid TOML: {one_line(error)}"
        raise ConfigError(message) from error


def _parsed(text: str) -> dict[str, Any]:
    """Returns the value of a TOML text.

    Raises:
        ValueError: the text is not TOML, has a number beyond 64 bits, or nests tables and lists too deeply; readers of
            the value need not check for these.
    """
    try:
        value = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    level: list[Any] = [value]
    for _ in range(_DEPTH):
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
        if any(type(inner) is int and not -_INT64 <= inner < _INT64 for inner in level):
            message = "a number is beyond 64 bits"
            raise ValueError(message)
        level = [inner for inner in level if isinstance(inner, dict | list)]
    if level:
        raise ValueError(_TOO_DEEP)
    return value


def parse_value(text: str) -> Any:
    """Parses the VALUE of a "key=VALUE": as TOML if possible, else as the text itself."""
    try:
        return _parsed(f"value = {text}")["value"]
    except ValueError:
        return {"True": True, "False": False}.get(text, text)
