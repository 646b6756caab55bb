"""KerasHub's presets are read from its lists as data; the sizes of the usual networks are recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from featurebank.backbone.families.keras_hub import search
from featurebank.backbone.keras_networks.hub import presets
from featurebank.backbone.keras_networks.hub.kinds import KINDS
from featurebank.backbone.keras_networks.hub.library import FAMILIES
from featurebank.backbone.keras_networks.hub.presets import (
    Preset,
    find_preset,
    listed_presets,
    recorded_architecture,
)
from featurebank.errors import ConfigError, UnknownNameError

LIST = """
backbone_presets = {
    "%s": {"metadata": {"description": ("A " "network.")}, "kaggle_handle": "kaggle://keras/vit/keras/%s/4"},
}
raise RuntimeError("this code must not run")
"""
NAMES = {"vit": "vit_tiny", "swin_transformer": "swin_tiny", "bert": "bert_tiny", "sam": "sam_tiny", "whisper": "ear"}


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with lists of presets, in the place of KerasHub."""
    for family, name in NAMES.items():
        folder = tmp_path / "src" / "models" / family
        folder.mkdir(parents=True)
        (folder / f"{family}_presets.py").write_text(LIST % (name, name))
    monkeypatch.setattr(presets, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    listed_presets.cache_clear()
    yield
    listed_presets.cache_clear()


def test_lists_are_read_without_running_them() -> None:
    place = "kaggle://keras/vit/keras/vit_tiny/4"
    assert listed_presets()["vit_tiny"] == Preset("vit_tiny", "vit", "A network.", place)
    assert [entry.name for entry in search("*tiny")] == ["keras_hub:swin_tiny", "keras_hub:vit_tiny"]
    assert search("vit*")[0].note == "A network."
    assert search("nothing*") == []


def test_what_is_no_network_of_images_is_refused_in_one_line() -> None:
    for name, what in {"bert_tiny": "a language model", "sam_tiny": "for segmentation", "ear": "of speech"}.items():
        with pytest.raises(ConfigError, match=what) as caught:
            find_preset(name)
        assert "\n" not in str(caught.value)


def test_an_unknown_preset_gets_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'vit_tiny'"):
        find_preset("vit_tinny")


def test_a_preset_without_recorded_sizes_names_those_that_have_them() -> None:
    with pytest.raises(ConfigError, match=r"vit_tiny are not recorded, .* vit_base_patch16_224_imagenet"):
        recorded_architecture(find_preset("vit_tiny"))


def test_lists_elsewhere_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="cannot be listed"):
        listed_presets()


def test_each_family_has_a_kind_and_recorded_networks() -> None:
    table = presets._table()
    assert set(table) == set(KINDS) == set(FAMILIES)
    for family, part in table.items():
        assert part["source"]
        for name in part["presets"]:
            one = recorded_architecture(Preset(name, family, "", ""))
            assert one.parameters > 0
            assert one.channels > 0
            assert one.resize.split()[0] in {"crop", "stretch"}
            assert one.image_size >= KINDS[family].step_of(one.arguments)
