"""The ledger of opened test images: which were looked at, when, and for which run.

A result on test images is honest once: whoever chooses between heads by such results gets one that is too good. So the
ledger belongs to the images and not to a bank, a split or a name: an image that was tested counts as opened when it
comes again beside new ones, in another split or under another name. It lies in the cache, `CACHE/.tested`: one small
file for each opening, and the images of each different test split once, 8 bytes an image.

Files are written whole and never changed, so that processes do not disturb each other, and an opening is recorded
before the first test image is looked at, so that a process that is killed does not forget it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.index import first_bits
from featurebank.errors import DiskFullError
from featurebank.runs.run import Run
from featurebank.system import digest
from featurebank.system.files import write_bytes
from featurebank.system.progress import SILENT, Reporter
from featurebank.system.sealed_json import read_sealed, write_sealed
from featurebank.words import counted

DIRECTORY = ".tested"
_NAMED = 3
"""How many runs a warning names."""


@dataclass(frozen=True)
class Opening:
    """One look at test images."""

    run: str
    """The id of the run that was tested."""
    head: str
    """Its specification in words."""
    bank: str
    """The bank's name."""
    time: str
    images: str
    """The name of the file that holds the images."""


@dataclass(frozen=True)
class Before:
    """What is known about earlier openings of some test images."""

    images: int
    """How many of them were opened before."""
    of: int
    """How many they are."""
    openings: tuple[Opening, ...] = ()
    """Those that looked at some of them, the oldest first."""
    unknown: tuple[str, ...] = field(default=())
    """Runs of earlier states of the bank that an earlier version tested, on images that nobody recorded."""

    @property
    def warning(self) -> str | None:
        """One line for the user; None where nothing was opened before."""
        told = [*self._told(), *self._told_unknown()]
        if not told:
            return None
        return (
            f"{'; '.join(told)}: results of a head that was chosen by its test result are too good; report those of "
            "the first"
        )

    def _told(self) -> Iterator[str]:
        if self.openings:
            share = "all" if self.images == self.of else f"{self.images} of"
            times = "once" if len(self.openings) == 1 else f"{len(self.openings)} times"
            names = _names(opening.run for opening in self.openings)
            last = max(opening.time for opening in self.openings)[:10]
            yield (
                f"{share} {counted(self.of, 'test image was', 'test images were')} opened {times} before, for "
                f"{names}, last on {last}"
            )

    def _told_unknown(self) -> Iterator[str]:
        if self.unknown:
            opened = counted(len(self.unknown), "earlier opening")
            yield f"{opened} of this bank's test split, for {_names(self.unknown)}, may have shown some of them"


def opened_before(bank: Bank, run: Run, known: Iterable[Run], stale: Iterable[Run], reporter: Reporter) -> Before:
    """Looks up who looked at a bank's test images before.

    Args:
        bank: the bank.
        run: for which they are opened now; an earlier opening for this very run does not count.
        known: the runs of the bank as it is now.
        stale: those of its older states.
        reporter: warned of entries of the ledger that are damaged.
    """
    mine = _words(bank)
    opened = np.zeros(len(mine), bool)
    found, recorded = [], set()
    for opening, images in _entries(bank.path.parent / DIRECTORY, reporter):
        recorded.add(opening.run)
        common = np.isin(mine, images, assume_unique=True)
        if opening.run != run.run and common.any():
            opened |= common
            found.append(opening)
    for other in known:  # of an earlier version, or tested while the ledger could not be written
        if other.tested and other.run not in recorded | {run.run}:
            opened[:] = True
            found.append(Opening(other.run, str(other.spec), bank.name, other.tested, ""))
    unknown = sorted(other.run for other in stale if other.tested and other.run not in recorded)
    found.sort(key=lambda opening: (opening.time, opening.run))
    return Before(int(opened.sum()), len(mine), tuple(found), tuple(unknown))


def record_opening(bank: Bank, run: Run, reporter: Reporter = SILENT) -> None:
    """Writes into the ledger that a bank's test images are opened for a run.

    Where the cache cannot be written, the user is warned, and the test goes on.

    Raises:
        DiskFullError: no space is left.
    """
    words = _words(bank).astype("<u8").tobytes()
    name = digest.of_bytes(words)
    directory = bank.path.parent / DIRECTORY
    entry = directory / f"{run.run}-{name[:16]}.json"
    if entry.is_file():
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
        reporter.warn(f"'{directory}' cannot be written ({error.strerror}): later tests will not know about this one")


def _entries(directory: Path, reporter: Reporter) -> Iterator[tuple[Opening, np.ndarray]]:
    """Yields each opening with the words of its images, (n,) uint64 sorted; a file is read once."""
    sets: dict[str, np.ndarray] = {}
    for path in sorted(directory.glob("*.json")):
        try:
            opening = Opening(**read_sealed(path))
            if opening.images not in sets:
                sets[opening.images] = _read_images(directory / Path(opening.images).name)
            yield opening, sets[opening.images]
        except (OSError, ValueError, TypeError) as error:
            reporter.warn(f"'{path}' is damaged ({error}): an opening of test images that it recorded is not known")


def _read_images(path: Path) -> np.ndarray:
    if not _is_whole(path):
        message = "the images are not those that were written"
        raise ValueError(message)
    return np.fromfile(path, "<u8")


def _is_whole(path: Path) -> bool:
    return path.is_file() and digest.of_file(path) == path.stem


def _words(bank: Bank) -> np.ndarray:
    """Returns the first 64 bits of the digests of a bank's test images, (n,) uint64, sorted, each once."""
    return np.unique(first_bits(bank.digests("test")))


def _names(runs: Iterable[str]) -> str:
    names = list(dict.fromkeys(runs))
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
