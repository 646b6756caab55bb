"""Which functions the user of this process has named: no file, which may be somebody else's, says which code is run."""

from __future__ import annotations

from featurebank.errors import ConfigError

KERAS_SUFFIX = ".keras"
_named: set[str] = set()
"""The functions that the user of this process has named."""


def is_user_network(name: str) -> bool:
    """Tells whether a backbone's name is MODULE:FUNCTION or the path of a .keras file, a network of the user's own."""
    return name.endswith(KERAS_SUFFIX) or ":" in name


def name_function(name: str) -> None:
    """Records that the user allows MODULE:FUNCTION to be run; `load_user_network` records it, too."""
    _named.add(name)


def check_named(name: str, by: str) -> None:
    """Refuses to run a function that only a file names.

    Args:
        name: any backbone's name.
        by: what names it, as "the bank".

    Raises:
        ConfigError: it is a function that the user has not named in this process.
    """
    if not is_user_network(name) or name.endswith(KERAS_SUFFIX) or name in _named:
        return
    message = (
        f"{by} says that its network is made by the function '{name}', and no file may say which code is run: name it "
        f"yourself with --backbone {name} (in Python: load_backbone('{name}') before)"
    )
    raise ConfigError(message)


def is_of_named_package(module: str) -> bool:
    """Tells whether a module is the program that the user started, or in the package of a function that they named."""
    packages = {name.partition(":")[0].partition(".")[0] for name in _named if not name.endswith(KERAS_SUFFIX)}
    return module.partition(".")[0] in {"__main__", *packages}
