"""The functions that the user of this process has named. A file, which may come from anybody, cannot add one."""

from __future__ import annotations

from featurebank.errors import ConfigError

KERAS_SUFFIX = ".keras"
_named: set[str] = set()
"""Names MODULE:FUNCTION that the user of this process has named."""


def is_user_network(name: str) -> bool:
    """Returns whether a backbone's name is MODULE:FUNCTION or the path of a .keras file: a custom network.

    Example:
        >>> is_user_network("resnet50"), is_user_network("my_nets:small"), is_user_network("net.keras")
        (False, True, True)
    """
    return name.endswith(KERAS_SUFFIX) or ":" in name


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
    if not is_user_network(name) or name.endswith(KERAS_SUFFIX) or name in _named:
        return
    message = (
        f"{by} says that its network is made by the function '{name}', but a file must not decide which code runs: "
        f"name it yourself with --backbone {name} (in Python: call load_backbone('{name}') before)"
    )
    raise ConfigError(message)


def is_of_named_package(module: str) -> bool:
    """Returns whether a module is the user's main program, or in the package of a function that the user named."""
    packages = {name.partition(":")[0].partition(".")[0] for name in _named if not name.endswith(KERAS_SUFFIX)}
    return module.partition(".")[0] in {"__main__", *packages}
