"""Parameters as records hold them: a file of costs counts by its content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import featurebank as fb
from featurebank.bank import Bank
from featurebank.errors import ConfigError
from featurebank.runs.run import load_runs

pytestmark = pytest.mark.heavy


def write_costs(path: Path, classes: list[str], worst: float) -> None:
    """Writes costs of 1 for each mistake, but of another number for the first two classes."""
    rows = [[float(true != other) for other in range(len(classes))] for true in range(len(classes))]
    rows[0][1] = worst
    lines = [["", *classes], *([name, *map(str, row)] for name, row in zip(classes, rows, strict=True))]
    path.write_text("\n".join(map(",".join, lines)), encoding="utf-8")


def test_heads_that_monitor_costs_are_known_by_the_costs(make_bank: Callable[..., Bank], tmp_path: Path) -> None:
    bank, costs, copy = make_bank(noise=4.0), tmp_path / "costs.csv", tmp_path / "copy.csv"

    def train(file: Path) -> str:
        grid: list[Any] = [{"kind": "softmax", "epochs": 2, "monitor": f"val_cost:{file}"}]
        return fb.train_heads(bank, grid)[0].run

    write_costs(costs, bank.classes, 5)
    copy.write_text(costs.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    first = train(costs)
    assert train(costs) == train(copy) == first
    (run,) = load_runs(bank)
    assert str(run.params["monitor"]).startswith(f"val_cost:{costs}#")
    assert str(costs) in str(run.spec)
    write_costs(costs, bank.classes, 50)
    second = train(costs)
    assert second != first
    runs = load_runs(bank)
    assert {run.run for run in runs} == {first, second}
    assert len({run.key for run in runs}) == 2, "they are no seeds of one head"
    message = "the costs in '.*' have changed since they were used"
    with pytest.raises(ConfigError, match=message):
        fb.train_heads(bank, [{"kind": run.head, **run.params}])


def test_costs_that_cannot_be_used_are_problems_of_the_grid(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    grid: list[Any] = [{"kind": "softmax", "monitor": "val_cost:nothing.csv"}, {"kind": "mlp", "hidden": -1}]
    with pytest.raises(ConfigError, match=r"(?s)nothing\.csv.*hidden"):
        fb.train_heads(bank, grid)
