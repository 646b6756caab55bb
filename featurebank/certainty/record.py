"""What a model file stores to be able to say "not sure": tables of validation images, and the distance of features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from featurebank.certainty.abstention import Abstention, AbstentionTable
from featurebank.certainty.conformal import doubt_table
from featurebank.certainty.likeness import Likeness
from featurebank.certainty.scores import COUNT, ScoreTable, check
from featurebank.words import counted

_WORDS = 500


@dataclass(frozen=True, eq=False)
class Certainty:
    """What is known about a model's doubts from validation images.

    Example:
        >>> probabilities = np.array([[0.8, 0.2]] * 90 + [[0.3, 0.7]] * 10)
        >>> certainty = Certainty.of(probabilities, np.array([0] * 95 + [1] * 5))
        >>> round(certainty.table.limit(0.85), 2), certainty.answers.choose(0.05).share
        (-1.39, 0.9)
    """

    images: int
    """The number of validation images."""
    units: int
    """The number of their groups; without groups, of the images."""
    table: ScoreTable
    """The doubts of their true classes, for sets of classes."""
    answers: AbstentionTable
    """For abstention."""
    likeness: Likeness | None = None
    """The distance of features; None if the model cannot give features, or there are none."""
    operation: str = ""
    """Of a Keras model: the operation whose output the features are, which `likeness` takes averaged over places."""
    uses: tuple[str, ...] = ()
    """What else the validation images were used for, as "to stop the training"."""

    @classmethod
    def of(
        cls, probabilities: np.ndarray, labels: np.ndarray, *, groups: np.ndarray | None = None,
        likeness: Likeness | None = None, operation: str = "", uses: tuple[str, ...] = (),
    ) -> Self:  # fmt: skip
        """Makes the record from the predictions for validation images.

        Args:
            probabilities: (n, classes), of images that the model was not fitted on.
            labels: (n,).
            groups: (n,) the group of each image; None without groups.
            likeness: the distance of features.
            operation: see the attribute, also for `uses`.
            uses: what else the images were used for.
        """
        answers = AbstentionTable.of(probabilities, labels, groups)
        table = doubt_table(probabilities, labels, groups)
        return cls(len(labels), answers.units, table, answers, likeness, operation, uses)

    @property
    def basis(self) -> str:
        """What everything is calibrated on, in words."""
        grouped = "" if self.units == self.images else f" in {counted(self.units, 'group')}"
        also = f", which were also used {', and '.join(self.uses)}" if self.uses else ""
        return f"{counted(self.images, 'validation image')}{grouped}{also}"

    def abstention(self, error: float) -> Abstention:
        """Returns the threshold that answers most images at an error; see `AbstentionTable.choose`.

        Raises:
            ConfigError: the error is not between 0 and 1, or no threshold reaches it.
        """
        grouped = self.units != self.images
        return self.answers.choose(error, "validation group" if grouped else "validation image")

    def to_json(self) -> dict[str, Any]:
        """Returns the record as JSON values."""
        return {
            "images": self.images, "uses": list(self.uses), "operation": self.operation, "table": self.table.to_json(),
            "answers": self.answers.to_json(), "likeness": self.likeness and self.likeness.to_json(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Reads what `to_json` returned; a stranger may have written it.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it is damaged.
        """
        answers = AbstentionTable.from_json(value["answers"])
        texts = (*value["uses"], value["operation"])
        check(isinstance(value["uses"], list) and all(isinstance(t, str) and len(t) <= _WORDS for t in texts), "texts")
        check(type(value["images"]) is int and answers.units <= value["images"] <= COUNT, "the number of images")
        likeness = value["likeness"]
        return cls(
            value["images"], answers.units, ScoreTable.from_json(value["table"]), answers,
            None if likeness is None else Likeness.from_json(likeness), value["operation"], tuple(value["uses"]),
        )  # fmt: skip
