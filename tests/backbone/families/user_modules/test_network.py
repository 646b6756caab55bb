"""Modules of PyTorch that a user's function returns: where their features are, and which are refused."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import load_backbone
from featurebank.backbone.recorded import load_recorded, recorded_source
from featurebank.errors import ConfigError

pytestmark = [pytest.mark.networks, pytest.mark.heavy]
SOURCE = '''
import torch
from torch import nn

class Block(nn.Module):
    """A residual block of a transformer without attention: it mixes tokens by their mean."""
    def __init__(self):
        super().__init__()
        self.norm, self.fc1, self.fc2 = nn.LayerNorm(12), nn.Linear(12, 48), nn.Linear(48, 12)
    def forward(self, x):
        y = self.norm(x)
        return x + self.fc2(torch.relu(self.fc1(y + y.mean(1, keepdim=True))))

class Tokens(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.way = way
        self.patches = nn.Conv2d(3, 12, 8, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 2, 12))
        self.blocks = nn.Sequential(Block(), Block())
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12, 5)
    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = self.norm(self.blocks(torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)))
        return x if self.way == "all" else self.head(x[:, 0] if self.way == "first" else x[:, 2:].mean(1))

class Maps(nn.Module):
    factor = 2.0
    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), nn.ReLU())
        self.conv, self.act = nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 3)
    def forward(self, x):
        return self.fc(self.pool(self.act(self.conv(self.stem(x * self.factor)))).flatten(1))

class Bad(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.way, self.conv, self.last = way, nn.Conv2d(3, 4, 4, 4), nn.Linear(4 * 64, 4096)
        self.register_buffer("count", torch.zeros(1))
    def forward(self, x):
        y = self.conv(x)
        if self.way == "state":
            self.count += 1
        if self.way == "training":
            assert self.training, "only in training"
        if self.way == "flow" and y.mean() > 0:
            return y * 2
        return {"dict": {"map": y}, "random": nn.functional.dropout(y, 0.5, True), "work": self.last(y.flatten(1)),
                "batch": y[:1]}.get(self.way, y)

class Two(nn.Module):
    def forward(self, left, right):
        return left + right

class Timm(Tokens):
    num_prefix_tokens = 2
    def forward_features(self, x):
        return super().forward(x)
    def forward_head(self, x, pre_logits=False):
        return x[:, 0] if pre_logits else self.head(x[:, 0])
    def forward(self, x):
        return self.forward_head(self.forward_features(x))

def seeded(kind, *args):
    torch.manual_seed(0)
    return kind(*args)

def first(): return seeded(Tokens, "first"), "torch"
def mean(): return seeded(Tokens, "mean"), "torch"
def every(): return seeded(Tokens, "all"), "torch"
def like_timm(): return seeded(Timm, "all"), "torch"
def maps(): return seeded(Maps), "torch"
def doubled(): return seeded(Maps, 2.0), "torch"
def trunk(): return nn.Sequential(*list(seeded(Maps).children())[:3]), "torch"
def other_seed(): torch.manual_seed(1); return Maps(), "torch"
def unseeded(): torch.seed(); return Maps(), "torch"
def two(): return Two(), "torch"
def undeclared(): return seeded(Maps)
def sized(): return seeded(Maps)
sized.preprocessing, sized.image_size = "tf", 64
for way in ("state", "training", "flow", "dict", "random", "work", "batch"):
    globals()[way] = lambda way=way: (seeded(Bad, way), "torch")
    globals()[way].__signature__ = __import__("inspect").Signature()
'''


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The functions above, as a module that can be imported."""
    place = tmp_path_factory.mktemp("modules")
    (place / "torch_nets.py").write_text(SOURCE)
    sys.path.insert(0, str(place))
    import importlib

    yield importlib.import_module("torch_nets")
    sys.path.remove(str(place))
    sys.modules.pop("torch_nets")


def _load(function: str, **options: Any) -> Any:
    return load_backbone(f"torch_nets:{function}", **{"image_size": 32, **options})


def _taps(backbone: Any, *taps: str) -> Any:
    import torch

    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    mean, deviation = (torch.tensor(one)[:, None, None] for one in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    prepared = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / deviation
    with torch.no_grad():
        return prepared, backbone.tap_module(taps)(torch.from_numpy(images))


@pytest.mark.parametrize(
    ("function", "pooling"),
    [("first", "class token"), ("mean", "mean of patches"), ("every", "mean of patches"), ("like_timm", "class token")],
)
def test_tokens_their_layout_and_their_pooling_are_found(nets: Any, function: str, pooling: str) -> None:
    import torch

    backbone = _load(function)
    assert backbone.recipe["pooling"] == pooling
    tokens = backbone.outline().tokens
    assert tokens
    assert tokens.describe() == "class token, 1 register token, 4 x 4 patches"
    prepared, (pooled, rows, laid) = _taps(backbone, "pooled", "tokens", "map")
    with torch.no_grad():
        expected = nets.seeded(nets.Tokens, "all").eval()(prepared)
    assert torch.allclose(rows, expected, atol=1e-5)
    assert torch.allclose(laid.reshape(3, 16, 12), expected[:, 2:], atol=1e-5)
    own = expected[:, 0] if pooling == "class token" else expected[:, 2:].mean(1)
    assert torch.allclose(pooled, own, atol=1e-5)
    assert "blocks.0" in {cut.name for cut in backbone.outline().cuts}


def test_maps_are_taken_before_they_are_pooled(nets: Any) -> None:
    import torch

    backbone = _load("maps")
    assert "pooling" not in backbone.recipe
    assert "output of 'act', pooled" not in backbone.spec.note
    assert "the output of 'act'; pooled: the input of 'fc'" in backbone.spec.note
    prepared, (pooled, last) = _taps(backbone, "pooled", "map")
    module = nets.seeded(nets.Maps).eval()
    with torch.no_grad():
        expected = module.act(module.conv(module.stem(prepared)))
    assert torch.allclose(last, expected.permute(0, 2, 3, 1), atol=1e-5)
    assert torch.allclose(pooled, expected.mean((2, 3)), atol=1e-5)
    _, (pooled_of_trunk, _) = _taps(_load("trunk"), "pooled", "map")
    assert torch.allclose(pooled_of_trunk, pooled, atol=1e-5)


def test_the_digest_is_of_what_is_computed(nets: Any) -> None:
    digests = {name: _load(name).digest for name in ("maps", "doubled", "other_seed", "first", "mean")}
    assert len(set(digests.values())) == 5
    assert _load("maps").digest == digests["maps"]
    backbone = _load("maps", weights="random:4")
    again = load_recorded(backbone.recipe, recorded_source(backbone))
    assert again.digest == backbone.digest
    assert pickle.loads(pickle.dumps(again)).digest == backbone.digest
    assert np.array_equal(*(_taps(each, "pooled")[1][0].numpy() for each in (again, backbone)))


def test_weights_from_a_file(nets: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch = sys.modules["torch"]
    torch.manual_seed(1)
    module = nets.Maps()
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    made = _taps(_load("maps", weights=str(tmp_path / "w.safetensors")), "pooled")[1][0]
    assert torch.equal(made, _taps(_load("other_seed"), "pooled")[1][0])


def test_what_the_function_declares(nets: Any) -> None:
    backbone = load_backbone("torch_nets:sized")
    assert (backbone.image_size, backbone.recipe["preprocessing"]) == (64, "tf:v1")
    assert load_backbone("torch_nets:sized", image_size=48).outline().tap_shape("map") == (6, 6, 16)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("undeclared", "does not declare the input"),
        ("two", r"takes 2 inputs \(left, right\)"),
        ("unseeded", r"other weights at each call.*torch\.manual_seed"),
        ("state", "changes its state"),
        ("random", "gives other features each time"),
        ("training", "only in training"),
        ("flow", "depends on the values of tensors"),
        ("dict", "returns a dict: expected one tensor"),
        ("batch", r"returns a tensor of shape \(1, 4, 8, 8\) for two images"),
        ("work", r"% of its work follows its last map, 'conv'"),
    ],
)
def test_others_are_refused_in_one_line(nets: Any, function: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        _load(function)
    assert "\n" not in str(caught.value)


def test_a_module_of_any_size_needs_one(nets: Any) -> None:
    with pytest.raises(ConfigError, match="choose one, as --image-size 224"):
        load_backbone("torch_nets:maps")
    with pytest.raises(ConfigError, match=r"cannot run on images \(n, 3, 2, 2\)"):
        _load("maps", image_size=2)
