"""Stage: a run in, another run out, whose network was trained as well, block by block from the top.

`stage` is the entry; `phases` decides which layers train, `loop` trains them, `checkpoint` lets a fine-tune continue.
"""

from featurebank.finetuning.listing import list_layers
from featurebank.finetuning.options import FinetuneOptions, read_options
from featurebank.finetuning.stage import best_start, finetune, run_finetune

__all__ = ["FinetuneOptions", "best_start", "finetune", "list_layers", "read_options", "run_finetune"]
