"""What a report shows about the doubts of the chosen run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from featurebank.certainty.measured import MeasuredAnswers, MeasuredSets

if TYPE_CHECKING:
    from featurebank.reporting.content import Conclusion


@dataclass(frozen=True)
class SetsAndAnswers:
    """Sets of classes, and answers with a known error."""

    conclusion: Conclusion
    sets: Sequence[MeasuredSets]
    answers: Sequence[MeasuredAnswers]
    source: str
    """The images, and how they were measured, in words."""
    chart: Any
