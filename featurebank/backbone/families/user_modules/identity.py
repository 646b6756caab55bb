"""What a user's module computes, as a digest: its modules, the code of their classes, and their numbers."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path
from typing import Any

from featurebank.backbone.families.functions import source_code
from featurebank.system import digest
from featurebank.system.imports.torch import import_torch

_PLAIN = (bool, int, float, str, type(None))


def architecture_of(module: Any, origin: str) -> str:
    """Returns the digest of a module without its weights.

    The code of a class counts if the class is the user's; comments, blanks and docstrings do not. A class of an
    installed package counts by its name. Plain values among the attributes count, such as a stride or a factor.

    Args:
        module: a `torch.nn.Module`.
        origin: its name in messages.

    Raises:
        ConfigError: the code of a class cannot be read.
    """
    parts, codes = [], {}
    for name, part in module.named_modules():
        kind = type(part)
        word = f"{kind.__module__}.{kind.__qualname__}"
        parts.append([name, word, _values(part)])
        if not _is_installed(kind) and word not in codes:
            codes[word] = source_code(kind, kind.__name__, origin)
    tensors = [*module.named_parameters(), *module.named_buffers()]
    shapes = [[name, list(tensor.shape)] for name, tensor in tensors]
    return digest.of_bytes(json.dumps([parts, codes, shapes], sort_keys=True).encode())


def _values(part: Any) -> dict[str, str]:
    """Returns the plain values among a module's attributes, and among tuples and lists of them."""
    torch = import_torch()
    common = vars(torch.nn.Module())
    return {
        key: repr(value)
        for key, value in sorted(vars(part).items())
        if key not in common and _is_plain(value) and not key.startswith("__")
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(one) for one in value)
    return isinstance(value, _PLAIN)


def _is_installed(kind: type) -> bool:
    """Returns whether a class is of PyTorch or of another installed package, not of the user."""
    import sys

    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    packages = [Path(path).resolve() for path in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}]
    torch = Path(import_torch().__file__).resolve().parent.parent
    return file is not None and any(Path(file).resolve().is_relative_to(one) for one in (*packages, torch))
