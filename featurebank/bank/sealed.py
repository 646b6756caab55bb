"""JSON files that carry the checksum of what they say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featurebank import digest
from featurebank.files import json_bytes, write_json

_SEAL = "checksum"


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON object with its checksum, atomically."""
    write_json(path, {**value, _SEAL: digest.of_recipe(value)})


def read_sealed(path: Path, *, strict: bool = False) -> dict[str, Any]:
    """Reads what `write_sealed` wrote.

    Args:
        path: the file.
        strict: also refuse a file that says the same in other bytes.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not what was written.
    """
    data = path.read_bytes()
    value = json.loads(data.decode())
    if not isinstance(value, dict) or (strict and data != json_bytes(value)):
        message = "other bytes than were written"
        raise ValueError(message)
    if value.pop(_SEAL, None) != digest.of_recipe(value):
        message = "its checksum is another"
        raise ValueError(message)
    return value
