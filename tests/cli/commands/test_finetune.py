"""`featurebank finetune`: from a bank with heads to a model, and what it says on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from finetunes import save_photos

from featurebank import extract, load_backbone, load_dataset, train_heads
from featurebank.bank import Bank
from featurebank.runs.run import RunRecord

pytestmark = pytest.mark.heavy

Ask = Callable[..., tuple[str, str]]


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    save_photos(tmp_path / "photos")
    return extract(load_dataset(str(tmp_path / "photos")), load_backbone("tiny:network"), cache=tmp_path / "cache")


@pytest.fixture
def head(bank: Bank) -> RunRecord:
    return train_heads(bank, [{"kind": "softmax", "epochs": 2}])[0]


@pytest.fixture
def ask(tmp_path: Path, in_process: Ask) -> Ask:
    """Runs the command line in this process; returns what it writes on both streams."""
    return partial(in_process, "--cache", tmp_path / "cache")


def test_layers_are_listed(ask: Ask, head: RunRecord) -> None:
    words = ["finetune", "--unfreeze", "last", "--print-layers"]
    told = {one["layer"]: one for one in json.loads(ask(*words, "--json")[0])}
    assert told["last"] == {"layer": "last", "kind": "Conv2D", "parameters": 114, "phases": [1]}
    assert told["cut"]["phases"] == []
    out, errors = ask(*words)
    assert "never" in next(line for line in out.splitlines() if line.split()[:1] == ["cut"])
    assert "epoch" not in errors


def test_phases_and_a_model(ask: Ask, bank: Bank, head: RunRecord, tmp_path: Path) -> None:
    words = ["--unfreeze", "last", "--unfreeze", "all", "--epochs", "20,5", "--batch-size", 8, "--augment", "noise=.02"]
    out, errors = ask("finetune", *words, "--tensorboard", tmp_path / "boards", "--keep-going")
    table = [line.split() for line in errors.splitlines()]
    assert ["1", "last", "last", "3"] in [row[:4] for row in table]
    assert ["2", "all", "cut", "4", "166", "90.2", "%", "<=", "5", "0.01"] in table
    assert "of 184 parameters; sgd, schedule cosine, batches of 8\n" in errors
    assert "batch normalisation: train, in 1 of 1 layer by the last phase (the default of tiny" in errors
    assert f"epoch 0, the head: validation accuracy {head.metrics['val']['accuracy']:.4f}" in errors
    assert "phase 1, epoch 20 of 20: loss" in errors
    assert f"its head, {head.run}: {head.metrics['val']['accuracy']:.4f}" in out
    assert (out + errors).count("worth it: ") == 1
    assert len(list((tmp_path / "boards").rglob("*tfevents*"))) == 1

    told: Any = json.loads(ask("-q", "finetune", "--from", head.run[:6], *words, "--keep-going", "--json")[0])
    assert Path(told["file"]).is_file()
    assert told["head"] == "finetune"
    assert told["finetune"]["from"] == head.run
    board = json.loads(ask("leaderboard", "--json")[0])
    assert board["best"] == told["run"]
    image = next((tmp_path / "photos" / "val").rglob("*.png"))
    assert json.loads(ask("predict", told["file"], image, "--json")[0])[0]["label"] in bank.classes


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "nothing would be trained: expected --unfreeze LAYERS, as --unfreeze conv5"),
        (["--unfreeze", "lost"], "unknown layer to unfreeze 'lost'"),
        (
            ["--unfreeze", "last", "--unfreeze", "last_bn"],
            "phase 'last_bn' unfreezes nothing that phase 'last' before it",
        ),
        (["--unfreeze", "all", "-p", "nesterov=true", "--momentum", "0"], "nesterov is True: expected false, or"),
        (["--unfreeze", "all", "--from", "beef"], "unknown run 'beef'"),
        (["--unfreeze", "all", "--mixed-precision"], "mixed_precision needs a GPU"),
    ],
)
def test_mistakes_are_one_line(words: list[str], told: str, ask: Ask, bank: Bank, head: RunRecord) -> None:
    _, errors = ask("-q", "finetune", *words, code=1)
    (line,) = errors.splitlines()
    assert line.startswith("Error: ")
    assert told in line


def test_wrong_usage(ask: Ask) -> None:
    assert "'6,x': expected a number, or one for each phase" in ask("finetune", "--epochs", "6,x", code=2)[1]


def test_in_a_pipeline(ask: Ask, tmp_path: Path) -> None:
    save_photos(tmp_path / "photos")
    file = tmp_path / "pipeline.toml"
    file.write_text(f"""
        dataset.name = "{tmp_path / "photos"}"
        extract.backbone = "tiny:network"
        heads.grid = "grid.toml"
        finetune = {{ unfreeze = ["last"], epochs = 20, batch_size = 8 }}
    """)
    (tmp_path / "grid.toml").write_text('[[head]]\nkind = "softmax"\nepochs = 2\n')
    assert "finetune: from best: last\n" in ask("run", file, "--dry-run")[0]
    assert "\nfinetune: worth it: +" in ask("run", file)[0]
    found = json.loads(ask("run", file, "--json")[0])
    assert found["runs"][0]["head"] == "finetune"
    assert found["finetune"]["run"] == found["best"]
    assert json.loads(ask("-q", "run", file, "--json")[0])["runs"] == found["runs"], "nothing is done again"
    _, errors = ask("run", file, "--set", "finetune.layer_decay=2", code=1)
    assert "pipeline.toml: 'finetune.layer_decay' is 2: expected a number above 0, 1 at most" in errors.splitlines()[-1]
