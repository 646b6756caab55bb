"""The image processors of transformers: what a repository's preprocessor_config.json says of images, as our rules.

Nothing of transformers is imported: the defaults of its classes are in a table, and tests compare the pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from featurebank.backbone.preprocess import DECLARED, normalizing
from featurebank.backbone.resize import RULES, central, central_of
from featurebank.errors import ConfigError
from featurebank.words import one_line

LARGEST_SIDE = 4096
"""The largest side of an image, in pixels, that a file may ask for."""

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5,) * 3, (0.5,) * 3)
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_INTERPOLATIONS = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the interpolations that `resize.central` knows."""
_WARPED_FROM = 384
"""From this size on, the processor of ConvNeXt scales both sides and crops nothing."""
_LEVIT_SHARE = 256 / 224


@dataclass(frozen=True)
class _Defaults:
    """The class attributes of an image processor of transformers that matter here.

    Args:
        size: the side in pixels.
        resample: Pillow's number of the interpolation.
        statistics: mean and deviation of the three channels.
        form: what the size means: "square" (height and width) or "shorter" (the shorter side).
        number: the same for a size that is a mere number; by default, as `form`.
        crop: the side of the central crop; 0 if there is none by default.
        flips: whether red and blue change places by default, and means and deviations are not used.
    """

    size: int
    resample: int
    statistics: tuple[Sequence[float], Sequence[float]]
    form: str = "square"
    crop: int = 0
    number: str = ""
    flips: bool = False


PROCESSORS = {
    "Beit": _Defaults(224, 3, _HALF),
    "Bit": _Defaults(224, 3, _CLIP, "shorter", 224),
    "CLIP": _Defaults(224, 3, _CLIP, "shorter", 224),
    "ChineseCLIP": _Defaults(224, 3, _CLIP, "shorter", 224),
    "ConvNext": _Defaults(384, 3, _HALF, "shorter"),
    "DINOv3ViT": _Defaults(224, 2, _IMAGENET),
    "DeiT": _Defaults(256, 3, _HALF, crop=224),
    "EfficientNet": _Defaults(346, 3, _HALF),
    "Levit": _Defaults(224, 3, _IMAGENET, "shorter", 224),
    "MobileNetV1": _Defaults(256, 2, _HALF, "shorter", 224),
    "MobileNetV2": _Defaults(256, 2, _HALF, "shorter", 224),
    "MobileViT": _Defaults(224, 3, _HALF, "shorter", 256, flips=True),
    "Pvt": _Defaults(224, 3, _IMAGENET),
    "Segformer": _Defaults(512, 2, _IMAGENET),
    "Siglip": _Defaults(224, 3, _HALF, number="shorter"),
    "ViT": _Defaults(224, 2, _HALF),
}
"""The image processors that can be done by a resize rule and a normalisation, by the first part of their class name."""


class Processor:
    """An image processor of transformers, as a repository configures it.

    Args:
        values: the content of preprocessor_config.json.
        fallback: the first part of the class name if the file does not tell it, as "ViT".
        origin: the network's name in messages.

    Raises:
        ConfigError: the class of the processor is none of `PROCESSORS`.

    Example:
        >>> clip = Processor({"image_processor_type": "CLIPImageProcessor"}, "ViT", "hf:openai/clip")
        >>> clip.side(), clip.resize_rule()
        (224, 'shorter:224:bicubic:antialias:centre-down:v1')
    """

    def __init__(self, values: Mapping[str, Any], fallback: str, origin: str) -> None:
        self._values, self._origin = values, origin
        name = values.get("image_processor_type") or values.get("feature_extractor_type") or f"{fallback}ImageProcessor"
        self.kind = _kind(str(name))
        if self.kind not in PROCESSORS:
            self._refuse(f"are prepared by {one_line(str(name), 60)}, which featurebank does not know")
        self._defaults = PROCESSORS[self.kind]

    @property
    def flips(self) -> bool:
        """Whether the network gets blue, green, red."""
        return self._defaults.flips and bool(self._value("do_flip_channel_order", default=True))

    def side(self) -> int:
        """Returns the side in pixels of the square that the network gets.

        Raises:
            ConfigError: it is not a square, or the file makes no sense.
        """
        form, size = self._size()
        if crop := self._crop():
            if crop > size:
                self._refuse(f"are scaled to {size} pixels and cropped to {crop}, with a black border")
            return crop
        if form == "shorter" and self.kind != "ConvNext":
            self._refuse("keep their proportions, so that they are no squares")
        return size

    def resize_rule(self) -> str:
        """Returns how images become that square: an identifier of `backbone.resize`.

        Raises:
            ConfigError: no rule of featurebank does the same.
        """
        if not self._value("do_resize", default=True):
            self._refuse("are not resized")
        if self._value("do_pad", default=False):
            self._refuse("are padded")
        resample = self._value("resample", self._defaults.resample)
        if type(resample) is not int or resample not in _INTERPOLATIONS:
            names = "bilinear, bicubic or Lanczos"
            self._refuse(f"are interpolated by Pillow's filter {one_line(str(resample), 20)}, not by {names}")
        form, side = self._scaled()
        return central(form, side, _INTERPOLATIONS[resample], rounds_down=True)

    def normalization(self) -> str:
        """Returns the arithmetic on pixels: an identifier of `backbone.preprocess`.

        Raises:
            ConfigError: the numbers make no sense.
        """
        factor = self._number("rescale_factor", 1 / 255) if self._value("do_rescale", default=True) else 1.0
        mean, deviation = (
            self._three(key, default)
            for key, default in zip(("image_mean", "image_std"), self._defaults.statistics, strict=True)
        )
        if self._defaults.flips or not self._value("do_normalize", default=True):
            mean, deviation = [0.0] * 3, [1.0] * 3
        start = 0.0
        if self.kind == "EfficientNet":
            start = -1.0 if self._value("rescale_offset", default=False) else 0.0
            if self._value("include_top", default=True):  # this processor then divides once more
                mean = [one - start for one in mean]
                start, twice = 0.0, self._three("image_std", self._defaults.statistics[1])
                deviation = [one * other for one, other in zip(deviation, twice, strict=True)]
        if factor <= 0 or min(deviation) <= 0:
            self._refuse("are divided by zero or by a negative number")
        scale = 255 * factor
        return normalizing([(one - start) / scale for one in mean], [one / scale for one in deviation])

    def _scaled(self) -> tuple[str, int]:
        """Returns the form and the side of the scaled image, before the crop; see `resize.central`."""
        form, size = self._size()
        if self.kind == "ConvNext":
            if form != "shorter":
                self._refuse("have a height and a width in place of 'shortest_edge'")
            if size >= _WARPED_FROM:
                return "stretch", size
            return "shorter", self._checked_side("crop_pct", int(size / self._number("crop_pct", 224 / 256)))
        if form == "shorter" and self.kind == "Levit":
            return form, int(_LEVIT_SHARE * size)
        return ("stretch" if form == "square" else form), size

    def _size(self) -> tuple[str, int]:
        """Returns what "size" means, "square" or "shorter", and the side in pixels."""
        value = _as_object(self._value("size", {}))
        if not isinstance(value, dict):
            return self._defaults.number or self._defaults.form, self._checked_side("size", value)
        if not value:
            return self._defaults.form, self._defaults.size
        if value.get("shortest_edge") and not value.get("longest_edge"):
            return "shorter", self._checked_side("size", value["shortest_edge"])
        return "square", self._square_of("size", value)

    def _crop(self) -> int:
        """Returns the side of the central crop; 0 if there is none."""
        if not self._value("do_center_crop", default=bool(self._defaults.crop)):
            return 0
        value = _as_object(self._value("crop_size", self._defaults.crop or self._defaults.size))
        if isinstance(value, dict):
            return self._square_of("crop_size", value)
        return self._checked_side("crop_size", value)

    def _square_of(self, key: str, value: Mapping[str, Any]) -> int:
        height, width = value.get("height"), value.get("width")
        if height is None or height != width:
            self._refuse(f"have the {key} {one_line(str(value), 80)}, which is no square")
        return self._checked_side(key, height)

    def _checked_side(self, key: str, value: Any) -> int:
        if type(value) is not int or not 1 <= value <= LARGEST_SIDE:
            self._refuse(f"have the {key} {one_line(str(value), 40)}: expected pixels from 1 to {LARGEST_SIDE}")
        return int(value)

    def _three(self, key: str, default: Sequence[float]) -> list[float]:
        value = self._value(key, list(default))
        values = [value] * 3 if isinstance(value, int | float) else value
        if not isinstance(values, list) or len(values) != 3 or not all(_is_number(one) for one in values):  # noqa: PLR2004
            self._refuse(f"have the {key} {one_line(str(value), 80)}: expected three numbers")
        return [float(one) for one in values]

    def _number(self, key: str, default: float) -> float:
        value = self._value(key, default)
        if not _is_number(value) or value <= 0:
            self._refuse(f"have the {key} {one_line(str(value), 40)}: expected a positive number")
        return float(value)

    def _value(self, key: str, default: Any) -> Any:
        """Returns a value of the file; null means the default, as in transformers."""
        value = self._values.get(key)
        return default if value is None else value

    def _refuse(self, problem: str) -> NoReturn:
        refuse_preprocessing(self._origin, f"its images {problem}")


def refuse_preprocessing(origin: str, problem: str) -> NoReturn:
    """Raises ConfigError: nobody knows how the images of a network are prepared, so the user has to say it."""
    message = (
        f"{origin}: {problem}: say what the network expects with --preprocessing ({', '.join(DECLARED)}), --resize "
        f"({', '.join(RULES)}) and --image-size"
    )
    raise ConfigError(message)


def scaled_rule(rule: str, own: int, size: int) -> str:
    """Returns the rule for another image size: the same part of the image is cropped."""
    parts = central_of(rule)
    if parts is None or own == size:
        return rule
    side = max(size, round(parts.side * size / own))
    return central(parts.form, side, parts.interpolation, rounds_down=parts.rounds_down)


def _kind(name: str) -> str:
    """Returns the first part of a processor's class name, of any generation of transformers."""
    for end in ("Pil", "Fast", "ImageProcessor", "FeatureExtractor"):
        name = name.removesuffix(end)
    return name


def _as_object(value: Any) -> Any:
    """Returns a pair [height, width] as an object, and everything else as it is."""
    is_pair = isinstance(value, list) and len(value) == 2  # noqa: PLR2004
    return dict(zip(("height", "width"), value, strict=True)) if is_pair else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6  # noqa: PLR2004 - no NaN
