"""The quickstart from nothing, again, changed, and planned: what the README promises."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forks
import pytest
from commands import run_command

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).resolve().parents[2]
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


def run(cache: Path, *words: str) -> tuple[Any, bool]:
    """Runs the quickstart in a process of its own: its JSON, and whether TensorFlow was imported.

    The report lies beside the cache.
    """
    page = ["--set", f"report.output={str(cache.with_suffix('.html'))!r}"]
    environment = {name: value for name, value in os.environ.items() if name != "FEATUREBANK_CACHE"}
    command = ["--cache", str(cache), "run", str(QUICKSTART), "--json", *page, *words]
    done = forks.run([sys.executable, "-c", WATCHED, *command], env=environment, check=True)
    return json.loads(done.stdout), done.stderr.splitlines()[-1] == "True"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


BETTER_HALF = ("--set", "heads.taps=['block6d_add:avg']")
"""Its grid on one of its two taps, the one with the best head."""


@pytest.fixture(scope="module")
def first(cache: Path) -> Any:
    found, imported = run(cache, *BETTER_HALF)
    assert imported
    return found


def refuse_a_poor_result(first: Any) -> None:
    chosen = first["runs"][0]
    assert chosen["run"] == first["best"]
    assert chosen["metrics"]["test"]["accuracy"] >= 0.95
    low, high = chosen["metrics"]["test"]["accuracy_interval"]
    assert low < chosen["metrics"]["test"]["accuracy"] < high
    assert first["extract"]["rows"] == first["extract"]["added"] == 1797
    assert Path(first["extract"]["bank"], "manifest.json").is_file()
    assert first["report"]["written"]
    assert Path(first["report"]["report"]).stat().st_size == first["report"]["bytes"]


def test_the_quickstart_reaches_its_accuracy(first: Any) -> None:
    refuse_a_poor_result(first)


@pytest.mark.slow
def test_the_whole_quickstart_reaches_its_accuracy(tmp_path: Path) -> None:
    found, _ = run(tmp_path)
    refuse_a_poor_result(found)
    assert {row["tap"] for row in found["runs"]} == {"pooled", "block6d_add:avg"}


def test_the_quickstart_again_does_nothing_and_imports_no_tensorflow(cache: Path, first: Any) -> None:
    again, imported = run(cache, *BETTER_HALF)
    assert not imported
    assert again["extract"]["added"] == 0
    assert not again["report"]["written"], "the report is up to date"
    assert again["runs"] == first["runs"]


@pytest.fixture
def run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs the quickstart in this process; returns its JSON. The report lies in the directory of the test."""
    monkeypatch.chdir(tmp_path)

    def run(cache: Path, *words: str) -> Any:
        command = ("--cache", cache, "run", QUICKSTART, "--json", *words)
        return json.loads(run_command(command, monkeypatch, capsys)[0])

    return run


def test_one_more_seed_trains_only_what_is_new(
    cache: Path, first: Any, tmp_path: Path, run_here: Callable[..., Any]
) -> None:  # fmt: skip
    grid = tmp_path / "part.toml"  # of the grid `quick`
    grid.write_text('[[head]]\nkind = "softmax"\n[[head]]\nkind = "ridge"\nalpha = [100.0, 1000.0]\n')
    more = run_here(cache, *BETTER_HALF, "--set", "heads.seeds=2", "--set", f"heads.grid={str(grid)!r}")
    known = {run["run"]: run for run in first["runs"]}
    assert any(run["seed"] == 1 for run in more["runs"])
    old = [run for run in more["runs"] if run["seed"] == 0]
    assert all(known[run["run"]]["seconds"] == run["seconds"] for run in old)
    assert {run["head"] for run in more["runs"] if run["seed"] == 1} == {"softmax"}


def test_a_dry_run_plans_and_does_nothing(
    tmp_path: Path, cache: Path, first: Any, run_here: Callable[..., Any]
) -> None:  # fmt: skip
    plan, imported = run(tmp_path, "--dry-run")
    assert not imported
    assert list(tmp_path.iterdir()) == []
    assert (plan["extract"]["rows"], plan["extract"]["missing"]) == (1797, 1797)
    done = run_here(cache, "--dry-run", *BETTER_HALF)
    assert (done["extract"]["missing"], done["extract"]["seconds"]) == (0, 0.0)
    assert done["heads"]["known"] >= len(first["runs"])


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_pipeline_file_is_valid(path: Path) -> None:
    from featurebank import read_variants
    from featurebank.grid import read_grid

    for variant in read_variants(path):
        assert read_grid(variant.pipeline.heads.grid)


def test_a_plan_reads_unchanged_files_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from featurebank import read_variants
    from featurebank.dataset.sources.folder import Files
    from featurebank.pipeline import plan_variants

    monkeypatch.setattr("featurebank.dataset.fingerprint_cache.SETTLED_NS", 0)
    time.sleep(0.03)  # longer than a kernel's clock stands still
    variants = read_variants(QUICKSTART, [f"dataset.name={str(photos)!r}"])
    first = plan_variants(variants, cache=tmp_path / "cache")
    monkeypatch.delattr(Files, "digest")
    assert plan_variants(variants, cache=tmp_path / "cache") == first


def test_a_budget_among_the_taps(photos: Path, tmp_path: Path) -> None:
    from featurebank import read_variants, run_pipeline
    from featurebank.errors import ConfigError
    from featurebank.pipeline import plan_variants

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
    from featurebank import read_variants, run_variants

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


VARIANTS = """
[dataset]
name = "digits"
per_class = 20

[extract]
backbone = "basenet"
weights = "random:0"

[heads]
grid = "ridge.toml"

[select]
test = "once"

[[variant]]
name = "whole"
{whole}

[[variant]]
name = "noise"
extract.weights = "random:1"
extract.preprocessing = "tf"
"""


def variants_file(folder: Path, whole: str = "") -> Path:
    (folder / "ridge.toml").write_text('[[head]]\nkind = "ridge"\n')
    (folder / "two.toml").write_text(VARIANTS.format(whole=whole))
    return folder / "two.toml"


def test_the_test_split_is_opened_for_the_best_variant_alone(tmp_path: Path) -> None:
    from featurebank import read_variants, run_variants
    from featurebank.pipeline import open_test_once

    path = variants_file(tmp_path)
    variants = read_variants(path)
    done = list(run_variants(variants, cache=tmp_path / "cache"))
    assert not any("test" in found.result.chosen.metrics for found in done)
    done = open_test_once(variants, done)
    accuracies = [found.result.chosen.metrics["val"]["accuracy"] for found in done]
    tested = ["test" in found.result.chosen.metrics for found in done]
    assert tested.count(True) == 1
    assert accuracies[tested.index(True)] == max(accuracies)
    (alone,) = run_variants(read_variants(path, only=["noise"]), cache=tmp_path / "cache")
    assert "test" in alone.result.chosen.metrics, "a variant that runs alone is the best one"


def test_variants_of_different_images_have_no_best(tmp_path: Path) -> None:
    from featurebank import read_variants, run_variants
    from featurebank.errors import ConfigError

    variants = read_variants(variants_file(tmp_path, "dataset.per_class = 10"))
    with pytest.raises(ConfigError, match=r"'once' for variants with different \[dataset\] sections"):
        next(run_variants(variants, cache=tmp_path / "cache"))


def test_rows_of_one_bank_are_planned_once(tmp_path: Path) -> None:
    from featurebank import read_variants
    from featurebank.pipeline import plan_variants

    path = variants_file(tmp_path, 'extract.views = 2\nextract.augment = "flip"')
    text = path.read_text() + '\n[[variant]]\nname = "again"\nextract.taps = ["pooled", "map"]\n'
    path.write_text(text)
    whole, noise, again = (p["extract"] for p in plan_variants(read_variants(path), cache=tmp_path, measure=True))
    assert (whole["rows"], whole["missing"], whole["bytes"]) == (200, 600, 600 * 16 * 4)
    assert (noise["missing"], noise["bytes"]) == (200, 200 * 16 * 4)
    assert again["missing"] == 200, "without views it is another bank"
    assert again["bytes"] == 200 * 5 * 5 * 16 * 2, "it takes the vectors of the clean images from the first"
    assert all(plan["seconds"] > 0 for plan in (whole, noise, again))
    text += '\n[[variant]]\nname = "same"\nextract.taps = ["map"]\n'
    path.write_text(text)
    last = plan_variants(read_variants(path), cache=tmp_path)[-1]["extract"]
    assert (last["missing"], last["bytes"]) == (0, 0)


def test_a_plan_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from featurebank import read_variants
    from featurebank.pipeline import plan_variants

    def no_network(*args: Any) -> None:
        raise AssertionError("a plan opened a connection")

    for name in ("HOME", "KERAS_HOME", "FEATUREBANK_DATA", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    study = read_variants(QUICKSTART.with_name("study_b_cifar10_squeezenet.toml"))
    plans = plan_variants(study, cache=tmp_path, measure=True)
    for plan in plans:
        assert [text.split()[0] for text in plan["downloads"]] == ["dataset", "weights"]
        assert (plan["extract"]["bank"], plan["extract"]["rows"]) == (None, 60000)
    first = plans[0]
    pooled, fire7, fire9 = 512 * 4, 27 * 27 * 384 * 2, 13 * 13 * 512 * 2
    assert first["extract"]["bytes"] == 60000 * (pooled + fire7 + fire9)
    assert first["heads"]["tail_seconds"] > first["extract"]["seconds"] > 0


def test_stages_work_on_the_cluster_that_their_section_names(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: Any
) -> None:
    from featurebank import read_pipeline, run_pipeline
    from featurebank.errors import ClusterError, ConfigError

    def connect(address: str, **options: Any) -> Any:
        raise ClusterError(f"asked {address}")

    monkeypatch.setattr("featurebank.cluster.extraction.connect", connect)
    monkeypatch.setattr("featurebank.cluster.training.heads.connect", connect)
    chosen = [f"dataset.name={str(photos)!r}", f"report.output={str(tmp_path / 'report.html')!r}"]
    chosen += [f"{section}.taps=['pooled']" for section in ("extract", "heads")]  # known without building the network
    extract, heads = "extract.cluster='local:1'", "heads.cluster='local:2'"
    for keys, expected in (([extract, heads], "asked local:1"), ([heads], "asked local:2")):
        with pytest.raises(ClusterError, match=expected):
            run_pipeline(read_pipeline(QUICKSTART, [*chosen, *keys]), cache=tmp_path / "cache")
    with pytest.raises(ConfigError, match=r"--cluster is 'local:0': expected .*\n.*'nowhere'"):
        run_pipeline(
            read_pipeline(QUICKSTART, [*chosen, "extract.cluster='local:0'", "heads.cluster='nowhere'"]),
            cache=tmp_path / "new",
        )
    assert not (tmp_path / "new").exists()
