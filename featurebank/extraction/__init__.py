"""Stage: computes the features of datasets by backbones, and fills banks with them.

`extract` is the entry, in `stage`; `options` holds what a user can choose. `plan` decides what an extraction does: the
extraction itself, a dry run (`estimate`) and a pipeline's plan all ask it. `run` computes what is missing.
"""

from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.places import fingerprint_memory, locate
from featurebank.extraction.stage import (
    Extraction,
    extract,
    extract_rows,
    run_extraction,
    run_extractions,
)

__all__ = [
    "ExtractOptions",
    "Extraction",
    "extract",
    "extract_rows",
    "fingerprint_memory",
    "locate",
    "run_extraction",
    "run_extractions",
]
