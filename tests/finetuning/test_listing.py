"""The list of layers says what a fine-tune would train, and trains nothing."""

from __future__ import annotations

import pytest

from featurebank.bank import Bank
from featurebank.errors import UnknownNameError
from featurebank.finetuning import FinetuneOptions, list_layers
from featurebank.runs.run import RunRecord, load_runs


def test_each_layer_with_its_phases(bank: Bank, head: RunRecord) -> None:
    before = {run.run for run in load_runs(bank)}
    found = {one.layer: one for one in list_layers(head, FinetuneOptions(unfreeze=["last", "all"]))}
    assert list(found)[:5] == ["image", "cut", "last", "last_bn", "last_relu"]
    assert found["cut"].phases == (2,)
    assert found["last"].phases == found["last_bn"].phases == (1, 2)
    assert found["image"].phases == found["last_relu"].phases == ()
    assert (found["cut"].kind, found["cut"].parameters) == ("Conv2D", 2 * 2 * 3 * 2 + 2)
    frozen = {one.layer: one for one in list_layers(head, FinetuneOptions(unfreeze=["last"], batch_norm="frozen"))}
    assert frozen["last_bn"].phases == ()
    assert {run.run for run in load_runs(bank)} == before
    with pytest.raises(UnknownNameError, match="layer to unfreeze 'lats'"):
        list_layers(head, FinetuneOptions(unfreeze=["lats"]))
