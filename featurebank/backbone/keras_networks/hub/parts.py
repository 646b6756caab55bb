"""Takes KerasHub's layers apart that contain all blocks of a network, so that each block is a layer of the graph.

The names are KerasHub's own: `transformer_block_1` to `transformer_block_12` and `ln` in ViT and DeiT, `layers_0` … in
DINOv2 and DINOv3, `encoder_block_0` … in CLIP and SigLIP, `stage_0_blocks_0` … and `stage_0_downsample` in Swin,
`encoder_stage_0_block_0` … in HGNetV2. A part within a block has the name of the block before its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from featurebank.backbone.keras_networks.hub.layers import class_of_copies, configuration_of, is_of_package


class AddPart(Protocol):
    """Calls a copy of a layer under a name, and returns its output."""

    def __call__(self, layer: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        """Adds a copy of `layer` to the graph."""


Expansion = Callable[..., Any]


def expansion_of(operation: Any) -> Expansion | None:
    """Returns the function that takes a layer apart: (layer, part, the arguments of its call) -> its output.

    Args:
        operation: any layer or operation; only a layer of KerasHub that contains blocks is taken apart.
    """
    kind = type(operation)
    return _EXPANSIONS.get(kind.__name__) if is_of_package(kind) else None


def _vit_encoder(encoder: Any, part: AddPart, x: Any) -> Any:
    if encoder.dropout_rate:
        x = part(encoder.dropout, f"{encoder.name}_dropout", x)
    for block in encoder.encoder_layers:
        x = part(block, block.name, x)
    return part(encoder.layer_norm, encoder.layer_norm.name, x)


def _deit_encoder(encoder: Any, part: AddPart, x: Any) -> tuple[Any, None, None]:
    """DeiT's blocks return attention scores, too, so they are taken apart once more; the last part has their name."""
    import keras

    for block in encoder.encoder_layers:
        name = block.name
        normalized = part(block.layer_norm_1, f"{name}_ln_1", x)
        attended = part(block.mha, f"{name}_mha", normalized, normalized)
        x = part(keras.layers.Add(), f"{name}_add", [attended, x])
        hidden = part(block.mlp, f"{name}_mlp", part(block.layer_norm_2, f"{name}_ln_2", x))
        x = part(block.output_layer, name, hidden, x)
    return part(encoder.layer_norm, encoder.layer_norm.name, x), None, None


def _dinov2_embedding(embedding: Any, part: AddPart, images: Any) -> Any:
    """Keeps the position embeddings of this image size alone; KerasHub would interpolate them again in a file."""
    if embedding.position_embedding_shape == embedding.image_shape:
        return part(embedding, embedding.name, images)
    config = {**configuration_of(embedding), "position_embedding_shape": embedding.image_shape}
    fixed = class_of_copies(type(embedding)).from_config(config)
    fixed.build(images.shape)
    positions = embedding.interpolated_position_embeddings
    values = {weight.name: weight for weight in embedding.weights} | {"position_embeddings": positions}
    fixed.set_weights([values[weight.name].numpy() for weight in fixed.weights])
    return part(fixed, embedding.name, images)


def _dinov2_encoder(encoder: Any, part: AddPart, x: Any) -> tuple[Any, None]:
    for block in encoder.layers:
        x = part(block, block.name, x)
    return x, None


def _dinov3_encoder(
    encoder: Any, part: AddPart, x: Any, *, position_embeddings: Any, num_prefix_tokens: int, **options: Any
) -> tuple[Any, None]:
    """Gives each block its own rotary embeddings, computed from the shape of its input.

    They depend on the grid alone. In KerasHub all blocks take those of one layer, which is a path around every block,
    so that no block could be a cut point.
    """
    import keras

    rope = position_embeddings[0]._keras_history.operation
    grid = [side // rope.patch_size for side in rope.input.shape[1:3]]
    of_patches = class_of_copies(type(rope)).from_config({**configuration_of(rope), "patch_size": 1})
    for block in encoder.layers:
        name = block.name
        patches = part(keras.layers.Cropping1D((num_prefix_tokens, 0)), f"{name}_patches", x)
        laid_out = part(keras.layers.Reshape((*grid, x.shape[-1])), f"{name}_grid", patches)
        angles = part(of_patches, f"{name}_rope", laid_out)
        x = part(block, name, x, position_embeddings=angles, num_prefix_tokens=num_prefix_tokens)
    return x, None


def _swin_embedding(embedding: Any, part: AddPart, images: Any) -> Any:
    import keras

    x = part(embedding.proj, f"{embedding.name}_proj", images)
    tokens = part(keras.layers.Reshape((-1, embedding.embed_dim)), f"{embedding.name}_tokens", x)
    return tokens if embedding.norm is None else part(embedding.norm, embedding.name, tokens)


def _swin_stage(stage: Any, part: AddPart, x: Any) -> Any:
    for block in stage.blocks:
        x = part(block, f"{stage.name}_{block.name}", x)
    if stage.downsample is None:
        return x
    height, width = stage.input_resolution
    return part(stage.downsample, f"{stage.name}_downsample", x, H=height, W=width)


def _hgnet_encoder(encoder: Any, part: AddPart, x: Any) -> tuple[Any, ...]:
    maps = [x]
    for stage in encoder.stages_list:
        if type(stage.downsample_layer).__name__ != "Identity":
            x = part(stage.downsample_layer, f"{stage.name}_downsample", x)
        for number, block in enumerate(stage.blocks_list):
            x = part(block, f"{stage.name}_block_{number}", x)
        maps.append(x)
    return tuple(maps)


_EXPANSIONS: dict[str, Expansion] = {
    "ViTEncoder": _vit_encoder,
    "DeiTEncoder": _deit_encoder,
    "DINOV2Embedding": _dinov2_embedding,
    "DINOV2Encoder": _dinov2_encoder,
    "DINOV3Encoder": _dinov3_encoder,
    "PatchEmbedding": _swin_embedding,
    "SwinTransformerStage": _swin_stage,
    "HGNetV2Encoder": _hgnet_encoder,
}
"""The functions by the class of the layer."""
