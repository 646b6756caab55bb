"""Plans an extraction of very many images: disk, hours and money, from measured rates and the user's prices.

Everything here is arithmetic on what `measure` wrote; the hours of many workers are simulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.scale.pieces import piece_sizes
from benchmarks.scale.simulation import Assumed, Measured, simulate


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
    opening = bank["open_bank"]
    table = bank["table_bytes"] / bank["rows"]
    lines = [
        _stored("the images", wanted, first["read_bytes"], "measured files"),
        _stored("the table of images", wanted, table, f"measured at {bank['rows']:,} rows"),
    ]
    for worker in results["workers"]:
        lines += _network(worker, bank, wanted, assumed)
    train = 0.7 * wanted.images / 1e6
    for head in (head for head in results["heads"] if not head["failure"]):
        hours = head["seconds_a_million"] * train / 3600
        price = hours * wanted.core_hour * head["threads"]
        basis = f"measured at {head['rows']:,} rows of {head['width']}; 7 of 10 images train"
        lines.append(PlanLine(f"training {head['head']} once", f"{hours:,.2f} h on one machine", price, basis))
    memory = wanted.images * opening["peak_bytes"] / opening["rows"] / 1e9
    basis = f"measured at {opening['rows']:,} rows"
    lines.append(PlanLine("memory of a process that opens one bank of all", f"{memory:,.1f} GB", None, basis))
    return lines


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
