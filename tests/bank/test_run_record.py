"""Records of runs whose checksum is right and whose content is anything: one line, or an answer."""

from __future__ import annotations

import copy
import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featurebank import leaderboard, select, train_heads
from featurebank.bank import Bank
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.bank.run_record import check_run_record
from featurebank.cli import main
from featurebank.errors import BankDamagedError, HeadError
from featurebank.runs.leaderboard import run_rows
from featurebank.runs.run import load_runs, read_run
from featurebank.system.sealed_json import read_sealed, write_sealed

OTHERS: list[Any] = [
    None,
    True,
    -1,
    0.5,
    10**30,
    "x",
    "",
    [],
    [1],
    [[1]],
    {},
    {"x": 1},
    {"accuracy": [1]},
]
FINETUNED = {
    "from": "0123456789", "batch_norm": "frozen", "epoch_0": {"accuracy": 0.5, "loss": 1.0},
    "phases": [{"unfreeze": "all", "from": "conv", "layers": 1, "trained": 9, "epochs": 2, "improved": True}],
    "gain": {"over": "0123456789", "accuracy": 0.1, "accuracy_interval": [0.0, 0.2], "p_value": 0.1, "loss": 0.1,
             "worth": "worth it"},
}  # fmt: skip


@pytest.fixture
def bank(make_bank: Callable[..., Bank]) -> Bank:
    found = make_bank("cache/bank")
    train_heads(found, [{"kind": "nearest_mean"}, {"kind": "ridge"}], folds=2)
    train_heads(found, [{"kind": "nearest_mean"}, {"kind": "ridge"}])
    return found


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the way to each value in a JSON value."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from _places(inner, (*path, key))


def _changed(record: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(record)
    inner: Any = made
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return made


def _refusal(action: Callable[[], object]) -> str:
    """Returns why something is refused; "" where it is not."""
    try:
        action()
    except (BankDamagedError, HeadError) as error:
        return str(error)
    return ""


def test_whatever_a_record_holds_its_readers_answer_or_refuse_it_in_one_line(bank: Bank) -> None:
    chance, refused = random.Random(0), 0
    for file in sorted((bank.path / "runs").glob("*.json")):
        record = {**read_sealed(file), "finetune": FINETUNED, "history": {"loss": [1.0, 0.5], "best_epoch": 1}}
        for place in chance.sample(list(_places(record)), 16):
            write_sealed(file, _changed(record, place, chance.choice(OTHERS)))
            if refusal := _refusal(lambda file=file: read_run(file)):
                refused += 1
                assert refusal.startswith(f"'{file}' is not a record of a run: {place[0]}")
                assert "\n" not in refusal
                assert refusal in verify_bank(bank.path).damaged
                continue
            json.dumps([entry.summary() for entry in leaderboard(bank).entries])
            run_rows(load_runs(bank))
            assert "\n" not in _refusal(lambda: select(load_runs(bank)))
        write_sealed(file, record)
    assert refused > 16


@pytest.mark.parametrize(
    ("words", "code"), [(["leaderboard"], 1), (["cache", "ls"], 0), (["cache", "verify", "--canaries", "0"], 1)]
)
def test_commands_name_the_file_and_the_key(
    words: list[str], code: int, bank: Bank, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next((bank.path / "runs").glob("*.json"))
    write_sealed(file, {**read_sealed(file), "params": "units"})
    monkeypatch.setattr(sys, "argv", ["featurebank", "--cache", str(bank.path.parent), *words])
    with pytest.raises(SystemExit) as stop:
        main()
    out, errors = capsys.readouterr()
    assert stop.value.code == code
    assert f"'{file}' is not a record of a run: params is 'units' (input should be a valid dictionary)" in out + errors
    assert "Traceback" not in errors


def test_what_contradicts_itself_or_comes_from_elsewhere(bank: Bank) -> None:
    record = read_sealed(next((bank.path / "runs").glob("*.json")))
    file = Path("a.json")
    check_run_record(record, file)
    for changed, reason in [
        ({"color": 1}, "color is 1"),
        ({"right": "00"}, "right has 2 digits, but metrics.val.images is"),
        ({"metrics": {}}, "metrics has no 'train', but there is no failure"),
    ]:
        with pytest.raises(BankDamagedError, match=f"'a.json' is not a record of a run: {reason}"):
            check_run_record({**record, **changed}, file)
