"""The options of a dataset: which of its images to use, and how to split them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, MaxLen, MinLen

from featurebank.dataset.grouping.rule import GroupRule
from featurebank.dataset.held_out import fractions_beside
from featurebank.dataset.splits import check_fractions
from featurebank.dataset.subset import Subset, check_subset
from featurebank.errors import ConfigError
from featurebank.system.options import OptionProblem, StageOptions

_Fractions = Annotated[Sequence[float], MinLen(2), MaxLen(3), "two or three fractions, as [0.7, 0.3]"]
_Classes = Annotated[Sequence[str], "a list of class names, as ['ant', 'bee']"]
_Count = Annotated[int, Ge(1), "a whole number of images, 1 or more"]
_Columns = Annotated[Mapping[str, str], "a name of a column for each of path, label, split and weight"]


@dataclass(frozen=True, kw_only=True)
class DatasetOptions(StageOptions):
    """Which images of a dataset to use, and how to split them; see `featurebank.load_dataset`."""

    split: _Fractions | None = None
    """Fractions of training, validation and test images."""
    seed: int = 0
    """The seed of the split; together with the content of an image, it decides the split of the image."""
    test: str | None = None
    """Another dataset, whose images are the test split; `split` has two fractions then."""
    classes: _Classes | None = None
    """The names of the classes to use; by default all."""
    limit: _Count | None = None
    """The number of images to use in all; by default all."""
    per_class: _Count | None = None
    """The number of images of each class to use; by default all."""
    layout: str | None = None
    """What the subfolders of a folder are: "classes" or "splits"; by default, their names and content decide."""
    columns: _Columns | None = field(default=None, hash=False)
    """The names of the columns of a table for path, label, split and weight."""
    unlabelled: Literal["keep"] | None = None
    """"keep" keeps images without a label; by default, an empty label is an error."""
    groups: str | None = None
    """The column, or the rule on the path, that says which images belong together; their splits and folds are one."""

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Those of training, validation and test images, which sum to 1."""
        return check_fractions(self.split) if self.test is None else fractions_beside(self.split)

    @property
    def subset(self) -> Subset:
        """The part of the images to use."""
        return check_subset(self.classes, self.limit, self.per_class)

    @property
    def group_rule(self) -> GroupRule | None:
        """How to read the groups; None if images belong to no groups."""
        return None if self.groups is None else GroupRule.parse(self.groups)

    def problems(self) -> Iterator[OptionProblem]:
        """Yields what is wrong with the values; the messages begin with the name of the option."""
        for name in ("fractions", "subset", "group_rule"):
            try:
                getattr(self, name)
            except ConfigError as error:
                yield OptionProblem(*str(error).split(" ", 1))
