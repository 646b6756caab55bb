"""`featurebank report`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.commands.heads import metric_option
from featurebank.cli.context import Settings, as_json
from featurebank.cli.several_banks import open_banks
from featurebank.cli.terminal import echo, print_json
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.reporting.stage import WrittenReport


@click.command()
@click.option(
    "--bank", "banks", multiple=True, metavar="BANK",
    help="Bank to report on; repeatable, for a page that compares several banks; all-of:DATASET is all banks of a "
    "dataset.  [default: the last used]",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(), default="report.html", show_default=True, metavar="FILE",
    help="HTML file to write.",
)  # fmt: skip
@metric_option
@click.option("--force", is_flag=True, help="Replace an existing file.")
@as_json
@click.pass_obj
def report(
    settings: Settings, /, banks: tuple[str, ...], output: str, metric: str, *, force: bool, as_json: bool
) -> None:  # fmt: skip
    """Write one HTML page about a bank and its heads.

    It shows the data, the best head and its mistakes, the leaderboard, doubtful labels, and what the bank saved.
    """
    from featurebank.reporting.stage import ReportOptions, check_report_path, run_report

    options = ReportOptions(output=output, force=force, metric=metric)
    check_report_path(output, force=force)  # before any bank is opened
    opened = [bank for name in banks or (None,) for bank in open_banks(settings, name)]
    written = run_report(opened, options, reporter=settings.reporter())
    if as_json:
        print_json(report_json(written))
    else:
        print_report(written)


def report_json(written: WrittenReport) -> dict[str, Any]:
    """Returns a written report as JSON values."""
    return {
        "report": str(written.path), "bytes": written.bytes, "seconds": round(written.seconds, 3),
        "banks": list(written.banks), "written": written.written,
    }  # fmt: skip


def print_report(written: WrittenReport) -> None:
    """Prints the path of a report, on the last line of a command."""
    several = f" on {counted(len(written.banks), 'bank')}" if len(written.banks) > 1 else ""
    state = f"written in {written.seconds:.1f} s" if written.written else "up to date"
    echo(f"report{several}: {written.path} ({written.bytes / 1e6:.1f} MB, {state})")
