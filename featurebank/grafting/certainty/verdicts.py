"""What a model says beside its probabilities: a set of classes, whether it answers, and whether the image is unlike
those of its training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.certainty.abstention import Abstention, check_error
from featurebank.certainty.conformal import check_coverage, class_sets
from featurebank.certainty.record import Certainty
from featurebank.errors import ConfigError
from featurebank.grafting.certainty.embedding import ModelOutputs
from featurebank.grafting.metadata import About
from featurebank.words import counted, problem_lines

_NAMED = 3


@dataclass(frozen=True)
class Verdict:
    """What is said of one image; None where nobody asked, or the model does not know."""

    set: tuple[str, ...] | None = None
    """The classes that the image may have, most probable first."""
    answered: bool | None = None
    """Whether the model is sure enough for the error that was asked for."""
    unlike: bool | None = None
    """Whether the image is unlike those of the training."""
    likeness: float | None = None
    """The share of validation images that are less like the training images than this one."""

    def to_dict(self) -> dict[str, Any]:
        """Returns what is known as JSON values."""
        values = {"set": self.set and list(self.set), "answered": self.answered, "unlike": self.unlike}
        if self.set is not None:
            values["set"] = list(self.set)
        known = {name: value for name, value in values.items() if value is not None}
        return known if self.likeness is None else {**known, "likeness": round(self.likeness, 6)}


class Verdicts:
    """Applies what a model knows about its doubts to its outputs.

    Args:
        about: the metadata of the model.
        coverage: how often the true class is to be in the set; None for no sets.
        abstain_at_error: the error among the answered images; None to answer all.

    Raises:
        ConfigError: the model knows nothing about its doubts, a number is not between 0 and 1, or no threshold reaches
            the error; the message has a line for each problem.
    """

    def __init__(self, about: About, coverage: float | None = None, abstain_at_error: float | None = None) -> None:
        check_request(coverage, abstain_at_error)
        self._classes, self._coverage = about.classes, coverage
        self._certainty = about.certainty
        self.abstention: Abstention | None = None
        """The threshold, if one was asked for."""
        if coverage is not None or abstain_at_error is not None:
            certainty = known_certainty(about)
            if abstain_at_error is not None:
                self.abstention = certainty.abstention(abstain_at_error)

    def __call__(self, outputs: ModelOutputs) -> list[Verdict]:
        """Returns the verdict on each image.

        Raises:
            ConfigError: the features of the model are not those that its metadata describe.
        """
        rows = outputs.probabilities
        sets, answered = self._sets(rows), self.abstention and self.abstention.answers(rows).tolist()
        likeness = None if self._certainty is None else self._certainty.likeness
        unlike = shares = None
        if likeness is not None:
            features = checked_features(outputs, likeness.width)
            unlike, shares = likeness.compare(features)
        columns = [column if column is not None else [None] * len(rows) for column in (sets, answered, unlike, shares)]
        return [Verdict(*values) for values in zip(*columns, strict=True)]

    def _sets(self, probabilities: np.ndarray) -> list[tuple[str, ...]] | None:
        if self._coverage is None or self._certainty is None:
            return None
        inside = class_sets(probabilities, self._certainty.table, self._coverage)
        orders = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            tuple(self._classes[place] for place in order if row[place])
            for row, order in zip(inside, orders, strict=True)
        ]

    def notes(self) -> list[str]:
        """Returns what to expect of the sets and of the answers, one line for each."""
        if self._certainty is None:
            return []
        lines = [] if self.abstention is None else [f"not sure: {self.abstention.sentence}"]
        if self._coverage is not None:
            at_all = np.isfinite(self._certainty.table.limit(self._coverage))
            most = self._certainty.table.mass[-1]
            few = "" if at_all else f": these are too few for it (at most {most:.3f}), so each set has all classes"
            lines.append(f"sets of classes: coverage {self._coverage:g}, calibrated on {self._certainty.basis}{few}")
        elif lines:
            lines[0] += f"; calibrated on {self._certainty.basis}"
        return lines


def check_request(coverage: float | None, abstain_at_error: float | None) -> None:
    """Raises ConfigError if a number that was asked for is not between 0 and 1, with a line for each."""
    problems = []
    for check, value in ((check_coverage, coverage), (check_error, abstain_at_error)):
        try:
            if value is not None:
                check(value)
        except ConfigError as error:
            problems.append(error)
    if problems:
        raise ConfigError(problem_lines(problems))


def known_certainty(about: About) -> Certainty:
    """Returns what a model knows about its doubts.

    Raises:
        ConfigError: it knows nothing.
    """
    if about.certainty is None:
        message = (
            "the model stores nothing about its doubts, which coverage and abstain_at_error need: export it again, "
            "with this version, from a bank with validation images"
        )
        raise ConfigError(message)
    return about.certainty


def checked_features(outputs: ModelOutputs, width: int) -> np.ndarray:
    """Returns the features of a model's outputs.

    Raises:
        ConfigError: there are none, or they are of another width.
    """
    shape = (len(outputs.probabilities), width)
    if outputs.embedding is None or outputs.embedding.shape != shape:
        has = "no features" if outputs.embedding is None else f"features of the shape {outputs.embedding.shape}"
        message = f"the model returns {has}, but its metadata describe {counted(width, 'feature')}: export it again"
        raise ConfigError(message)
    return outputs.embedding


def unlike_line(names: Sequence[str], images: int) -> str:
    """Returns the warning about images that are unlike those of the training.

    Args:
        names: the names of these images, at least one.
        images: the number of all images.
    """
    first = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    verb = "is" if len(names) == 1 else "are"
    return (
        f"{len(names)} of {counted(images, 'image')} {verb} unlike the training images, where predictions mean little "
        f"(about 1 % of images like the training images get this warning, too): {first}"
    )
