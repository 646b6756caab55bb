"""Lists the layers that each phase of a fine-tune would train."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from featurebank.backbone.recorded import recorded_batch_norm
from featurebank.bank import Bank
from featurebank.finetuning.options import FinetuneOptions
from featurebank.finetuning.phases import plan_phases
from featurebank.finetuning.stage import find_start
from featurebank.grafting.stage import grafted
from featurebank.runs.run import RunRecord
from featurebank.system.progress import SILENT, Reporter


@dataclass(frozen=True)
class ListedLayer:
    """A layer of the network or the head, and the phases that train it."""

    layer: str
    kind: str
    """The name of its class."""
    parameters: int
    phases: tuple[int, ...]
    """The numbers of the phases that train it, from 1; empty if it is never trained."""


def list_layers(
    run: RunRecord | str, options: FinetuneOptions, *, bank: Bank | None = None, reporter: Reporter = SILENT
) -> list[ListedLayer]:
    """Lists the layers of a fine-tune in order, with the phases that train them; trains nothing.

    Args:
        run: see `finetune`.
        options: the options of the fine-tune.
        bank: the bank of the run.
        reporter: receives one line for each better head that is skipped.

    Raises:
        ConfigError: a phase trains nothing new.
        HeadError: the head cannot be expressed as layers.
        WeightsError: the network is no longer that of the bank.
    """
    start, bank = find_start(run, bank, reporter)
    norm = options.batch_norm or recorded_batch_norm(bank.recipe, bank.manifest.source)
    model = grafted(bank, start, proof=False, form="layers").model
    phases = plan_phases(model, replace(options, batch_norm=norm))
    return [
        ListedLayer(
            layer.name, type(layer).__name__, sum(math.prod(weight.shape) for weight in layer.weights),
            tuple(number for number, phase in enumerate(phases, 1) if layer.name in phase.trained),
        )
        for layer in model.layers
    ]  # fmt: skip
