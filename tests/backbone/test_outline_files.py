"""Shapes and cut points of a network, known without building it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from featurebank import load_backbone
from featurebank.backbone import Backbone
from featurebank.backbone.keras_networks.cuts import cut_points
from featurebank.backbone.keras_networks.network import KerasBackbone
from featurebank.backbone.outline import Outline, TokenLayout
from featurebank.backbone.outline_files import DIRECTORY, check_taps, outline_of
from featurebank.errors import ConfigError, UnknownNameError
from featurebank.system.sealed_json import read_sealed, write_sealed


@pytest.fixture
def outline(lite: Backbone, tmp_path: Path) -> Outline:
    return outline_of(lite, tmp_path)


def unbuildable(monkeypatch: pytest.MonkeyPatch) -> None:
    def network(self: KerasBackbone) -> Any:
        raise AssertionError("the network was built")

    monkeypatch.setattr(KerasBackbone, "network", network)


def test_it_has_what_the_network_has(outline: Outline, lite: Backbone) -> None:
    assert list(outline.cuts) == cut_points(lite.network())
    model = lite.tap_model(["pooled", "map", "block6d_add", "block6d_add:max"])
    for tap, tensor in model.output.items():
        assert outline.tap_shape(tap) == tensor.shape[1:]


def test_a_misspelt_tap_is_found_without_building(
    outline: Outline, lite: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbuildable(monkeypatch)
    check_taps(lite, ["pooled", "map:max", "block6d_add:avg"], tmp_path)
    check_taps(lite, ["nosuch"], tmp_path / "elsewhere")  # nothing is known there
    with pytest.raises(UnknownNameError, match="unknown tap 'block6d_ad': did you mean 'block6d_add'") as error:
        check_taps(lite, ["pooled", "block6d_ad"], tmp_path)
    assert len(str(error.value)) < 200


def test_the_second_look_builds_nothing(
    outline: Outline, lite: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbuildable(monkeypatch)
    assert outline_of(lite, tmp_path) == outline
    other_weights = load_backbone("efficientnet_lite0", weights="random:7", image_size=32)
    assert outline_of(other_weights, tmp_path) == outline
    with pytest.raises(AssertionError, match="built"):
        outline_of(load_backbone("efficientnet_lite0", weights="random:0", image_size=64), tmp_path)


@pytest.mark.parametrize("damage", ["", "[]", "{}", "no json", None])
def test_a_damaged_memory_is_made_again(
    outline: Outline, lite: Backbone, tmp_path: Path, damage: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = (tmp_path / DIRECTORY).iterdir()
    whole = path.read_text()
    value = json.loads(whole)
    value["cuts"][0]["shape"][0] += 1
    path.write_text(json.dumps(value) if damage is None else damage)
    assert outline_of(lite, tmp_path) == outline
    assert path.read_text() == whole
    monkeypatch.setattr("featurebank.backbone.outline_files.installed_versions", lambda *names: {"keras": "0.0"})
    unbuildable(monkeypatch)
    with pytest.raises(AssertionError, match="built"):
        outline_of(lite, tmp_path)


def test_a_cache_that_cannot_be_written_costs_the_memory_alone(lite: Backbone, tmp_path: Path) -> None:
    (tmp_path / DIRECTORY).write_text("a file where the directory should be")
    assert outline_of(lite, tmp_path).cuts


def test_wrong_taps(outline: Outline) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'block6d_add'.*See there"):
        outline.tap_shape("block6d_ad", "see there")
    with pytest.raises(ConfigError, match="'mean' follows the colon"):
        outline.tap_shape("map:mean")


@pytest.mark.parametrize("grid", [(3, 2), None])
def test_tokens_are_kept(
    lite: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grid: tuple[int, int] | None
) -> None:
    layout = TokenLayout(1, True, grid, 6)
    outline = Outline((), {"tokens": (7, 4), "pooled": (4,)}, layout)
    monkeypatch.setattr(KerasBackbone, "outline", lambda self: outline)
    assert outline_of(lite, tmp_path) == outline
    monkeypatch.setattr(KerasBackbone, "outline", None)
    assert outline_of(lite, tmp_path) == outline


@pytest.mark.parametrize("strange", [{"shapes": []}, {"cuts": [3]}, {"cuts": {}}, {"tokens": [1]}, {"tokens": "x"}])
def test_a_sealed_memory_of_another_form_is_made_again(
    lite: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strange: dict[str, Any]
) -> None:
    """Whoever writes such a file also writes its checksum."""
    outline = Outline((), {"pooled": (4,)})
    monkeypatch.setattr(KerasBackbone, "outline", lambda self: outline)
    outline_of(lite, tmp_path)
    (path,) = (tmp_path / DIRECTORY).iterdir()
    write_sealed(path, {**read_sealed(path), **strange})
    assert outline_of(lite, tmp_path) == outline
