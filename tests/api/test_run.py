"""A run as users hold it."""

from __future__ import annotations

import featurebank as fb
from featurebank.runs.run import RunRecord


def test_a_run_is_a_record() -> None:
    assert issubclass(fb.Run, RunRecord)
