"""Images a second on this machine: measured for each tap, and remembered."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from featurebank.bank import Bank
from featurebank.errors import BankWarning, DatasetError, FeatureBankWarning
from featurebank.runs.costs import speed
from featurebank.runs.costs.speed import measure_speeds, measured_speed
from featurebank.system.progress import Reporter


def test_a_tap_is_measured_once_each_time_that_is_asked(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, asked = make_bank(taps=("pooled", "more")), []
    for rate in (12.5, 25.0):
        monkeypatch.setattr(speed, "measure_use", lambda bank, tap, reporter, rate=rate: asked.append(tap) or rate)
        measure_speeds([(bank, "pooled"), (bank, "pooled"), (bank, "more"), (bank, "missing")])
        assert measured_speed(bank.path, bank.manifest.key, "pooled") == rate
    assert asked == ["pooled", "more"] * 2
    monkeypatch.setattr(speed, "processor", lambda: "another")
    assert measured_speed(bank.path, bank.manifest.key, "pooled") is None


class Warned(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, line: str, kind: type[FeatureBankWarning] = FeatureBankWarning) -> None:
        assert kind is BankWarning
        self.lines.append(line)


def test_what_cannot_be_measured_is_a_warning(make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(bank: Bank, tap: str, reporter: Reporter) -> float:
        message = f"no image of '{bank.name}' can be read any more"
        raise DatasetError(message)

    monkeypatch.setattr(speed, "measure_use", gone)
    bank, reporter = make_bank(), Warned()
    measure_speeds([(bank, "pooled")], reporter)
    assert reporter.lines == ["the speed of 'bank' is not measured: no image of 'bank' can be read any more"]
    assert measured_speed(bank.path, bank.manifest.key, "pooled") is None
