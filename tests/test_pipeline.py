"""The quickstart from nothing, again, changed, and planned: what the README promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "pipelines" / "quickstart.toml"
PIPELINES = sorted([*(ROOT / "pipelines").glob("*.toml"), *(ROOT / "pipelines" / "small").glob("*.toml")])

WATCHED = """
import sys
from featurebank.cli import main
try:
    main()
finally:
    print("tensorflow" in sys.modules, file=sys.stderr)
"""


def run(cache: Path, *words: str) -> tuple[Any, bool, float]:
    """Runs the quickstart in a process of its own: its JSON, whether TensorFlow was imported, seconds."""
    environment = {name: value for name, value in os.environ.items() if name != "FEATUREBANK_CACHE"}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "--cache", str(cache), "run", str(QUICKSTART), "--json", *words],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    return json.loads(done.stdout), done.stderr.splitlines()[-1] == "True", time.perf_counter() - began


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def first(cache: Path) -> Any:
    found, imported, _ = run(cache)
    assert imported
    return found


def test_the_quickstart_reaches_its_accuracy(first: Any) -> None:
    chosen = first["runs"][0]
    assert chosen["run"] == first["best"]
    assert chosen["metrics"]["test"]["accuracy"] >= 0.95
    low, high = chosen["metrics"]["test"]["accuracy_interval"]
    assert low < chosen["metrics"]["test"]["accuracy"] < high
    assert first["extract"]["rows"] == first["extract"]["added"] == 1797
    assert Path(first["extract"]["bank"], "manifest.json").is_file()


def test_the_quickstart_again_does_nothing_and_imports_no_tensorflow(cache: Path, first: Any) -> None:
    again, imported, seconds = run(cache)
    assert not imported
    assert again["extract"]["added"] == 0
    assert again["runs"] == first["runs"]
    assert seconds < 30  # a wide margin for a busy machine: it takes about 2


def test_one_more_seed_trains_only_what_is_new(cache: Path, first: Any) -> None:
    more, _, _ = run(cache, "--set", "heads.seeds=2", "--set", "heads.taps=['block6d_add:avg']")
    known = {run["run"]: run for run in first["runs"]}
    assert any(run["seed"] == 1 for run in more["runs"])
    old = [run for run in more["runs"] if run["seed"] == 0]
    assert all(known[run["run"]]["seconds"] == run["seconds"] for run in old)
    assert {run["head"] for run in more["runs"] if run["seed"] == 1} == {"softmax", "mlp"}


def test_a_dry_run_plans_and_does_nothing(tmp_path: Path, cache: Path, first: Any) -> None:
    plan, imported, _ = run(tmp_path, "--dry-run")
    assert not imported
    assert list(tmp_path.iterdir()) == []
    assert (plan["extract"]["rows"], plan["extract"]["missing"]) == (1797, 1797)
    done, _, _ = run(cache, "--dry-run")
    assert (done["extract"]["missing"], done["extract"]["seconds"]) == (0, 0.0)
    assert done["heads"]["known"] >= len(first["runs"])


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_pipeline_file_is_valid(path: Path) -> None:
    from featurebank.grid import read_grid
    from featurebank.variants import read_variants

    for variant in read_variants(path):
        assert read_grid(variant.pipeline.heads.grid)


def test_a_plan_reads_unchanged_files_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from featurebank.dataset.folder import Files
    from featurebank.pipeline import plan_variants
    from featurebank.variants import read_variants

    monkeypatch.setattr("featurebank.dataset.memory.SETTLED_NS", 0)
    time.sleep(0.03)  # longer than a kernel's clock stands still
    variants = read_variants(QUICKSTART, [f"dataset.name={str(photos)!r}"])
    first = plan_variants(variants, cache=tmp_path / "cache")
    monkeypatch.delattr(Files, "digest")
    assert plan_variants(variants, cache=tmp_path / "cache") == first


def test_a_budget_among_the_taps(photos: Path, tmp_path: Path) -> None:
    from featurebank.errors import ConfigError
    from featurebank.pipeline import plan_variants, run_pipeline
    from featurebank.variants import read_variants

    (tmp_path / "ridge.toml").write_text('[[head]]\nkind = "ridge"\n')
    chosen = [f"dataset.name={str(photos)!r}", f"heads.grid={str(tmp_path / 'ridge.toml')!r}", "extract.image_size=32"]
    taps = "extract.taps=['pooled', 'auto:200kB']"
    variants = read_variants(QUICKSTART, [*chosen, taps, "heads.taps=['pooled']"])
    (plan,) = plan_variants(variants, cache=tmp_path / "cache")
    assert plan["extract"]["missing"] == 24
    done = run_pipeline(variants[0].pipeline, cache=tmp_path / "cache")
    (_, cut) = done.extraction.bank.taps
    assert done.extraction.bank.tap_bytes("pooled") + done.extraction.bank.tap_bytes(cut) <= 200_000
    (plan,) = plan_variants(variants, cache=tmp_path / "cache")
    assert plan["extract"]["missing"] == 0
    with pytest.raises(ConfigError, match="no cut of efficientnet_lite0 fits"):
        plan_variants(read_variants(QUICKSTART, [*chosen, "extract.taps=['auto:20B']"]), cache=tmp_path / "cache")


def test_variants_train_on_their_own_views(photos: Path, tmp_path: Path, pixels: Any) -> None:
    """They share a bank, but each has runs of its own, and the same ones whatever else was run before."""
    from featurebank.pipeline import run_variants
    from featurebank.variants import read_variants

    (tmp_path / "grid.toml").write_text('[[head]]\nkind = "softmax"\nepochs = 2\n[[head]]\nkind = "ridge"\n')
    file = tmp_path / "views.toml"
    file.write_text(
        f"[dataset]\nname = '{photos}'\n[extract]\nbackbone = 'efficientnet_lite0'\nweights = 'random:0'\n"
        "image_size = 32\naugment = 'flip,rotate=10'\n[heads]\ngrid = 'grid.toml'\n"
        + "".join(f"[[variant]]\nname = '{n}'\nextract.views = {n}\n" for n in (1, 3))
    )

    def rows() -> list[dict[str, Any]]:
        done = run_variants(read_variants(file), cache=tmp_path / "cache")
        return [{run.head: run for run in one.result.runs} for one in done]

    one, three = rows()
    assert (one["softmax"].views, three["softmax"].views) == (1, 3)
    assert one["softmax"].history != three["softmax"].history
    assert one["ridge"] == three["ridge"], "it sees the clean images alone"
    assert rows() == [one, three]
