"""What comes after the rounds of a race: the finalists' whole banks, the grid on them, and the account of all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from featurebank.bank import Bank
from featurebank.dataset import Dataset
from featurebank.errors import HeadError
from featurebank.extraction import ExtractOptions, run_extractions
from featurebank.grid import GridOptions, read_grid
from featurebank.grid.several import train_on_banks
from featurebank.metrics import ImageScores, Metric, metric_of
from featurebank.racing.halving import finalists
from featurebank.racing.outcome import Race
from featurebank.racing.rounds import RaceRounds
from featurebank.racing.winner import WinnerInterval, metric_winner, share_winner
from featurebank.runs.predictions.draws import images_of_run
from featurebank.runs.predictions.scoring import images_again, scored
from featurebank.runs.probabilities import load_fitted
from featurebank.runs.ranking import Ranking, ranked
from featurebank.runs.run import RunRecord
from featurebank.runs.selection import choose_run
from featurebank.system.progress import Reporter
from featurebank.words import counted, duration

MOST_OF_FULL = 1 / 4
"""Further finalists are extracted as long as the extractions of the race take no more than this part of those of a full
search. The engines and the first grid of the process come on top, so that about a third is spent in all."""
FOR_HEADS = 0.5
"""Of a budget, the part of what is left after the rounds that extractions may take."""
MOST_SCORED = 30
"""Of this many best heads, predictions are made again for an interval of another metric than the accuracy."""


@dataclass
class Finals:
    """Fills the whole banks of the candidates that survived, and trains the grid on them.

    Args:
        dataset: the whole dataset.
        rounds: the rounds, which have ended.
    """

    dataset: Dataset
    rounds: RaceRounds

    def race(self) -> Race:
        """Does all of it, as far as the budget allows, and returns the result.

        Raises:
            HeadError: not even the first round fitted into the budget, or every head failed.
        """
        rounds, options = self.rounds, self.rounds.options
        if not rounds.scores:
            message = (
                f"the budget of {options.budget:g} s is too short for the first round: allow more seconds; the same "
                "command continues"
            )
            raise HeadError(message)
        numbers = self._finalists()
        banks = self._extracted(numbers)
        metric = metric_of(options.metric, self.dataset.classes)
        runs = scored(self._trained(banks), metric, rounds.reporter)
        chosen = choose_run(runs, metric=metric) if runs else None
        place = 0 if chosen is None else [bank.name for bank in banks].index(chosen.bank_name)
        names = [rounds.candidates[number].name for number in numbers]
        return Race(
            rounds=rounds.scores, finalists=names if banks else [], banks=banks, runs=ranked(runs, metric=metric),
            chosen=chosen, winner=names[place],
            interval=corrected_interval(runs, chosen, banks, metric, rounds.reporter) if chosen else self._of_parts(),
            metric=options.metric if chosen else "leave-one-out accuracy",
            seconds=time.monotonic() - rounds.clock.began, full_seconds=self._full_seconds(runs, banks),
            images=self._images(numbers if banks else []), full_images=self._count * len(rounds.candidates),
            unfinished=rounds.unfinished,
        )  # fmt: skip

    @property
    def _count(self) -> int:
        return len(self.dataset.distinct())

    def _finalists(self) -> list[int]:
        """Returns the candidates to extract wholly, the best first."""
        rounds, left = self.rounds, self.rounds.clock.left
        numbers = rounds.left
        if any(number not in rounds.speeds for number in range(len(rounds.candidates))):
            return numbers[:1]
        spent = sum(rounds.speeds[number].seconds(count) for number, count in enumerate(rounds.images))
        most = min(MOST_OF_FULL * self._all_extractions() - spent, FOR_HEADS * left)
        rest = [rounds.speeds[number].seconds(self._count - rounds.images[number]) for number in numbers]
        places = finalists(range(len(numbers)), rest, most)
        return [numbers[place] for place in places]

    def _all_extractions(self) -> float:
        return sum(speed.seconds(self._count) for speed in self.rounds.speeds.values())

    def _extracted(self, numbers: Sequence[int]) -> list[Bank]:
        """Returns the whole banks of the finalists; none if the budget does not allow the first of them."""
        rounds, options = self.rounds, self.rounds.options
        speed = rounds.speeds.get(numbers[0])
        needed = speed.seconds(self._count - rounds.images[numbers[0]]) if speed else 0.0
        if needed > rounds.clock.left or rounds.clock.left <= 0:
            rounds.unfinished = rounds.unfinished or (
                f"the whole extraction with {rounds.candidates[numbers[0]].name} takes about {duration(needed)}, "
                "which the budget does not allow"
            )
            return []
        networks = [rounds.candidates[number].backbone for number in numbers]
        rounds.reporter.say(f"finals: {counted(self._count, 'image')}, {counted(len(networks), 'backbone')}")
        request = ExtractOptions(
            taps=[options.tap], engine=options.engine, precision=options.precision, batch_size=options.batch_size,
            wait=True,
        )  # fmt: skip
        done = run_extractions(
            self.dataset, networks, request, cache=rounds.cache, reporter=rounds.reporter, engines=rounds.engines
        )
        rounds.engines.keep_only(())  # heads need the memory
        return [one.bank for one in done]

    def _trained(self, banks: Sequence[Bank]) -> list[RunRecord]:
        """Returns the runs of the grid on all banks, which share what is left of a budget."""
        rounds, options = self.rounds, self.rounds.options
        if not banks:
            return []
        budget = None if options.budget is None else rounds.clock.left
        if budget is not None and budget <= 0:
            rounds.unfinished = rounds.unfinished or f"no head was trained on {banks[0].name}"
            return []
        grid = read_grid(options.grid)
        try:
            runs = train_on_banks(
                banks, grid, GridOptions(taps=[options.tap], budget=budget, metric=options.metric), rounds.reporter
            )
        except HeadError as error:
            if budget is None:
                raise
            rounds.unfinished = rounds.unfinished or str(error)
            return []
        trained = {run.bank_name for run in runs if not run.failure}
        for bank in banks:
            if bank.name not in trained:
                rounds.unfinished = rounds.unfinished or f"no head was trained on {bank.name}"
        return runs

    def _of_parts(self) -> WinnerInterval:
        """Returns the interval of the winner's leave-one-out accuracy in the last round."""
        found = self.rounds.evidence
        right = np.stack([one.right for one in found.values()])
        return share_winner(right, list(found).index(self.rounds.left[0]), self.rounds.groups)

    def _images(self, numbers: Sequence[int]) -> int:
        """Returns how many images went through a network."""
        return sum(self._count if number in numbers else count for number, count in enumerate(self.rounds.images))

    def _full_seconds(self, runs: Sequence[RunRecord], banks: Sequence[Bank]) -> float | None:
        """Estimates the time of a full search."""
        rounds = self.rounds
        if len(rounds.speeds) < len(rounds.candidates) or not runs:
            return None
        heads = sum(run.seconds for run in runs) / len(banks)
        return round(self._all_extractions() + heads * len(rounds.candidates), 1)


def corrected_interval(
    runs: Sequence[RunRecord], chosen: RunRecord, banks: Sequence[Bank], metric: Metric, reporter: Reporter
) -> WinnerInterval | None:
    """Returns the interval of a chosen run, corrected for the choice; None if the metric has none.

    Args:
        runs: all runs that it was chosen from, of one or several banks.
        chosen: the chosen run.
        banks: the banks of these runs.
        metric: what the runs are ranked by.
        reporter: shows the progress if predictions have to be made again.
    """
    firsts = [group.runs[0] for group in Ranking(runs, metric=metric).top()]
    position = next(place for place, run in enumerate(firsts) if run.key == chosen.key)
    groups = banks[0].groups("val")
    rights = [run.rights() for run in firsts]
    if metric.name == "accuracy" and all(right is not None for right in rights):
        return share_winner(np.stack([right for right in rights if right is not None]), position, groups)
    if metric.interval is None:
        return None
    candidates, firsts = len(firsts), firsts[: max(MOST_SCORED, position + 1)]
    by_name = {bank.name: bank for bank in banks}
    with reporter.track("predictions", len(firsts), "heads") as advance:
        scores = []
        for run in firsts:
            scores.append(_images(by_name[run.bank_name], run, metric, reporter))
            advance(1)
    if not np.isfinite([metric.of(images) for images in scores]).all():
        return None
    return replace(metric_winner(metric, scores, position, groups), candidates=candidates)


def _images(bank: Bank, run: RunRecord, metric: Metric, reporter: Reporter) -> ImageScores:
    """Returns the validation images as a run predicts them: as stored, or predicted once more."""
    stored = images_of_run(run, metric)
    if stored is not None and metric.can_score(stored):
        return stored
    return images_again(bank, run, load_fitted(bank, run, reporter=reporter), reporter)
