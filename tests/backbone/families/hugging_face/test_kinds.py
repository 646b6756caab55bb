"""The kinds of vision networks of transformers, and what every other model is told to be."""

from __future__ import annotations

from typing import Any

import pytest

from featurebank.backbone.families.hugging_face.kinds import KINDS, kind_of, patch_side
from featurebank.backbone.families.hugging_face.processors import PROCESSORS
from featurebank.errors import ConfigError

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"auto_map": {"AutoModel": "evil.Net"}, "model_type": "vit"}, "needs code of its repository.*never runs"),
    ({"quantization_config": {"bits": 4}, "model_type": "vit"}, "quantised weights"),
    ({}, "no 'model_type'"),
    ({"model_type": 7}, "which cannot be a backbone"),
    ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "BertForMaskedLM of type 'bert', which reads text"),
    ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "type 'gpt2', which cannot be a backbone"),
    ({"model_type": "detr", "architectures": ["DetrForObjectDetection"]}, "detects objects"),
    ({"model_type": "beit", "architectures": ["BeitForSemanticSegmentation"]}, "segments images"),
    ({"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"]}, "recognises speech"),
    ({"model_type": "videomae", "architectures": ["VideoMAEForVideoClassification"]}, "classifies videos"),
    ({"model_type": "siglip2"}, "several inputs"),
    ({"model_type": "timm_wrapper"}, "use timm:NAME"),
]


@pytest.mark.parametrize(("config", "message"), REFUSED)
def test_other_models_are_refused_in_one_line_that_says_what_they_are(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        kind_of(config, "hf:example")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("hf:example")


def test_a_repository_with_a_classifier_may_pool_otherwise() -> None:
    bare = kind_of({"model_type": "dinov2", "architectures": ["Dinov2Model"]}, "x")
    whole = kind_of({"model_type": "dinov2", "architectures": ["Dinov2ForImageClassification"]}, "x")
    assert (bare.pooling, whole.pooling) == ("class token", "class token and mean of patches")
    assert bare.network == whole.network == "Dinov2Model"
    tower = kind_of({"model_type": "clip", "architectures": ["CLIPForImageClassification"]}, "x")
    assert (tower.section, tower.network, tower.config) == ("vision_config", "CLIPVisionModel", "CLIPVisionConfig")


def test_each_kind_has_an_image_processor() -> None:
    assert {kind.processor for kind in KINDS.values()} <= set(PROCESSORS)


@pytest.mark.parametrize(
    ("word", "patch", "side"), [("vit", 16, 16), ("vit", None, 0), ("vit", "16", 0), ("swin", 4, 0)]
)
def test_only_networks_of_tokens_have_patches_that_must_be_whole(word: str, patch: Any, side: int) -> None:
    assert patch_side(KINDS[word], {"patch_size": patch}) == side
