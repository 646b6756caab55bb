"""Stage: a run -> another run, whose network was trained as well, block by block from the top.

Open `stage` first; `phases` decides which layers to train, `loop` trains them, and `checkpoint` saves the state.
"""

from featurebank.finetuning.listing import list_layers
from featurebank.finetuning.options import FinetuneOptions, read_options
from featurebank.finetuning.stage import best_start, run_finetune

__all__ = ["FinetuneOptions", "best_start", "list_layers", "read_options", "run_finetune"]
