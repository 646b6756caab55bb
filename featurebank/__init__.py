"""featurebank: run each frozen backbone once, keep its features, train hundreds of heads on them in seconds.

    >>> import featurebank as fb  # imports no TensorFlow

`load_dataset` and `load_backbone` give what `extract` turns into a `Bank`; `train_heads` trains on it, `select`
chooses by validation alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featurebank.api.backbones import Backbone, backbone_from_model, list_backbones, load_backbone
    from featurebank.api.banks import Bank, extract, find_bank, list_banks, open_bank
    from featurebank.api.choosing.advice import Advice, Relabelling, advise, correct_labels
    from featurebank.api.choosing.race import Race, race
    from featurebank.api.datasets import Dataset, list_datasets, load_dataset
    from featurebank.api.heads import evaluate_test, leaderboard, make_head, select, train_heads
    from featurebank.api.images import explain, similar
    from featurebank.api.inspection import Inspection, inspect_dataset
    from featurebank.api.models import evaluate, export, graft, load_model, predict
    from featurebank.api.pipelines import read_pipeline, read_variants, run_pipeline, run_variants
    from featurebank.api.report import report
    from featurebank.api.run import Run
    from featurebank.api.settings import (
        FeatureBankError,
        FeatureBankWarning,
        set_local_cache,
        set_progress,
        set_ram,
        set_threads,
    )
    from featurebank.api.transformer import FeatureBank

_HOMES = {
    "Advice": "api.choosing.advice",
    "Backbone": "api.backbones",
    "Bank": "api.banks",
    "Dataset": "api.datasets",
    "FeatureBank": "api.transformer",
    "FeatureBankError": "api.settings",
    "FeatureBankWarning": "api.settings",
    "Inspection": "api.inspection",
    "Race": "api.choosing.race",
    "Relabelling": "api.choosing.advice",
    "Run": "api.run",
    "advise": "api.choosing.advice",
    "backbone_from_model": "api.backbones",
    "correct_labels": "api.choosing.advice",
    "evaluate": "api.models",
    "evaluate_test": "api.heads",
    "explain": "api.images",
    "export": "api.models",
    "extract": "api.banks",
    "find_bank": "api.banks",
    "finetune": "api.training.finetunes",
    "finetune_all": "api.training.finetunes",
    "graft": "api.models",
    "inspect_dataset": "api.inspection",
    "leaderboard": "api.heads",
    "list_backbones": "api.backbones",
    "list_banks": "api.banks",
    "list_datasets": "api.datasets",
    "load_backbone": "api.backbones",
    "load_dataset": "api.datasets",
    "load_model": "api.models",
    "make_head": "api.heads",
    "open_bank": "api.banks",
    "predict": "api.models",
    "race": "api.choosing.race",
    "read_pipeline": "api.pipelines",
    "read_variants": "api.pipelines",
    "report": "api.report",
    "run_pipeline": "api.pipelines",
    "run_variants": "api.pipelines",
    "select": "api.heads",
    "set_progress": "api.settings",
    "set_local_cache": "api.settings",
    "set_ram": "api.settings",
    "set_threads": "api.settings",
    "similar": "api.images",
    "train_heads": "api.heads",
}

__all__ = [
    "Advice",
    "Backbone",
    "Bank",
    "Dataset",
    "FeatureBank",
    "FeatureBankError",
    "FeatureBankWarning",
    "Inspection",
    "Race",
    "Relabelling",
    "Run",
    "advise",
    "backbone_from_model",
    "correct_labels",
    "evaluate",
    "evaluate_test",
    "explain",
    "export",
    "extract",
    "find_bank",
    "finetune",
    "finetune_all",
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
    "race",
    "read_pipeline",
    "read_variants",
    "report",
    "run_pipeline",
    "run_variants",
    "select",
    "set_local_cache",
    "set_progress",
    "set_ram",
    "set_threads",
    "similar",
    "train_heads",
]

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import featurebank` stays instant."""
    if name not in _HOMES:
        message = f"module 'featurebank' has no attribute '{name}'"
        raise AttributeError(message)
    return getattr(import_module(f"featurebank.{_HOMES[name]}"), name)  # no module is named as a public name is


def __dir__() -> list[str]:
    return list(__all__)
