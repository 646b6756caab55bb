"""Plans the stages of a pipeline file: rows, bytes and seconds, without a download and without running anything."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone, load_network
from featurebank.backbone.outline_files import outline_of
from featurebank.bank import Bank
from featurebank.bank.manifest import load_manifest
from featurebank.dataset import Dataset, DatasetInfo, announced_dataset
from featurebank.errors import BankIncompleteError, BankNotFoundError
from featurebank.extraction import ExtractOptions, fingerprint_memory
from featurebank.extraction.estimate import measure_speed
from featurebank.extraction.plan import BankPlan, Planner
from featurebank.extraction.request import check_request
from featurebank.grid import read_grid
from featurebank.pipeline.config import DatasetSection, HeadsSection, Pipeline
from featurebank.pipeline.one_split import check_splits
from featurebank.pipeline.race import networks_of
from featurebank.pipeline.stage import check_trainable, load_dataset_of, load_inputs
from featurebank.pipeline.variants import Variant
from featurebank.pipeline.work import TrainingTime
from featurebank.runs.run import load_runs
from featurebank.storage.caches import cache_directory, shown_path
from featurebank.system import digest
from featurebank.system.progress import SILENT, Reporter


def plan_variants(
    variants: Sequence[Variant], *, cache: Path | None = None, measure: bool = False, reporter: Reporter = SILENT
) -> list[dict[str, Any]]:
    """Returns for each pipeline what `run_all` would do, without doing it and without a download.

    Rows that an earlier variant makes in the same bank are not counted again.

    Args:
        variants: from `variants_from_file`.
        cache: directory of the banks; default `$FEATUREBANK_CACHE`, else `./cache`.
        measure: also run each network for two seconds, with random weights where its own are not here yet, to estimate
            the seconds of extraction and the longest time that tails and fine-tunes can take.
        reporter: receives the progress.

    Returns:
        For each variant, a dict:
            "downloads": what a run would download first.
            "extract": `bank` (None if the weights or the images are not here yet), `rows` (all images), `missing` (rows
                to compute: one for each image and view), `at_most` (True if there may be fewer, because the section
                asks for a part of a dataset that is not here yet), `shared` (True if earlier variants compute all of
                them), `bytes` to write (without `measure`, None unless the tap is `pooled`), and `seconds` (measured,
                or from the speed of this backbone's last extraction here; otherwise None).
            "race", if there is one: the `backbones`; "extract" is about the first of them, as if it won.
            "heads": `runs` of the grid (heads, before seeds and folds), their evaluation and search, the number of
                `known` runs, and `tail_seconds`, an upper bound for all epochs of the tails.
            "finetune", if there is one: the run that it starts `from`, the requested `phases`, and `seconds`, an upper
                bound.
            "report", if there is one: its `output`.
            Values that were not measured are None.
    """
    inputs = load_inputs(variants, _dataset, _backbone)
    for variant, (_, network) in zip(variants, inputs, strict=True):
        check_trainable(variant, network.backbone)
    check_splits(variants, [images.name for images, _ in inputs], [[network.backbone] for _, network in inputs])
    planner = _VariantPlanner(cache_directory(cache), measure=measure, reporter=reporter)
    return [planner.plan(variant.pipeline, *loaded) for variant, loaded in zip(variants, inputs, strict=True)]


@dataclass(frozen=True)
class _Images:
    """The images of a variant, as far as they are known without a download."""

    name: str
    dataset: Dataset | None
    count: int | None
    """How many distinct ones; None where that is not known."""
    download: str = ""
    at_most: bool = False
    """Whether there may be fewer, because the section asks for a part of a dataset that is not here yet."""

    def digests(self) -> np.ndarray:
        """Returns the digests of the distinct images, sorted; made-up ones where the images are not here yet."""
        if self.dataset is not None:
            return self.dataset.distinct()
        name = digest.of_recipe({"download": self.download})[:16]
        return np.array([f"{number:016x}{name}" for number in range(self.count or 0)], "S32")


def _dataset(section: DatasetSection, known: dict[DatasetSection, _Images]) -> _Images:
    if section not in known:
        info = announced_dataset(section.name)
        dataset = load_dataset_of(section, {}) if info is None else None
        download = f"dataset {info.name} ({info.where})" if info else ""
        name = dataset.name if dataset else section.name
        known[section] = _Images(name, dataset, _announced_images(info, section), download, _is_part(section))
    return known[section]


def _announced_images(info: DatasetInfo | None, section: DatasetSection) -> int | None:
    """Returns the most images that a section can have of a dataset that is not here yet."""
    if info is None or info.images is None:
        return None
    return min(info.images, section.limit or info.images)


def _is_part(section: DatasetSection) -> bool:
    return section.classes is not None or section.per_class is not None


@dataclass(frozen=True)
class _Network:
    """The network of a variant, or the first of its race; with random weights if a run would download its own."""

    backbone: Backbone
    downloads: tuple[str, ...] = ()
    """The weights that a run would download, of all networks."""


def _backbone(pipeline: Pipeline) -> _Network:
    networks = networks_of(pipeline)
    missing = [network for network in networks if network.must_download]
    downloads = tuple(f"weights of {one.name} ({one.spec.weights_file()})" for one in missing)
    for network in networks:
        if network not in missing:
            _ = network.recipe  # a wrong weights file is reported now
    if networks[0] not in missing:
        return _Network(networks[0], downloads)
    return _Network(load_network(networks[0].name, replace(pipeline.extract, weights="random:0")), downloads)


class _VariantPlanner:
    """Plans the variants of one file, one after another.

    Args:
        cache: directory of the banks.
        measure: whether networks are run.
        reporter: receives the progress.
    """

    def __init__(self, cache: Path, *, measure: bool, reporter: Reporter) -> None:
        self._cache, self._measure, self._reporter = cache, measure, reporter
        self._planner = Planner(cache, reporter)
        self._rates: dict[str, float] = {}

    def plan(self, pipeline: Pipeline, images: _Images, network: _Network) -> dict[str, Any]:
        """Returns the plan of one variant."""
        options, backbone = pipeline.extract, network.backbone
        check_request([backbone], options, self._cache)
        downloads = [text for text in (images.download, *network.downloads) if text]
        if images.dataset is not None:
            images.dataset.fingerprint(memory=fingerprint_memory(self._cache))
            images = replace(images, count=len(images.dataset.distinct()))
        plan = None
        if images.count is not None:
            (plan,) = self._planner.plan(images.name, images.digests(), [backbone], options, downloads=downloads)
        path = plan.path if plan and not downloads else None
        extract = self._extract(images, backbone, plan)
        rate = self._rate(backbone, options, path, extract["missing"])
        extract["seconds"] = 0.0 if extract["missing"] == 0 else _divided(extract["missing"], rate)
        heads = {**_planned_heads(pipeline.heads), "known": _known(path) if path else 0}
        time = TrainingTime(backbone, _training_images(pipeline, images), rate) if self._measure and rate else None
        tuned = pipeline.finetune
        return {
            "downloads": downloads,
            **({"race": {"backbones": list(pipeline.race.backbones)}} if pipeline.race else {}),
            "extract": {
                "bank": shown_path(path) if path else None, **extract,
                "at_most": images.dataset is None and images.at_most,
            },
            "heads": {**heads, "tail_seconds": time.of_grid(pipeline.heads) if time else None},
            **({"finetune": {
                "from": tuned.start, "phases": ["progressive"] if tuned.progressive else list(tuned.unfreeze),
                "seconds": time.of_finetune(tuned) if time else None,
            }} if tuned else {}),
            "select": {"metric": pipeline.metric, "test": pipeline.select.test},
            **({"report": {"output": pipeline.report.output}} if pipeline.report else {}),
        }  # fmt: skip

    def _extract(self, images: _Images, backbone: Backbone, plan: BankPlan | None) -> dict[str, Any]:
        """Returns the images, the rows that are missing and their bytes."""
        if plan is None:
            return {"rows": None, "missing": None, "bytes": None, "shared": False}
        outline = outline_of(backbone, self._cache) if self._measure else None
        known = outline or all(tap == "pooled" for job in plan.jobs for tap in job.taps)
        shape = outline.tap_shape if outline else lambda _: (backbone.spec.channels,)
        return {
            "rows": images.count,
            "missing": plan.rows,
            "bytes": plan.bytes(shape) if known else None,
            "shared": plan.follows and not plan.jobs,
        }

    def _rate(
        self, backbone: Backbone, options: ExtractOptions, path: Path | None, missing: int | None
    ) -> float | None:
        """Returns images a second: of the last extraction, or measured if requested."""
        if last := _last_extraction(path):
            return float(last.get("computed", last["added"]) / last["seconds"])
        if not self._measure:
            return None
        key = f"{backbone.digest} {options.precision} {options.engine}"
        if key not in self._rates:
            self._reporter.say(f"measuring {backbone.name} for two seconds")
            self._rates[key] = measure_speed(backbone, options, self._cache, self._reporter)
        return self._rates[key]


def _last_extraction(path: Path | None) -> Mapping[str, Any] | None:
    with contextlib.suppress(BankNotFoundError):
        return load_manifest(path).last_extraction if path else None
    return None


def _divided(count: int | None, rate: float | None) -> float | None:
    return None if count is None or rate is None else count / rate


def _training_images(pipeline: Pipeline, images: _Images) -> int:
    """Returns the number of training images; an estimate if their splits are not known yet."""
    if images.dataset is not None:
        return int((images.dataset.splits == 0).sum())
    fractions = pipeline.dataset.split or [0.7]
    return round((images.count or 0) * fractions[0])


def _planned_heads(section: HeadsSection) -> dict[str, Any]:
    grid = read_grid(section.grid)
    count = sum(1 if "tap" in head else len(section.taps or [""]) for head in grid)
    return {
        "grid": section.grid, "runs": min(count, section.runs or count), "seeds": len(section.seed_list()),
        "search": section.search, "folds": section.folds, "repeats": section.repeats, "budget": section.budget,
    }  # fmt: skip


def _known(path: Path) -> int:
    try:
        return len(load_runs(Bank(path)))
    except (BankNotFoundError, BankIncompleteError):
        return 0
