"""Writes the reports of a pipeline file: one page for each `report.output`, on the banks of its variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from featurebank.pipeline.stage import VariantResult
from featurebank.pipeline.variants import Variant
from featurebank.reporting.stage import ReportOptions, WrittenReport, run_report
from featurebank.system.progress import SILENT, Reporter


def write_reports(
    variants: Sequence[Variant], results: Sequence[VariantResult], *, reporter: Reporter = SILENT
) -> list[VariantResult]:
    """Writes the reports that a pipeline file asks for; a report that is up to date is left as it is.

    Args:
        variants: the variants that were run.
        results: their results from `run_all`.
        reporter: receives the progress.

    Returns:
        The results, each with its report. Variants with one path share one report, which compares their banks.

    Raises:
        ConfigError: a file exists and is no report of featurebank, or cannot be written.
    """
    pages: dict[Path, WrittenReport] = {}
    sections = [variant.pipeline.report for variant in variants]
    for path in dict.fromkeys(Path(section.output) for section in sections if section):
        sharing = [
            (section, done)
            for section, done in zip(sections, results, strict=True)
            if section and Path(section.output) == path
        ]
        options = ReportOptions(output=str(path), force=any(section.force for section, _ in sharing))
        banks = [done.result.extraction.bank for _, done in sharing]
        pages[path] = run_report(banks, options, update=True, reporter=reporter)
    return [
        replace(done, result=replace(done.result, report=pages[Path(section.output)])) if section else done
        for section, done in zip(sections, results, strict=True)
    ]
