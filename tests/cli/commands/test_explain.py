"""`featurebank explain` as people and scripts use it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from featurebank import extract, train_heads
from featurebank.bank import Bank
from featurebank.runs.run import RunRecord

pytestmark = pytest.mark.heavy

Answer = tuple[str, str]


@pytest.fixture
def ask(tmp_path: Path, in_process: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Runs the command in this process, with the cache of this test; returns both outputs."""
    monkeypatch.chdir(tmp_path)
    return partial(in_process, "--cache", tmp_path / "cache", "explain")


@pytest.fixture
def bank(photos: Path, tmp_path: Path) -> Bank:
    return extract(photos, "tiny:colours", ["pooled", "map"], cache=tmp_path / "cache")


@pytest.fixture
def run(bank: Bank) -> RunRecord:
    return train_heads(bank, "ridge")[0]


def error(errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, errors
    return lines[0]


def test_a_list_for_people_and_pictures(ask: Callable[..., Answer], run: RunRecord, photos: Path) -> None:
    output, said = ask("best", photos / "ant" / "0.jpg", photos / "bee")
    first, *others = output.splitlines()
    name, class_name, probability, label, picture = first.split("\t")
    assert (name, label) == (str(photos / "ant" / "0.jpg"), "ant")
    assert class_name in {"ant", "bee"}
    assert probability.endswith("%")
    assert len(others) == 12
    assert Path("explanations", picture).is_file()
    assert len(list(Path("explanations").glob("*.png"))) == 13
    assert f"run {run.run}: ridge on pooled" in said
    assert said.splitlines()[-1] == "pictures: explanations"


def test_json_and_a_page(ask: Callable[..., Answer], run: RunRecord, photos: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    output, said = ask(run.run[:6], photos / "ant", bad, "-o", "page.html", "--class", "bee", "--json")
    found = json.loads(output)
    assert (found["run"], found["method"], found["layer"], found["output"]) == (run.run, "cam", None, "page.html")
    assert len(found["images"]) == 12
    assert {image["class"] for image in found["images"]} == {"bee"}
    assert set(found["images"][0]) == {"file", "class", "probability", "predicted", "label", "heat"}
    assert [one["file"] for one in found["skipped"]] == [str(bad)]
    assert f"cannot read {bad}: " in said
    assert Path("page.html").read_text(encoding="utf-8").count("<img") == 24
    output, _ = ask("best", photos / "ant" / "0.jpg", "-o", "out", "--method", "gradcam", "--layer", "cut", "--json")
    found = json.loads(output)
    assert (found["method"], found["layer"]) == ("gradcam", "cut")
    assert Path(found["images"][0]["picture"]).is_file()


@pytest.mark.usefixtures("run")
def test_mistakes_get_one_line(ask: Callable[..., Answer], photos: Path, tmp_path: Path) -> None:
    image, other, *_ = sorted(photos.glob("ant/*"))
    ask("best", image)
    assert "replace it with --force" in error(ask("best", image, code=1)[1])
    ask("best", image, "--force")
    ask("best", Path(other).relative_to(photos))  # by its id; another picture in the same folder
    assert "there is no folder 'gone'" in error(ask("best", image, "-o", "gone/page.html", code=1)[1])
    (tmp_path / "a.html").mkdir()
    assert "is a folder" in error(ask("best", image, "-o", "a.html", code=1)[1])
    assert "class 'beee'" in error(ask("best", image, "-o", "x", "--class", "beee", code=1)[1])
    assert "'cu'" in error(ask("best", image, "-o", "x", "--layer", "cu", code=1)[1])
    words = ("-o", "x", "--layer", "cut", "--method", "cam")
    assert "--layer is 'cut', but the method cam has no layer" in error(ask("best", image, *words, code=2)[1])
    assert "image 'gone.jpg' cannot be read: there is no such file" in error(ask("best", "gone.jpg", code=1)[1])
    assert "Invalid value for '--method'" in ask("best", image, "--method", "magic", code=2)[1]
    assert not Path("x").exists()


def test_a_run_of_another_bank(ask: Callable[..., Answer], run: RunRecord, photos: Path, tmp_path: Path) -> None:
    other = extract(photos, "tiny:network", ["pooled"], cache=tmp_path / "cache")
    message = error(ask(run.run, photos / "ant" / "0.jpg", "--bank", other.name, code=1)[1])
    assert f"run {run.run} belongs to the bank '{run.directory.name}'" in message
    assert f"--bank {run.directory.name}" in message
