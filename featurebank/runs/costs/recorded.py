"""How fast a network was by the history of its bank: the one law for the costs of runs and for the rounds of a race."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NetworkSpeed:
    """The speed of one network in extractions."""

    images_per_second: float
    load_seconds: float
    """The time until the first image."""

    def seconds(self, images: int) -> float:
        """Returns the expected duration of the extraction of so many images."""
        return self.load_seconds + images / self.images_per_second if images else 0.0


def is_extraction(event: Mapping[str, Any]) -> bool:
    """Returns whether an event is an extraction that computed something."""
    return bool(computed_images(event) and event.get("seconds"))


def computed_images(event: Mapping[str, Any]) -> int:
    """Returns how many images went through the network in an extraction; each view counts."""
    return int(event.get("computed", event.get("added", 0)))


def networks_of(event: Mapping[str, Any]) -> int:
    """Returns how many networks shared the pass of an extraction."""
    networks = event.get("networks")
    return networks if isinstance(networks, int) else 1


def has_own_seconds(event: Mapping[str, Any]) -> bool:
    """Returns whether an extraction recorded the seconds of the network itself; earlier versions did not."""
    return isinstance(event.get("network"), Mapping)


def recorded_speed(history: Iterable[Mapping[str, Any]]) -> NetworkSpeed | None:
    """Returns the speed of a network over all extractions of its bank; None if one of them does not tell it.

    The network's own seconds count, in which it shares the processor with those that run beside it. Earlier versions
    did not record them: there, a pass of one network counts as a whole, without the loading, and one of several
    networks tells nothing about each of them.

    Args:
        history: the events of the bank.

    Example:
        >>> recorded_speed([{"computed": 100, "seconds": 50.0, "busy": {"load": 0.2}}])
        NetworkSpeed(images_per_second=2.5, load_seconds=10.0)
        >>> own = {"seconds": 20.0, "load_seconds": 1.0}
        >>> recorded_speed([{"computed": 100, "seconds": 50.0, "networks": 2, "network": own}])
        NetworkSpeed(images_per_second=5.0, load_seconds=1.0)
    """
    events = [event for event in history if is_extraction(event)]
    parts = [_own_seconds(event) for event in events]
    known = [part for part in parts if part is not None]
    work = sum(seconds for seconds, _ in known)
    if not events or len(known) < len(events) or work <= 0:
        return None
    return NetworkSpeed(sum(map(computed_images, events)) / work, max(loading for _, loading in known))


def _own_seconds(event: Mapping[str, Any]) -> tuple[float, float] | None:
    """Returns the seconds of the network's work and of its loading in an extraction; None if they are not known."""
    if has_own_seconds(event):
        return float(event["network"]["seconds"]), float(event["network"]["load_seconds"])
    if networks_of(event) > 1:
        return None
    seconds, busy = float(event["seconds"]), event.get("busy")
    share = busy.get("load") if isinstance(busy, Mapping) else None
    loading = seconds * min(1.0, max(0.0, float(share))) if isinstance(share, int | float) else 0.0
    return seconds - loading, loading
