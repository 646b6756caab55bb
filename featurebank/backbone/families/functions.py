"""Custom functions inside a network, as a registered activation: identified by their code, not by their name."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from typing import Any

from featurebank.errors import ConfigError


def function_codes(model: Any, origin: str) -> dict[str, str]:
    """Returns the source code of each custom function that a network calls, by its registered name.

    Comments, blanks and docstrings do not count. Functions that such a function calls in turn are not examined.

    Args:
        model: a functional Keras model.
        origin: the model's name in messages.

    Raises:
        ConfigError: the code of a function cannot be read.
    """
    import keras

    known = keras.saving.get_custom_objects()
    names = {name for name in _names(json.loads(model.to_json())) if name in known}
    return {name: source_code(known[name], name, origin) for name in sorted(names) if not inspect.isclass(known[name])}


def _names(value: Any) -> Iterator[str]:
    """Yields every text in a network's configuration: it may be the name of a function."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _names(part)


def source_code(function: Any, name: str, origin: str) -> str:
    """Returns the source code of a function or a class without comments, blanks and docstrings.

    Args:
        function: the function or the class.
        name: its name in messages.
        origin: the name of the network that uses it.

    Raises:
        ConfigError: the code cannot be read.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError) as error:
        message = (
            f"{origin} calls the function '{name}', whose code cannot be read, so that a digest cannot identify it: "
            "define it in a file, or make it a layer class"
        )
        raise ConfigError(message) from error
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None and isinstance(body, list):
            node.body = body[1:]
    return ast.unparse(tree)
