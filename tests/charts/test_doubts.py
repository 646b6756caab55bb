"""The error against the share answered is drawn from plain values."""

from __future__ import annotations

from featurebank.charts.doubts import risk_coverage


def test_the_line_and_its_points_have_the_values() -> None:
    chart = risk_coverage([(0.5, 0.0), (1.0, 0.1)], [(0.02, 0.5, 0.0)], title="a head").to_dict()
    line, points = (chart["datasets"][layer["data"]["name"]] for layer in chart["layer"])
    assert line == [{"answered": 0.5, "error": 0.0}, {"answered": 1.0, "error": 0.1}]
    assert points == [{"target": 0.02, "answered": 0.5, "error": 0.0}]
    assert chart["title"]["text"] == "a head"
