"""How a backbone is chosen beside its name."""

from __future__ import annotations

from dataclasses import dataclass

from featurebank.errors import ConfigError
from featurebank.system.options import StageOptions

_AXES = 2


@dataclass(frozen=True, kw_only=True)
class BackboneOptions(StageOptions):
    """Weights and input of a backbone; see `featurebank.load_backbone`. None is the network's own."""

    weights: str | None = None
    """"imagenet", "random:SEED" or a file."""
    image_size: int | None = None
    """The side of the square input in pixels."""
    preprocessing: str | None = None
    """The preprocessing: of your own network if it does not declare one, or in place of that of a known one."""
    resize: str | None = None
    """How images become square: "auto", "crop", "whole", "stretch" or "pad"; by default the network's own rule."""
    levels: str | None = None
    """What becomes black and white in grey images of more than eight bits, as "0,4095", "auto" or "auto:1,99"."""

    def refuse_preprocessing(self, origin: str) -> None:
        """Refuses a preprocessing for a network that has its own.

        Args:
            origin: the network's name in messages.

        Raises:
            ConfigError: there is one.
        """
        if self.preprocessing is not None:
            message = f"{origin} has its own preprocessing, got preprocessing '{self.preprocessing}': leave it out"
            raise ConfigError(message)

    def checked_size(self, own: int, smallest: int, origin: str) -> int:
        """Returns the side of the square input in pixels.

        Args:
            own: the network's own.
            smallest: the smallest that it accepts.
            origin: its name in messages.

        Raises:
            ConfigError: the size is smaller.
        """
        size = own if self.image_size is None else self.image_size
        if size < smallest:
            message = f"image size {size} for {origin}: expected at least {smallest} pixels; leave it out for {own}"
            raise ConfigError(message)
        return size


def as_side(value: int | tuple[int, int] | None, name: str = "image_size") -> int | None:
    """Returns the side of square images in pixels.

    Args:
        value: the side, or (height, width).
        name: the name of the argument.

    Raises:
        ConfigError: height and width differ.
    """
    if isinstance(value, tuple | list) and len(value) == _AXES:
        height, width = value
        if height != width:
            message = f"{name} is {value}: expected twice the same, because the input of a network is square"
            raise ConfigError(message)
        return height
    return value  # type: ignore[return-value]  # the options of a backbone refuse what is no number
