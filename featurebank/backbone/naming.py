"""What the name of a backbone says: where the network comes from, and whether it runs code of the user.

A name is one of the table (`resnet50`), SOURCE:NAME for a network of another library (`timm:vit_small_patch16_224`),
the path of a model file (`net.keras`, `net.onnx`), or MODULE:FUNCTION, a function of the user. A file, which may come
from anybody, cannot add a function to those that the user of this process has named.
"""

from __future__ import annotations

import re

from featurebank.errors import ConfigError

KERAS_SUFFIX = ".keras"
OPENVINO_SUFFIXES = (".onnx", ".xml")
"""Suffixes of the model files that OpenVINO reads."""
LIBRARY_WORDS = ("keras_hub", "timm", "torchvision", "hf")
"""The words before the colon that mean a library, not a module of the user."""
_named: set[str] = set()
"""Names MODULE:FUNCTION that the user of this process has named."""


def is_model_file(name: str) -> bool:
    """Returns whether a name is the path of a model file that can be a backbone."""
    return name.endswith((KERAS_SUFFIX, *OPENVINO_SUFFIXES))


def as_part_of_path(name: str) -> str:
    """Returns a name as a network and its banks can have it: other characters than A-Z, 0-9, ".", "_", "-" become "_".

    Example:
        >>> as_part_of_path("my nets/small")
        'my_nets_small'
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)


def library_of(name: str) -> str | None:
    """Returns the library of a name such as `timm:resnet18`; None for all other names.

    Example:
        >>> library_of("timm:resnet18"), library_of("my_nets:small"), library_of("resnet50")
        ('timm', None, None)
    """
    library, colon, _ = name.partition(":")
    return library if colon and library in LIBRARY_WORDS else None


def is_user_network(name: str) -> bool:
    """Returns whether a backbone's name is MODULE:FUNCTION or the path of a model file: a custom network.

    Example:
        >>> [is_user_network(name) for name in ("resnet50", "timm:resnet18", "my_nets:small", "net.keras", "net.onnx")]
        [False, False, True, True, True]
    """
    return library_of(name) is None and (is_model_file(name) or ":" in name)


def is_function(name: str) -> bool:
    """Returns whether a backbone's name is MODULE:FUNCTION: code of the user."""
    return is_user_network(name) and not is_model_file(name)


def name_function(name: str) -> None:
    """Records that the user allows MODULE:FUNCTION to run; `load_user_network` records it, too."""
    _named.add(name)


def named_functions() -> list[str]:
    """Returns the functions that the user has named, for processes that work for the same user."""
    return sorted(_named)


def check_named(name: str, by: str) -> None:
    """Refuses to run a function that is named only by a file.

    Args:
        name: the name of any backbone.
        by: the source of the name, as "the bank".

    Raises:
        ConfigError: the function has not been named by the user in this process.
    """
    if not is_function(name) or name in _named:
        return
    message = (
        f"{by} says that its network is made by the function '{name}', but a file must not decide which code runs: "
        f"name it yourself with --backbone {name} (in Python: call load_backbone('{name}') before)"
    )
    raise ConfigError(message)


def is_of_named_package(module: str) -> bool:
    """Returns whether a module is the user's main program, or in the package of a function that the user named."""
    packages = {name.partition(":")[0].partition(".")[0] for name in _named if is_function(name)}
    return module.partition(".")[0] in {"__main__", *packages}
