"""A transformer of KerasHub from photos to a trained tail, its graft, its files and a fine-tune."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_hub import SMALL, small_table

from featurebank import export, extract, finetune, graft, load_backbone, load_dataset, load_model, predict, train_heads
from featurebank.backbone.keras_networks.hub import presets
from featurebank.backbone.keras_networks.keras_file import load_keras_file
from featurebank.bank import Bank
from featurebank.grafting.formats import FORMATS
from featurebank.runs.run import RunRecord, read_run

pytestmark = [pytest.mark.networks, pytest.mark.heavy]

CUT = "transformer_block_2"


@pytest.fixture(autouse=True, scope="module")
def small() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presets, "_table", small_table)
        yield


@pytest.fixture(scope="module")
def hub_bank(place: Path, shown: Path) -> Bank:
    backbone = load_backbone(f"keras_hub:{SMALL['vit'][0]}", weights="random:3")
    return extract(load_dataset(str(shown)), backbone, ["pooled", "map", CUT], cache=place / "hub", store="float32")


@pytest.fixture(scope="module")
def tail(hub_bank: Bank) -> RunRecord:
    return train_heads(hub_bank, [{"kind": "tail", "cut": CUT, "epochs": 1}])[0]


def difference(bank: Bank, run: RunRecord) -> float:
    graft(bank, run)
    recorded: Any = read_run(bank.path / "runs" / f"{run.run}.json")
    return float(recorded.graft["difference"])


def test_a_tail_of_its_last_blocks_is_grafted_and_saved(
    hub_bank: Bank, tail: RunRecord, shown: Path, tmp_path: Path
) -> None:
    assert difference(hub_bank, tail) <= 1e-4
    path = export(tail, tmp_path / "model.keras")
    assert type(load_keras_file(path).get_layer("transformer_block_3")).__name__ == "ViTEncoderBlock"
    assert len(predict(load_model(path), [str(photo) for photo in sorted(shown.glob("val/*/*"))[:2]])) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_says_the_same(tail: RunRecord, tmp_path: Path, name: str) -> None:
    model = load_model(export(tail, tmp_path / f"model{FORMATS[name].suffix}", format=name))
    assert model.about.proof is not None
    assert model.about.proof.difference <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "tap"), [("ridge", "pooled"), ("attention_pool", "map")])
def test_heads_on_its_taps(hub_bank: Bank, kind: str, tap: str) -> None:
    options = {} if kind == "ridge" else {"epochs": 1}
    assert difference(hub_bank, train_heads(hub_bank, [{"kind": kind, **options}], taps=[tap])[0]) <= 1e-4


@pytest.mark.slow
def test_its_blocks_are_unfrozen_one_by_one(hub_bank: Bank) -> None:
    run = train_heads(hub_bank, [{"kind": "ridge"}], taps=["pooled"])[0]
    tuned = finetune(run, bank=hub_bank, unfreeze=["head", "transformer_block_3", CUT], epochs=1)
    assert tuned.finetune is not None
    assert [phase["from"] for phase in tuned.finetune["phases"]] == ["head_logits", "transformer_block_3", CUT]
