"""Gathers what sets of classes and abstention would do with the chosen run."""

from __future__ import annotations

from featurebank.certainty.measured import MeasuredCertainty
from featurebank.errors import FeatureBankError
from featurebank.reporting.content import Conclusion
from featurebank.reporting.content_doubts import SetsAndAnswers
from featurebank.reporting.evidence import Answers, Evidence
from featurebank.reporting.sections.wording_answers import certainty as sentence_of
from featurebank.runs.doubts import LabelledAnswers, measured_on, plot_certainty
from featurebank.runs.finetuned import is_finetuned
from featurebank.runs.probabilities import load_fitted, positions_of, predictor
from featurebank.words import counted


def gather_certainty(evidence: Evidence, answers: Answers) -> SetsAndAnswers | None:
    """Returns coverage, sizes, share answered and error; None if there are too few images.

    They are measured on the test images if these were opened for the run, which costs one more pass of its head; else,
    and for a fine-tune, by cross-fitting on the images of `answers`.
    """
    try:
        found = _measured(evidence, answers)
    except FeatureBankError:
        return None
    title = Conclusion("When the head is not sure", sentence_of(found))
    source = f"{counted(found.images, 'image')} {found.source}"
    return SetsAndAnswers(title, found.sets, found.answers, source, plot_certainty(found))


def _measured(evidence: Evidence, answers: Answers) -> MeasuredCertainty:
    bank, run = evidence.bank, evidence.winner
    opened = run is not None and "test" in run.metrics and not run.fold and not is_finetuned(run)

    def answers_of(split: str) -> LabelledAnswers:
        if split == "val" or run is None:
            return answers.positions, answers.labels, answers.probabilities
        positions = positions_of(bank, run, split)
        probabilities = predictor(bank, run, split, load_fitted(bank, run, reporter=evidence.reporter))()
        return positions, bank.labels()[positions], probabilities

    return measured_on(bank, "test" if opened else "val", answers_of)
