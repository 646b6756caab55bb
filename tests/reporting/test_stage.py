"""The content of a report."""

from __future__ import annotations

from featurebank.reporting.content import Conclusion, Fact, Savings


def test_content_is_plain_values() -> None:
    savings = Savings(Conclusion("Savings", "One pass."), [Fact("seconds", "3.2")])
    assert savings.facts[0].value == "3.2"
    assert savings.chart is None
