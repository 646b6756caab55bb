"""Plans an extraction of a hundred million images: disk, hours and money, from measured rates and the user's prices.

Everything here is arithmetic on what `measure` wrote; the hours of many workers are simulated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.scale.pieces import piece_sizes
from benchmarks.scale.simulation import Assumed, Measured, simulate
from featurebank.system.runtime import tidy_bytes

_UNITS = (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800), ("days", 86_400, math.inf))
"""Units of time: name, seconds, and from how many seconds on the next one is used."""


@dataclass(frozen=True)
class Wanted:
    """What the user wants, and what the user pays."""

    images: int
    workers: int
    core_hour: float
    """Price of a core for an hour."""
    terabyte_month: float
    """Price of a terabyte (10^12 bytes) for a month."""
    months: float = 1.0
    """How long images and features are kept."""
    million_reads: float = 0.0
    """Price of a million reads of an object, in a bucket."""


@dataclass(frozen=True)
class PlanLine:
    """One line of a plan."""

    what: str
    amount: str
    price: float | None
    basis: str
    """What the amount was computed from: what is measured, and what is assumed."""


def make_plan(results: Mapping[str, Any], wanted: Wanted, assumed: Assumed) -> list[PlanLine]:
    """Plans an extraction, and the heads behind it.

    Args:
        results: what `python -m benchmarks scale` has measured.
        wanted: images, workers and prices.
        assumed: what the simulation cannot measure.
    """
    bank, (first, *_) = results["bank"], results["workers"]
    table = bank["table_bytes"] / bank["rows"]
    lines = [
        _stored("the images", wanted, first["read_bytes"], "measured files"),
        _stored("the table of images", wanted, table, f"measured at {bank['rows']:,} rows"),
    ]
    rate = min(first["digests_per_second"], assumed.disk_bytes_per_second / first["read_bytes"])
    basis = f"once, {rate:,.0f} files/s: the lesser of what the client measured and what the disk is assumed to give"
    lines.append(PlanLine("digests of all files", f"{wanted.images / rate / 3600:,.1f} h", None, basis))
    reads = 2 * wanted.images / 1e6
    price = reads * wanted.million_reads or None
    lines.append(PlanLine("reads of files", f"{reads:,.0f} million", price, "once for digests, once for features"))
    for worker in results["workers"]:
        lines += _network(worker, bank, wanted, assumed)
    train = 0.7 * wanted.images / 1e6
    for head in (head for head in results["heads"] if not head["failure"]):
        hours = head["seconds_a_million"] * train / 3600
        price = hours * wanted.core_hour * head["threads"]
        basis = f"measured at {head['rows']:,} rows of {head['width']}; 7 of 10 images train"
        lines.append(PlanLine(f"training {head['head']} once", f"{hours:,.2f} h on one machine", price, basis))
    memory = tidy_bytes(opening_bytes(bank, wanted.images))
    basis = f"measured at {bank['rows']:,} rows"
    lines.append(PlanLine("memory of a process that opens one bank of all", memory, None, basis))
    return lines


def one_machine(results: Mapping[str, Any], images: int, cores: int) -> list[str]:
    """Returns what one machine needs for some images: the images, hours and disk by network, and memory.

    Args:
        results: what `python -m benchmarks scale` has measured; a worker of one core is taken `cores` times.
        images: the number of images.
        cores: of the machine.
    """
    row = [f"{images:,}"]
    for worker in results["workers"]:
        rate = worker["piece_images"] * len(worker["piece_seconds"]) / sum(worker["piece_seconds"])
        row.append(readable_seconds(images / rate / cores))
        row.append(tidy_bytes(images * (worker["row_bytes"]["pooled"] + worker["key_bytes"])))
    return [*row, tidy_bytes(opening_bytes(results["bank"], images))]


def opening_bytes(bank: Mapping[str, Any], images: int) -> float:
    """Returns the memory of a process that opens a bank of some images, in proportion to the measured bank."""
    opening, least = bank["open_bank"], bank["list_cache"]["peak_bytes"]
    return float(least + images * max(0, opening["peak_bytes"] - least) / opening["rows"])


def readable_seconds(seconds: float) -> str:
    """Returns a time in the unit that people would choose.

    Example:
        >>> readable_seconds(34), readable_seconds(3400), readable_seconds(34000), readable_seconds(3400000)
        ('34 s', '57 min', '9.4 h', '39 days')
    """
    unit, size = next((unit, size) for unit, size, most in _UNITS if seconds < most)
    value = seconds / size
    return f"{value:.2g} {unit}" if value < 10 else f"{value:,.0f} {unit}"


def _stored(what: str, wanted: Wanted, bytes_an_image: float, basis: str) -> PlanLine:
    terabytes = wanted.images * bytes_an_image / 1e12
    price = terabytes * wanted.terabyte_month * wanted.months
    return PlanLine(what, f"{terabytes:,.2f} TB", price, f"{bytes_an_image:,.0f} bytes an image, {basis}")


def measured_of(worker: Mapping[str, Any], bank: Mapping[str, Any], tap: str = "pooled") -> Measured:
    """Returns what the simulation needs of a measured worker and bank."""
    listing = bank["add_shards"]
    return Measured(
        tuple(worker["piece_seconds"]), worker["piece_images"], worker["load_seconds"], worker["read_bytes"],
        worker["row_bytes"][tap] + worker["key_bytes"], worker["digests_per_second"],
        listing["open_seconds"] + listing["listing_seconds"], worker["listing_seconds_a_piece"],
    )  # fmt: skip


def _network(worker: Mapping[str, Any], bank: Mapping[str, Any], wanted: Wanted, assumed: Assumed) -> list[PlanLine]:
    measured = measured_of(worker, bank)
    sizes = piece_sizes(wanted.images, int(measured.write_bytes))
    outcome = simulate(measured, assumed, sizes, wanted.workers)
    name, rate = worker["network"], measured.images_per_second
    how = f"{worker['engine']}, {worker['precision']}, {worker['threads']} thread"
    paid = outcome.seconds / 3600 * wanted.workers * worker["threads"] * wanted.core_hour
    lines = [
        PlanLine(
            f"{name}: one worker alone", f"{wanted.images / rate / 3600:,.0f} h", None,
            f"{rate:,.1f} images/s measured with {how}",
        ),
        PlanLine(
            f"{name}: {wanted.workers} workers", f"{outcome.seconds / 3600:,.1f} h", paid,
            f"simulated, {outcome.efficiency:.0%} of their sum; disk, slow workers and failures are assumed",
        ),
    ]  # fmt: skip
    for tap, size in worker["row_bytes"].items():
        lines.append(_stored(f"{name}: features of {tap}", wanted, size + worker["key_bytes"], "measured rows"))
    return lines
