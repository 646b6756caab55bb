"""Heat maps beside the most confident mistakes, where they cost little: from maps in the bank, for linear heads."""

from __future__ import annotations

import numpy as np

from featurebank.reporting.evidence import Evidence


def of_mistakes(evidence: Evidence, positions: np.ndarray, classes: np.ndarray) -> tuple[list[np.ndarray | None], str]:
    """Returns a picture of each image under its heat map, (h, w, 3) uint8 or None, and what the heat maps show."""
    return [None] * len(positions), ""
