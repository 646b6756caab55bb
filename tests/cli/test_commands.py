"""The commands as other people's scripts use them: exit codes, JSON keys, one line for a user's mistake."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featurebank import set_ram, set_threads
from featurebank.cli import main
from featurebank.cli.extraction_view import print_estimates
from featurebank.doctor import Finding, diagnose
from featurebank.extraction.estimate import Estimate

pytestmark = pytest.mark.heavy

EXTRACT = ("extract", "--backbone", "mobilenet_v2", "--weights", "random:0", "--image-size", "32")
GRID = """
[[head]]
kind = "ridge"
alpha = [1.0, 10.0]
[[head]]
kind = "nearest_mean"
"""


@dataclass(frozen=True)
class Done:
    """What a command has written, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def featurebank(*words: str | int | Path, cwd: Path, code: int = 0) -> Done:
    """Runs a command in this process, because each new one would import TensorFlow once more."""
    out, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.delenv("FEATUREBANK_CACHE", raising=False)
        patch.setattr(sys, "argv", ["featurebank", *map(str, words)])
        with redirect_stdout(out), redirect_stderr(errors), pytest.raises(SystemExit) as stop:
            main()
        set_threads(None)
        set_ram(None)
    return checked(Done(int(stop.value.code or 0), out.getvalue(), errors.getvalue()), code)


def in_own_process(*words: str | int | Path, cwd: Path, code: int = 0) -> Done:
    environment = {name: value for name, value in os.environ.items() if name != "FEATUREBANK_CACHE"}
    done = subprocess.run(
        [sys.executable, "-m", "featurebank", *map(str, words)],
        cwd=cwd, capture_output=True, text=True, env=environment, check=False, timeout=300,
    )  # fmt: skip
    return checked(Done(done.returncode, done.stdout, done.stderr), code)


def checked(done: Done, code: int) -> Done:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def answer(*words: str | int | Path, cwd: Path) -> Any:
    """Returns the one JSON document that a command prints on standard output."""
    return json.loads(featurebank(*words, "--json", cwd=cwd).stdout)


def complaint(*words: str | Path, cwd: Path) -> str:
    """Returns the one line that a command fails with."""
    done = featurebank(*words, cwd=cwd, code=1)
    return one_line(done.stdout, done.stderr)


def one_line(output: str, errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, errors
    assert output == ""
    assert "Traceback" not in errors
    return lines[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with photos of two classes, a grid, and a cache in which both were used."""
    place = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    for label, colour in enumerate(((200, 40, 40), (40, 40, 200))):
        for number in range(30):
            pixels = np.clip(np.array(colour) + rng.normal(0, 40, (40, 48, 3)), 0, 255).astype(np.uint8)
            path = place / "photos" / f"class{label}" / f"{number:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    (place / "photos" / "class0" / "broken.jpg").write_bytes(b"no image")
    (place / "grid.toml").write_text(GRID)
    featurebank(*EXTRACT, "--dataset", "photos", cwd=place)
    featurebank("heads", "--grid", "grid.toml", cwd=place)
    return place


def test_extract_answers_with_the_keys_of_the_contract(place: Path) -> None:
    found = answer(*EXTRACT, "--dataset", "photos", "--tap", "pooled", cwd=place)
    keys = {"bank", "rows", "added", "reused", "skipped", "seconds", "images_per_second", "engine", "precision", "taps"}
    assert set(found) == keys
    assert (found["rows"], found["added"], found["reused"]) == (60, 0, 60)
    assert found["skipped"] == [{"id": "class0/broken.jpg", "reason": "not an image that can be read, but a text"}]
    assert found["taps"] == {"pooled": {"shape": [1280], "dtype": "float32", "bytes": 60 * 1280 * 4}}
    assert Path(place, found["bank"], "manifest.json").is_file()


def test_extract_says_that_there_was_nothing_to_do(place: Path) -> None:
    out = featurebank(*EXTRACT, "--dataset", "photos", cwd=place).stdout
    assert "nothing to extract: the bank has all 60 images" in out


def test_a_bad_image_stops_the_run_on_request(place: Path) -> None:
    line = complaint(*EXTRACT, "--dataset", "photos", "--on-bad-image", "fail", cwd=place)
    assert "class0/broken.jpg" in line
    assert "--on-bad-image skip" in line


def test_a_budget_picks_a_tap_and_tells_which(place: Path) -> None:
    words = (*EXTRACT, "--dataset", "photos", "--tap", "auto:100kB", "--dry-run")
    done = featurebank(*words, cwd=place)
    assert "auto:100kB: " in done.stderr
    assert " of the multiply-adds remain)" in done.stderr
    assert "60 of 61 images to compute" in done.stdout
    line = complaint(*EXTRACT, "--dataset", "photos", "--tap", "auto:1kB", cwd=place)
    assert "auto:1kB: no cut of mobilenet_v2 fits" in line


@pytest.mark.parametrize(("rows", "expected"), [(60, "60 of 61 images to"), (240, "240 views of 61 images to")])
def test_an_estimate_counts_views_as_such(rows: int, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_estimates([Estimate(Path("cache/bank"), 61, rows, 1000, 2.0, 30.0, "openvino")], as_json=False)
    assert capsys.readouterr().out.startswith(expected)


def test_heads_and_leaderboard_answer_with_the_keys_of_the_contract(place: Path) -> None:
    for command in (("heads", "--grid", "grid.toml"), ("leaderboard",)):
        found = answer(*command, cwd=place)
        assert {"runs", "best", "seconds"} <= set(found)
        assert found["best"] == found["runs"][0]["run"]
        for run in found["runs"]:
            assert {"run", "head", "params", "tap", "seed", "seconds", "metrics"} <= set(run)
            assert set(run["metrics"]) == {"train", "val"}
            assert {"accuracy", "loss", "macro_f1"} <= set(run["metrics"]["val"])
    assert len(found["runs"]) == 3


def test_only_the_chosen_run_shows_the_test_split_and_only_on_request(place: Path, tmp_path: Path) -> None:
    featurebank("--cache", tmp_path, *EXTRACT, "--dataset", "photos", cwd=place)
    found = answer("--cache", tmp_path, "heads", "--grid", "grid.toml", "--test", cwd=place)
    tested = [run for run in found["runs"] if "test" in run["metrics"]]
    assert [run["run"] for run in tested] == [found["best"]]
    low, high = tested[0]["metrics"]["test"]["accuracy_interval"]
    assert 0 <= low <= tested[0]["metrics"]["test"]["accuracy"] <= high <= 1


def test_one_head_with_parameters(place: Path) -> None:
    found = answer("heads", "--head", "knn", "-p", "n_neighbors=3", "-p", "metric=cosine", cwd=place)
    assert found["runs"][0]["params"].items() >= {"n_neighbors": 3, "metric": "cosine"}.items()


def test_leaderboard_sorts_cuts_and_writes_csv(place: Path, tmp_path: Path) -> None:
    found = answer("leaderboard", "--sort", "loss", "--top", "2", "--csv", tmp_path / "runs.csv", cwd=place)
    losses = [run["metrics"]["val"]["loss"] for run in found["runs"]]
    assert losses == sorted(losses)
    assert len(losses) == 2
    lines = (tmp_path / "runs.csv").read_text().splitlines()
    assert lines[0].startswith("run,name,head,params,tap,views,seed,seconds,bank,train_accuracy")
    assert len(lines) >= 4


def test_tables_are_for_people(place: Path) -> None:
    text = featurebank("leaderboard", cwd=place).stdout
    assert "ridge(alpha=" in text
    assert "selected by validation" in text


def test_the_lists(place: Path) -> None:
    assert {"digits", "cifar10", "cifar100"} <= {entry["name"] for entry in answer("datasets", cwd=place)}
    names = {entry["name"] for entry in answer("backbones", cwd=place)}
    assert {"efficientnet_lite0", "resnet50", "vgg16", "vgg19", "mobilenet_v2", "densenet121"} <= names
    assert "resnet50" in featurebank("backbones", cwd=place).stdout
    assert "digits" in featurebank("datasets", cwd=place).stdout


def test_the_cuts_of_a_backbone(place: Path) -> None:
    cuts = {cut["layer"]: cut for cut in answer("backbones", "vgg16", cwd=place)["cut_points"]}
    assert cuts["block4_pool"]["shape"] == [14, 14, 512]
    assert cuts["block4_pool"]["bytes_float16"] == 14 * 14 * 512 * 2
    assert 0 < cuts["block4_pool"]["remaining_work"] < 1


def test_upkeep(place: Path, tmp_path: Path, pixels: Any) -> None:
    listed = answer("cache", "ls", cwd=place)
    assert [entry["images"] for entry in listed] == [60]
    shown = answer("cache", "show", cwd=place)
    assert shown["recipe"]["image_size"] == 32
    assert shown["skipped"][0]["id"] == "class0/broken.jpg"
    featurebank("--cache", tmp_path, *EXTRACT[:-1], "40", "--dataset", "photos", cwd=place)
    other = str(next(tmp_path.glob("*px-*")))
    assert answer("cache", "show", "--than", other, cwd=place)["differs"] == {"image_size": [32, 40]}
    featurebank("--cache", tmp_path, "cache", "rm", Path(other).name, "--yes", cwd=place)
    assert answer("--cache", tmp_path, "cache", "ls", cwd=place) == []


def until(last: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Ends after a finding; those that follow take seconds, and another test looks at them."""
    for finding in findings:
        yield finding
        if finding.name == last:
            return


def test_doctor_finds_this_installation_in_order(place: Path) -> None:
    found = answer("doctor", cwd=place)
    assert {check["name"]: check["ok"] for check in found}["TensorFlow runs"]
    assert all(check["ok"] for check in found)


def test_doctor_says_what_is_wrong(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurebank.doctor.diagnose", lambda cache: until("cache", diagnose(cache)))
    (place / "plain").write_text("a file")
    done = featurebank("--cache", "plain/below", "doctor", cwd=place, code=1)
    assert "BAD cache" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("extract", "--backbone", "resnet5"), "did you mean 'resnet50'"),
        (("extract", "--backbone", "vgg16", "--weights", "random"), "random:"),
        (("extract", "--backbone", "vgg16", "--weights", "random:0", "--dataset", "digit"), "did you mean 'digits'"),
        (("extract", "--backbone", "vgg16", "--weights", "random:0", "--dataset", "./nowhere"), "nowhere"),
        (("extract", "--backbone", "vgg16", "--weights", "random:0", "--tap", "auto:2XB"), "as 500MB or 8GB"),
        (("heads", "--bank", "photoz"), "unknown bank"),
        (("heads", "--grid", "quik"), "did you mean 'quick'"),
        (("heads", "--head", "ridg"), "did you mean 'ridge'"),
        (("heads", "--head", "ridge", "-p", "alhpa=1"), "did you mean 'alpha'"),
        (("heads", "--head", "ridge", "--tap", "map"), "--tap map"),
        (("run", "nowhere.toml"), "nowhere.toml"),
        (("--threads", "0", "datasets"), "--threads"),
        (("--cache", "empty", "leaderboard"), "no bank in the cache"),
    ],
)
def test_mistakes_get_one_line(place: Path, words: tuple[str, ...], expected: str) -> None:
    assert expected in complaint(*words, cwd=place)


def test_whole_in_a_process_of_its_own(place: Path) -> None:
    assert json.loads(in_own_process("heads", "--grid", "grid.toml", "--json", cwd=place).stdout)["best"]
    done = in_own_process("extract", "--backbone", "resnet5", cwd=place, code=1)
    assert "did you mean 'resnet50'" in one_line(done.stdout, done.stderr)


def test_a_wrong_tap_names_the_nearest_layer(place: Path) -> None:
    assert "did you mean 'block_12_add'" in complaint(
        *EXTRACT, "--dataset", "photos", "--tap", "block_12_ad", cwd=place
    )


@pytest.mark.parametrize(
    "words", [("extract",), ("heads", "--grid", "--head", "ridge"), ("heads", "-p", "C=1"), ("nonsense",), ("run",)]
)
def test_wrong_usage_exits_with_2(place: Path, words: tuple[str, ...]) -> None:
    assert "Usage:" in featurebank(*words, cwd=place, code=2).stderr


def test_missing_imagenet_weights_get_one_line(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://localhost:9")  # nothing listens there: no network, wherever this runs
    line = complaint("extract", "--backbone", "resnet50", cwd=place)
    assert "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5" in line
    assert str(tmp_path) in line
    assert "--weights random:0" in line


def test_a_folder_without_images(place: Path, tmp_path: Path) -> None:
    assert "no " in complaint(*EXTRACT, "--dataset", tmp_path, cwd=place)


def test_verify_finds_a_flipped_byte(place: Path, tmp_path: Path) -> None:
    featurebank("--cache", tmp_path, *EXTRACT, "--dataset", "photos", cwd=place)
    assert "0 files damaged" in featurebank("--cache", tmp_path, "cache", "verify", "--canaries", 0, cwd=place).stdout
    shard = next(tmp_path.glob("*/shard-*.h5"))
    data = bytearray(shard.read_bytes())
    data[-9] ^= 1
    shard.write_bytes(data)
    assert "is damaged" in featurebank("--cache", tmp_path, "cache", "verify", "--forget", cwd=place, code=1).stdout
    again = answer("--cache", tmp_path, *EXTRACT, "--dataset", "photos", cwd=place)
    assert (again["rows"], again["added"]) == (60, 60)
    assert "0 files damaged" in featurebank("--cache", tmp_path, "cache", "verify", "--canaries", 0, cwd=place).stdout


def test_a_network_of_ones_own(place: Path, tmp_path: Path) -> None:
    (place / "small_nets.py").write_text(
        "import keras\n"
        "def build():\n"
        "    keras.utils.set_random_seed(0)\n"
        "    return keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(8, 3, 2)])\n"
    )
    cuts = answer("backbones", "small_nets:build", "--preprocessing", "tf", cwd=place)["cut_points"]
    assert [cut["shape"] for cut in cuts] == [[15, 15, 8]]
    words = ("--cache", tmp_path, "extract", "--backbone", "small_nets:build", "--dataset", "photos", "--json")
    done = featurebank(*words, "--preprocessing", "tf", cwd=place)
    assert json.loads(done.stdout)["taps"]["pooled"]["shape"] == [8]
    assert "map of small_nets.build: the output of 'conv2d', 15 x 15 x 8" in done.stderr
    assert "--preprocessing" in complaint(*words[2:-1], cwd=place)
    best = answer("--cache", tmp_path, "heads", "--head", "ridge", cwd=place)["best"]
    words = ("--cache", tmp_path, "export", best, "-o", "whole.keras")
    done = in_own_process(*words, cwd=place, code=1)  # this one has built the network, and knows it
    assert "name it yourself with --backbone small_nets:build" in one_line(done.stdout, done.stderr)
    featurebank(*words, "--backbone", "small_nets:build", cwd=place)
    assert (place / "whole.keras").is_file()
