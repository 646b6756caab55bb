"""What is taken from config.json, and what is out of every proportion."""

from __future__ import annotations

from typing import Any

import pytest

from featurebank.backbone.families.hugging_face.config import identity_of, network_values, side_of
from featurebank.backbone.families.hugging_face.kinds import KINDS
from featurebank.errors import ConfigError

KNOWN = frozenset({
    "hidden_size", "num_hidden_layers", "image_size", "patch_size", "depths", "num_block_repeats", "focal_levels",
    "depth_coefficient", "hidden_dropout_prob", "layer_norm_eps",
})  # fmt: skip
VIT = KINDS["vit"]


@pytest.mark.parametrize(
    "bomb",
    [
        {"num_hidden_layers": 10**6},
        {"hidden_size": 10**7},
        {"hidden_size": -(10**400)},
        {"image_size": 10**4},
        {"image_size": [224, 5000]},
        {"depths": [600, 600]},
        {"depths": [1] * 300},
        {"depths": [[[[[[2]]]]]]},
        {"num_block_repeats": [2, 2], "depth_coefficient": 999.5},
        {"focal_levels": [60000]},
        {"layer_norm_eps": float("nan")},
        {"layer_norm_eps": float("inf")},
    ],
)
def test_numbers_out_of_proportion_are_refused(bomb: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^hf:x: .*config\.json"):
        network_values(bomb, VIT, KNOWN, "hf:x")


def test_only_keys_that_define_the_network_are_taken() -> None:
    config = {
        "hidden_size": 8,
        "_attn_implementation": "somebody/kernels",
        "return_dict": False,
        "hidden_dropout_prob": 1,
    }
    assert network_values(config, VIT, KNOWN, "hf:x") == {"hidden_size": 8}
    tower = KINDS["clip"]
    assert network_values({"vision_config": config, "hidden_size": 3}, tower, KNOWN, "hf:x") == {"hidden_size": 8}
    with pytest.raises(ConfigError, match=r"'vision_config' in config\.json is a list"):
        network_values({"vision_config": []}, tower, KNOWN, "hf:x")


def test_networks_of_other_values_or_another_pool_have_another_identity() -> None:
    dinov2 = KINDS["dinov2"]
    assert dinov2.classifier
    made = {
        identity_of(*each) for each in ((VIT, {}), (VIT, {"hidden_size": 8}), (dinov2, {}), (dinov2.classifier, {}))
    }
    assert len(made) == 4


def test_the_size_of_the_images() -> None:
    assert [side_of({"image_size": value}) for value in (224, [64, 64], [64, 32], "x", None)] == [
        224,
        64,
        None,
        None,
        None,
    ]
