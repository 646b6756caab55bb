"""Stage: computes the features of datasets by backbones, and fills banks with them.

`run_extraction` is the entry, in `stage`; `options` holds what users can choose. `plan` decides which rows to compute,
for the extraction itself, a dry run (`estimate`) and the plan of a pipeline. `run` computes them in one pass over the
images, and `target` is one bank that is being filled.
"""

from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.places import fingerprint_memory, locate
from featurebank.extraction.stage import (
    Extraction,
    extract_rows,
    run_extraction,
    run_extractions,
)

__all__ = [
    "ExtractOptions",
    "Extraction",
    "extract_rows",
    "fingerprint_memory",
    "locate",
    "run_extraction",
    "run_extractions",
]
