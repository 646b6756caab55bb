"""Image processors of transformers: our rules give its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featurebank.backbone.families.hugging_face.processors import PROCESSORS, Processor
from featurebank.backbone.preprocess import arithmetic
from featurebank.backbone.resize import resize_image
from featurebank.errors import ConfigError

COUNT = 32
EXACT = 2.0
"""Levels of 255."""
MOBILEVIT = {"size": {"shortest_edge": 288}}  # by default it crops more than it has
CASES: list[tuple[str, dict[str, Any]]] = [
    ("ConvNext", {"size": {"shortest_edge": 224}, "crop_pct": 0.875}),
    ("CLIP", {}),
    ("ViT", {"size": 192}),
    *((kind, {}) for kind in PROCESSORS if kind not in {"CLIP", "MobileViT"}),
    ("MobileViT", MOBILEVIT),
    ("EfficientNet", {"rescale_offset": True, "rescale_factor": 1 / 127.5}),
    ("EfficientNet", {"include_top": False, "rescale_offset": True, "rescale_factor": 1 / 127.5}),
    ("Beit", {"size": 256, "crop_size": 224, "do_center_crop": True}),
    ("Pvt", {"size": 224, "resample": 2}),
    ("ViT", {"do_normalize": False}),
    ("ViT", {"do_rescale": False}),
    ("Siglip", {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.1, 0.2, 0.3]}),
]


def photos() -> Iterator[np.ndarray]:
    """Smooth images of odd sizes, as photos are."""
    generator = np.random.default_rng(0)
    for _ in range(COUNT):
        height, width = generator.integers(32, 300, 2) * 2 + 1
        coarse = generator.integers(0, 256, (9, 11, 3), dtype=np.uint8)
        yield np.asarray(Image.fromarray(coarse).resize((int(width), int(height)), Image.Resampling.BICUBIC)).copy()


def _compare(kind: str, config: dict[str, Any], form: str) -> None:
    import transformers

    made = getattr(transformers, f"{kind}ImageProcessor{form}", None)
    if made is None:
        pytest.skip("transformers has no such class")
    theirs = made(**config)
    ours = Processor({**config, "image_processor_type": f"{kind}ImageProcessorFast"}, "ViT", "hf:x")
    rule, size, does = ours.resize_rule(), ours.side(), arithmetic(ours.normalization())
    for photo in photos():
        expected = np.asarray(theirs(photo, return_tensors="np")["pixel_values"][0]).transpose(1, 2, 0)
        values = resize_image(photo, size, rule) * np.array(does.scale) + np.array(does.offset)
        difference = (values - (expected[..., ::-1] if ours.flips else expected)) / np.array(does.scale)
        assert np.abs(difference).max() <= EXACT + 1e-3


@pytest.mark.networks
@pytest.mark.heavy
@pytest.mark.parametrize("form", ["", "Pil"])
@pytest.mark.parametrize(("kind", "config"), CASES[:3])
def test_pixels_equal_those_of_transformers(kind: str, config: dict[str, Any], form: str) -> None:
    _compare(kind, config, form)


@pytest.mark.networks
@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("form", ["", "Pil"])
@pytest.mark.parametrize(("kind", "config"), CASES[3:])
def test_pixels_of_every_processor_equal_those_of_transformers(kind: str, config: dict[str, Any], form: str) -> None:
    _compare(kind, config, form)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"image_processor_type": "DonutImageProcessor"}, "are prepared by DonutImageProcessor"),
        ({"image_processor_type": "ViTImageProcessor", "do_resize": False}, "are not resized"),
        ({"do_pad": True}, "are padded"),
        ({"resample": 0}, "filter 0"),
        ({"resample": [3]}, "filter"),
        ({"size": {"height": 224, "width": 320}}, "no square"),
        ({"size": {"shortest_edge": 224}}, "keep their proportions"),
        ({"size": {"shortest_edge": 224, "longest_edge": 500}}, "no square"),
        ({"size": 10**9}, "expected pixels from 1 to 4096"),
        ({"size": True}, "expected pixels"),
        ({"image_mean": [1, 2]}, "expected three numbers"),
        ({"image_std": [0.5, 0, 0.5]}, "divided by zero"),
        ({"image_mean": [1e300, 0, 0]}, "expected three numbers"),
        ({"rescale_factor": "big"}, "expected a positive number"),
        ({"image_processor_type": "CLIPImageProcessor", "crop_size": 300}, "with a black border"),
    ],
)
def test_what_no_rule_does_is_refused_in_one_line_with_the_way_out(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:  # noqa: PT012 - any of the three finds it
        processor = Processor(config, "ViT", "hf:x")
        processor.side()
        processor.resize_rule()
        processor.normalization()
    assert "--preprocessing" in str(caught.value)
    assert "--resize" in str(caught.value)


def test_names_of_all_generations_mean_the_same() -> None:
    for name in ("CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPFeatureExtractor", "CLIPImageProcessorPil"):
        assert Processor({"image_processor_type": name}, "ViT", "hf:x").kind == "CLIP"
        assert Processor({"feature_extractor_type": name}, "ViT", "hf:x").kind == "CLIP"
    assert Processor({}, "Beit", "hf:x").kind == "Beit"
