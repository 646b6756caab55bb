"""`featurebank backbones NAME --layers`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from featurebank.cli.network_view import count, resize_in_words

Ask = Callable[..., tuple[str, str]]


def test_every_layer_is_listed(in_process: Ask) -> None:
    told = json.loads(in_process("backbones", "basenet", "--layers", "--json")[0])
    layers = {one["layer"]: one for one in told["layers"]}
    assert layers["conv2"] == {
        "layer": "conv2", "kind": "Conv2D", "shape": [10, 10, 16], "parameters": 5 * 5 * 6 * 16 + 16,
        "cut_point": False,
    }  # fmt: skip
    assert layers["pool2"]["cut_point"]
    cuts = json.loads(in_process("backbones", "basenet", "--json")[0])["cut_points"]
    assert {cut["layer"] for cut in cuts} == {name for name, one in layers.items() if one["cut_point"]}
    out, _ = in_process("backbones", "basenet", "--layers")
    row = next(line for line in out.splitlines() if "conv2_relu" in line).split()
    assert row[1:8] == ["ReLU", "10", "x", "10", "x", "16", "0"]
    _, errors = in_process("backbones", "--layers", code=2)
    assert "--layers needs the NAME of a network" in errors


NETS = """
from vits import vit

def plain():
    return vit(depth=2), "tf"

def sized(image_size=64):
    return vit(side=image_size, depth=2, pooling="mean"), "tf"
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vit_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_transformer(in_process: Ask, nets: None) -> None:
    value = json.loads(in_process("backbones", "vit_nets:plain", "--json")[0])
    assert value["tokens"] == {"count": 17, "prefix": 1, "class_token": True, "grid": [4, 4]}
    assert value["taps"]["map"] == {"shape": [4, 4, 16], "dtype": "float16", "bytes": 2 * 4 * 4 * 16}
    assert value["taps"]["cls"] == value["taps"]["pooled"] == {"shape": [16], "dtype": "float32", "bytes": 64}
    assert (value["pooling"], value["form"], value["licence"]) == ("class token", "keras", None)
    assert [cut["layer"] for cut in value["cut_points"]][-1] == "norm"
    out, _ = in_process("backbones", "vit_nets:plain")
    for line in (
        "vit_nets:plain, 32 x 32 pixels (fixed image size)",
        "features: 17 tokens of 16: class token, 4 x 4 patches",
        "pooled: class token",
        "images: the middle square, 7/8 of the shorter side (small images: all of it), bicubic",
    ):
        assert line in out.splitlines()
    rows = {line.split()[0] for line in out.splitlines() if line.split()}
    assert {"pooled", "map", "tokens", "cls", "block1_out"} <= rows


def test_the_image_size_of_a_function(in_process: Ask, nets: None) -> None:
    out, _ = in_process("backbones", "vit_nets:sized", "--image-size", "32")
    assert "vit_nets:sized, 32 x 32 pixels (the image size can be chosen)" in out
    assert "pooled: mean of patches" in out


def test_a_network_of_maps_says_its_figures(in_process: Ask) -> None:
    value = json.loads(in_process("backbones", "basenet", "--json")[0])
    assert value["tokens"] is None
    assert set(value["taps"]) == {"pooled", "map"}
    assert value["multiply_adds"] > value["parameters"] > 0
    assert "any image size from" in in_process("backbones", "basenet")[0]


def test_words_and_numbers() -> None:
    assert [count(number) for number in (2872, 23587712, 4089284608)] == ["2.9 k", "23.6 M", "4.09 G"]
    assert resize_in_words("stretch:224:lanczos:antialias:centre:v1").startswith("both sides are scaled to 224 pixels")
    assert resize_in_words("of:the:future") == "of:the:future"
