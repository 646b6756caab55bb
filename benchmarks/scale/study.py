"""Measures everything, simulates, and prints it: figures, the table of workers, and the plan."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.harness import conditions
from benchmarks.scale.advice import advice
from benchmarks.scale.banks import measured_bank
from benchmarks.scale.heads import measured_heads
from benchmarks.scale.made import MadeRows, make_bank
from benchmarks.scale.options import assumed_of, wanted_of
from benchmarks.scale.pieces import piece_sizes
from benchmarks.scale.plan import make_plan, measured_of, one_machine
from benchmarks.scale.simulation import CAUSES, Assumed, Measured, Outcome, simulate
from benchmarks.scale.workers import measured_workers
from featurebank.bank import Bank

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ROWS, QUICK_ROWS = 200_000, 20_000
_CONSOLE = Console(width=150, highlight=False)


def made_bank(path: Path, options: argparse.Namespace, *, quick: bool) -> Bank:
    """Writes the made bank that the options describe."""
    rows = options.rows or (QUICK_ROWS if quick else ROWS)
    return make_bank(path, MadeRows(rows, options.width, options.dtype, options.classes))


def measure_all(output: Path, options: argparse.Namespace, *, photos: Path | None, quick: bool) -> None:
    """Measures, simulates, prints, and writes everything as JSON."""
    about = conditions() | {"engine": "beside each figure", "precision": "beside each figure"}
    _CONSOLE.print(", ".join(f"{name} {value}" for name, value in about.items()), soft_wrap=True)
    with tempfile.TemporaryDirectory() as directory:
        bank = options.bank or made_bank(Path(directory) / "bank", options, quick=quick).path
        results: dict[str, Any] = {"conditions": about, "bank": measured_bank(bank, Path(directory) / "bank-twin")}
        print_bank(results["bank"])
        results["workers"] = measured_workers(photos, quick=quick)
        print_workers(results["workers"])
        results["heads"] = measured_heads(bank, Path(directory) / "heads", quick=quick)
        print_heads(results["heads"])
    print_one_machine(results, about["threads"])
    results["simulation"] = [
        print_simulation(worker, results["bank"], options, digests_known=known)
        for worker in results["workers"]
        for known in (False, True)
    ]
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    _CONSOLE.print(f"written to {output}")


def print_bank(bank: Mapping[str, Any]) -> None:
    """Prints the figures of a large bank."""
    opened, added = bank["open_bank"], bank["add_shards"]
    rows = [
        ("open", f"{opened['seconds']:.2f} s", f"peak of the process {opened['peak_bytes'] / 1e6:,.0f} MB"),
        ("the first megabyte of features", f"{opened['first_block_seconds']:.2f} s", "after opening"),
        ("cache ls", f"{bank['list_cache']['seconds']:.2f} s", ""),
        ("read all features once", f"{bank['read_pass']['bytes_per_second'] / 1e6:,.0f} MB/s", "from the page cache"),
        ("open for writing", f"{added['open_seconds']:.2f} s", ""),
        ("add one shard", f"{added['listing_seconds']:.3f} s", f"rewrites {added['rewritten_bytes'] / 1e6:.3f} MB"),
        ("add each of 64 further shards", f"{added['listing_seconds_a_piece'] * 1e3:.2f} ms", "listed together"),
        ("everything but features", f"{bank['table_bytes'] / bank['rows']:.1f} bytes a row", "ids, digests, labels"),
    ]
    title = f"a made bank of {bank['rows']:,} rows x {bank['width']} {bank['dtype']}, {opened['shards']:,} shards"
    _print_table(title, ("what", "measured", ""), rows)


def print_workers(workers: Sequence[Mapping[str, Any]]) -> None:
    """Prints the figures of the measured workers."""
    rows = [
        (
            worker["network"], f"{worker['engine']}, {worker['precision']}, {worker['threads']} thread",
            f"{worker['piece_images'] * len(worker['piece_seconds']) / sum(worker['piece_seconds']):,.1f}",
            f"{min(worker['piece_seconds']):.2f} to {max(worker['piece_seconds']):.2f} s for {worker['piece_images']}",
            f"{worker['load_seconds']:.1f} s", f"{worker['peak_bytes'] / 1e6:,.0f} MB",
            ", ".join(f"{tap} {size:,}" for tap, size in worker["row_bytes"].items()),
        )
        for worker in workers
    ]  # fmt: skip
    columns = ("network", "engine", "images/s", "pieces", "load", "peak memory", "bytes of a row by tap")
    _print_table("one worker of one core, by the time of the processor", columns, rows)
    first = workers[0]
    _CONSOLE.print(
        f"digests of {first['digests_per_second']:,.0f} files/s with {first['digest_threads']} threads, files of "
        f"{first['read_bytes']:,.0f} bytes, from the page cache"
    )


def print_heads(heads: Sequence[Mapping[str, Any]]) -> None:
    """Prints the figures of heads on features that stay in the bank."""
    rows = [
        (
            head["head"], "" if head["failure"] else f"{head['seconds_a_million']:,.2f}",
            "" if head["failure"] else f"{head['processor_seconds'] / head['rows'] * 1e6:,.2f}",
            f"{head['peak_bytes'] / 1e6:,.0f} MB", f"{head['ram'] / 1e6:,.0f} MB",
            "" if head["accuracy"] is None else f"{head['accuracy']:.4f}",
            head["failure"] or "",
        )
        for head in heads
    ]  # fmt: skip
    first = heads[0]
    title = (
        f"heads on features in the bank, {first['rows']:,} training rows x {first['width']}, "
        f"{first['classes']} classes, {first['threads']} threads"
    )
    _print_table(
        title, ("head", "s a million rows", "of the processor", "peak memory", "--ram", "val accuracy", ""), rows
    )


def print_one_machine(results: Mapping[str, Any], cores: int) -> None:
    """Prints what one machine needs for more and more images."""
    rows = [one_machine(results, 10**power, cores) for power in range(4, 10)]
    columns = ["images"]
    for worker in results["workers"]:
        columns += [worker["network"], "its features"]
    title = f"one machine of {cores} cores, computed from the measured rates; features of pooled as float32"
    _print_table(title, (*columns, "memory to open"), rows)


def print_simulation(
    worker: Mapping[str, Any], bank: Mapping[str, Any], options: argparse.Namespace, *, digests_known: bool
) -> dict[str, Any]:
    """Simulates 1 to 256 workers, prints the table and what follows from it, and returns both."""
    measured, assumed = measured_of(worker, bank), assumed_of(options, digests_known=digests_known)
    images = options.images or 10**7
    sizes = piece_sizes(images, int(measured.write_bytes))
    outcomes = [simulate(measured, assumed, sizes, workers) for workers in WORKERS]
    rows = [
        (
            str(one.workers), f"{one.images_per_second:,.0f}", f"{one.seconds / 3600:,.2f}", f"{one.efficiency:.0%}",
            *(f"{one.lost[cause]:.1%}" for cause in CAUSES),
        )
        for one in outcomes
    ]  # fmt: skip
    known = "known already" if digests_known else "to be computed"
    title = f"simulated: {worker['network']}, {images:,} images in {len(sizes):,} pieces, digests {known}"
    _print_table(title, ("workers", "images/s", "hours", "efficiency", *CAUSES), rows)
    _CONSOLE.print(_basis(measured, assumed))
    lines = advice(outcomes, measured, assumed, len(sizes))
    for line in lines:
        _CONSOLE.print(f"- {line}")
    return {
        "network": worker["network"], "images": images, "pieces": len(sizes), "digests_known": digests_known,
        "assumed": vars(assumed), "outcomes": [_as_dict(one) for one in outcomes], "advice": lines,
    }  # fmt: skip


def _basis(measured: Measured, assumed: Assumed) -> str:
    return (
        f"measured: {measured.images_per_second:,.1f} images/s a worker, load {measured.load_seconds:.1f} s, "
        f"{measured.read_bytes:,.0f} bytes read and {measured.write_bytes:,.0f} written an image, "
        f"{measured.digests_per_second:,.0f} digests/s, listing {measured.listing_seconds:.3f} s + "
        f"{measured.listing_seconds_a_piece * 1e3:.2f} ms a piece; assumed: {assumed.slowed:.0%} of the pieces slowed "
        f"(1 + Pareto of shape {assumed.tail:g}, at most {assumed.slowest:g} times), {assumed.failures_per_hour:g} "
        f"failures an hour and worker, restart {assumed.restart_seconds:g} s, disk "
        f"{assumed.disk_bytes_per_second / 1e6:,.0f} MB/s"
    )


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    return {**vars(outcome), "lost": dict(outcome.lost), "images_per_second": outcome.images_per_second}


def print_plan(output: Path, options: argparse.Namespace) -> None:
    """Prints a plan from the figures in a file of results."""
    results = json.loads(output.read_text(encoding="utf-8"))
    wanted, assumed = wanted_of(options), assumed_of(options)
    rows = [
        (line.what, line.amount, "" if line.price is None else f"{line.price:,.0f}", line.basis)
        for line in make_plan(results, wanted, assumed)
    ]
    title = (
        f"{wanted.images:,} images; a core and hour cost {wanted.core_hour:g}, a TB and month "
        f"{wanted.terabyte_month:g}, kept for {wanted.months:g} months; the disk gives "
        f"{assumed.disk_bytes_per_second / 1e6:,.0f} MB/s"
    )
    _print_table(title, ("what", "amount", "price", "from"), rows)


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        numeric = bool(number) and all(row[number][:1].isdigit() or not row[number] for row in rows)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*row)
    _CONSOLE.print(table)
