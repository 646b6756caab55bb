"""Values in TOML's spelling; whole files are read in test_config.py, whatever they hold in test_mutated_files.py."""

from __future__ import annotations

import pytest

from featurebank.system.toml_files import parse_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("[1, 2]", [1, 2]),
        ("true", True),
        ("True", True),
        ("adam", "adam"),
        ('"3"', "3"),
        ("", ""),
    ],
)
def test_values(text: str, value: object) -> None:
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)
