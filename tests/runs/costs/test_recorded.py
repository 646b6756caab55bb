"""The speed of a network by the history of its bank, also by that of earlier versions."""

from __future__ import annotations

from typing import Any

import pytest

from featurebank.runs.costs.recorded import NetworkSpeed, recorded_speed

OLD: dict[str, Any] = {"computed": 100, "seconds": 50.0}
NEW: dict[str, Any] = {**OLD, "networks": 3, "network": {"seconds": 20.0, "load_seconds": 1.0}}


def test_the_own_seconds_of_a_network_count_whatever_ran_beside_it() -> None:
    assert recorded_speed([NEW]) == NetworkSpeed(5.0, 1.0)
    later = {**NEW, "computed": 300, "network": {"seconds": 20.0, "load_seconds": 0.0}}
    assert recorded_speed([NEW, {"verified": True}, later]) == NetworkSpeed(10.0, 1.0), "it was loaded once"


def test_histories_of_earlier_versions_tell_the_speed_of_passes_of_one_network() -> None:
    assert recorded_speed([{**OLD, "busy": {"load": 0.2}}]) == NetworkSpeed(2.5, 10.0)
    assert recorded_speed([{"added": 100, "seconds": 50.0}]) == NetworkSpeed(2.0, 0.0)
    assert recorded_speed([OLD, NEW]) == NetworkSpeed(200 / 70, 1.0)
    assert recorded_speed([{**OLD, "networks": 2}]) is None
    assert recorded_speed([{**OLD, "networks": 2}, NEW]) is None, "one unknown pass makes the sum unknown"


@pytest.mark.parametrize("event", [{}, {"added": 0, "seconds": 3.0}, {**OLD, "seconds": 0.0}, {"verified": True}])
def test_what_computed_nothing_has_no_speed(event: dict[str, Any]) -> None:
    assert recorded_speed([event]) is None
    assert recorded_speed([]) is None


def test_no_image_takes_no_time() -> None:
    speed = NetworkSpeed(4.0, 2.0)
    assert (speed.seconds(0), speed.seconds(8)) == (0.0, 4.0)
