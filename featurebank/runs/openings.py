"""A record of all uses of test images: which images, when, and for which run.

Only the first result on test images is unbiased: selecting heads by such results gives results that are too good. So
the record refers to images, not to a bank, a split or a name: a used image counts as used when it occurs again with new
images, in another split or under another name. The record is in the cache, in `CACHE/.tested`: one small file for each
use ("opening"), and the images of each distinct test split once, 8 bytes per image.

Files are written atomically and never changed, so that processes do not interfere, and an opening is recorded before
the first test image is read, so that it is recorded even if the process is killed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.index import first_bits
from featurebank.errors import BankWarning, DiskFullError
from featurebank.runs.run import RunRecord
from featurebank.system import digest
from featurebank.system.backing.directories import find, is_file
from featurebank.system.files import write_bytes
from featurebank.system.progress import SILENT, Reporter
from featurebank.system.sealed_json import read_sealed, write_sealed
from featurebank.words import counted

DIRECTORY = ".tested"
_NAMED = 3
"""Maximum number of runs that a warning names."""


@dataclass(frozen=True)
class Opening:
    """One use of test images."""

    run: str
    """The id of the run that was tested."""
    head: str
    """A description of its specification."""
    bank: str
    """The bank's name."""
    time: str
    images: str
    """The name of the file with the digests of the images."""


@dataclass(frozen=True)
class Before:
    """The known earlier openings of some test images."""

    images: int
    """The number of images that were opened before."""
    of: int
    """The number of all images."""
    openings: tuple[Opening, ...] = ()
    """The openings of any of the images, the oldest first."""
    unknown: tuple[str, ...] = field(default=())
    """Runs of earlier states of the bank that an earlier version tested without recording the images."""

    @property
    def warning(self) -> str | None:
        """One line for the user; None if no image was opened before."""
        parts = [*self._sentence(), *self._unknown_sentence()]
        if not parts:
            return None
        return (
            f"{'; '.join(parts)}: results of a head that was selected by its test result are too good; report those of "
            "the first"
        )

    def _sentence(self) -> Iterator[str]:
        if self.openings:
            share = "all" if self.images == self.of else f"{self.images} of"
            times = "once" if len(self.openings) == 1 else f"{len(self.openings)} times"
            names = _names(opening.run for opening in self.openings)
            last = max(opening.time for opening in self.openings)[:10]
            yield (
                f"{share} {counted(self.of, 'test image was', 'test images were')} opened {times} before, for "
                f"{names}, last on {last}"
            )

    def _unknown_sentence(self) -> Iterator[str]:
        if self.unknown:
            opened = counted(len(self.unknown), "earlier opening")
            yield f"{opened} of this bank's test split, for {_names(self.unknown)}, may have shown some of them"


def opened_before(
    bank: Bank, run: RunRecord, known: Iterable[RunRecord], stale: Iterable[RunRecord], reporter: Reporter
) -> Before:
    """Returns the earlier openings of a bank's test images.

    Args:
        bank: the bank.
        run: the run to test now; earlier openings for this run do not count.
        known: the runs of the bank in its current state.
        stale: the runs of its older states.
        reporter: receives warnings about damaged records.
    """
    mine = _words(bank)
    opened = np.zeros(len(mine), bool)
    openings, recorded = [], set()
    for opening, images in _entries(bank.path.parent / DIRECTORY, reporter):
        recorded.add(opening.run)
        common = np.isin(mine, images, assume_unique=True)
        if opening.run != run.run and common.any():
            opened |= common
            openings.append(opening)
    for other in known:  # tested by an earlier version, or while the record could not be written
        if other.tested and other.run not in recorded | {run.run}:
            opened[:] = True
            openings.append(Opening(other.run, str(other.spec), bank.name, other.tested, ""))
    unknown = sorted(other.run for other in stale if other.tested and other.run not in recorded)
    openings.sort(key=lambda opening: (opening.time, opening.run))
    return Before(int(opened.sum()), len(mine), tuple(openings), tuple(unknown))


def record_opening(bank: Bank, run: RunRecord, reporter: Reporter = SILENT) -> None:
    """Records that a bank's test images are opened for a run.

    If the cache is read-only, the user is warned, and the test continues.

    Raises:
        DiskFullError: no space is left.
    """
    words = _words(bank).astype("<u8").tobytes()
    name = digest.of_bytes(words)
    directory = bank.path.parent / DIRECTORY
    entry = directory / f"{run.run}-{name[:16]}.json"
    if is_file(entry):
        return
    opening = Opening(
        run.run, str(run.spec), bank.name, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), f"{name}.images"
    )
    try:
        if not _is_whole(directory / opening.images):
            write_bytes(directory / opening.images, words)
        write_sealed(entry, asdict(opening))
    except DiskFullError:
        raise
    except OSError as error:
        reporter.warn(
            f"'{directory}' cannot be written ({error.strerror}): later tests will not know about this one", BankWarning
        )


def _entries(directory: Path, reporter: Reporter) -> Iterator[tuple[Opening, np.ndarray]]:
    """Yields each opening with the digest prefixes of its images, (n,) uint64 sorted; each file is read once."""
    sets: dict[str, np.ndarray] = {}
    for path in find(directory, "*.json"):
        try:
            opening = Opening(**read_sealed(path))
            if opening.images not in sets:
                sets[opening.images] = _read_images(directory / Path(opening.images).name)
            yield opening, sets[opening.images]
        except (OSError, ValueError, TypeError) as error:
            reporter.warn(
                f"'{path}' is damaged ({error}): an opening of test images that it recorded is not known", BankWarning
            )


def _read_images(path: Path) -> np.ndarray:
    if not _is_whole(path):
        message = "the file with the images is missing or was changed"
        raise ValueError(message)
    return np.fromfile(path, "<u8")


def _is_whole(path: Path) -> bool:
    return is_file(path) and digest.of_file(path) == path.stem


def _words(bank: Bank) -> np.ndarray:
    """Returns the first 64 bits of the digests of a bank's test images, (n,) uint64, sorted and unique."""
    return np.unique(first_bits(bank.digests("test")))


def _names(runs: Iterable[str]) -> str:
    names = list(dict.fromkeys(runs))
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
