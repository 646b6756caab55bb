"""Grafts of transformers are exact, in every format, and fine-tunes start from their tails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from featurebank import export, extract, finetune, graft, load_backbone, load_dataset, load_model, train_heads
from featurebank.bank import Bank
from featurebank.grafting.formats import FORMATS
from featurebank.runs.run import RunRecord, read_run

pytestmark = pytest.mark.heavy

CUT = "block1_out"
TAPS = ["pooled", "cls", "tokens", "map", CUT]


@pytest.fixture(scope="module")
def tokens_bank(place: Path, shown: Path) -> Bank:
    dataset = load_dataset(str(shown))
    return extract(dataset, load_backbone("tiny:transformer"), TAPS, cache=place / "tokens", store="float32")


@pytest.fixture(scope="module")
def tail(tokens_bank: Bank) -> RunRecord:
    return train_heads(tokens_bank, [{"kind": "tail", "cut": CUT, "epochs": 1}])[0]


def test_a_tail_goes_on_where_the_tokens_end(tokens_bank: Bank, tail: RunRecord) -> None:
    model = graft(tokens_bank, tail)
    names = [layer.name for layer in model.layers]
    assert names[names.index(CUT) :][:3] == [CUT, "block2_norm1", "block2_attention"]
    assert names[-4:] == ["norm", "head_logits", "probabilities", "all_classes"]
    recorded: Any = read_run(tokens_bank.path / "runs" / f"{tail.run}.json")
    assert recorded.graft["difference"] <= 1e-4


@pytest.mark.slow  # each tap of a transformer is in the tests of taps, and its graft in those of networks
@pytest.mark.parametrize("tap", TAPS)
def test_a_head_on_each_tap(tokens_bank: Bank, tap: str) -> None:
    run = train_heads(tokens_bank, [{"kind": "nearest_mean"}], taps=[tap])[0]
    graft(tokens_bank, run)
    recorded: Any = read_run(tokens_bank.path / "runs" / f"{run.run}.json")
    assert recorded.graft["difference"] <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_says_the_same(tail: RunRecord, tmp_path: Path, name: str) -> None:
    model = load_model(export(tail, tmp_path / f"model{FORMATS[name].suffix}", format=name))
    assert model.about.proof is not None
    assert model.about.proof.difference <= 1e-4


@pytest.mark.slow
def test_a_fine_tune_starts_from_a_tail(tokens_bank: Bank, tail: RunRecord) -> None:
    run = finetune(tail, bank=tokens_bank, unfreeze=["block2", "block1"], epochs=1, layer_decay=0.5)
    assert run.finetune is not None
    assert [phase["from"] for phase in run.finetune["phases"]] == ["block2_norm1", "block1_norm1"]
