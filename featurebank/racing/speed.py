"""How fast networks were, from the histories of their banks, and how long the rest of their work will take."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from featurebank.bank.manifest import load_manifest
from featurebank.errors import BankError


@dataclass(frozen=True)
class NetworkSpeed:
    """The speed of the extraction with one network here."""

    images_per_second: float
    load_seconds: float
    """The time until the first image."""

    def seconds(self, images: int) -> float:
        """Returns the expected duration of the extraction of so many images."""
        return self.load_seconds + images / self.images_per_second if images else 0.0


def recorded_speed(bank: Path) -> NetworkSpeed | None:
    """Returns the speed in the latest extraction that a bank records; None if it records none.

    Example:
        >>> recorded_speed(fb.extract("photos", "my_networks:small").path).images_per_second > 0
        True
    """
    with contextlib.suppress(BankError):
        last = load_manifest(bank).last_extraction
        images = 0 if last is None else last.get("computed", last["added"])
        if last is not None and images and last["seconds"] > 0:
            loading = last["seconds"] * min(0.99, (last.get("busy") or {}).get("load", 0.0))
            return NetworkSpeed(images / (last["seconds"] - loading), loading)
    return None
