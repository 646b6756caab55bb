"""Weights files of safetensors: what their headers promise, before memory is allocated."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featurebank.backbone.weights.files import first_line
from featurebank.errors import WeightsError
from featurebank.system.files import open_regular

_LENGTH = 8
_LARGEST_HEADER = 100 << 20
"""The largest header that safetensors reads itself."""


def count_numbers(module: Any) -> int:
    """Returns how many numbers a network has in its weights and buffers; it may be on the device "meta"."""
    return sum(math.prod(tensor.shape) for tensor in (*module.parameters(), *module.buffers()))


def check_files(paths: Sequence[Path], parameters: int, origin: str) -> None:
    """Refuses files that are no regular files, or are far smaller than the network that they should fill.

    Args:
        paths: the weights files.
        parameters: how many numbers the network has.
        origin: its name in messages.

    Raises:
        WeightsError: a file cannot be read, or the network has many more weights than the files.
    """
    stored = sum(_stored_numbers(path) for path in paths)
    if parameters > 2 * stored + 1024:
        message = (
            f"{origin}: its config.json describes {parameters:.3g} weights, but its files contain {stored:.3g}: they "
            "do not belong together; download or save it again"
        )
        raise WeightsError(message)


def _stored_numbers(path: Path) -> int:
    """Returns how many numbers a file promises, at most one for each of its bytes."""
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            size = path.stat().st_size
            if not 0 < length <= min(_LARGEST_HEADER, size - _LENGTH):
                message = "its header is longer than the file"
                raise ValueError(message)
            header = json.loads(file.read(length))
            shapes = [one["shape"] for name, one in header.items() if name != "__metadata__"]
            return min(sum(math.prod(map(int, shape)) for shape in shapes), size)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        message = f"'{path}' cannot be read as safetensors ({reason}): download or save it again"
        raise WeightsError(message) from error
