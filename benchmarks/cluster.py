"""How much of the speed is left if two processes on a cluster do what one process does with all threads?

An extraction from JPEG files (`--photos DIR`, else made ones of 500 x 375), once in one process with N threads, and
once with `--cluster local:N`, whose workers have one thread each. Both begin with the converted network in the cache,
and the banks have to be equal, byte for byte. The first table has whole runs; the second one leaves out what happens
once, however many images there are: processes that start, networks that are loaded, and the checks of the workers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.harness import Contest, conditions, report
from benchmarks.pictures import photo_folder
from featurebank import load_backbone, load_dataset
from featurebank.cluster.extraction import extract_banks
from featurebank.extraction import Extraction, ExtractOptions, run_extraction
from featurebank.system.progress import Advance, Reporter
from featurebank.system.runtime import threads

_IMAGES = 6000
_QUICK_IMAGES = 128


@dataclass
class Start(Reporter):
    """Notes when the first image could be computed."""

    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0

    def track(self, what: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Shows nothing."""
        if what == "extract":
            self.seconds = time.perf_counter() - self.began
        return contextlib.nullcontext(lambda count: None)


def run(rounds: int, *, quick: bool, output: Path, photos: Path | None = None) -> None:
    """Runs the benchmark."""
    images, workers = (_QUICK_IMAGES if quick else _IMAGES), threads()
    alone, spread = f"one process, {workers} threads", f"local:{workers}, one thread each"
    contests = [Contest(f"{images} JPEG files to features, {part}", images, "images", alone) for part in _PARTS]
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        folder = photo_folder(place / "photos", images, photos)
        about = {**conditions(), "backbone": "efficientnet_lite0", "workers": workers}
        load_dataset(str(folder)).fingerprint(lambda count: None)
        _extract(folder, place / "warm", None)  # converts the network
        shares, loads = [], []
        for _ in range(rounds):
            results = {}
            for name, cluster in ((alone, None), (spread, f"local:{workers}")):
                shutil.rmtree(place / "cache", ignore_errors=True)
                shutil.copytree(place / "warm" / ".engines", place / "cache" / ".engines")
                loads.append(os.getloadavg()[0])
                result, start = _extract(folder, place / "cache", cluster)
                results[name] = result.bank.features("pooled").tobytes()
                for contest, seconds in zip(contests, (result.seconds, result.seconds - start), strict=True):
                    contest.seconds.setdefault(name, []).append(seconds)
                if cluster:
                    shares.append(start / result.seconds)
                    about["engine"] = result.engine
            assert results[alone] == results[spread], "the banks differ"
        contests[0].notes[spread] = f"{max(shares):.0%} of it is starting, at most"
    about["load"] = f"{min(loads):.1f} to {max(loads):.1f}"
    report(contests, about, output, {"rounds": rounds, "photos": str(photos) if photos else "made", "starts": shares})


_PARTS = ("whole runs", "without starting")


def _extract(folder: Path, cache: Path, cluster: str | None) -> tuple[Extraction, float]:
    """Returns the extraction, and the seconds until the first image could be computed."""
    dataset, network, options = load_dataset(str(folder)), load_backbone("efficientnet_lite0"), ExtractOptions()
    dataset.fingerprint(lambda count: None)
    start: Any = Start()
    if cluster is None:
        result = run_extraction(dataset, network, options, cache=cache, reporter=start)
        return result, result.busy["load"] * result.seconds
    (result,) = extract_banks(dataset, [network], replace(options, cluster=cluster), cache=cache, reporter=start)
    return result, start.seconds
