"""How a backbone is chosen beside its name."""

from __future__ import annotations

from dataclasses import dataclass

from featurebank.system.options import StageOptions


@dataclass(frozen=True, kw_only=True)
class BackboneOptions(StageOptions):
    """Weights and input of a backbone; see `featurebank.load_backbone`. None is the network's own."""

    weights: str | None = None
    """"imagenet", "random:SEED" or a file."""
    image_size: int | None = None
    """The side of the square input in pixels."""
    preprocessing: str | None = None
    """Of a network of your own that does not declare it; of a known one in place of its own."""
    resize: str | None = None
    """How images become square: "auto" (the default), "crop", "whole", "stretch" or "pad"."""
    levels: str | None = None
    """What becomes black and white in grey images of more than eight bits, as "0,4095", "auto" or "auto:1,99"."""
