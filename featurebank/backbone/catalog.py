"""The known backbones, and the way to one."""

from __future__ import annotations

from featurebank.backbone.network import Backbone
from featurebank.backbone.spec import BackboneSpec
from featurebank.backbone.table import TABLE
from featurebank.backbone.weights import parse_source
from featurebank.errors import ConfigError, unknown_name


def list_backbones() -> list[BackboneSpec]:
    """Returns the known backbones, the default first."""
    return list(TABLE.values())


def load_backbone(name: str, *, weights: str | None = None, image_size: int | None = None) -> Backbone:
    """Chooses a backbone; imports neither TensorFlow nor Keras.

    Args:
        name: one of `list_backbones()`.
        weights: "imagenet", "random:SEED", or the path of a weights file (.weights.h5, .h5 or .keras; for
            EfficientNet-Lite and SqueezeNet also PyTorch's .pth). None is "imagenet"; BaseNet has no such weights.
        image_size: the side of the square input in pixels; by default that of the images behind the ImageNet weights.

    Returns:
        The backbone; its network is built when it is first asked for.

    Raises:
        UnknownNameError: no backbone has this name.
        ConfigError: the weights are none of the three, or the image size is below the network's minimum.
        WeightsError: the weights file does not exist.
    """
    if name not in TABLE:
        error = unknown_name("backbone", name, TABLE, "'featurebank backbones' lists them")
        raise error
    spec = TABLE[name]
    size = spec.image_size if image_size is None else image_size
    if not isinstance(size, int) or size < spec.minimum_size:
        message = (
            f"image size {size} for {name}: expected at least {spec.minimum_size} pixels; "
            f"leave it out for {spec.image_size}"
        )
        raise ConfigError(message)
    source = parse_source(weights, spec)
    return Backbone(spec, str(weights or spec.default_weights), source, size)
