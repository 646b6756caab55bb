"""Runs the stages of a pipeline file in order; each stage skips what is up to date."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from featurebank.backbone import Backbone
from featurebank.backbone.network import FORMS
from featurebank.cluster.address import check_address
from featurebank.cluster.extraction import extract_banks
from featurebank.cluster.training.heads import run_grid
from featurebank.dataset import Dataset, load_images
from featurebank.errors import ConfigError, FeatureBankError
from featurebank.extraction import Extraction
from featurebank.extraction.cut_budget import is_budget
from featurebank.finetuning import best_start, run_finetune
from featurebank.fitting.spec import HeadSpec
from featurebank.grid import read_grid
from featurebank.heads.needs import MAPS_AT_A_CUT
from featurebank.metrics import ACCURACY, Metric, metric_of
from featurebank.pipeline.config import ONCE, DatasetSection, HeadsSection, Pipeline
from featurebank.pipeline.one_split import check_splits
from featurebank.pipeline.race import networks_of, race_winner
from featurebank.pipeline.variants import Variant
from featurebank.racing import Race
from featurebank.reporting.stage import WrittenReport, check_report_path
from featurebank.runs.predictions.scoring import scored
from featurebank.runs.ranking import best_of, ranked
from featurebank.runs.run import RunRecord
from featurebank.runs.selection import choose_run, open_test
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted

_Result = TypeVar("_Result")
_Images = TypeVar("_Images")
_Network = TypeVar("_Network")


@dataclass(frozen=True, repr=False)
class PipelineResult:
    """The results of the stages of a pipeline."""

    extraction: Extraction
    runs: list[RunRecord]
    """Best first."""
    chosen: RunRecord
    """The selected run, with its test metrics if the pipeline requests them."""
    finetuned: RunRecord | None = None
    """The fine-tuned run, if the pipeline has one; it is also in `runs`."""
    report: WrittenReport | None = None
    """The report, if the pipeline has one; variants share it."""
    race: Race | None = None
    """The race whose winner was extracted, if the pipeline has one."""
    metric: Metric = ACCURACY
    """What selected the run."""

    def __repr__(self) -> str:
        bank = self.extraction.bank.name
        return f"<PipelineResult: {counted(len(self.runs), 'run')} on {bank}, selected {self.chosen.title}>"


@dataclass(frozen=True)
class VariantResult:
    """The result of one variant of a pipeline."""

    name: str
    result: PipelineResult
    seconds: float


def run_all(
    variants: Sequence[Variant], *, cache: Path | None = None, reporter: Reporter = SILENT
) -> Iterator[VariantResult]:
    """Runs variants one after another, and yields the result of each; see `featurebank.run_variants`."""
    inputs_of = load_inputs(variants, load_dataset_of, _networks)
    for variant, (_, networks) in zip(variants, inputs_of, strict=True):
        for network in networks:
            check_trainable(variant, network)
    check_splits(variants, [dataset.name for dataset, _ in inputs_of], [networks for _, networks in inputs_of])
    for number, (variant, (dataset, _)) in enumerate(zip(variants, inputs_of, strict=True), 1):
        began = time.perf_counter()
        if variant.name:
            reporter.say(f"variant {variant.name} ({number} of {len(variants)})")
        try:
            test = variant.pipeline.select.test
            result = _run(
                variant.pipeline, dataset, cache, reporter, test=test is True or (test == ONCE and len(variants) == 1)
            )
        except FeatureBankError as error:
            if not variant.name:
                raise
            message = f"{_names([variant.name])}: {error}"
            raise type(error)(message) from error
        yield VariantResult(variant.name, result, time.perf_counter() - began)


def _run(pipeline: Pipeline, dataset: Dataset, cache: Path | None, reporter: Reporter, *, test: bool) -> PipelineResult:
    race, backbone = race_winner(pipeline, dataset, cache, reporter)
    (extraction,) = extract_banks(dataset, [backbone], pipeline.extract, cache=cache, reporter=reporter)
    bank = extraction.bank
    metric = metric_of(pipeline.metric, bank.classes)
    runs = run_grid(bank, pipeline.heads.grid, heads_options(pipeline), reporter)
    tuned = None
    if pipeline.finetune:
        start = pipeline.finetune.start  # "best": of this pipeline's heads, not of all heads of the bank
        begin = best_start(bank, runs, reporter, metric=metric) if start == "best" else start
        tuned = run_finetune(begin, pipeline.finetune, bank=bank, reporter=reporter)
        runs = [*runs, tuned]
    if pipeline.finetune or pipeline.select.metric:
        runs = ranked(scored(runs, metric, reporter), metric=metric)
    chosen = choose_run(runs, metric=metric)
    result = PipelineResult(extraction, runs, chosen, tuned, race=race, metric=metric)
    return _with_test_metrics(result, reporter) if test else result


def _with_test_metrics(result: PipelineResult, reporter: Reporter) -> PipelineResult:
    """Returns a result with the test metrics of its selected run."""
    chosen = open_test(result.extraction.bank, result.chosen, reporter=reporter)
    runs = [chosen if run.run == chosen.run else run for run in result.runs]
    return replace(result, runs=runs, chosen=chosen)


def open_test_once(
    variants: Sequence[Variant], results: Sequence[VariantResult], *, reporter: Reporter = SILENT
) -> list[VariantResult]:
    """Evaluates the best variant with `select.test` = "once" on the test split.

    Args:
        variants: the variants that were run.
        results: their results from `run_all`.
        reporter: receives a warning if these images were tested before.

    Returns:
        The results; that of the best variant by validation has test metrics.
    """
    once = [done for variant, done in zip(variants, results, strict=True) if variant.pipeline.select.test == ONCE]
    if not once:
        return list(results)
    by = {done.result.metric.name: done.result.metric for done in once}
    metric = next(iter(by.values())) if len(by) == 1 else ACCURACY  # variants that differ in it are ranked by this
    best = best_of(once, lambda done: done.result.chosen, metric=metric)
    reporter.say(f"variant {best.name} is the best by validation: its test images are opened now")
    tested = replace(best, result=_with_test_metrics(best.result, reporter))
    return [tested if done is best else done for done in results]


def heads_options(pipeline: Pipeline) -> HeadsSection:
    """Returns the options of the heads, by default on a tap and the views of this extraction, whatever the bank has.

    If the extraction only has a budget ("auto:2GB"), the tap is None, which means the bank's default.
    """
    taps = [tap for tap in pipeline.extract.taps if not is_budget(tap)]
    default = ["pooled" if "pooled" in taps else taps[0]] if taps else None
    views = pipeline.extract.views if pipeline.heads.views is None else pipeline.heads.views
    return replace(pipeline.heads, taps=pipeline.heads.taps or default, views=views)


def load_inputs(
    variants: Sequence[Variant],
    load_images: Callable[[DatasetSection, dict[DatasetSection, _Images]], _Images],
    load_network: Callable[[Pipeline], _Network],
) -> list[tuple[_Images, _Network]]:
    """Returns the images and the network of each variant; equal datasets are loaded once.

    Args:
        variants: from `variants_from_file`.
        load_images: loads the images of a section, and caches them in a dict for equal sections.
        load_network: loads the network of a pipeline, or those of its race.

    Raises:
        FeatureBankError: a dataset, network, weights file, grid, address of a cluster or path of a report is invalid;
            the message has all problems.
    """
    _check_test(variants)
    errors: list[tuple[str, FeatureBankError]] = []
    for variant in variants:
        if section := variant.pipeline.report:
            _attempt(errors, variant.name, partial(check_report_path, section.output, force=section.force, update=True))
    known: dict[DatasetSection, _Images] = {}
    inputs = []
    for name, pipeline in ((variant.name, variant.pipeline) for variant in variants):
        images = _attempt(errors, name, partial(load_images, pipeline.dataset, known))
        network = _attempt(errors, name, partial(load_network, pipeline))
        _attempt(errors, name, partial(read_grid, pipeline.heads.grid))
        if (classes := getattr(images, "classes", None)) is not None:
            for metric in dict.fromkeys((pipeline.heads.metric, pipeline.metric)):
                _attempt(errors, name, partial(metric_of, metric, list(classes)))
        for address in filter(None, dict.fromkeys((pipeline.extract.cluster, pipeline.heads.cluster))):
            _attempt(errors, name, partial(check_address, address))
        if images is not None and network is not None:
            inputs.append((images, network))
    if errors:
        raise _combined_error(errors, len(variants))
    return inputs


def check_trainable(variant: Variant, backbone: Backbone) -> None:
    """Raises ConfigError if a variant trains layers of a network that is not one of Keras, before anything is run."""
    pipeline = variant.pipeline
    kinds = {str(head["kind"]) for head in read_grid(pipeline.heads.grid)}
    cut = sorted(kind for kind in kinds if HeadSpec(kind, {}).head_kind.needs == MAPS_AT_A_CUT)
    what = [*(["the section [finetune]"] if pipeline.finetune else []), *(f"the head '{kind}'" for kind in cut)]
    if what and backbone.form != "keras":
        where = f"variant '{variant.name}': " if variant.name else ""
        message = (
            f"{where}{backbone.name} is a network of {FORMS[backbone.form]}, and only layers of Keras can be trained: "
            f"omit {' and '.join(what)}, or choose a network of Keras"
        )
        raise ConfigError(message)


def _check_test(variants: Sequence[Variant]) -> None:
    """Raises ConfigError if variants with `select.test` = "once" have different images."""
    once = [variant for variant in variants if variant.pipeline.select.test == ONCE]
    if len({variant.pipeline.dataset for variant in once}) > 1:
        message = (
            f"select.test is '{ONCE}' for variants with different [dataset] sections: expected one dataset, whose test "
            "images are opened for the best variant; give each variant select.test = true or false"
        )
        raise ConfigError(message)


def _attempt(errors: list[tuple[str, FeatureBankError]], name: str, make: Callable[[], _Result]) -> _Result | None:
    """Returns the result of `make`; if it fails, adds the error and the variant's name to `errors`."""
    try:
        return make()
    except FeatureBankError as error:
        errors.append((name, error))
        return None


def _combined_error(errors: Sequence[tuple[str, FeatureBankError]], variants: int) -> FeatureBankError:
    """Returns one error for all problems: each once, with the names of its variants unless all of them have it."""
    names: dict[str, list[str]] = {}
    for name, error in errors:
        names.setdefault(str(error), []).append(name)
    texts = [text if len(of) == variants else f"{_names(of)}: {text}" for text, of in names.items()]
    kind = type(errors[0][1]) if len(texts) == 1 else ConfigError
    return kind("\n".join(texts))


def _names(names: Sequence[str]) -> str:
    return f"variant{'s' if len(names) > 1 else ''} " + ", ".join(f"'{name}'" for name in names)


def load_dataset_of(section: DatasetSection, known: dict[DatasetSection, Dataset]) -> Dataset:
    """Loads the dataset of a section, or returns it from the cache `known`."""
    if section not in known:
        known[section] = load_images(section.name, section)
    return known[section]


def _networks(pipeline: Pipeline) -> list[Backbone]:
    networks = networks_of(pipeline)
    for network in networks:
        _ = network.recipe  # searches the weights now, not after earlier variants have run
    return networks
