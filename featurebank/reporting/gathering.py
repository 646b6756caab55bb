"""Gathers the content of a report: all sections of each bank, and the comparison of several banks."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from importlib.metadata import version

from featurebank.bank import Bank
from featurebank.reporting.content import BankReport, ReportContent, Section
from featurebank.reporting.evidence import Evidence, key_of
from featurebank.reporting.sections.answers import (
    gather_calibration,
    gather_classes,
    gather_confusions,
    gather_mistakes,
)
from featurebank.reporting.sections.banks import gather_comparison
from featurebank.reporting.sections.board import gather_board
from featurebank.reporting.sections.certainty import gather_certainty
from featurebank.reporting.sections.doubts import gather_doubts
from featurebank.reporting.sections.plane import gather_map
from featurebank.reporting.sections.runs import gather_what_ran, gather_winner
from featurebank.reporting.sections.savings import gather_savings
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted, one_line


def gather(banks: Sequence[Evidence], reporter: Reporter = SILENT) -> ReportContent:
    """Returns everything that a report on some banks shows.

    Args:
        banks: the banks with their runs, in the order of the report.
        reporter: receives the progress.
    """
    parts = [gather_bank(one, reporter) for one in banks]
    title = title_of(banks[0].bank) if len(banks) == 1 else f"Report on {counted(len(banks), 'bank')}"
    return ReportContent(
        title, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), version("featurebank"), parts,
        gather_comparison(banks) if len(banks) > 1 else None, key_of(banks),
    )  # fmt: skip


def title_of(bank: Bank) -> str:
    """Returns the title of a report on one bank: the dataset, without the digest of its place, and the network."""
    dataset = re.sub("-[0-9a-f]{6}$", "", str(bank.manifest.dataset["name"]))
    return f"Report on {one_line(dataset)}, {one_line(bank.recipe['backbone'])}"


def gather_bank(evidence: Evidence, reporter: Reporter = SILENT) -> BankReport:
    """Returns the sections of one bank, in the order of the page."""
    answers = evidence.answers
    sections: list[Section | None] = [gather_what_ran(evidence), gather_winner(evidence), gather_board(evidence)]
    warnings = []
    if isinstance(answers, str):
        warnings += [f"{answers}: there is no confusion matrix and no table of the classes"] if evidence.winner else []
    elif len(answers.labels):
        sections += [
            gather_confusions(evidence, answers), gather_classes(evidence, answers), gather_calibration(answers),
            gather_certainty(evidence, answers), gather_mistakes(evidence, answers),
        ]  # fmt: skip
    with reporter.step("drawing the map of the validation images"):
        sections.append(gather_map(evidence))
    sections += [gather_doubts(evidence), gather_savings(evidence)]
    pictures = evidence.gallery.read(reporter)
    missing = [picture for picture in pictures if picture.image is None]
    if missing:
        warnings.append(
            f"{counted(len(missing), 'picture')} of {len(pictures)} cannot be shown; the first: {missing[0].reason}"
        )
    shown = [section for section in sections if section is not None]
    return BankReport(evidence.bank.name, shown, pictures, warnings)
