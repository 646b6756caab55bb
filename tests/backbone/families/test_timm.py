"""Networks of timm: their features and their preprocessing are those of timm itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_photos import odd_photos

from featurebank import load_backbone
from featurebank.backbone.libraries import LIBRARIES
from featurebank.backbone.preprocess import arithmetic
from featurebank.errors import ConfigError, FeatureBankError, UnknownNameError, WeightsError

pytestmark = [pytest.mark.networks, pytest.mark.heavy]

SMALL = ("test_vit", "test_convnext2", "test_efficientnet")
ALL = (
    ("vit_tiny_patch16_224", 224), ("vit_tiny_patch16_224", 96), ("deit_tiny_distilled_patch16_224", 224),
    ("vit_small_patch14_reg4_dinov2", 98), ("vit_small_patch16_dinov3", 96), ("swin_tiny_patch4_window7_224", 224),
    ("swinv2_tiny_window8_256", 256), ("beit_base_patch16_224", 64), ("beitv2_base_patch16_224", 64),
    ("vit_base_patch16_siglip_224", 64), ("vit_xsmall_patch16_clip_224", 96), ("eva02_tiny_patch14_224", 98),
    ("convnext_atto", 96), ("convnextv2_atto", 96), ("efficientnet_b0", 96), ("efficientnet_lite0", 96),
    ("mobilenetv4_conv_small", 96), ("mobilenetv3_small_050", 96), ("resnet18", 96), ("resnet50", 64),
    ("regnetx_002", 96), ("regnety_002", 96), ("maxvit_nano_rw_256", 256), ("coatnet_nano_rw_224", 224),
    ("levit_128s", 224), ("cait_xxs24_224", 64), ("xcit_nano_12_p16_224", 96), ("mobilevit_xxs", 128),
    ("pvt_v2_b0", 96), ("densenet121", 64), ("vgg11", 64), ("hiera_tiny_224", 224), ("mixer_s32_224", 224),
    ("vit_wee_patch16_reg1_gap_256", 128), ("vit_pe_core_tiny_patch16_384", 96), ("nfnet_l0", 64),
    ("volo_d1_224", 224), ("fastvit_t8", 96), ("tiny_vit_5m_224", 224), ("davit_tiny", 96),
)  # fmt: skip
"""Networks and the sizes of the images that they are compared on."""


def compared(name: str, size: int | None, count: int = 32) -> None:
    """Compares `pooled` and the last features of a network with the forward pass of timm."""
    import timm
    import torch

    backbone = load_backbone(f"timm:{name}", weights="random:1", image_size=size)
    sized = {"img_size": backbone.image_size} if backbone.spec.is_sized else {}
    reference = timm.create_model(name, **sized).eval()
    missing, _ = reference.load_state_dict(backbone.module().state_dict(), strict=False)
    assert all(backbone.spec.is_classifier(tensor) for tensor in missing)
    last = "tokens" if backbone.outline().tokens else "map"
    module = backbone.tap_module(["pooled", last])
    config = timm.data.resolve_model_data_config(reference)
    mean, deviation = torch.tensor(config["mean"]), torch.tensor(config["std"])
    shape = (count, backbone.image_size, backbone.image_size, 3)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    for start in range(0, count, 8):
        part = images[start : start + 8]
        pooled, final = module(part)
        with torch.no_grad():
            features = reference.forward_features(((part / 255 - mean) / deviation).permute(0, 3, 1, 2))
            expected = reference.forward_head(features, pre_logits=True)
        if features.ndim == 4 and not backbone.spec.is_channels_last(reference):
            features = features.permute(0, 2, 3, 1)
        for ours, theirs in ((pooled, expected), (final, features)):
            assert ours.shape == theirs.shape
            assert float((ours - theirs).norm() / theirs.norm()) < 1e-4
            assert float(theirs.std()) > 1e-4


@pytest.mark.parametrize("name", SMALL)
def test_features_are_those_of_timm(name: str) -> None:
    compared(name, None, count=8)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [*((name, None) for name in SMALL), *ALL])
def test_features_of_many_networks_are_those_of_timm(name: str, size: int | None) -> None:
    compared(name, size)


CONFIGS = ("test_vit", "resnet18.tv_in1k", "vit_base_patch16_siglip_224")
"""Bicubic and bilinear, and squashed."""
MORE_CONFIGS = (
    "vit_tiny_patch16_224", "efficientnet_b0.ra_in1k", "vit_small_patch16_dinov3", "vit_base_patch16_clip_224.openai",
    "mobilenetv4_conv_small", "vgg11.tv_in1k", "convnext_atto", "deit3_small_patch16_224",
)  # fmt: skip
"""Crop shares from .875 to 1."""


@pytest.mark.parametrize("name", [*CONFIGS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_CONFIGS)])
def test_preprocessing_is_that_of_timm(name: str) -> None:
    import timm
    import torch
    from PIL import Image

    backbone = load_backbone(f"timm:{name}", weights="random:0")
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    transform = timm.data.create_transform(**config, is_training=False)
    does = arithmetic(backbone.spec.preprocessing)
    for photo in odd_photos():
        theirs = transform(Image.fromarray(photo)).permute(1, 2, 0)
        ours = torch.from_numpy(backbone.resize(photo).copy()) * torch.tensor(does.scale) + torch.tensor(does.offset)
        difference = (ours - theirs) * torch.tensor(config["std"])
        assert float(difference.abs().max()) <= 2 / 255 + 1e-6, photo.shape


def test_weights_of_a_file_are_those_of_timm(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    model = timm.create_model("test_vit").eval()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    backbone = load_backbone("timm:test_vit", weights=tmp_path / "w.safetensors")
    loaded = backbone.module().state_dict()
    assert all((value == model.state_dict()[name]).all() for name, value in loaded.items())
    larger = load_backbone("timm:test_vit", weights=tmp_path / "w.safetensors", image_size=192)
    expected = timm.layers.resample_abs_pos_embed(model.pos_embed, (12, 12), num_prefix_tokens=model.num_prefix_tokens)
    np.testing.assert_allclose(larger.module().pos_embed, expected.detach(), rtol=1e-5, atol=1e-6)


def test_a_file_of_another_network_is_one_line(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    path = tmp_path / "w.safetensors"
    tensors = timm.create_model("test_vit").state_dict()
    reasons = {
        r"it has no tensor 'blocks\.1\.attn\.qkv\.weight'": {"blocks.1.attn.qkv.weight": None},
        r"'norm\.weight' has shape \(3\), expected \(64\)": {"norm.weight": tensors["norm.weight"][:3].clone()},
        r"'other' is none of this network": {"other": tensors["norm.weight"]},
    }
    for reason, changes in reasons.items():
        save_file({k: v.clone() for k, v in {**tensors, **changes}.items() if v is not None}, path)
        with pytest.raises(WeightsError, match=reason) as raised:
            load_backbone("timm:test_vit", weights=path).module()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_tiny_pach16_224", "did you mean 'vit_tiny_patch16_224'"),
        ("vit_tiny_patch16_224.nothing", "are augreg_in21k"),
        ("vit_tiny_patch16_224_in21k", r"called timm:vit_tiny_patch16_224\.augreg_in21k now"),
        ("naflexvit_base_patch16_gap", "NaFlex"),
        ("coat_tiny", "several outputs"),
        ("pit_ti_224", "last features have the shape"),
    ],
)
def test_what_cannot_be_a_backbone_is_one_line(name: str, reason: str) -> None:
    with pytest.raises(FeatureBankError, match=reason) as raised:
        load_backbone(f"timm:{name}", weights="random:0")
    assert isinstance(raised.value, ConfigError | UnknownNameError)
    assert "\n" not in str(raised.value)


def test_options_that_do_not_fit_are_one_line() -> None:
    with pytest.raises(ConfigError, match="has its own preprocessing"):
        load_backbone("timm:test_vit", weights="random:0", preprocessing="tf")
    with pytest.raises(ConfigError, match="3 x 3 pixels"):
        load_backbone("timm:test_vit", weights="random:0", image_size=3)


def test_the_tag_is_part_of_the_name_and_may_be_the_weights() -> None:
    named = load_backbone("timm:vit_tiny_patch16_224.augreg_in21k", weights="random:0")
    assert named.name == "timm.vit_tiny_patch16_224.augreg_in21k"
    assert named.spec.licence == "apache-2.0"
    by_weights = load_backbone("timm:vit_tiny_patch16_224", weights="augreg_in21k")
    assert (by_weights.name, by_weights.weights) == (named.name, "augreg_in21k")
    default = load_backbone("timm:vit_tiny_patch16_224", weights="imagenet")
    assert default.spec.known_as == "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k"


def test_networks_are_found_by_a_pattern() -> None:
    entries = LIBRARIES["timm"].search("vit_tiny_patch16_*")
    by_name = {entry.name: entry for entry in entries}
    assert by_name["timm:vit_tiny_patch16_224"].weights[0] == "augreg_in21k_ft_in1k"
    assert by_name["timm:vit_tiny_patch16_384"].note == "384 px"
    assert all(entry.name.startswith("timm:vit_tiny_patch16_") for entry in entries)
    assert LIBRARIES["timm"].search("naflex*") == []


def test_the_search_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    import timm

    monkeypatch.setattr(timm, "create_model", refuse)
    assert LIBRARIES["timm"].search("resnet18")
    assert "timm" in sys.modules


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    backbone = load_backbone("timm:test_vit")
    assert backbone.must_download
    with pytest.raises(FeatureBankError, match=r"hub cannot be reached.*--weights FILE\.safetensors") as raised:
        _ = backbone.recipe
    assert "\n" not in str(raised.value)


def test_weights_in_the_cache_of_the_hub_need_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import timm
    from huggingface_hub import constants
    from safetensors.torch import save_file

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit, repository = "0" * 40, tmp_path / "models--timm--test_vit.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    model = timm.create_model("test_vit")
    save_file(model.state_dict(), repository / "snapshots" / commit / "model.safetensors")
    backbone = load_backbone("timm:test_vit")
    assert not backbone.must_download
    assert (backbone.module().norm.weight == model.norm.weight).all()
    assert (backbone.module().pos_embed == model.pos_embed).all()
