"""Models by the names of banks and runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import featurebank as fb
from featurebank.errors import UnknownNameError


@pytest.fixture
def here(photo_bank: fb.Bank, monkeypatch: pytest.MonkeyPatch) -> fb.Bank:
    """The bank, in the default cache, with a run that cannot become layers and one that can."""
    monkeypatch.setenv("FEATUREBANK_CACHE", str(photo_bank.path.parent))
    fb.train_heads(photo_bank, ["knn", "nearest_mean"])
    return photo_bank


def test_the_best_run_that_the_format_holds_is_exported(
    here: fb.Bank, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="featurebank"):
        path = fb.export("best", str(tmp_path / "m.keras"))
    assert f"bank: {here.path}" in caplog.text
    images = np.random.default_rng(0).integers(0, 256, (3, 14, 14, 3), dtype=np.uint8)
    exported = fb.load_model(str(path))
    assert exported.about.run == next(run.run for run in fb.leaderboard(here) if run.head != "knn")
    grafted = fb.graft(fb.leaderboard(here)[-1]), fb.graft(here.name, fb.leaderboard(here)[-1].run[:7])
    np.testing.assert_array_equal(*(model.predict(images) for model in grafted))
    labelled = fb.evaluate(path, (images, ["ant", "bee", "ant"]))
    assert labelled.images == 3
    assert len(fb.predict(exported, images)) == 3


def test_a_run_is_searched_in_a_bank(here: fb.Bank, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown run 'zzz'"):
        fb.export("zzz", tmp_path / "m.keras", bank=here.name)
    with pytest.raises(UnknownNameError, match="unknown run 'zzz'"):
        fb.finetune("zzz", unfreeze="last")


def test_a_phase_needs_no_list(here: fb.Bank) -> None:
    run = fb.select(fb.train_heads(here, "nearest_mean"))
    assert fb.finetune(run, unfreeze="last", epochs=1).run == fb.finetune(run, unfreeze=["last"], epochs=1).run
