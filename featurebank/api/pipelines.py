"""Public functions that read and run pipeline files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from featurebank.api.display import Shown, showing
from featurebank.api.run import Run
from featurebank.pipeline import PipelineResult, VariantResult, run_all
from featurebank.pipeline.config import Pipeline, pipeline_from_file
from featurebank.pipeline.variants import Variant, variants_from_file
from featurebank.system.progress import Reporter

__all__ = ["read_pipeline", "read_variants", "run_pipeline", "run_variants"]


def read_pipeline(path: str | Path, overrides: Iterable[str] = ()) -> Pipeline:
    """Reads a pipeline file without variants.

    Args:
        path: the TOML file.
        overrides: texts "SECTION.KEY=VALUE", with the value in TOML syntax (a plain word needs no quotes).

    Raises:
        ConfigError: the file cannot be read, is invalid, or has variants; the message has every problem.
    """
    return pipeline_from_file(Path(path), overrides)


def read_variants(path: str | Path, overrides: Iterable[str] = (), only: Iterable[str] = ()) -> list[Variant]:
    """Reads a pipeline file, with or without variants.

    A `[[variant]]` has a `name` and any of the sections. Its keys override those of the file. `false` removes a section
    or key of the file: `finetune = false`, `dataset.classes = false`.

    Args:
        path: the TOML file.
        overrides: see `read_pipeline`. They change the sections of the file, which variants override;
            "VARIANT.SECTION.KEY=VALUE" changes a value of one variant.
        only: the names of the variants to read; empty for all.

    Returns:
        The variants in the order of the file; if it has none, one without a name.

    Raises:
        UnknownNameError: there is no variant of a name in `only`.
        ConfigError: the file cannot be read or is invalid; the message has every problem.
    """
    return variants_from_file(Path(path), overrides, only)


def run_pipeline(
    pipeline: Pipeline, *, cache: Path | None = None, progress: Shown = None, reporter: Reporter | None = None
) -> PipelineResult:
    """Runs the stages of a pipeline: extract, heads, finetune, select. Work that is up to date is skipped.

    Args:
        pipeline: from `read_pipeline`.
        cache: directory of the banks; default `$FEATUREBANK_CACHE`, or `./cache`.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Raises:
        FeatureBankError: a stage failed; the results of earlier stages are saved.
    """
    with showing(progress, reporter) as shown:
        (variant,) = run_all([Variant("", pipeline)], cache=cache, reporter=shown)
    return _public(variant).result


def run_variants(
    variants: Sequence[Variant], *, cache: Path | None = None, progress: Shown = None, reporter: Reporter | None = None
) -> Iterator[VariantResult]:
    """Runs variants one after another like `run_pipeline`, and yields the result of each as soon as it is finished.

    Args:
        variants: from `read_variants`.
        cache: see `run_pipeline`.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Raises:
        ConfigError: several variants have invalid options, grids, datasets or networks; raised before any starts.
        FeatureBankError: one variant is invalid, or a stage failed; earlier results are saved.
    """
    with showing(progress, reporter) as shown:
        yield from map(_public, run_all(variants, cache=cache, reporter=shown))


def _public(variant: VariantResult) -> VariantResult:
    """Returns a result whose runs are public ones."""
    result = variant.result
    runs = replace(
        result, runs=[*map(Run.of, result.runs)], chosen=Run.of(result.chosen),
        finetuned=result.finetuned and Run.of(result.finetuned),
    )  # fmt: skip
    return replace(variant, result=runs)
