"""Small transformers in plain Keras, in the ways in which people write them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable("vits")
class Prefix(layers.Layer):
    """Puts learned tokens before the patches, and may add a learned position to each."""

    def __init__(self, count: int = 1, *, positions: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.count, self.positions = count, positions

    def build(self, shape: tuple[int | None, ...]) -> None:
        if self.count:
            self.first = self.add_weight(name="cls_token", shape=(1, self.count, shape[-1]), initializer="normal")
        if self.positions:
            place = (1, self.count + int(shape[1] or 0), shape[-1])
            self.places = self.add_weight(name="position_embedding", shape=place, initializer="normal")

    def call(self, x: Any) -> Any:
        if self.count:
            first = ops.broadcast_to(self.first, (ops.shape(x)[0], self.count, x.shape[-1]))
            x = ops.concatenate([first, x], axis=1)
        return x + self.places if self.positions else x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count, "positions": self.positions}


@keras.saving.register_keras_serializable("vits")
class Block(layers.Layer):
    """A whole block in one class: its work is hidden from the graph."""

    def __init__(self, heads: int = 2, **options: Any) -> None:
        super().__init__(**options)
        self.heads = heads

    def build(self, shape: tuple[int | None, ...]) -> None:
        width = int(shape[-1] or 0)
        self.norms = [layers.LayerNormalization(name=f"norm_{place}") for place in (1, 2)]
        self.attention = layers.MultiHeadAttention(self.heads, width // self.heads, name="attention")
        self.dense = [layers.Dense(2 * width, activation="gelu", name="up"), layers.Dense(width, name="down")]
        for layer in self.norms:
            layer.build(shape)
        self.attention.build(shape, shape)
        self.dense[0].build(shape)
        self.dense[1].build((*shape[:-1], 2 * width))

    def call(self, x: Any) -> Any:
        y = self.norms[0](x)
        x = x + self.attention(y, y)
        return x + self.dense[1](self.dense[0](self.norms[1](x)))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "heads": self.heads}


@keras.saving.register_keras_serializable("vits")
class Handmade(layers.Layer):
    """Attention by einsum, with raw weights: neither its class nor its parts say what it computes."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        width = shape[-1]
        self.qkv = self.add_weight(name="qkv", shape=(width, 3 * int(width or 0)), initializer="glorot_uniform")
        self.out = self.add_weight(name="out", shape=(width, width), initializer="glorot_uniform")

    def call(self, x: Any) -> Any:
        query, key, value = ops.split(ops.einsum("btd,de->bte", x, self.qkv), 3, axis=-1)
        weights = ops.softmax(ops.einsum("bid,bjd->bij", query, key) / x.shape[-1] ** 0.5)
        return ops.einsum("bij,bjd->bid", weights, value) @ self.out


def block(x: Any, name: str, *, style: str = "pre", heads: int = 2) -> Any:
    """Adds a block: "pre" and "post" normalise before or after, "ops" adds by "+", "class" and "einsum" hide work."""
    width = x.shape[-1]
    if style == "class":
        return Block(heads, name=f"{name}_out")(x)

    def attended(y: Any) -> Any:
        if style == "einsum":
            return Handmade(name=f"{name}_attention")(y)
        return layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention")(y, y)

    def mixed(y: Any) -> Any:
        y = layers.Dense(2 * width, activation="gelu", name=f"{name}_up")(y)
        return layers.Dense(width, name=f"{name}_down")(y)

    for part, function in (("1", attended), ("2", mixed)):
        norm = layers.LayerNormalization(name=f"{name}_norm_{part}")
        y = function(x if style == "post" else norm(x))
        last = f"{name}_out" if part == "2" and style != "post" else f"{name}_add_{part}"
        x = x + y if style == "ops" else layers.Add(name=last)([x, y])
        x = norm(x) if style == "post" else x
    return x


def pool(x: Any, pooling: str, prefix: int = 0) -> Any:
    """Pools tokens; "attention" as SigLIP does: a learned query, and a multilayer perceptron beside it."""
    if pooling == "cls":
        return x[:, 0]
    if pooling == "mean":
        return layers.GlobalAveragePooling1D(name="mean")(layers.Cropping1D((prefix, 0))(x) if prefix else x)
    if pooling == "all":
        return ops.mean(x, axis=1)
    if pooling == "flat":
        return layers.Flatten(name="flatten")(x)
    if pooling == "weights":
        weights = layers.Softmax(axis=1)(layers.Dense(1, name="score")(x))
        return ops.sum(layers.Multiply()([x, weights]), axis=1)
    query = Prefix(1, positions=False, name="probe")(x)[:, :1]
    width = x.shape[-1]
    x = layers.MultiHeadAttention(2, width // 2, name="pool_attention")(query, x)
    y = layers.Dense(width, activation="gelu", name="pool_up")(layers.LayerNormalization(name="pool_norm")(x))
    return layers.Flatten()(layers.Add(name="pool_add")([x, layers.Dense(width, name="pool_down")(y)]))


def vit(
    *, side: int = 32, patch: int = 8, width: int = 16, depth: int = 4, prefix: int = 1, pooling: str = "cls",
    style: str = "pre", stem: str = "conv", classes: int = 5, seed: int = 0,
) -> keras.Model:  # fmt: skip
    """Builds a vision transformer.

    Args:
        side: the side of the images in pixels.
        patch: the side of a patch.
        width: the width of the tokens.
        depth: the number of blocks, block0 and so on.
        prefix: the number of tokens before the patches.
        pooling: see `pool`; "" makes a network that ends in its tokens.
        style: see `block`.
        stem: "conv" cuts patches by one convolution, "hybrid" by several, "reshape" without any.
        classes: the size of the classifier; 0 for none.
        seed: of the weights.
    """
    keras.utils.set_random_seed(seed)
    image = keras.Input((side, side, 3), name="pixels")
    number = side // patch
    if stem == "reshape":
        x = ops.reshape(image, (-1, number, patch, number, patch, 3))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, number * number, patch * patch * 3))
        x = layers.Dense(width, name="patch")(x)
    else:
        x = image
        if stem == "hybrid":
            x = layers.Conv2D(width // 2, 3, strides=2, padding="same", activation="relu", name="stem")(x)
            patch //= 2
        x = layers.Conv2D(width, patch, strides=patch, name="patch")(x)
        x = layers.Reshape((number * number, width), name="rows")(x)
    x = Prefix(prefix, name="embedding")(x)
    for place in range(depth):
        x = block(x, f"block{place}", style=style)
    x = layers.LayerNormalization(name="norm")(x)
    if pooling:
        x = pool(x, pooling, prefix)
    if classes and pooling:
        x = layers.Dense(classes, activation="softmax", name="classes")(x)
    return keras.Model(image, x)


def pixels(count: int = 2, side: int = 32) -> np.ndarray:
    """Returns images, (n, s, s, 3) float32 from 0 to 255."""
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.float32)
