"""`featurebank run` on a file with variants."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

Ask = Callable[..., tuple[str, str]]

FILE = """
[dataset]
name = "digits"
per_class = 12
[extract]
backbone = "basenet"
weights = "random:0"
[heads]
grid = "grid.toml"
[[variant]]
name = "average"
[[variant]]
name = "maxima"
extract.taps = ["map:max"]
select.test = true
"""


@pytest.fixture
def ask(tmp_path: Path, in_process: Ask) -> Ask:
    """Runs the command line in this process, on the file; returns what it writes on both streams."""
    (tmp_path / "a.toml").write_text(FILE)
    (tmp_path / "grid.toml").write_text('[[head]]\nkind = "nearest_mean"\n[[head]]\nkind = "knn"\nn_neighbors = 3\n')
    return partial(in_process, "--cache", tmp_path / "cache", "run", tmp_path / "a.toml")


def test_each_variant_and_then_a_table_of_all(ask: Ask, tmp_path: Path) -> None:
    plans = json.loads(ask("--dry-run", "--json")[0])["variants"]
    assert [(plan["name"], plan["extract"]["missing"], plan["heads"]["runs"]) for plan in plans] == [
        ("average", 120, 2), ("maxima", 120, 2)
    ]  # fmt: skip
    assert list((tmp_path / "cache").glob("*/manifest.json")) == []

    out, errors = ask()
    assert "variant average (1 of 2)" in errors
    assert "variant maxima (2 of 2)" in errors
    rows = {line.split()[0]: line for line in out.splitlines()[-5:] if line.strip()}
    assert rows["average"].split()[-3:-1] == ["-", "-"]
    tested = rows["maxima"].split()[-2]

    again: dict[str, Any] = json.loads(ask("--json")[0])
    assert set(again) == {"variants"}
    average, maxima = again["variants"]
    assert (average["name"], average["extract"]["added"], average["runs"][0]["tap"]) == ("average", 0, "pooled")
    assert {"extract", "runs", "entries", "best", "seconds"} <= set(average)
    assert [run["tap"] for run in maxima["runs"]] == ["map:max"] * 2
    assert f"{maxima['runs'][0]['metrics']['test']['accuracy']:.4f}" == tested
    assert all("test" not in run["metrics"] for run in average["runs"])

    out, errors = ask("--dry-run")
    assert out.count("extract: up to date (120 images)") == 2
    assert out.index("variant average") < out.index("variant maxima")


def test_one_variant_alone(ask: Ask) -> None:
    (told,) = json.loads(ask("--variant", "maxima", "--json", "--set", "maxima.select.test=false")[0])["variants"]
    assert told["name"] == "maxima"
    assert all("test" not in run["metrics"] for run in told["runs"])
    _, errors = ask("--variant", "maxma", code=1)
    assert errors.strip() == "Error: unknown variant 'maxma': did you mean 'maxima'?"
