"""The rounds of a race: parts that contain each other, until one candidate is left or larger parts cost too much."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featurebank.bank import Bank
from featurebank.dataset import Dataset
from featurebank.engine.store import EngineStore
from featurebank.extraction import ExtractOptions, run_extractions
from featurebank.grid.time_budget import Clock
from featurebank.racing.candidates import Candidate
from featurebank.racing.halving import distances, first_part, next_part, staying
from featurebank.racing.options import RaceOptions
from featurebank.racing.outcome import RoundScore
from featurebank.racing.parts import Parts
from featurebank.runs.costs.recorded import NetworkSpeed, recorded_speed
from featurebank.system.progress import Reporter
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.racing.evidence import PartEvidence


@dataclass
class RaceRounds:
    """Runs the rounds; afterwards, the attributes have what they found.

    Args:
        parts: the training images.
        candidates: the networks.
        options: the options of the race.
        clock: the time budget.
        cache: directory of the banks.
        reporter: receives the progress.
    """

    parts: Parts
    candidates: Sequence[Candidate]
    options: RaceOptions
    clock: Clock
    cache: Path
    reporter: Reporter
    engines: EngineStore
    """The engines of the candidates that stay."""
    show: Callable[[Sequence[RoundScore]], None]
    """Shows the scores of a round as soon as it has ended."""
    scores: list[list[RoundScore]] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    """The candidates that cannot be told apart from the best one, the best first."""
    evidence: dict[int, PartEvidence] = field(default_factory=dict)
    """The latest of each candidate that stays."""
    images: list[int] = field(init=False)
    """The largest part that each candidate was extracted on."""
    speeds: dict[int, NetworkSpeed] = field(default_factory=dict)
    groups: np.ndarray | None = None
    """(n,) the group of each image of the last part; None without groups."""
    unfinished: str = ""

    def __post_init__(self) -> None:
        self.images = [0] * len(self.candidates)
        self.left = list(range(len(self.candidates)))

    def run(self) -> None:
        """Runs all rounds."""
        for size in self._sizes():
            found = self._round(size)
            if found is None:
                return
            self.evidence = found
            self._decide(size)

    def _sizes(self) -> Iterator[int]:
        """Yields the sizes of the parts, each decided after the round before."""
        dataset = self.parts.dataset
        size: int | None = self.options.part or first_part(len(dataset), len(dataset.classes))
        allowed = self.options.share * len(dataset) * len(self.candidates)
        while size is not None:
            size = min(size, len(self.parts))
            yield size
            size = next_part(size, len(self.left), allowed - sum(self.images), len(self.parts))

    def _round(self, size: int) -> dict[int, PartEvidence] | None:
        """Extracts a part with the candidates that stay, and scores them; None if the budget ends before.

        The candidates share passes over the images, as many at a time as engines may be loaded.
        """
        part, found = self.parts.part(size), {}
        self.reporter.say(
            f"round {len(self.scores) + 1}: {counted(size, 'training image')}, {counted(len(self.left), 'backbone')}"
        )
        together = self.engines.most
        for first in range(0, len(self.left), together):
            numbers = self.left[first : first + together]
            speeds = [(number, self.speeds[number]) for number in numbers if number in self.speeds]
            needed = sum(speed.seconds(size - self.images[number]) for number, speed in speeds)
            if needed > self.clock.left or self.clock.left <= 0:
                self.unfinished = f"round {len(self.scores) + 1} was not finished"
                return None
            for number, bank in zip(numbers, self._extract(numbers, part), strict=True):
                found[number] = self._score(number, bank)
        return found

    def _extract(self, numbers: Sequence[int], part: Dataset) -> list[Bank]:
        """Extracts a part with some candidates in one pass, and learns their speeds; returns their banks."""
        options, networks = self.options, [self.candidates[number].backbone for number in numbers]
        request = ExtractOptions(
            taps=[options.tap], engine=options.engine, precision=options.precision, batch_size=options.batch_size,
            wait=True,
        )  # fmt: skip
        results = run_extractions(
            part, networks, request, cache=self.cache, reporter=self.reporter, engines=self.engines
        )
        for number, done in zip(numbers, results, strict=True):
            self.images[number] = max(self.images[number], done.rows)
            if speed := recorded_speed(done.bank.manifest.history):
                self.speeds[number] = speed
        return [done.bank for done in results]

    def _score(self, number: int, bank: Bank) -> PartEvidence:
        from featurebank.racing.evidence import evidence_of  # it imports scikit-learn

        with self.reporter.step(f"leave-one-out of {self.candidates[number].name}"):
            return evidence_of(*self._read(bank))

    def _read(self, bank: Bank) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        self.groups = bank.groups("train")
        return bank.features(self.options.tap, "train"), bank.labels("train"), self.groups

    def _decide(self, size: int) -> None:
        """Ranks the candidates, and drops those that the rule of halving drops."""
        numbers = list(self.evidence)
        losses = np.stack([self.evidence[number].losses for number in numbers])
        apart, stay = distances(losses, self.groups), staying(losses, self.groups)
        order = np.argsort(losses.mean(axis=1), kind="stable").tolist()
        self.scores.append([
            self._score_of(numbers[place], size, apart[place], place == order[0], place in stay) for place in order
        ])  # fmt: skip
        self.left = [numbers[place] for place in stay]
        self.engines.keep_only([self.candidates[number].backbone.digest for number in self.left])
        self.show(self.scores[-1])

    def _score_of(self, number: int, size: int, apart: float, best: bool, stays: bool) -> RoundScore:  # noqa: FBT001
        found, speed = self.evidence[number], self.speeds.get(number)
        return RoundScore(
            self.candidates[number].name, size, found.accuracy, found.loss, found.logme, float(apart),
            speed.images_per_second if speed else None, "best" if best else "stays" if stays else "leaves",
        )  # fmt: skip
