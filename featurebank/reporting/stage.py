"""Stage: banks with runs -> one HTML file that shows everything about them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featurebank.bank import Bank
from featurebank.errors import ConfigError
from featurebank.metrics import metric_of
from featurebank.reporting.evidence import Evidence, key_of
from featurebank.system.files import check_output, open_regular
from featurebank.system.options import StageOptions
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted

SUFFIXES = (".html", ".htm")
_HEAD = 4096
_KEY = re.compile(rb'<meta name="featurebank-report" content="([0-9a-f]*)"')


@dataclass(frozen=True, kw_only=True)
class ReportOptions(StageOptions):
    """Where a report is written; see the public function `report`."""

    output: str = "report.html"
    """The file of the report."""
    force: bool = False
    """Whether to replace a file that is not a report of these banks."""
    metric: str = "accuracy"
    """The metric that ranks the heads, as "balanced_accuracy"."""


@dataclass(frozen=True)
class WrittenReport:
    """A report on disk.

    Example:
        >>> WrittenReport(Path("report.html"), 2.5, 1_200_000, ("photos",))
        <WrittenReport report.html: 1.2 MB on 1 bank, in 2.5 s>
    """

    path: Path
    seconds: float
    bytes: int
    banks: tuple[str, ...]
    """The names of the banks."""
    written: bool = True
    """False if the file was up to date, so that it was not written again."""

    def __repr__(self) -> str:
        how = f"in {self.seconds:.1f} s" if self.written else "up to date"
        return f"<WrittenReport {self.path}: {self.bytes / 1e6:.1f} MB on {counted(len(self.banks), 'bank')}, {how}>"


def run_report(
    banks: Sequence[Bank], options: ReportOptions, *, update: bool = False, reporter: Reporter = SILENT
) -> WrittenReport:
    """Writes a report.

    Args:
        banks: the banks, at least one; repeated ones count once.
        options: the file.
        update: replace the file if it is a report of featurebank, and leave it as it is if it is up to date. Pipelines
            do so: the file is their own, and nobody else's file is replaced.
        reporter: receives the progress.

    Raises:
        ConfigError: the path is not usable, or the file exists and `force` is not set.
        HeadError: a bank has no runs.
        DatasetError: a bank has no runs and no validation images.
        DiskFullError: no space is left; an existing file is not changed.
    """
    began = time.perf_counter()
    path = check_report_path(options.output, force=options.force, update=update)
    with reporter.step(f"reading the runs of {counted(len(banks), 'bank')}"):
        evidence = [
            Evidence(bank, reporter, metric_of(options.metric, bank.classes))
            for bank in {bank.path.resolve(): bank for bank in banks}.values()
        ]
    names = tuple(one.bank.name for one in evidence)
    if update and report_key(path) == key_of(evidence):
        return WrittenReport(path, time.perf_counter() - began, path.stat().st_size, names, written=False)
    from featurebank.reporting.gathering import gather  # imports scikit-learn, which an unchanged report does not need
    from featurebank.reporting.page import write_page

    content = gather(evidence, reporter)
    with reporter.step(f"writing {path.name}"):
        write_page(content, path)
    return WrittenReport(path, time.perf_counter() - began, path.stat().st_size, names)


def check_report_path(output: str, *, force: bool, update: bool = False) -> Path:
    """Returns the path of a report, after checking all that can be checked before the work.

    Args:
        output: the file.
        force: whether any existing file may be replaced.
        update: whether an existing report of featurebank may be replaced.

    Raises:
        ConfigError: the path has another suffix, its folder does not exist or cannot be written, it is a folder, or it
            exists and may not be replaced.
    """
    path = check_output(output, force=force or update, suffixes=SUFFIXES)
    if path.exists() and not force and report_key(path) is None:
        message = (
            f"'{path}' exists and is no report of featurebank: choose another path, or replace it with force = true"
        )
        raise ConfigError(message)
    return path


def report_key(path: Path) -> str | None:
    """Returns what a report on disk was made from; None if the file is missing or is no report."""
    try:
        with open_regular(path) as file:
            match = _KEY.search(file.read(_HEAD))
    except OSError:
        return None
    return match[1].decode() if match else None
