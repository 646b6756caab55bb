"""Stage: a dataset and backbones -> banks.

First it is decided which images lack which taps and views (`plan`), then just those are computed: each image is decoded
once, in a pool of threads, brought to the input of every network that needs it, run in batches, and written by a
thread of its own (`work`). An image that is in the bank already costs a look-up.
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
