"""A pipeline file -> the stages in order, each skipping what is up to date."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from featurebank.backbone import Backbone, load_backbone
from featurebank.bank import Bank
from featurebank.config import DatasetSection, ExtractSection, FinetuneSection, HeadsSection, Pipeline
from featurebank.dataset import Dataset, load_dataset
from featurebank.errors import BankIncompleteError, BankNotFoundError, ConfigError, FeatureBankError
from featurebank.extraction import Extraction, ExtractOptions, fingerprint_memory, locate, run_extraction
from featurebank.extraction.budget import is_budget, within_budget
from featurebank.extraction.estimate import missing_jobs, present_manifest
from featurebank.extraction.stage import check_request
from featurebank.finetuning import best_start, finetune
from featurebank.finetuning.options import read_options
from featurebank.grid import read_grid, train_heads
from featurebank.heads.runs import Run, load_runs
from featurebank.heads.standing import ranked
from featurebank.progress import SILENT, Reporter
from featurebank.selection import evaluate_test, select
from featurebank.variants import Variant

_Made = TypeVar("_Made")


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


@dataclass(frozen=True)
class VariantResult:
    """What one variant of a pipeline gave."""

    name: str
    result: PipelineResult
    seconds: float


def run_pipeline(pipeline: Pipeline, *, cache: Path | None = None, reporter: Reporter = SILENT) -> PipelineResult:
    """Runs the stages of a pipeline: extract, heads, finetune, select. What is up to date is not done again.

    Args:
        pipeline: from `read_pipeline`.
        cache: where banks lie; default `$FEATUREBANK_CACHE`, else `./cache`.
        reporter: where progress is shown.

    Raises:
        FeatureBankError: a stage failed; what the stages before it did is kept.
    """
    (found,) = run_variants([Variant("", pipeline)], cache=cache, reporter=reporter)
    return found.result


def run_variants(
    variants: Sequence[Variant], *, cache: Path | None = None, reporter: Reporter = SILENT
) -> Iterator[VariantResult]:
    """Runs pipelines one after another, each as `run_pipeline`, and yields what each gave as soon as it has ended.

    Args:
        variants: from `read_variants`.
        cache: see `run_pipeline`.
        reporter: is told which one begins, too.

    Raises:
        ConfigError: options, grids, datasets or networks of several variants are wrong; all is told before any starts.
        FeatureBankError: one of them is, or a stage failed; what was done before is kept.
    """
    for number, (variant, inputs) in enumerate(zip(variants, _inputs(variants), strict=True), 1):
        began = time.perf_counter()
        if variant.name:
            reporter.say(f"variant {variant.name} ({number} of {len(variants)})")
        try:
            result = _run(variant.pipeline, *inputs, cache, reporter)
        except FeatureBankError as error:
            if not variant.name:
                raise
            message = f"{_names([variant.name])}: {error}"
            raise type(error)(message) from error
        yield VariantResult(variant.name, result, time.perf_counter() - began)


def _run(
    pipeline: Pipeline, dataset: Dataset, backbone: Backbone, cache: Path | None, reporter: Reporter
) -> PipelineResult:
    if backbone.spec.note:
        reporter.say(backbone.spec.note)
    if backbone.spec.caution:
        reporter.warn(backbone.spec.caution)
    extraction = run_extraction(dataset, backbone, extract_options(pipeline), cache=cache, reporter=reporter)
    bank = extraction.bank
    wanted = pipeline.heads
    runs = train_heads(
        bank, wanted.grid, seeds=wanted.seeds, taps=_head_taps(pipeline), search=wanted.search, runs=wanted.runs,
        folds=wanted.folds, repeats=wanted.repeats, budget=wanted.budget, retry_failed=wanted.retry_failed,
        views=pipeline.extract.views, reporter=reporter,
    )  # fmt: skip
    tuned = None
    if pipeline.finetune:
        options = _finetune_options(pipeline.finetune)
        if options["run"] == "best":  # of this pipeline's heads, whatever else was trained on the bank
            options["run"] = best_start(bank, runs, reporter)
        tuned = finetune(bank=bank, reporter=reporter, **options)
        runs = ranked([*runs, tuned])
    chosen = select(runs)
    if pipeline.select.test:
        chosen = evaluate_test(bank, chosen, reporter=reporter)
        runs = [chosen if run.run == chosen.run else run for run in runs]
    return PipelineResult(extraction, runs, chosen, tuned)


def _head_taps(pipeline: Pipeline) -> list[str] | None:
    """Returns what heads are trained on that name no tap: by default one of this extraction, whatever the bank has.

    None, the bank's own default, where the extraction names none, but a budget alone.
    """
    taps = [tap for tap in pipeline.extract.taps if not is_budget(tap)]
    return pipeline.heads.taps or (["pooled" if "pooled" in taps else taps[0]] if taps else None)


def _finetune_options(section: FinetuneSection) -> dict[str, Any]:
    """Returns the arguments of `finetune`, and refuses wrong ones."""
    given = section.model_dump()
    start = given.pop("start")
    read_options(given)
    return {"run": start, **given}


def plan_variants(
    variants: Sequence[Variant], *, cache: Path | None = None, reporter: Reporter = SILENT
) -> list[dict[str, Any]]:  # fmt: skip
    """Returns for each pipeline what `run_variants` would do, without doing it.

    Returns:
        For "extract" its `bank`, `rows` (all images), `missing` (rows to compute; an image has one and one for each
        view), `bytes` (to be written, None where a
        tap's shape is not known without building the network) and `seconds` (from the speed of this backbone's last
        extraction here, None before the first); for "heads" the `runs` of the grid (heads, before seeds and folds), how
        they are judged and searched, and how many runs are `known`; for "finetune", if there is one,
        the run that it is `from`, and its `phases` as they were asked for.
    """
    inputs = _inputs(variants)
    return [_plan(variant.pipeline, *found, cache, reporter) for variant, found in zip(variants, inputs, strict=True)]


def _plan(
    pipeline: Pipeline, dataset: Dataset, backbone: Backbone, cache: Path | None, reporter: Reporter
) -> dict[str, Any]:
    options = extract_options(pipeline)
    check_request([backbone], options)
    dataset.fingerprint(memory=fingerprint_memory(cache))
    path = locate(dataset, backbone, options, cache)
    options = within_budget(dataset, backbone, options, path, reporter)
    wanted = dataset.distinct()
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
        section.augment, section.wait, section.precision, section.max_bad,
    )  # fmt: skip


def _inputs(variants: Sequence[Variant]) -> list[tuple[Dataset, Backbone]]:
    """Returns the dataset and the network of each variant; equal datasets are one.

    Raises:
        FeatureBankError: one of these, weights, a grid or an option of fine-tuning is wrong; of several all are told.
    """
    datasets: dict[str, Dataset] = {}
    wrong: list[tuple[str, FeatureBankError]] = []
    found = []
    for name, pipeline in ((variant.name, variant.pipeline) for variant in variants):
        dataset = _tried(wrong, name, partial(_dataset, pipeline.dataset, datasets))
        backbone = _tried(wrong, name, partial(_backbone, pipeline.extract))
        _tried(wrong, name, partial(read_grid, pipeline.heads.grid))
        if pipeline.finetune:
            _tried(wrong, name, partial(_finetune_options, pipeline.finetune))
        if dataset is not None and backbone is not None:
            found.append((dataset, backbone))
    if wrong:
        raise _told(wrong, len(variants))
    return found


def _tried(wrong: list[tuple[str, FeatureBankError]], name: str, make: Callable[[], _Made]) -> _Made | None:
    """Returns what is made; where that fails, notes why and for which variant."""
    try:
        return make()
    except FeatureBankError as error:
        wrong.append((name, error))
        return None


def _told(wrong: Sequence[tuple[str, FeatureBankError]], variants: int) -> FeatureBankError:
    """Returns one error for all that is wrong: each problem once, with its variants unless all of them have it."""
    names: dict[str, list[str]] = {}
    for name, error in wrong:
        names.setdefault(str(error), []).append(name)
    told = [text if len(of) == variants else f"{_names(of)}: {text}" for text, of in names.items()]
    kind = type(wrong[0][1]) if len(told) == 1 else ConfigError
    return kind("\n".join(told))


def _names(names: Sequence[str]) -> str:
    return f"variant{'s' if len(names) > 1 else ''} " + ", ".join(f"'{name}'" for name in names)


def _dataset(section: DatasetSection, known: dict[str, Dataset]) -> Dataset:
    key = section.model_dump_json()
    if key not in known:
        known[key] = load_dataset(
            section.name, split=section.split, seed=section.seed, classes=section.classes, limit=section.limit,
            per_class=section.per_class,
        )  # fmt: skip
    return known[key]


def _backbone(wanted: ExtractSection) -> Backbone:
    made = load_backbone(
        wanted.backbone, weights=wanted.weights, image_size=wanted.image_size, preprocessing=wanted.preprocessing,
        resize=wanted.resize,
    )  # fmt: skip
    _ = made.recipe  # its weights are looked for now, not after the variants before it
    return made


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
