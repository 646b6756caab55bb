"""Fine-tuning: from a run, the network that made the bank is trained too, block by block back from the top."""

from featurebank.finetuning.listing import list_layers
from featurebank.finetuning.options import FinetuneOptions, read_options
from featurebank.finetuning.stage import best_start, finetune, run_finetune

__all__ = ["FinetuneOptions", "best_start", "finetune", "list_layers", "read_options", "run_finetune"]
