"""Networks of a user's own, as small as they can be.

`tiny:network` has a map of 7 x 7 x 2 at its layer "cut"; `tiny:inverted` has the layers of
MobileNetV2, and `tiny:colours` computes something that a person understands.
"""

from __future__ import annotations

from typing import Any


def network() -> tuple[Any, str]:
    import keras
    from keras import layers

    def start(seed: int) -> Any:
        return keras.initializers.GlorotUniform(seed=seed)

    image = keras.Input((14, 14, 3))
    x = layers.Conv2D(2, 2, strides=2, kernel_initializer=start(1), name="cut")(image)
    x = layers.Conv2D(6, 3, kernel_initializer=start(2), name="last")(x)
    x = layers.BatchNormalization(momentum=0.5, name="last_bn")(x)
    return keras.Model(image, layers.ReLU(name="last_relu")(x)), "none"


def inverted() -> tuple[Any, str]:
    """Three blocks of which the second has a way around it, and a convolution: 32 x 32 pixels to 4 x 4 x 16."""
    import keras
    from keras import layers

    seeds = iter(range(1, 100))

    def convolved(x: Any, kind: Any, name: str, *, relu: bool, **options: Any) -> Any:
        start = {"depthwise_initializer" if kind is layers.DepthwiseConv2D else "kernel_initializer": uniform()}
        x = kind(padding="same", use_bias=False, name=name, **start, **options)(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
        return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x

    def uniform() -> Any:
        return keras.initializers.HeUniform(seed=next(seeds))

    def block(x: Any, filters: int, name: str, *, strides: int = 1) -> Any:
        x = convolved(x, layers.Conv2D, f"{name}_expand", relu=True, filters=16, kernel_size=1)
        x = convolved(x, layers.DepthwiseConv2D, f"{name}_depthwise", relu=True, kernel_size=3, strides=strides)
        return convolved(x, layers.Conv2D, f"{name}_project", relu=False, filters=filters, kernel_size=1)

    image = keras.Input((32, 32, 3))
    x = convolved(image, layers.Conv2D, "stem", relu=True, filters=8, kernel_size=3, strides=2)
    x = block(x, 8, "block_1", strides=2)
    x = layers.Add(name="block_2_add")([x, block(x, 8, "block_2")])
    x = block(x, 8, "block_3", strides=2)
    x = convolved(x, layers.Conv2D, "last", relu=False, filters=16, kernel_size=1)
    return keras.Model(image, layers.ReLU(6.0, name="out_relu")(x)), "tf"


def colours() -> tuple[Any, str]:
    """How much redder, greener or bluer each of 7 x 7 places is: six channels, which are 0 where the image is grey."""
    import keras
    import numpy as np
    from keras import layers

    image = keras.Input((14, 14, 3))
    x = layers.AveragePooling2D(2, name="cut")(image)
    last = layers.Conv2D(6, 1, name="last")
    model = keras.Model(image, layers.ReLU(name="last_relu")(last(x)))
    differences = [[1, -1, 0], [-1, 1, 0], [1, 0, -1], [-1, 0, 1], [0, 1, -1], [0, -1, 1]]
    last.set_weights([np.array(differences, np.float32).T[None, None] / 32, np.full(6, -0.5, np.float32)])
    return model, "none"


def transformer() -> tuple[Any, str]:
    """A transformer of three blocks on 4 x 4 patches of 16 x 16 pixels, which uses its class token."""
    return _transformer(class_token=True), "tf"


def averaging() -> tuple[Any, str]:
    """The same without a class token: it averages its 16 patches."""
    return _transformer(class_token=False), "tf"


def _transformer(*, class_token: bool) -> Any:
    import keras
    from keras import layers

    seeds = iter(range(1, 100))

    def start() -> Any:
        return keras.initializers.GlorotUniform(seed=next(seeds))

    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 4, strides=4, kernel_initializer=start(), name="patch_embedding")(image)
    x = layers.Reshape((16, 8), name="patches")(x)
    if class_token:
        x = layers.ZeroPadding1D((1, 0), name="class_token")(x)  # as a class token of zeros: layers of Keras are enough
    for block in range(3):
        name, width = f"block{block}", 16
        y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm1")(x)
        attention = layers.MultiHeadAttention(2, 4, kernel_initializer=start(), name=f"{name}_attention")
        x = layers.Add(name=f"{name}_add")([x, attention(y, y)])
        y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm2")(x)
        y = layers.Dense(width, "gelu", kernel_initializer=start(), name=f"{name}_dense1")(y)
        y = layers.Dense(8, kernel_initializer=start(), name=f"{name}_dense2")(y)
        x = layers.Add(name=f"{name}_out")([x, y])
    x = layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    x = x[:, 0] if class_token else layers.GlobalAveragePooling1D(name="average")(x)
    return keras.Model(image, x)
