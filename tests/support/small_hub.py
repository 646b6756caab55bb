"""Small architectures of KerasHub's families, under the names of real presets."""

from __future__ import annotations

from typing import Any

HALF = (0.5, 0.5, 0.5)
TRANSFORMER = {"patch_size": 8, "num_layers": 3, "num_heads": 2, "hidden_dim": 16}
CNN = {"stackwise_num_filters": [64, 96], "stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2]}
MBCONV = {
    "stackwise_width_coefficients": [0.5] * 3, "stackwise_depth_coefficients": [1.0] * 3,
    "stackwise_kernel_sizes": [3, 3, 5], "stackwise_num_repeats": [1, 2, 1], "stackwise_strides": [1, 2, 2],
    "stackwise_input_filters": [32, 16, 24], "stackwise_output_filters": [16, 24, 40],
    "stackwise_expansion_ratios": [1, 4, 4], "stackwise_squeeze_and_excite_ratios": [0, 0.25, 0.25],
    "stackwise_force_input_filters": [0] * 3, "stackwise_nores_option": [False] * 3, "num_features": 64,
}  # fmt: skip
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("vit_base_patch16_224_imagenet", {**TRANSFORMER, "mlp_dim": 32}),
    "deit": ("deit_tiny_distilled_patch16_224_imagenet", {**TRANSFORMER, "intermediate_dim": 32}),
    "dinov2": (
        "dinov2_small",
        {**TRANSFORMER, "intermediate_dim": 32, "num_register_tokens": 0, "position_embedding_shape": [32, 32, 3]},
    ),
    "dinov2 with registers": (
        "dinov2_with_registers_small",
        {
            **TRANSFORMER, "intermediate_dim": 32, "num_register_tokens": 4, "use_swiglu_ffn": True,
            "position_embedding_shape": [48, 48, 3], "antialias_in_interpolation": True,
        },
    ),
    "dinov3": ("dinov3_vit_small_lvd1689m", {**TRANSFORMER, "intermediate_dim": 32, "num_register_tokens": 4}),
    "siglip": ("siglip_base_patch16_224", {**TRANSFORMER, "intermediate_dim": 32}),
    "clip": ("clip_vit_base_patch16", {**TRANSFORMER, "intermediate_dim": 32}),
    "swin_transformer": (
        "swin_tiny_patch4_window7_224",
        {"patch_size": 4, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4, "drop_path": 0.1},
    ),
    "mit": (
        "mit_b0_ade20k_512",
        {
            "layerwise_depths": [1, 1, 1, 1], "num_layers": 4, "hidden_dims": [8, 16, 20, 24],
            "layerwise_num_heads": [1, 2, 2, 2], "layerwise_sr_ratios": [8, 4, 2, 1], "max_drop_path_rate": 0.1,
            "layerwise_patch_sizes": [7, 3, 3, 3], "layerwise_strides": [4, 2, 2, 2],
        },
    ),
    "resnet": (
        "resnet_50_imagenet",
        {**CNN, "input_conv_filters": [64], "input_conv_kernel_sizes": [7], "block_type": "bottleneck_block"},
    ),
    "densenet": ("densenet_121_imagenet", {"stackwise_num_repeats": [2, 2], "growth_rate": 8}),
    "vgg": ("vgg_11_imagenet", {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [8, 16]}),
    "efficientnet": ("efficientnet_b0_ra_imagenet", {**MBCONV, "stackwise_block_types": ["v1"] * 3}),
    "efficientnet v2": (
        "efficientnet2_rw_t_ra2_imagenet",
        {**MBCONV, "stackwise_block_types": ["cba", "fused", "unfused"]},
    ),
    "mobilenet": (
        "mobilenet_v3_small_050_imagenet",
        {
            "stackwise_expansion": [[8, 12], [16]], "stackwise_num_blocks": [2, 1],
            "stackwise_num_filters": [[8, 8], [16]], "stackwise_kernel_size": [[3, 3], [5]],
            "stackwise_num_strides": [[2, 1], [2]], "stackwise_se_ratio": [[None, None], [0.25]],
            "stackwise_activation": [["relu", "relu"], ["hard_swish"]], "stackwise_padding": [[1, 1], [2]],
            "output_num_filters": 32, "depthwise_filters": 8, "depthwise_stride": 2, "depthwise_residual": False,
            "last_layer_filter": 32, "squeeze_and_excite": 0.5,
        },
    ),
    "cspnet": (
        "darknet_53_imagenet",
        {
            "stem_filters": 8, "stem_kernel_size": 3, "stem_strides": 1, "stackwise_depth": [1, 2],
            "stackwise_strides": [2, 2], "stackwise_num_filters": [16, 32], "bottle_ratio": [0.5],
            "block_ratio": [1.0], "expand_ratio": [1.0], "block_type": "dark_block", "stage_type": "dark",
            "stem_padding": "same", "stem_pooling": None,
        },
    ),
    "hgnetv2": (
        "hgnetv2_b4_ssld_stage2_ft_in1k",
        {
            "depths": [1, 1, 1, 1], "embedding_size": 8, "hidden_sizes": [16, 24, 32, 48], "stem_channels": [3, 8, 8],
            "hidden_act": "relu", "use_learnable_affine_block": True,
            "stackwise_stage_filters": [
                [8, 8, 16, 1, 2, 3], [16, 8, 24, 1, 2, 3], [24, 8, 32, 2, 2, 5], [32, 8, 48, 1, 2, 5],
            ],
            "apply_downsample": [False, True, True, True], "use_lightweight_conv_block": [False, False, True, True],
        },
    ),
    "xception": (
        "xception_41_imagenet",
        {"stackwise_conv_filters": [[8, 8], [16, 16]], "stackwise_pooling": [False, False]},
    ),
}  # fmt: skip
"""By the family: a preset of it, and the arguments of a small network."""


def small_table(size: int = 64) -> dict[str, Any]:
    """Returns a table like `architectures.json`, with small networks."""
    table: dict[str, Any] = {}
    for family, (preset, arguments) in SMALL.items():
        entry = {
            "image_size": size, "mean": HALF, "deviation": (0.25, 0.5, 0.5), "resize": "crop bilinear",
            "parameters": 1, "channels": 1, "arguments": arguments,
        }  # fmt: skip
        table.setdefault(family.partition(" ")[0], {"presets": {}})["presets"][preset] = entry
    return table
