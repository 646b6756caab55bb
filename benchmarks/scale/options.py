"""The options of `python -m benchmarks scale`."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from benchmarks.scale.plan import Wanted
from benchmarks.scale.simulation import Assumed


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark to those of all."""
    made = parser.add_argument_group("scale: a made bank")
    made.add_argument("--make", type=Path, metavar="DIR", help="only write a bank of made rows, or what it lacks")
    made.add_argument("--bank", type=Path, metavar="DIR", help="measure this made bank, in place of a new one")
    made.add_argument("--rows", type=count, help="rows of the made bank, as 10_000_000 or 1e7; default: 200,000")
    made.add_argument("--width", type=count, default=256, help="features of a row; default: 256")
    made.add_argument("--dtype", choices=("float16", "float32"), default="float16")
    made.add_argument("--classes", type=count, default=100)
    assumed = parser.add_argument_group("scale: what the simulation assumes")
    assumed.add_argument("--disk-mb", type=float, default=500.0, help="MB/s of the shared disk; default: 500")
    assumed.add_argument("--slowed", type=float, default=Assumed.slowed, help="fraction of slowed pieces; default: .02")
    assumed.add_argument("--failures-per-hour", type=float, default=Assumed.failures_per_hour, help="of one worker")
    assumed.add_argument("--restart-seconds", type=float, default=Assumed.restart_seconds)
    plan = parser.add_argument_group("scale: a plan")
    plan.add_argument("--plan", action="store_true", help="print a plan from the rates in --output, or measure first")
    plan.add_argument("--images", type=count, default=None, help="default: 1e9 in a plan, 1e7 in the simulation")
    plan.add_argument("--workers", type=count, default=64, help="of the plan, one core each; default: 64")
    plan.add_argument("--price-core-hour", type=float, default=0.04, help="default: .04")
    plan.add_argument("--price-tb-month", type=float, default=20.0, help="default: 20")
    plan.add_argument("--months", type=float, default=1.0, help="how long images and features are kept; default: 1")
    plan.add_argument("--price-million-reads", type=float, default=0.0, help="of objects in a bucket; default: 0")


def assumed_of(options: argparse.Namespace, *, digests_known: bool = False) -> Assumed:
    """Returns what a simulation assumes; late pieces are those of the dispatcher."""
    from featurebank.cluster.dispatch import BATCH_S, STRAGGLER

    return Assumed(
        slowed=options.slowed, failures_per_hour=options.failures_per_hour, restart_seconds=options.restart_seconds,
        disk_bytes_per_second=options.disk_mb * 1e6, digests_known=digests_known, late=STRAGGLER, least_late=BATCH_S,
    )  # fmt: skip


def wanted_of(options: argparse.Namespace) -> Wanted:
    """Returns what a plan is asked for."""
    return Wanted(
        options.images or 10**9,
        options.workers,
        options.price_core_hour,
        options.price_tb_month,
        options.months,
        options.price_million_reads,
    )


def count(text: str) -> int:
    """Reads a whole number that may be written as 10_000_000 or 1e7.

    Example:
        >>> count("10_000_000"), count("1e9")
        (10000000, 1000000000)
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not math.isfinite(value) or value < 1 or value != int(value):
        message = f"expected a whole number above 0, got {text}"
        raise argparse.ArgumentTypeError(message)
    return int(value)
