"""`featurebank backbones NAME --layers`."""

from __future__ import annotations

import json
from collections.abc import Callable

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
