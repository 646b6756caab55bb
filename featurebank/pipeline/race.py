"""The race of a pipeline file: its winner takes the place of `extract.backbone`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from featurebank.backbone import Backbone, load_network
from featurebank.dataset import Dataset
from featurebank.errors import raise_all
from featurebank.extraction.cut_budget import is_budget
from featurebank.pipeline.config import Pipeline
from featurebank.racing import Race, RaceOptions, run_race
from featurebank.racing.candidates import load_candidates
from featurebank.racing.options import RaceLimits
from featurebank.system.progress import Reporter


def networks_of(pipeline: Pipeline) -> list[Backbone]:
    """Returns the networks that a pipeline may run: those of its race, or the one of `[extract]`.

    Raises:
        ConfigError: a network is unknown or occurs twice; the message has all problems.
    """
    if pipeline.race is None:
        return [load_network(pipeline.extract.backbone, pipeline.extract)]
    candidates, errors = load_candidates(pipeline.race.backbones, pipeline.extract)
    raise_all(errors)
    return [candidate.backbone for candidate in candidates]


def race_options(pipeline: Pipeline) -> RaceOptions:
    """Returns the options of `[race]`, with the tap, the engine and the grid of the other sections."""
    section, extract = pipeline.race, pipeline.extract
    assert section is not None
    taps = [tap for tap in extract.taps if not is_budget(tap)]
    return RaceOptions(
        **{one.name: getattr(section, one.name) for one in fields(RaceLimits)},
        tap="pooled" if "pooled" in taps or not taps else taps[0], grid=pipeline.heads.grid,
        metric=pipeline.heads.metric, engine=extract.engine, precision=extract.precision, batch_size=extract.batch_size,
    )  # fmt: skip


def race_winner(
    pipeline: Pipeline, dataset: Dataset, cache: Path | None, reporter: Reporter
) -> tuple[Race | None, Backbone]:
    """Returns the result of the race and the network that won; without a race, the network of `[extract]`."""
    if pipeline.race is None:
        return None, networks_of(pipeline)[0]
    found = run_race(
        dataset, pipeline.race.backbones, race_options(pipeline), pipeline.extract, cache=cache, reporter=reporter
    )
    reporter.say(found.verdict)
    candidates = load_candidates(pipeline.race.backbones, pipeline.extract)[0]
    return found, next(one.backbone for one in candidates if one.name == found.winner)
