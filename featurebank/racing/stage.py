"""Stage: a dataset and several backbones -> the winner, its bank and its heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from featurebank.backbone import Backbone, BackboneOptions
from featurebank.dataset import Dataset
from featurebank.dataset.splits import VAL
from featurebank.engine.store import EngineStore
from featurebank.errors import DatasetError, FeatureBankError, raise_all
from featurebank.extraction import ExtractOptions, fingerprint_memory
from featurebank.extraction.request import check_request
from featurebank.grid import read_grid
from featurebank.grid.time_budget import Clock
from featurebank.metrics import metric_of
from featurebank.racing.candidates import Candidate, load_candidates
from featurebank.racing.finals import Finals
from featurebank.racing.halving import LEAST_PER_CLASS, first_part
from featurebank.racing.options import RaceOptions
from featurebank.racing.outcome import Race, RoundScore
from featurebank.racing.parts import Parts
from featurebank.racing.rounds import RaceRounds
from featurebank.storage.caches import cache_directory
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted


def run_race(
    dataset: Dataset,
    backbones: Sequence[str | Backbone],
    options: RaceOptions,
    network: BackboneOptions | None = None,
    *,
    cache: str | Path | None = None,
    reporter: Reporter = SILENT,
    show: Callable[[Sequence[RoundScore]], None] = lambda scores: None,
) -> Race:
    """Runs `featurebank.race`.

    Everything is kept in the cache: a stopped race continues where it stopped, and a second one computes nothing.

    Args:
        dataset: the images.
        backbones: networks, or texts for `candidates.parse_candidate`.
        options: how they race.
        network: what all backbones that are texts have in common.
        cache: directory of the banks.
        reporter: receives the progress.
        show: called with the scores of each round, best first.

    Raises:
        ConfigError, DatasetError: something is wrong with the request; the message has all problems, and nothing was
            started.
        HeadError: every head failed.

    Example:
        >>> backbones = ["my_networks:small@random:0", "my_networks:small@random:1"]
        >>> result = run_race(fb.load_dataset("photos"), backbones, RaceOptions(grid="quick", part=12))
        >>> len(result.rounds) >= 1, result.bank.name in {bank.name for bank in result.banks}
        (True, True)
    """
    clock, place = Clock(options.budget), cache_directory(cache)
    with reporter.track("read", len(dataset), "images") as advance:
        dataset.fingerprint(advance, fingerprint_memory(place))
    parts = Parts(dataset)
    candidates, errors = load_candidates(backbones, network or BackboneOptions())
    raise_all([*errors, *_wrong_options(dataset, candidates, options, place), *_too_small(dataset, parts, options)])
    with EngineStore() as store:
        rounds = RaceRounds(parts, candidates, options, clock, place, reporter, store, show)
        rounds.run()
        return Finals(dataset, rounds).race()


def _wrong_options(
    dataset: Dataset, candidates: Sequence[Candidate], options: RaceOptions, cache: Path
) -> list[FeatureBankError]:
    """Returns what is wrong with the options, for the dataset or for a candidate."""
    request = ExtractOptions(taps=[options.tap], engine=options.engine, precision=options.precision)
    checks: list[Callable[[], object]] = [
        lambda: metric_of(options.metric, dataset.classes),
        lambda: read_grid(options.grid),
        *(partial(check_request, [one.backbone], request, cache) for one in candidates),
    ]
    errors = []
    for check in checks:
        try:
            check()
        except FeatureBankError as error:
            errors.append(error)
    return errors


def _too_small(dataset: Dataset, parts: Parts, options: RaceOptions) -> list[FeatureBankError]:
    """Returns what makes a part of the dataset impossible."""
    size = options.part or first_part(len(dataset), len(dataset.classes))
    if size >= len(parts):
        message = (
            f"'{dataset.spec}' has {counted(len(parts), 'training image')}, and the first part would take {size} of "
            f"them: a race is for larger datasets; run 'featurebank extract' with every backbone, or set --part below "
            f"{len(parts)}"
        )
        return [DatasetError(message)]
    if parts.classes(size) < 2:  # noqa: PLR2004 - of one class, nothing can be left out and predicted
        message = (
            f"the first part, {counted(size, 'image')}, has images of a single class: set --part to "
            f"{LEAST_PER_CLASS * len(dataset.classes)} or more"
        )
        return [DatasetError(message)]
    if not (dataset.splits == VAL).any():
        message = f"'{dataset.spec}' has no validation image, by which the heads are chosen: set --split .7,.15,.15"
        return [DatasetError(message)]
    return []
