"""One line for each work: its rate, its remaining time, and room for the figures."""

from __future__ import annotations

import io

import pytest

from featurebank.system.drawing.bars import ShownWork, bar, line
from featurebank.system.drawing.console import SafeConsole


def test_the_rate_is_that_of_the_summary_and_the_time_left_leaves_out_the_start() -> None:
    work = ShownWork("extract", 100, "images", began=0.0)
    work.advance(10, now=30.0)
    work.advance(10, now=31.0)
    assert work.rate(32.0) == 20 / 32
    assert work.left(31.0) == 8.0


def test_a_long_name_leaves_room_for_the_figures() -> None:
    work = ShownWork("downloading " + "x" * 99 + "_notop.h5", 10_000_000, "bytes", 0.0)
    work.advance(1_000_000, 1.0)
    work.advance(4_000_000, 2.0)
    shown = drawn(work)
    assert shown.startswith("downloading xxx")
    assert "_notop.h5 ━" in shown
    assert "5.0 MB/10.0 MB 2.5 MB/s 0:00:01" in shown


def test_a_result_stays_beside_the_bar_and_how_far_it_is_goes() -> None:
    work = ShownWork("phase 1 epoch 1", 8, "images", 0.0)
    work.detail = "step 3"
    work.advance(8, 1.0)
    work.finish()
    assert drawn(work).rstrip().endswith("0:00:00")
    work.outcome = "val acc 0.9400"
    work.finish()
    assert drawn(work).rstrip().endswith("0:00:00 val acc 0.9400")


@pytest.mark.parametrize("width", [70, 80, 120])
def test_a_detail_hides_neither_rate_nor_remaining_time(width: int) -> None:
    work = ShownWork("heads", 50, "runs", 0.0)
    work.advance(1, 1.0)
    work.advance(1, 2.0)
    work.detail = "epoch 12: row 407,360 of 700,728, 54,764 rows/s, 5.4 s left"
    lines = drawn(work, width).rstrip().splitlines()
    assert all(part in lines[0] for part in ("heads ", " 2/50 ", " 1.0 runs/s ", " 0:00:48"))
    assert work.detail in lines[-1]
    assert len(lines) == (1 if width == 120 else 2)
    work.finish()
    assert len(drawn(work, width).rstrip().splitlines()) == 1


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.25, "4.0 runs/s"), (10, "0.1 runs/s"), (40, "1.5 runs/min"), (1200, "3.0 runs/h")]
)
def test_a_low_rate_is_shown_per_minute_or_hour(seconds: float, shown: str) -> None:
    work = ShownWork("fine-tunes", 2, "runs", 0.0)
    work.advance(1, seconds)
    assert line(work, seconds).startswith(f"fine-tunes: 1 of 2 runs, {shown}")


def drawn(work: ShownWork, width: int = 80) -> str:
    console = SafeConsole(file=io.StringIO(), width=width)
    console.print(bar(work, 2.0, width))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]
