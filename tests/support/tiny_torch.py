"""Two tiny networks of PyTorch, as a family describes them: one with tokens, one with maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.preprocess import TORCH
from featurebank.backbone.torch_networks.network import TorchBackbone
from featurebank.backbone.torch_networks.spec import TorchFeatures, TorchSpec
from featurebank.backbone.weights.source import parse_source

DEPTH = 3
WIDTH = 16


def tiny_vit(size: int = 32, depth: int = DEPTH) -> Any:
    """Makes a transformer with a class token, a register token and patches of eight pixels."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1 = nn.LayerNorm(WIDTH)
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
            self.proj = nn.Linear(WIDTH, WIDTH)
            self.norm2 = nn.LayerNorm(WIDTH)
            self.fc1 = nn.Linear(WIDTH, 2 * WIDTH)
            self.act = nn.GELU()
            self.fc2 = nn.Linear(2 * WIDTH, WIDTH)
            self.gamma = nn.Parameter(torch.full((WIDTH,), 1e-5))

        def forward(self, x: Any) -> Any:
            n, count, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).reshape(n, count, 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4).unbind(0)
            attended = nn.functional.scaled_dot_product_attention(q, k, v)
            x = x + self.proj(attended.transpose(1, 2).reshape(n, count, WIDTH))
            return x + self.gamma * self.fc2(self.act(self.fc1(self.norm2(x))))

    class TinyViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch_embed = nn.Conv2d(3, WIDTH, 8, 8)
            self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
            self.reg_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
            self.pos_embed = nn.Parameter(torch.zeros(1, 2 + (size // 8) ** 2, WIDTH))
            self.register_buffer("places", torch.arange(5), persistent=False)
            self.blocks = nn.Sequential(*(Block() for _ in range(depth)))
            self.norm = nn.LayerNorm(WIDTH)

        def forward(self, images: Any) -> Any:
            x = self.patch_embed(images).flatten(2).transpose(1, 2)
            first = torch.cat([self.cls_token, self.reg_token], 1).expand(x.shape[0], -1, -1)
            return self.norm(self.blocks(torch.cat([first, x], 1) + self.pos_embed))

    return TinyViT()


def tiny_cnn() -> Any:
    """Makes a convolutional network with a residual block, a gate, and layers that change their input in place."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
            self.relu = nn.ReLU(inplace=True)
            self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
            self.gate = nn.Conv2d(8, 8, 1)
            self.act = nn.ReLU(inplace=True)

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            y = y * self.gate(y.mean((2, 3), keepdim=True)).sigmoid()
            y += x
            return self.act(y)

    class TinyCNN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, 2, padding=1)
            self.layer1 = nn.Sequential(Block(), Block())
            self.last = nn.Conv2d(8, 12, 3, 2, padding=1)
            self.pool = nn.AdaptiveAvgPool2d(1)

        def forward(self, images: Any) -> Any:
            return self.last(self.layer1(self.conv(images)))

    return TinyCNN()


@dataclass(frozen=True)
class _TinySpec(TorchSpec):
    def weights_file(self, *, top: bool = False) -> str | None:
        return None

    def own_file(self, *, top: bool) -> Path:
        raise AssertionError


class TinyTokens(_TinySpec):
    """The transformer; `pooled` is the mean of its patches."""

    def build(self, image_size: int) -> Any:
        return tiny_vit(image_size)

    def forward(self, module: Any, images: Any) -> TorchFeatures:
        tokens = module(images)
        return TorchFeatures(tokens, tokens[:, 2:].mean(1))

    def layout(self, module: Any, image_size: int) -> TokenLayout:
        return TokenLayout.of_grid((image_size // 8, image_size // 8), 2, has_class_token=True)


class TinyMaps(_TinySpec):
    """The convolutional network."""

    def build(self, image_size: int) -> Any:
        return tiny_cnn()

    def forward(self, module: Any, images: Any) -> TorchFeatures:
        final = module(images)
        return TorchFeatures(final, module.pool(final).flatten(1))


def tiny_torch(kind: type[TorchSpec] = TinyTokens, weights: str = "random:0", image_size: int = 32) -> TorchBackbone:
    """Returns a backbone of one of the tiny networks."""
    spec = kind(kind.__name__.lower(), 32, 8, 0, 0, TORCH)
    return TorchBackbone(spec, weights, parse_source(weights, spec), image_size)
