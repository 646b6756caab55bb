"""Stage: runs all other stages from one TOML file.

`config` defines the sections of the file, `variants` its variants, and `stage` runs it. Open `stage` first.
"""

from featurebank.pipeline.plan import plan_variants
from featurebank.pipeline.reports import write_reports
from featurebank.pipeline.stage import (
    PipelineResult,
    VariantResult,
    open_test_once,
    run_all,
)

__all__ = [
    "PipelineResult", "VariantResult", "open_test_once", "plan_variants", "run_all", "write_reports",
]  # fmt: skip
