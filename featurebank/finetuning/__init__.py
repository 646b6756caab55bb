"""Fine-tuning: from a run, the network that made the bank is trained too, block by block back from the top."""

from featurebank.finetuning.listing import list_layers
from featurebank.finetuning.options import Options
from featurebank.finetuning.stage import best_start, finetune

__all__ = ["Options", "best_start", "finetune", "list_layers"]
