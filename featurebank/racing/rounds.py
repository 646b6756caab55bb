"""The rounds of a race: parts that contain each other, until one candidate is left or larger parts cost too much."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featurebank.bank import Bank
from featurebank.dataset import Dataset
from featurebank.engine.store import EngineStore
from featurebank.extraction import ExtractOptions, run_extraction
from featurebank.grid.time_budget import Clock
from featurebank.racing.candidates import Candidate
from featurebank.racing.halving import distances, first_part, next_part, staying
from featurebank.racing.options import RaceOptions
from featurebank.racing.outcome import RoundScore
from featurebank.racing.parts import Parts
from featurebank.racing.speed import NetworkSpeed, recorded_speed
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
        """Extracts a part with the candidates that stay, and scores them; None if the budget ends before."""
        part, found = self.parts.part(size), {}
        self.reporter.say(
            f"round {len(self.scores) + 1}: {counted(size, 'training image')}, {counted(len(self.left), 'backbone')}"
        )
        for number in self.left:
            speed = self.speeds.get(number)
            needed = speed.seconds(size - self.images[number]) if speed else 0.0
            if needed > self.clock.left or self.clock.left <= 0:
                self.unfinished = f"round {len(self.scores) + 1} was not finished"
                return None
            found[number] = self._score(number, part)
        return found

    def _score(self, number: int, part: Dataset) -> PartEvidence:
        candidate, options = self.candidates[number], self.options
        request = ExtractOptions(
            taps=[options.tap], engine=options.engine, precision=options.precision, batch_size=options.batch_size,
            wait=True,
        )  # fmt: skip
        done = run_extraction(
            part, candidate.backbone, request, cache=self.cache, reporter=self.reporter, engines=self.engines
        )
        self.images[number] = max(self.images[number], done.rows)
        if speed := recorded_speed(done.bank.path):
            before = self.speeds.get(number, speed)  # it says how long loading takes: later, the engine is there
            self.speeds[number] = replace(speed, load_seconds=max(speed.load_seconds, before.load_seconds))
        from featurebank.racing.evidence import evidence_of  # it imports scikit-learn

        with self.reporter.step(f"leave-one-out of {candidate.name}"):
            return evidence_of(*self._read(done.bank))

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
