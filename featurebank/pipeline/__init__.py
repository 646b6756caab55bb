"""Stage: a TOML file in, all other stages out, from extraction to export.

`config` defines the file's sections, `variants` its variants, and `stage` runs it.
"""

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
