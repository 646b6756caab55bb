"""Grid and pipeline files, whatever they hold: read, or refused with one short line a problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mutated import GRIDS, PIPELINES, mutated

from featurebank import load_backbone, read_variants
from featurebank.bank import Bank
from featurebank.errors import FeatureBankError
from featurebank.extraction.cut_budget import named_taps
from featurebank.grid import expand, read_grid

pytestmark = pytest.mark.heavy

EACH = 150


def check(read: Callable[[Path], Any], path: Path) -> str:
    """Reads a file; returns what is wrong with it."""
    try:
        read(path)
    except FeatureBankError as error:
        message = str(error)
        lines = message.split("\n")
        assert message.isprintable() or "\n" in message
        assert len(lines) <= 21
        for line in lines:
            assert line.isprintable(), line
            assert 5 < len(line) <= 450, line
        return message
    return ""


def read_everything(path: Path) -> None:
    """Reads all of a pipeline file that can be read without images and networks."""
    for variant in read_variants(path):
        wanted = variant.pipeline.extract
        backbone = load_backbone(
            wanted.backbone, weights=wanted.weights, image_size=wanted.image_size, preprocessing=wanted.preprocessing
        )
        named_taps(wanted.taps)
        replace(wanted, taps=("pooled",)).check(backbone)
        read_grid(variant.pipeline.heads.grid)


@pytest.mark.parametrize("what", ["grids", "pipelines"])
def test_mutated_files(make_bank: Callable[..., Bank], tmp_path: Path, what: str) -> None:
    bank = make_bank(taps=("pooled", "map"))
    sources = [path.read_text(encoding="utf-8") for path in (GRIDS if what == "grids" else PIPELINES)]
    read = (lambda path: expand(str(path), bank)) if what == "grids" else read_everything
    found = []
    for seed in range(EACH):
        path = tmp_path / f"{seed}.toml"
        path.write_text(mutated(sources[seed % len(sources)], seed), encoding="utf-8")
        found.append(check(read, path))
    refused = sum(map(bool, found))
    assert EACH // 3 < refused < EACH, "some are still right"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 3000 + "]" * 3000, "nested more than 8 deep"),
        ("[[head]]\nkind = " + "[" * 9 + "]" * 9, "nested more than 8 deep"),
        ("[[head]]\nkind = 'softmax'\nepochs = " + "9" * 30, "a number is beyond 64 bits"),
        ("[[head]]\nkind = 'softmax'\nepochs = " + "9" * 5000, "Exceeds the limit"),
        ("[[head]]\nkind = 'softmax'\ncalibrate = {a = 1}", "calibrate is {'a': 1}"),
        ("[[head]]\nkind = '..a:B'", "head '..a:B' cannot be imported"),
        ("[[head]]\nkind = 'softmax'\nname = ['a', 'b']", "2: 'name' is ['a', 'b']: expected at least one word"),
        (
            "[[head]]\nkind = 'knn'\n" + "".join(f"x{n} = [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" for n in range(9)),
            "387420489 heads",
        ),
    ],
)
def test_what_no_file_has(make_bank: Callable[..., Bank], tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    told = check(lambda path: expand(str(path), make_bank()), tmp_path / "a.toml")
    assert message.removeprefix("2: ") in told
