"""The options of `train_heads`: how heads are evaluated, and which heads of a grid are trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, MinLen

from featurebank.bank import Bank
from featurebank.fitting.folds import Fold, dataset_folds
from featurebank.system.options import ClusterAddress, OptionProblem, StageOptions

_SEEDS = "a whole number of 1 or more, or a list of seeds of 0 or more"
_FOLDS = "a whole number of 2 or more, such as 5, or 'given' for the dataset's own folds"


@dataclass(frozen=True, kw_only=True)
class GridOptions(StageOptions):
    """Options of the training of heads; see `featurebank.train_heads`."""

    seeds: Annotated[Annotated[int, Ge(1)] | Annotated[Sequence[Annotated[int, Ge(0)]], MinLen(1)], _SEEDS] = 1
    """The number of seeds of each head, or a list of seeds; deterministic heads are trained once."""
    taps: Annotated[Sequence[str], MinLen(1), "a list of one or more taps, as ['pooled']"] | None = None
    """The taps for heads that name none themselves; each head is trained on each of them."""
    search: Literal["all", "random", "halving"] = "all"
    """Which heads of the grid are trained."""
    runs: Annotated[int, Ge(1)] | None = None
    """The number of random heads of the grid, with search = "random"."""
    folds: Annotated[Annotated[int, Ge(2)] | Literal["given"] | None, _FOLDS] = None
    """The number of cross-validation folds of the training and validation images; "given" for the dataset's own folds.
    By default, heads are evaluated on the validation images."""
    repeats: Annotated[int, Ge(1)] = 1
    """The number of different divisions into folds."""
    budget: Annotated[float, Gt(0), "a number of seconds above 0"] | None = None
    """The time for all heads in seconds."""
    retry_failed: bool = False
    """Train heads that failed before again."""
    views: Annotated[int, Ge(0)] | None = None
    """The number of augmented views of each training image for heads with epochs; by default all views."""
    sample: Annotated[int, Ge(2)] | None = None
    """The number of training images, the first in the order of the digests of their contents; by default all."""
    metric: Annotated[str, MinLen(1), "the name of a metric, as 'balanced_accuracy'"] = "accuracy"
    """The metric that ranks the heads, as "balanced_accuracy", "recall:CLASS" or "cost:FILE.csv"."""
    cluster: ClusterAddress = None
    """Where heads are trained: "local:N" for N processes of this machine, or the address of a Dask scheduler, as
    "tcp://host:8786"; by default this process."""

    def seed_list(self) -> list[int]:
        """Returns the distinct seeds, in their order."""
        return list(dict.fromkeys(range(self.seeds) if isinstance(self.seeds, int) else self.seeds))

    def fold_list(self, bank: Bank) -> list[Fold | None]:
        """Returns the folds of all repetitions, in order; [None] stands for the bank's own validation images.

        Raises:
            DatasetError: the options request the dataset's own folds, but it has none.
        """
        if self.folds is None:
            return [None]
        if isinstance(self.folds, str):
            return [*dataset_folds(bank)]
        return [Fold(part, self.folds, repeat) for repeat in range(self.repeats) for part in range(self.folds)]

    def problems(self) -> Iterator[OptionProblem]:
        """Yields invalid combinations of options."""
        if self.runs is not None and self.search != "random":
            yield OptionProblem(
                "", f"runs is {self.runs}, but search is '{self.search}': runs applies only to search 'random'"
            )
        if self.search == "random" and self.runs is None:
            yield OptionProblem(
                "", "search 'random' needs --runs N (runs), the number of heads to sample from the grid, 1 or more"
            )
        if self.repeats > 1 and self.folds is None:
            yield OptionProblem(
                "", f"repeats is {self.repeats}, but folds is not set: set folds, too, such as folds = 5"
            )
        elif self.repeats > 1 and isinstance(self.folds, str):
            text = "but the dataset defines only one division into folds: leave repeats out"
            yield OptionProblem("", f"repeats is {self.repeats}, {text}")
