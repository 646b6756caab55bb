"""Tiny vision networks of transformers, written to directories as its own `save_pretrained` does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_VIT: dict[str, Any] = {
    "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
_DINO = {key: value for key, value in _VIT.items() if key != "intermediate_size"}
_STAGES: dict[str, Any] = {"depths": [1, 1], "hidden_sizes": [8, 16]}
_SWIN: dict[str, Any] = {
    "embed_dim": 8, "depths": [1, 2], "num_heads": [2, 2], "window_size": 2, "image_size": 32, "patch_size": 4,
}  # fmt: skip
_PVT: dict[str, Any] = {
    "depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16], "num_attention_heads": [1, 1, 2, 2],
}  # fmt: skip
_MOBILEVIT: dict[str, Any] = {
    "hidden_sizes": [8, 12, 16], "neck_hidden_sizes": [8, 8, 16, 16, 16, 16, 24], "num_attention_heads": 2,
}  # fmt: skip

TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "beit": ("Beit", {**_VIT, "use_relative_position_bias": True, "layer_scale_init_value": 0.1}),
    "beit of class tokens": ("Beit", {**_VIT, "use_mean_pooling": False, "use_absolute_position_embeddings": True}),
    "bit": ("Bit", {**_STAGES, "embedding_size": 8, "num_groups": 2}),
    "clip": ("CLIP", {"vision_config": {**_VIT, "projection_dim": 16}, "text_config": {**_VIT, "vocab_size": 99}}),
    "convnext": ("ConvNext", {**_STAGES, "num_stages": 2, "layer_scale_init_value": 0.1}),
    "convnextv2": ("ConvNextV2", {**_STAGES, "num_stages": 2}),
    "data2vec-vision": ("Data2VecVision", _VIT),
    "deit": ("DeiT", _VIT),
    "dinov2": ("Dinov2", _DINO),
    "dinov2_with_registers": ("Dinov2WithRegisters", {**_DINO, "num_register_tokens": 3}),
    "dinov3_convnext": ("DINOv3ConvNext", {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 8, 16]}),
    "dinov3_vit": ("DINOv3ViT", {**_VIT, "num_register_tokens": 4}),
    "efficientnet": (
        "EfficientNet",
        {"image_size": 64, "width_coefficient": 0.25, "depth_coefficient": 0.2, "hidden_dim": 320},
    ),
    "focalnet": ("FocalNet", {"embed_dim": 8, "depths": [1, 1], "focal_levels": [1, 1], "focal_windows": [3, 3]}),
    "hiera": (
        "Hiera",
        {"image_size": [64, 64], "embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 2, 2], "num_query_pool": 2},
    ),
    "ijepa": ("IJepa", _VIT),
    "levit": (
        "Levit",
        {
            "image_size": 64,
            "hidden_sizes": [16, 24, 32],
            "num_attention_heads": [2, 3, 4],
            "depths": [1, 1, 1],
            "key_dim": [8, 8, 8],
        },
    ),
    "mobilenet_v1": ("MobileNetV1", {"depth_multiplier": 0.25, "image_size": 64}),
    "mobilenet_v2": ("MobileNetV2", {"depth_multiplier": 0.25, "image_size": 64}),
    "mobilevit": ("MobileViT", {**_MOBILEVIT, "image_size": 64, "patch_size": 2}),
    "mobilevitv2": ("MobileViTV2", {"image_size": 64, "patch_size": 2, "width_multiplier": 0.25}),
    "pvt": ("Pvt", {**_PVT, "image_size": 64}),
    "pvt_v2": ("PvtV2", {**_PVT, "image_size": 64}),
    "regnet": ("RegNet", {**_STAGES, "embedding_size": 8, "groups_width": 4}),
    "resnet": ("ResNet", {**_STAGES, "embedding_size": 8, "layer_type": "basic"}),
    "segformer": ("Segformer", {**_PVT, "sr_ratios": [8, 4, 2, 1]}),
    "siglip": ("Siglip", {"vision_config": _VIT, "text_config": {**_VIT, "vocab_size": 99}}),
    "swin": ("Swin", _SWIN),
    "swinv2": ("Swinv2", _SWIN),
    "vit": ("ViT", _VIT),
    "vit_mae": (
        "ViTMAE",
        {
            "mask_ratio": 0.0,
            **_VIT,
            "decoder_hidden_size": 16,
            "decoder_intermediate_size": 16,
            "decoder_num_hidden_layers": 1,
            "decoder_num_attention_heads": 2,
        },
    ),
    "vit_msn": ("ViTMSN", _VIT),
}
"""Networks by a word for each: the beginning of the class names, and the configuration."""


def save_tiny(word: str, directory: Path, end: str = "Model", **more: Any) -> Any:
    """Writes a network with random weights, which do not vanish anywhere, and its image processor.

    Args:
        word: a key of `TINY`.
        directory: where to.
        end: the end of the class name.
        more: changes of the configuration.

    Returns:
        The network, in evaluation mode.
    """
    import torch
    import transformers

    name, values = TINY[word]
    torch.manual_seed(0)
    with quiet():
        config = getattr(transformers, f"{name}Config")(**{**values, **more})
        network = getattr(transformers, f"{name}{end}")(config).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
            for key, buffer in network.named_buffers():
                if key.endswith("running_var"):
                    buffer.uniform_(0.5, 2.0)
        network.save_pretrained(directory)
        side = getattr(config, "image_size", None) or getattr(getattr(config, "vision_config", None), "image_size", 64)
        side = side[0] if isinstance(side, list | tuple) else side
        transformers.ViTImageProcessorPil(size={"height": side, "width": side}).save_pretrained(directory)
    return network


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps the progress bars and the log of transformers out of the tests' output."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
