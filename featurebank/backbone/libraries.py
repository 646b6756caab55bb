"""The libraries whose networks can be backbones, as SOURCE:NAME; nothing is imported before it is needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from featurebank.backbone.network import Backbone
from featurebank.backbone.options import BackboneOptions
from featurebank.errors import MissingDependencyError, unknown_name


@dataclass(frozen=True)
class LibraryEntry:
    """A network that a library offers.

    Args:
        name: the name as `--backbone` takes it, such as "timm:vit_small_patch16_224".
        weights: the names of its pretrained weights, the default first; empty if there are none.
        note: what else the library tells without building it, in a few words; may be empty.
    """

    name: str
    weights: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Library:
    """A library of networks.

    Args:
        title: its name in sentences.
        packages: the Python packages that it needs.
        extra: the extra of featurebank that installs them.
        module: the module of `backbone.families` with `load(name, options)` and `search(pattern)`.
    """

    title: str
    packages: tuple[str, ...]
    extra: str
    module: str

    def check(self) -> None:
        """Raises MissingDependencyError if a package is not installed; imports none of them."""
        missing = [package for package in self.packages if find_spec(package) is None]
        if missing:
            message = f"networks of {self.title} need {' and '.join(missing)}: pip install 'featurebank[{self.extra}]'"
            raise MissingDependencyError(message)

    def load(self, name: str, options: BackboneOptions) -> Backbone:
        """Returns a network of the library as a backbone.

        Args:
            name: its name in the library, without the word before the colon.
            options: see `featurebank.load_backbone`.

        Raises:
            MissingDependencyError: a package is not installed.
            UnknownNameError: there is no such network; the message names the nearest.
            ConfigError: the network cannot be a backbone, or an option does not fit it.
            WeightsError: its weights are missing and cannot be downloaded.
        """
        self.check()
        load: Callable[[str, BackboneOptions], Backbone] = self._module().load
        return load(name, options)

    def search(self, pattern: str) -> list[LibraryEntry]:
        """Returns the networks whose names match a pattern with `*`, as the shell's; none is built or downloaded.

        Raises:
            MissingDependencyError: a package is not installed.
            ConfigError: the networks of the library cannot be listed here.
        """
        self.check()
        search: Callable[[str], list[LibraryEntry]] = self._module().search
        return search(pattern)

    def _module(self) -> Any:
        return importlib.import_module(f"featurebank.backbone.families.{self.module}")


def find_networks(source: str, pattern: str) -> list[LibraryEntry]:
    """Returns the networks of a library whose names match a pattern; see `Library.search`.

    Args:
        source: the word for the library.
        pattern: with "*" for any characters; it may begin with the word for the library and a colon.

    Raises:
        MissingDependencyError: a package is not installed.
        ConfigError: the networks of the library cannot be listed here.
        UnknownNameError: there is no such library, or no name matches.
    """
    if source not in LIBRARIES:
        raise unknown_name("source of networks", source, LIBRARIES)
    pattern = pattern.removeprefix(f"{source}:")
    if entries := LIBRARIES[source].search(pattern):
        return entries
    names = [entry.name.partition(":")[2] for entry in LIBRARIES[source].search("*")]
    kind = f"network of {LIBRARIES[source].title}"
    raise unknown_name(kind, pattern, names, "a pattern has *, as 'vit_small*'")


LIBRARIES = {
    "keras_hub": Library("KerasHub", ("keras_hub",), "keras-hub", "keras_hub"),
    "timm": Library("timm", ("torch", "timm"), "timm", "timm"),
    "torchvision": Library("torchvision", ("torch", "torchvision"), "torchvision", "torchvision"),
    "hf": Library("Hugging Face", ("torch", "transformers"), "transformers", "transformers"),
}
"""The libraries by the word before the colon, one of `naming.LIBRARY_WORDS`."""
