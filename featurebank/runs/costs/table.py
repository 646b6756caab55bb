"""The costs of the runs of a leaderboard, from the manifests of their banks; no feature is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank.comparison.labels import bank_labels
from featurebank.bank.manifest import Manifest, load_manifest
from featurebank.errors import BankError
from featurebank.runs.costs.recorded import (
    computed_images,
    has_own_seconds,
    is_extraction,
    networks_of,
    recorded_speed,
)
from featurebank.runs.costs.speed import measured_speed
from featurebank.runs.run import RunRecord
from featurebank.words import counted

HERE, EXTRACTION = "measured here", "extraction"
"""Where images a second come from: measured on this machine, or from the record of the extraction."""


@dataclass(frozen=True)
class Cost:
    """What a run's features cost, for one image. None is unknown."""

    seconds_per_image: float | None = None
    """Of the extractions of the bank, from its history: all taps of the bank together."""
    bytes_per_image: int | None = None
    """Of the tap on disk, without augmented views; of a joined tap, of all its parts."""
    images_per_second: float | None = None
    """Measured: from files to the features that the head takes. Recorded: of the network alone."""
    images_per_second_from: str | None = None
    """`HERE` or `EXTRACTION`; the same for all runs of a table."""

    def summary(self) -> dict[str, Any]:
        """Returns the costs as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class _Record:
    """What the history of a bank says about its extractions."""

    seconds: float | None = None
    """Of one image."""
    rate: float | None = None
    """Images a second of the network; see `recorded_speed`."""
    is_own: bool = False
    """Whether the seconds of the network itself are recorded, so that it does not matter which others ran beside it."""
    passes: frozenset[tuple[str, float]] = frozenset()
    """The time and the seconds of each pass over the images; equal ones are of one pass with several networks."""
    networks: int = 1
    """The largest number of networks of a pass."""
    machines: frozenset[str] = frozenset()
    """Processors with their numbers of threads; "" is one that is not recorded."""

    @classmethod
    def of(cls, manifest: Manifest) -> _Record:
        events = [event for event in manifest.history if is_extraction(event)]
        if not events:
            return cls()
        speed, seconds = recorded_speed(events), sum(float(event["seconds"]) for event in events)
        return cls(
            seconds / sum(map(computed_images, events)), speed.images_per_second if speed else None,
            all(map(has_own_seconds, events)),
            frozenset((str(event.get("time")), float(event["seconds"])) for event in events),
            max(map(networks_of, events)), frozenset(map(_machine, events)),
        )  # fmt: skip


class CostTable:
    """The banks of some runs, with what the features of each run cost.

    Args:
        runs: the runs. A bank that cannot be read has unknown costs.
    """

    def __init__(self, runs: Iterable[RunRecord]) -> None:
        runs = list(runs)
        self._manifests = dict(_manifests({run.directory for run in runs}))
        self._parts: dict[Path, Manifest] = {}
        self._records = {path: _Record.of(manifest) for path, manifest in self._manifests.items()}
        labels = bank_labels(self._manifests)
        self.labels = {run.directory: labels.get(run.directory, run.bank_name) for run in runs}
        """A short name of each bank by its directory: what differs between the banks."""
        pairs = {(run.directory, run.tap) for run in runs if self._can_be_measured(run)}
        speeds = {(path, tap): measured_speed(path, self._manifests[path].key, tap) for path, tap in pairs}
        self.is_measured = bool(speeds) and None not in speeds.values()
        """Whether the images a second were measured on this machine, for all runs whose speed can be measured."""
        self._speeds = speeds if self.is_measured else {}

    @property
    def has_several_banks(self) -> bool:
        """Whether the runs are of several banks."""
        return len(self.labels) > 1

    def of(self, run: RunRecord) -> Cost:
        """Returns the costs of a run."""
        manifest = self._manifests.get(run.directory)
        if manifest is None:
            return Cost()
        if run.joined is not None:  # what its networks take together is not known
            return Cost(bytes_per_image=self._joined_bytes(run))
        record = self._records[run.directory]
        rate = self._speeds.get((run.directory, run.tap)) if self.is_measured else self._recorded_rate(run.directory)
        source = None if rate is None else HERE if self.is_measured else EXTRACTION
        return Cost(_rounded(record.seconds), _tap_bytes(manifest, run.tap), _rounded(rate), source)

    def remarks(self) -> list[str]:
        """Returns what has to be known to read the costs of several banks, one line each."""
        shared = [path for path in self._records if self._is_shared(path)]
        machines = {name for path in self._records for name in self._records[path].machines}
        lines = []
        if shared:
            lines.append(
                f"s/image of {counted(len(shared), 'bank')}: of a pass of several networks, all of them together"
            )
        if self.is_measured:
            return [*lines, "images/s: measured on this machine, from image files to the features of the tap"]
        if any(self._recorded_rate(path) is not None for path in self._records):
            unlike = ", on machines that differ or are not known" if len(machines) > 1 or "" in machines else ""
            lines.append(f"images/s: recorded by the extraction of each bank, with all of its taps{unlike}")
        return [*lines, "'featurebank leaderboard --measure' measures images/s of each tap on this machine"]

    def _can_be_measured(self, run: RunRecord) -> bool:
        """Returns whether `measure_speeds` handles a run: its bank has the tap, which is no joined one."""
        manifest = self._manifests.get(run.directory)
        return manifest is not None and run.joined is None and _tap_bytes(manifest, run.tap) is not None

    def _joined_bytes(self, run: RunRecord) -> int | None:
        """Returns the sum of the parts of a joined tap; columns are in the table of images and take nothing here.

        None if a part is in a bank that is no longer beside that of the run, or is no longer the same.
        """
        total = 0
        for part in (run.joined or {}).get("parts", ()):
            path = run.directory.parent / part["bank"] if "bank" in part else run.directory
            if path not in self._manifests:
                self._parts.update(_manifests({path}))
            manifest = self._manifests.get(path) or self._parts.get(path)
            same = manifest is not None and manifest.key == part.get("key", manifest.key)
            size = _tap_bytes(manifest, part["tap"]) if manifest is not None and same else None
            if size is None:
                return None
            total += size
        return total

    def _recorded_rate(self, path: Path) -> float | None:
        record = self._records[path]
        return record.rate if record.is_own or not self._is_shared(path) else None

    def _is_shared(self, path: Path) -> bool:
        """Returns whether several networks shared a pass: recorded, or to be seen from a pass of another bank."""
        record = self._records[path]
        others = (other for place, other in self._records.items() if place != path)
        return record.networks > 1 or any(record.passes & other.passes for other in others)


def _manifests(directories: Iterable[Path]) -> Iterator[tuple[Path, Manifest]]:
    for path in sorted(directories):
        try:
            yield path, load_manifest(path)
        except (BankError, OSError):  # the bank is gone; its runs are still in memory
            continue


def _tap_bytes(manifest: Manifest, tap: str) -> int | None:
    stored = next((shard.taps[tap] for shard in manifest.shards if tap in shard.taps), None)
    return None if stored is None else int(np.prod(stored.shape)) * np.dtype(stored.dtype).itemsize


def _machine(event: Mapping[str, Any]) -> str:
    processor = event.get("processor")
    return f"{processor}, {event.get('threads')} threads" if isinstance(processor, str) and processor else ""


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
