"""A pipeline file -> the stages in order, each skipping what is up to date."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone, load_backbone
from featurebank.bank import Bank
from featurebank.config import FinetuneSection, HeadsSection, Pipeline
from featurebank.dataset import Dataset, load_dataset
from featurebank.errors import BankIncompleteError, BankNotFoundError
from featurebank.extraction import Extraction, ExtractOptions, fingerprint_memory, locate, run_extraction
from featurebank.extraction.budget import within_budget
from featurebank.extraction.estimate import missing_jobs, present_manifest
from featurebank.extraction.stage import check_request
from featurebank.finetuning import finetune
from featurebank.finetuning.options import read_options
from featurebank.grid import read_grid, train_heads
from featurebank.heads.runs import Run, load_runs
from featurebank.heads.standing import ranked
from featurebank.progress import SILENT, Reporter
from featurebank.selection import evaluate_test, select


@dataclass(frozen=True)
class PipelineResult:
    """What the stages of a pipeline gave."""

    extraction: Extraction
    runs: list[Run]
    """Best first."""
    chosen: Run
    """With its test metrics, if the pipeline asks for them."""
    finetuned: Run | None = None
    """Where the pipeline fine-tunes; it is among the runs."""


def run_pipeline(pipeline: Pipeline, *, cache: Path | None = None, reporter: Reporter = SILENT) -> PipelineResult:
    """Runs the stages of a pipeline: extract, heads, finetune, select. What is up to date is not done again.

    Args:
        pipeline: from `read_pipeline`.
        cache: where banks lie; default `$FEATUREBANK_CACHE`, else `./cache`.
        reporter: where progress is shown.

    Raises:
        FeatureBankError: a stage failed; what the stages before it did is kept.
    """
    if pipeline.finetune:
        _finetune_options(pipeline.finetune)  # what is wrong there is told before anything starts
    dataset, backbone = _inputs(pipeline)
    if backbone.spec.note:
        reporter.say(backbone.spec.note)
    extraction = run_extraction(dataset, backbone, extract_options(pipeline), cache=cache, reporter=reporter)
    bank = extraction.bank
    wanted = pipeline.heads
    runs = train_heads(
        bank, wanted.grid, seeds=wanted.seeds, taps=wanted.taps, search=wanted.search, runs=wanted.runs,
        folds=wanted.folds, repeats=wanted.repeats, budget=wanted.budget, retry_failed=wanted.retry_failed,
        reporter=reporter,
    )  # fmt: skip
    tuned = None
    if pipeline.finetune:
        tuned = finetune(bank=bank, reporter=reporter, **_finetune_options(pipeline.finetune))
        runs = ranked([*runs, tuned])
    chosen = select(runs)
    if pipeline.select.test:
        chosen = evaluate_test(bank, chosen)
        runs = [chosen if run.run == chosen.run else run for run in runs]
    return PipelineResult(extraction, runs, chosen, tuned)


def _finetune_options(section: FinetuneSection) -> dict[str, Any]:
    """Returns the arguments of `finetune`, and refuses wrong ones."""
    given = section.model_dump()
    start = given.pop("start")
    read_options(given)
    return {"run": start, **given}


def plan_pipeline(pipeline: Pipeline, *, cache: Path | None = None, reporter: Reporter = SILENT) -> dict[str, Any]:
    """Returns what `run_pipeline` would do, without doing it.

    Returns:
        For "extract" its `bank`, `rows` (all images), `missing` (rows to compute; an image has one and one for each
        view), `bytes` (to be written, None where a
        tap's shape is not known without building the network) and `seconds` (from the speed of this backbone's last
        extraction here, None before the first); for "heads" the `runs` of the grid (heads, before seeds and folds), how
        they are judged and searched, and how many runs are `known`; for "finetune", if there is one,
        the run that it is `from`, and its `phases` as they were asked for.
    """
    dataset, backbone = _inputs(pipeline)
    options = extract_options(pipeline)
    check_request([backbone], options)
    dataset.fingerprint(memory=fingerprint_memory(cache))
    path = locate(dataset, backbone, options, cache)
    options = within_budget(dataset, backbone, options, path, reporter)
    wanted = np.unique(dataset.digests[dataset.digests != b""])
    manifest = present_manifest(path, backbone, options)
    missing = sum(len(digests) for _, digests in missing_jobs(path, manifest, options, wanted))
    last = manifest.last_extraction
    rate = last.get("computed", last["added"]) / last["seconds"] if last else None
    size = _row_bytes(backbone, pipeline)
    tuned = pipeline.finetune
    phases = (
        {"from": tuned.start, "phases": ["progressive"] if tuned.progressive else tuned.unfreeze} if tuned else None
    )
    return {
        "extract": {
            "bank": str(path), "rows": len(wanted), "missing": missing,
            "bytes": None if size is None else size * missing,
            "seconds": 0.0 if not missing else None if rate is None else missing / rate,
        },
        "heads": {**_planned_heads(pipeline.heads), "known": _known(path)},
        **({"finetune": phases} if phases else {}),
        "select": {"test": pipeline.select.test},
    }  # fmt: skip


def extract_options(pipeline: Pipeline) -> ExtractOptions:
    """Returns the options of a pipeline's extraction."""
    section = pipeline.extract
    return ExtractOptions(
        tuple(section.taps), section.engine, section.batch_size, section.store, section.on_bad_image, section.views,
        section.augment, section.wait, section.precision,
    )  # fmt: skip


def _inputs(pipeline: Pipeline) -> tuple[Dataset, Backbone]:
    section = pipeline.dataset
    dataset = load_dataset(
        section.name, split=section.split, seed=section.seed, classes=section.classes, limit=section.limit,
        per_class=section.per_class,
    )  # fmt: skip
    wanted = pipeline.extract
    backbone = load_backbone(
        wanted.backbone, weights=wanted.weights, image_size=wanted.image_size, preprocessing=wanted.preprocessing
    )
    return dataset, backbone


def _planned_heads(wanted: HeadsSection) -> dict[str, Any]:
    grid = read_grid(wanted.grid)
    count = sum(1 if "tap" in head else len(wanted.taps or [""]) for head in grid)
    return {
        "grid": wanted.grid, "runs": min(count, wanted.runs or count), "seeds": wanted.seeds, "search": wanted.search,
        "folds": wanted.folds, "repeats": wanted.repeats, "budget": wanted.budget,
    }  # fmt: skip


def _row_bytes(backbone: Backbone, pipeline: Pipeline) -> int | None:
    if pipeline.extract.taps != ["pooled"]:
        return None
    return backbone.spec.channels * (2 if pipeline.extract.store == "float16" else 4)


def _known(path: Path) -> int:
    try:
        return len(load_runs(Bank(path)))
    except (BankNotFoundError, BankIncompleteError):
        return 0
