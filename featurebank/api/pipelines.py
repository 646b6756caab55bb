"""Public functions that read and run pipeline files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeAlias

from featurebank.api.arguments.checks import Accepts, checked
from featurebank.api.arguments.data import PathLike, Texts, as_cache, as_path, as_texts
from featurebank.api.display import Shown, showing
from featurebank.api.run import Run
from featurebank.pipeline import PipelineResult, VariantResult, run_all, write_reports
from featurebank.pipeline.config import Pipeline, pipeline_from_file
from featurebank.pipeline.variants import Variant, variants_from_file
from featurebank.system.progress import Reporter

__all__ = ["read_pipeline", "read_variants", "run_pipeline", "run_variants"]


def _are_variants(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, Variant) for one in value)


PipelineLike: TypeAlias = Annotated[
    Pipeline | str | os.PathLike[str],
    Accepts(lambda value: isinstance(value, Pipeline | str | os.PathLike)),
    "a pipeline, or the path of its file",
]
VariantsLike: TypeAlias = Annotated[
    Sequence[Variant] | str | os.PathLike[str],
    Accepts(lambda value: isinstance(value, str | os.PathLike) or _are_variants(value)),
    "a list of variants, or the path of their file",
]


@checked
def read_pipeline(path: PathLike, overrides: Texts = ()) -> Pipeline:
    r"""Reads a pipeline file without variants.

    Args:
        path: the TOML file.
        overrides: texts "SECTION.KEY=VALUE", with the value in TOML syntax (a plain word needs no quotes).

    Raises:
        ConfigError: the file cannot be read, is invalid, or has variants; the message has every problem.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("digits.toml").write_text(
        ...     'dataset.name = "digits"\nextract.backbone = "efficientnet_lite0"'
        ... )
        >>> read_pipeline("digits.toml", "heads.grid=quick").heads.grid
        'quick'
    """
    return pipeline_from_file(as_path(path), as_texts(overrides))


@checked
def read_variants(path: PathLike, overrides: Texts = (), only: Texts = ()) -> list[Variant]:
    r"""Reads a pipeline file, with or without variants.

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

    Example:
        >>> from pathlib import Path
        >>> variants = [f'[[variant]]\nname = "{name}"\nextract.backbone = "{name}"' for name in ("resnet50", "vgg16")]
        >>> _ = Path("study.toml").write_text("\n".join(['dataset.name = "digits"', *variants]))
        >>> [variant.name for variant in read_variants("study.toml")]
        ['resnet50', 'vgg16']
    """
    return variants_from_file(as_path(path), as_texts(overrides), as_texts(only))


@checked
def run_pipeline(
    pipeline: PipelineLike, *, cache: PathLike | None = None, progress: Shown = None, reporter: Reporter | None = None
) -> PipelineResult:
    r"""Runs the stages of a pipeline: extract, heads, finetune, select, report. Work that is up to date is skipped.

    Args:
        pipeline: the path of a pipeline file, or the result of `read_pipeline`.
        cache: directory of the banks; default `$FEATUREBANK_CACHE`, or `./cache`.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Raises:
        FeatureBankError: a stage failed; the results of earlier stages are saved.

    Example:
        >>> from pathlib import Path
        >>> lines = ['dataset.name = "photos"', 'extract.backbone = "my_networks:small"', 'heads.grid = "heads.toml"']
        >>> _ = Path("flowers.toml").write_text("\n".join(lines))
        >>> _ = Path("heads.toml").write_text('[[head]]\nkind = "logistic"')
        >>> run_pipeline("flowers.toml").chosen.metrics["val"]["accuracy"]
        1.0
    """
    whole = pipeline if isinstance(pipeline, Pipeline) else pipeline_from_file(as_path(pipeline))
    with showing(progress, reporter) as shown:
        single = [Variant("", whole)]
        (variant,) = write_reports(single, list(run_all(single, cache=as_cache(cache), reporter=shown)), reporter=shown)
    return _public(variant).result


@checked
def run_variants(
    variants: VariantsLike, *, cache: PathLike | None = None, progress: Shown = None, reporter: Reporter | None = None
) -> Iterator[VariantResult]:
    r"""Runs variants one after another like `run_pipeline`, and yields the result of each as soon as it is finished.

    A report is written when all variants are finished, so that only the last result has it.

    Args:
        variants: the path of a pipeline file, or the result of `read_variants`.
        cache: see `run_pipeline`.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Raises:
        ConfigError: several variants have invalid options, grids, datasets or networks; raised before any starts.
        FeatureBankError: one variant is invalid, or a stage failed; earlier results are saved.

    Example:
        >>> from pathlib import Path
        >>> common = 'dataset.name = "photos"\nextract.backbone = "my_networks:small"\nheads.grid = "heads.toml"'
        >>> variants = [f'[[variant]]\nname = "{tap}"\nextract.taps = ["{tap}"]' for tap in ("pooled", "stem:max")]
        >>> _ = Path("study.toml").write_text("\n".join([common, *variants]))
        >>> _ = Path("heads.toml").write_text('[[head]]\nkind = "logistic"')
        >>> for done in run_variants("study.toml"):
        ...     print(done.name, done.result.chosen.metrics["val"]["accuracy"])
        pooled 1.0
        stem:max 1.0
    """
    each = variants_from_file(as_path(variants)) if isinstance(variants, str | os.PathLike) else variants
    with showing(progress, reporter) as shown:
        results: list[VariantResult] = []
        for done in run_all(each, cache=as_cache(cache), reporter=shown):
            results.append(done)
            if len(results) == len(each):
                results = write_reports(each, results, reporter=shown)
            yield _public(results[-1])


def _public(variant: VariantResult) -> VariantResult:
    """Returns a result whose runs are public ones."""
    result = variant.result
    runs = replace(
        result, runs=[*map(Run.of, result.runs)], chosen=Run.of(result.chosen),
        finetuned=result.finetuned and Run.of(result.finetuned),
    )  # fmt: skip
    return replace(variant, result=runs)
