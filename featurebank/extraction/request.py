"""What all extractions begin with: the checks of a request, the digests of its images, and its warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.outline_files import check_taps, outline_of
from featurebank.bank.items import Items
from featurebank.dataset import Dataset
from featurebank.dataset.grouping.components import GROUP, GROUPS
from featurebank.dataset.weights import WEIGHT
from featurebank.engine.catalog import check_engine
from featurebank.errors import BackboneWarning, ConfigError, DatasetWarning
from featurebank.extraction.cut_budget import is_budget, named_taps, within_budget
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.places import bank_of_earlier_rule, fingerprint_memory, locate
from featurebank.extraction.state import read_state
from featurebank.system.progress import Reporter


def check_request(backbones: Sequence[Backbone], options: ExtractOptions, cache: Path) -> None:
    """Checks the request, as far as that is possible without building a network.

    Args:
        backbones: the networks.
        options: how to extract.
        cache: where the layers of networks are remembered.

    Raises:
        ConfigError: an option is wrong, the engine does not run such a network, or there are no or equal backbones.
        UnknownNameError: no layer has the name of a tap.
    """
    if not backbones:
        message = "no backbone was asked for: expected at least one"
        raise ConfigError(message)
    named = replace(options, taps=named_taps(options.taps))
    for backbone in backbones:
        named.check(backbone)
        check_engine(options.engine, backbone)
    digests = [backbone.digest for backbone in backbones]
    for backbone, own in zip(backbones, digests, strict=True):
        if digests.count(own) > 1:
            message = f"backbone '{backbone.name}' is requested twice: expected each backbone once"
            raise ConfigError(message)
    for backbone in backbones:
        check_taps(backbone, named.taps, cache)


def begin_request(
    dataset: Dataset, backbones: Sequence[Backbone], options: ExtractOptions, cache: Path, reporter: Reporter
) -> list[ExtractOptions]:
    """Checks a request, computes the digests of its images, and says what the user should know.

    Args:
        dataset: the images.
        backbones: the networks.
        options: how to extract.
        cache: the directory of the banks.
        reporter: receives the progress and the warnings.

    Returns:
        The options for each backbone, with a disk budget replaced by the cut point that fits it.

    Raises:
        ConfigError: an option is wrong, or no cut point fits the budget.
    """
    check_request(backbones, options, cache)
    describe_backbones(backbones, reporter)
    with reporter.track("read", len(dataset), "images") as advance:
        dataset.fingerprint(advance, fingerprint_memory(cache))
    for line in dataset.warnings():
        reporter.warn(line, DatasetWarning)
    requests = [_named(dataset, backbone, options, cache, reporter) for backbone in backbones]
    for backbone, request in zip(backbones, requests, strict=True):
        if earlier := bank_of_earlier_rule(dataset, backbone, request, cache):
            reporter.say(f"bank '{earlier}' holds these images with the earlier default; --resize crop continues it")
    return requests


def end_request(dataset: Dataset, backbones: Sequence[Backbone], cache: Path, reporter: Reporter) -> None:
    """Warns of images that lost much of their range, and stores the outlines of the built networks."""
    for levels in dict.fromkeys(backbone.levels for backbone in backbones):
        for line in dataset.depth_warnings(levels):
            reporter.warn(line, DatasetWarning)
    for backbone in backbones:
        if backbone.is_built:
            outline_of(backbone, cache)  # cached, so that a misspelt tap is reported before anything is built


def dataset_record(dataset: Dataset) -> dict[str, Any]:
    """Returns what the manifest of a bank records of its dataset."""
    record: dict[str, Any] = {
        "name": dataset.name, "spec": dataset.spec, "classes": list(dataset.classes),
        "fractions": list(dataset.fractions), "seed": dataset.seed, "subset": dict(dataset.subset),
        **({} if dataset.groups is None else {"groups": dataset.contents.group_rule}),
    }  # fmt: skip
    if dataset.weights is not None:
        record[WEIGHT] = dataset.contents.weight_column
    if dataset.groups is not None:
        record[GROUPS] = dataset.contents.group_rule
    return record


def dataset_items(dataset: Dataset, images: np.ndarray) -> Items:
    """Returns the entries of some images in the table of a bank; columns with a role are among the metadata.

    Args:
        dataset: the images.
        images: (m,) their rows in the dataset.
    """
    metadata = dict(dataset.metadata)
    if dataset.weights is not None:
        metadata[WEIGHT] = dataset.weights
    if dataset.groups is not None:
        metadata[GROUP] = dataset.groups
    return Items(dataset.ids, dataset.digests, dataset.labels, dataset.splits, metadata).select(images)


def describe_backbones(backbones: Sequence[Backbone], reporter: Reporter) -> None:
    """Says what a user should know about each network, and warns if its preprocessing is not the published one."""
    for backbone in backbones:
        if backbone.spec.note:
            reporter.say(backbone.spec.note)
        if backbone.spec.caution:
            reporter.warn(backbone.spec.caution, BackboneWarning)


def _named(
    dataset: Dataset, backbone: Backbone, options: ExtractOptions, cache: Path, reporter: Reporter
) -> ExtractOptions:
    """Returns the options, with a disk budget replaced by the cut point that fits it."""
    if not any(map(is_budget, options.taps)):
        return options
    state = read_state(locate(dataset, backbone, options, cache), options.recipe(backbone))
    return within_budget(len(dataset.distinct()), backbone, options, state, cache=cache, reporter=reporter)
