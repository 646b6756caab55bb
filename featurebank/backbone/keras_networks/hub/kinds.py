"""What the networks of each family of KerasHub have in common: their class, their tokens, their sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.taps import ATTENTION, CLASS_TOKEN, MEAN_OF_PATCHES


@dataclass(frozen=True)
class HubKind:
    """A family of networks.

    Args:
        constructor: its class in `keras_hub.models`; of networks of images and text, the class of the image tower.
        pooling: how it pools its tokens, in the words of `backbone.taps`; empty for a network with a map.
        tokens_layer: the layer that outputs all tokens; empty for a network with a map.
        prefix: how many tokens precede the patches, beside register tokens.
        has_class_token: whether the first of them is a class token.
        is_fixed: whether it takes only images of its own size.
        whole: the class of the network of images and text that contains it; empty if there is none.
        image_argument: the argument with the shape of the image.
        output: the key of the last map, if the network outputs several by name.
        divisor: the image size is a multiple of this number, if it has no patches.
    """

    constructor: str
    pooling: str = ""
    tokens_layer: str = ""
    prefix: int = 0
    has_class_token: bool = False
    is_fixed: bool = False
    whole: str = ""
    image_argument: str = "image_shape"
    output: str = ""
    divisor: int = 1

    def step_of(self, arguments: Mapping[str, Any]) -> int:
        """Returns the number of which the image size must be a multiple."""
        patch = arguments.get("patch_size", self.divisor) if self.tokens_layer else self.divisor
        return int(patch[0] if isinstance(patch, list | tuple) else patch)

    def layout(self, arguments: Mapping[str, Any], image_size: int) -> TokenLayout | None:
        """Returns the arrangement of the tokens of a network; None if it has a map."""
        if not self.tokens_layer:
            return None
        side = image_size // self.step_of(arguments)
        for _ in range(len(arguments.get("depths", ())) - 1):  # Swin merges patches after each stage but the last
            side = -(-side // 2)
        prefix = self.prefix + int(arguments.get("num_register_tokens", 0))
        return TokenLayout.of_grid((side, side), prefix, has_class_token=self.has_class_token)


KINDS = {
    "clip": HubKind(
        "CLIPVisionEncoder", CLASS_TOKEN, "layer_norm", 1, has_class_token=True, is_fixed=True, whole="CLIPBackbone"
    ),
    "cspnet": HubKind("CSPNetBackbone"),
    "deit": HubKind("DeiTBackbone", CLASS_TOKEN, "ln", 2, has_class_token=True, is_fixed=True),
    "densenet": HubKind("DenseNetBackbone"),
    "dinov2": HubKind("DINOV2Backbone", CLASS_TOKEN, "layernorm", 1, has_class_token=True),
    "dinov3": HubKind("DINOV3Backbone", CLASS_TOKEN, "layernorm", 1, has_class_token=True),
    "efficientnet": HubKind("EfficientNetBackbone", image_argument="input_shape"),
    "hgnetv2": HubKind("HGNetV2Backbone", output="stage4"),
    "mit": HubKind("MiTBackbone", divisor=32),
    "mobilenet": HubKind("MobileNetBackbone"),
    "resnet": HubKind("ResNetBackbone"),
    "siglip": HubKind("SigLIPVisionEncoder", ATTENTION, "post_layer_norm", is_fixed=True, whole="SigLIPBackbone"),
    "swin_transformer": HubKind("SwinTransformerBackbone", MEAN_OF_PATCHES, "norm", is_fixed=True),
    "vgg": HubKind("VGGBackbone"),
    "vit": HubKind("ViTBackbone", CLASS_TOKEN, "ln", 1, has_class_token=True, is_fixed=True),
    "xception": HubKind("XceptionBackbone"),
}
"""The families by their name in KerasHub."""
