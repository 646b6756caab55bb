"""Networks of torchvision: their features and their preprocessing are those of torchvision itself."""

from __future__ import annotations

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

SMALL = (("resnet18", 64), ("mobilenet_v3_small", 64), ("shufflenet_v2_x0_5", 64))
ALL = (
    ("vit_b_32", 64), ("swin_t", 96), ("swin_v2_t", 64), ("convnext_tiny", 64), ("efficientnet_b0", 64),
    ("densenet121", 64), ("googlenet", 96), ("inception_v3", 128), ("squeezenet1_1", 64), ("mnasnet0_5", 64),
    ("mobilenet_v2", 64), ("maxvit_t", 224), ("regnet_x_400mf", 64), ("vgg11", 64), ("alexnet", 96),
)  # fmt: skip


def compared(name: str, size: int, count: int) -> None:
    """Compares `pooled` with what the last layer of the classifier gets in torchvision's own forward pass."""
    import torch
    from torchvision.models import get_model

    backbone = load_backbone(f"torchvision:{name}", weights="random:1", image_size=size)
    inceptions = {"aux_logits": False, "init_weights": False, "transform_input": True}
    sized = {"image_size": size} if name.startswith("vit") else {}
    reference = get_model(name, **(inceptions if name in {"googlenet", "inception_v3"} else sized)).eval()
    missing, _ = reference.load_state_dict(backbone.module().state_dict(), strict=False)
    assert all(backbone.spec.is_classifier(tensor) for tensor in missing)
    layers = [layer for layer in reference.modules() if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)]
    inputs: list[Any] = []
    layers[-1].register_forward_pre_hook(lambda _module, args: inputs.append(args[0]))
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    module = backbone.tap_module(["pooled"])
    for start in range(0, count, 8):
        part = images[start : start + 8]
        (pooled,) = module(part)
        with torch.no_grad():
            reference(((part / 255 - mean) / deviation).permute(0, 3, 1, 2))
        expected = inputs.pop()
        expected = expected.mean((2, 3)) if expected.ndim == 4 else expected
        assert pooled.shape == expected.shape
        assert float((pooled - expected).norm() / expected.norm()) < 1e-4
        assert float(expected.std()) > 1e-3


@pytest.mark.parametrize(("name", "size"), SMALL)
def test_features_are_those_of_torchvision(name: str, size: int) -> None:
    compared(name, size, count=8)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [*SMALL, *ALL])
def test_features_of_many_networks_are_those_of_torchvision(name: str, size: int) -> None:
    compared(name, size, count=32)


@pytest.mark.parametrize(
    "name", ["resnet18", *(pytest.param(one, marks=pytest.mark.slow) for one in ("swin_t", "resnet50", "inception_v3"))]
)
def test_preprocessing_is_that_of_the_weights(name: str) -> None:
    import torch
    from PIL import Image
    from torchvision.models import get_model_weights

    backbone = load_backbone(f"torchvision:{name}", weights="random:0")
    transform = get_model_weights(name).DEFAULT.transforms()
    does = arithmetic(backbone.spec.preprocessing)
    for photo in odd_photos():
        theirs = transform(Image.fromarray(photo)).permute(1, 2, 0)
        ours = torch.from_numpy(backbone.resize(photo).copy()) * torch.tensor(does.scale) + torch.tensor(does.offset)
        difference = (ours - theirs) * torch.tensor(transform.std)
        assert float(difference.abs().max()) <= 2 / 255 + 1e-6, photo.shape


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121"])
def test_a_map_is_what_the_network_pools(name: str) -> None:
    import torch

    backbone = load_backbone(f"torchvision:{name}", weights="random:0", image_size=64)
    pooled, features = backbone.tap_module(["pooled", "map"])(torch.zeros(1, 64, 64, 3))
    assert backbone.spec.pooling == ""
    np.testing.assert_allclose(pooled, features.mean((1, 2)), rtol=1e-4, atol=1e-6)


def test_weights_of_a_file_are_those_of_torchvision(tmp_path: Path) -> None:
    import torch
    from torchvision.models import resnet18

    model = resnet18()
    torch.save(model.state_dict(), tmp_path / "w.pth")
    loaded = load_backbone("torchvision:resnet18", weights=tmp_path / "w.pth").module().state_dict()
    assert all((value == model.state_dict()[name]).all() for name, value in loaded.items())
    with pytest.raises(WeightsError, match=r"does not fit torchvision:resnet50\.IMAGENET1K_V2: its tensor 'layer1"):
        load_backbone("torchvision:resnet50", weights=tmp_path / "w.pth").module()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet19", "did you mean 'resnet18'"), ("fcn_resnet50", "a backbone classifies images"),
        ("resnet18.V9", "IMAGENET1K_V1"), ("quantized_resnet18", "a backbone classifies images"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_backbone_is_one_line(name: str, reason: str) -> None:
    with pytest.raises(FeatureBankError, match=reason) as raised:
        load_backbone(f"torchvision:{name}", weights="random:0")
    assert isinstance(raised.value, ConfigError | UnknownNameError)
    assert "\n" not in str(raised.value)


def test_networks_are_found_by_a_pattern() -> None:
    (entry,) = LIBRARIES["torchvision"].search("resnet18")
    assert (entry.name, entry.weights, entry.note) == ("torchvision:resnet18", ("IMAGENET1K_V1",), "224 px")
    assert LIBRARIES["torchvision"].search("fcn*") == []
