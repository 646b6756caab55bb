"""Pipelines: a file -> the stages, in order. `stage` runs them, `plan` says beforehand what they would do."""

from featurebank.pipeline.plan import plan_variants
from featurebank.pipeline.stage import (
    PipelineResult,
    VariantResult,
    open_test_once,
    run_pipeline,
    run_variants,
)

__all__ = [
    "PipelineResult", "VariantResult", "open_test_once", "plan_variants", "run_pipeline",
    "run_variants",
]  # fmt: skip
