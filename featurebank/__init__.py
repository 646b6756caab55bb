"""featurebank: run each frozen backbone once, keep its features, train hundreds of heads on them in seconds.

    >>> import featurebank as fb  # imports no TensorFlow

`load_dataset` and `load_backbone` give what `extract` turns into a `Bank`; `train_heads` trains on it, `select`
chooses by validation alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featurebank.api.run import Run
    from featurebank.backbone import Backbone, backbone_from_model, list_backbones, load_backbone
    from featurebank.bank import Bank, find_bank, list_banks, open_bank
    from featurebank.dataset import Dataset, list_datasets, load_dataset
    from featurebank.errors import FeatureBankError
    from featurebank.extraction import extract
    from featurebank.extraction.transformer import FeatureBank
    from featurebank.finetuning import finetune
    from featurebank.grafting import evaluate, export, graft, load_model, predict
    from featurebank.grid import train_heads
    from featurebank.heads.catalog import make_head
    from featurebank.inspection.stage import Inspection, inspect_dataset
    from featurebank.pipeline import run_pipeline, run_variants
    from featurebank.pipeline.config import read_pipeline
    from featurebank.pipeline.variants import read_variants
    from featurebank.runs.selection import evaluate_test, leaderboard, select
    from featurebank.system.runtime import set_ram, set_threads

_HOMES = {
    "Backbone": "backbone",
    "Bank": "bank",
    "Dataset": "dataset",
    "FeatureBank": "extraction.transformer",
    "FeatureBankError": "errors",
    "Inspection": "inspection.stage",
    "Run": "api.run",
    "backbone_from_model": "backbone",
    "evaluate": "grafting",
    "evaluate_test": "runs.selection",
    "export": "grafting",
    "extract": "extraction",
    "find_bank": "bank",
    "finetune": "finetuning",
    "graft": "grafting",
    "inspect_dataset": "inspection.stage",
    "leaderboard": "runs.selection",
    "list_backbones": "backbone",
    "list_banks": "bank",
    "list_datasets": "dataset",
    "load_backbone": "backbone",
    "load_dataset": "dataset",
    "load_model": "grafting",
    "make_head": "heads.catalog",
    "open_bank": "bank",
    "predict": "grafting",
    "read_pipeline": "pipeline.config",
    "read_variants": "pipeline.variants",
    "run_pipeline": "pipeline",
    "run_variants": "pipeline",
    "select": "runs.selection",
    "set_ram": "system.runtime",
    "set_threads": "system.runtime",
    "train_heads": "grid",
}

__all__ = [
    "Backbone",
    "Bank",
    "Dataset",
    "FeatureBank",
    "FeatureBankError",
    "Inspection",
    "Run",
    "backbone_from_model",
    "evaluate",
    "evaluate_test",
    "export",
    "extract",
    "find_bank",
    "finetune",
    "graft",
    "inspect_dataset",
    "leaderboard",
    "list_backbones",
    "list_banks",
    "list_datasets",
    "load_backbone",
    "load_dataset",
    "load_model",
    "make_head",
    "open_bank",
    "predict",
    "read_pipeline",
    "read_variants",
    "run_pipeline",
    "run_variants",
    "select",
    "set_ram",
    "set_threads",
    "train_heads",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import featurebank` stays instant."""
    if name not in _HOMES:
        message = f"module 'featurebank' has no attribute '{name}'"
        raise AttributeError(message)
    return getattr(import_module(f"featurebank.{_HOMES[name]}"), name)  # no module is named as a public name is


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
