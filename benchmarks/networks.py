"""Networks that Keras does not have, as functions that `load_backbone` takes."""

from __future__ import annotations

from typing import Any


def vit_small(image_size: int = 224) -> tuple[Any, str]:
    """A ViT-S/16: twelve blocks `block0` to `block11` of 384 channels and six heads, and a class token.

    The class token starts from zeros and there are no position embeddings, which take no time worth mentioning.

    References:
        Touvron et al., "Training Data-Efficient Image Transformers", ICML 2021, arXiv:2012.12877.
    """
    import keras
    from keras import layers

    width, heads, side = 384, 6, image_size // 16
    image = keras.Input((image_size, image_size, 3))
    x = layers.Conv2D(width, 16, strides=16, name="patch_embedding")(image)
    x = layers.Reshape((side * side, width), name="patches")(x)
    x = layers.ZeroPadding1D((1, 0), name="class_token")(x)
    for block in range(12):
        name = f"block{block}"
        y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm1")(x)
        y = layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention")(y, y)
        x = layers.Add(name=f"{name}_add")([x, y])
        y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm2")(x)
        y = layers.Dense(4 * width, "gelu", name=f"{name}_dense1")(y)
        x = layers.Add(name=f"{name}_out")([x, layers.Dense(width, name=f"{name}_dense2")(y)])
    return keras.Model(image, layers.LayerNormalization(epsilon=1e-6, name="norm")(x)[:, 0]), "tf"
