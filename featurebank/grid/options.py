"""How heads are judged and which of a grid are trained: the options of `train_heads`, checked together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from featurebank.bank import Bank
from featurebank.errors import ConfigError, unknown_name
from featurebank.heads.folds import Fold, given_folds
from featurebank.words import problem_lines

GIVEN = "given"
SEARCHES = ("all", "random", "halving")


@dataclass(frozen=True)
class Options:
    """The options, as they were given."""

    seeds: int | Sequence[int] = 1
    search: str = "all"
    runs: int | None = None
    folds: int | str | None = None
    """A number, or "given" for those that the dataset brings."""
    repeats: int = 1
    budget: float | None = None
    retry_failed: bool = False

    def check(self) -> None:
        """Raises ConfigError where something is wrong; its message has every problem."""
        if problems := list(self._problems()):
            raise ConfigError(problem_lines(problems))

    def chosen_seeds(self) -> list[int]:
        """Returns the different seeds, in the order given."""
        given = range(self.seeds) if isinstance(self.seeds, int) else [int(seed) for seed in self.seeds]
        return list(dict.fromkeys(given))

    def chosen_folds(self, bank: Bank) -> list[Fold | None]:
        """Returns the folds of all repeats, in order; None alone stands for the bank's own validation images.

        Raises:
            DatasetError: the dataset's own folds are asked for, and it has none.
        """
        if self.folds is None:
            return [None]
        if isinstance(self.folds, str):
            return [*given_folds(bank)]
        return [Fold(part, self.folds, repeat) for repeat in range(self.repeats) for part in range(self.folds)]

    def _problems(self) -> Iterator[str]:
        if self.search not in SEARCHES:
            yield str(unknown_name("search", str(self.search), SEARCHES))
        seeds = self.chosen_seeds()
        if not seeds or min(seeds) < 0:
            yield f"seeds are {self.seeds!r}: expected one or more whole numbers of 0 or more"
        if self.runs is not None and self.search != "random":
            yield f"runs is {self.runs}, but search is '{self.search}': it belongs to search 'random' alone"
        if self.search == "random" and not _is_count(self.runs, 1):
            got = "" if self.runs is None else f"runs is {self.runs!r}: "
            yield f"{got}search 'random' needs --runs N (runs), how many heads of the grid it takes, 1 or more"
        if self.folds not in {None, GIVEN} and not _is_count(self.folds, 2):
            yield f"folds is {self.folds!r}: expected 2 or more, as 5, or '{GIVEN}' for the dataset's own"
        if not _is_count(self.repeats, 1):
            yield f"repeats is {self.repeats!r}: expected 1 or more"
        elif self.repeats > 1 and self.folds is None:
            yield f"repeats is {self.repeats} without folds: give folds too, as 5"
        elif self.repeats > 1 and self.folds == GIVEN:
            yield f"repeats is {self.repeats}, but the dataset's own folds are one division: leave repeats out"
        if self.budget is not None and not self.budget > 0:
            yield f"budget is {self.budget!r}: expected a number of seconds above 0"


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
