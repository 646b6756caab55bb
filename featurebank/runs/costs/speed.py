"""Measures how many images a second the network of a bank handles on this machine, and remembers the result.

A measurement is a file in `CACHE/.speeds`. It holds for one bank's recipe, one tap, and one processor with one number
of threads, so that a cache that several machines share has the figures of each.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from featurebank.bank import Bank
from featurebank.errors import BankWarning, FeatureBankError, MissingDependencyError
from featurebank.extraction.estimate import measure_use
from featurebank.system import digest
from featurebank.system.progress import SILENT, Reporter
from featurebank.system.runtime import all_threads, processor
from featurebank.system.sealed_json import read_sealed, write_sealed
from featurebank.words import one_line

DIRECTORY = ".speeds"


def measured_speed(bank: Path, key: str, tap: str) -> float | None:
    """Returns the images a second that were measured on this machine; None if they were not.

    Args:
        bank: the directory of the bank.
        key: the digest of its recipe.
        tap: the tap.
    """
    try:
        return float(read_sealed(_file(bank, key, tap))["images_per_second"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def measure_speeds(pairs: Iterable[tuple[Bank, str]], reporter: Reporter = SILENT) -> None:
    """Measures the images a second of some taps of banks on this machine, again if they were measured before.

    A speed that cannot be measured, as after the images have gone, is a warning.

    Args:
        pairs: banks and their taps; repeated ones count once.
        reporter: shows which network is being measured.
    """
    for bank, tap in {(bank.path, tap): (bank, tap) for bank, tap in pairs}.values():
        if tap not in bank.taps:  # a joined one
            continue
        reporter.say(f"measuring {bank.name} up to {tap} for two seconds")
        try:
            rate = measure_use(bank, tap, reporter)
        except MissingDependencyError:
            raise
        except (FeatureBankError, OSError) as error:
            reporter.warn(f"the speed of '{bank.name}' is not measured: {one_line(error)}", BankWarning)
            continue
        value = {
            "images_per_second": round(rate, 3), "tap": tap, "bank": bank.name, "processor": processor(),
            "threads": all_threads(), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }  # fmt: skip
        with contextlib.suppress(OSError):  # a read-only cache: it is measured again next time
            write_sealed(_file(bank.path, bank.manifest.key, tap), value)


def _file(bank: Path, key: str, tap: str) -> Path:
    name = digest.of_recipe([key, tap, processor(), all_threads()])[:16]
    return bank.parent / DIRECTORY / f"{name}.json"
