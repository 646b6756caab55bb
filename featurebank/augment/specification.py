"""The specification of augmentations: their strengths, and the text that holds them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from featurebank.errors import ConfigError, unknown_name

RULE = "v1"
"""Version of the meaning of a specification. It is part of a bank's key: any change of the pixels needs a new one."""

LARGEST = {"rotate": 180.0, "zoom": 0.9, "shear": 1.0, "shift": 1.0, "contrast": 1.0, "noise": 1.0}
"""The largest strength of each kind; the smallest is 0."""

FLIPS = ("horizontal", "vertical", "both")

EXAMPLE = "flip,rotate=10,zoom=.2"

_NUMBER = re.compile(r"[0-9]+\.?[0-9]*(e[+-]?[0-9]+)?|\.[0-9]+(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Augmentation:
    """A specification of augmentations; `parse` reads it from a text and `str` writes that text.

    Args:
        flip: "horizontal", "vertical" or "both", each with probability 1/2; "" for none.
        rotate: degrees; the angle is uniform in +-rotate.
        zoom: the factor is uniform in 1 +- zoom; above 1, objects look larger.
        shear: the horizontal shear is uniform in +-shear (tangent of its angle).
        shift: fraction of the width and of the height; both shifts are uniform in +-shift.
        contrast: the factor is uniform in 1 +- contrast, about the mean of each channel.
        noise: standard deviation of Gaussian noise as a fraction of 255, for each pixel and channel.

    Raises:
        ConfigError: a strength is out of range, or all are zero.

    Example:
        >>> str(Augmentation(flip="horizontal", rotate=10, zoom=0.2))
        'flip,rotate=10,zoom=.2'
        >>> Augmentation.parse("zoom=.2, flip") == Augmentation(flip="horizontal", zoom=0.2)
        True
    """

    flip: str = ""
    rotate: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        values = asdict(self)
        problems = list(_out_of_range(values))
        if not problems and not any(values.values()):
            message = f"an augmentation that changes nothing: expected at least one strength above 0, as {EXAMPLE}"
            problems = [ConfigError(message)]
        _raise(problems)

    @classmethod
    def parse(cls, text: str) -> Augmentation:
        """Reads a specification.

        Args:
            text: as "flip,rotate=10,zoom=.2,shear=.2,shift=.1,contrast=.2,noise=.05", in any order.

        Raises:
            ConfigError: a part is unknown, not a number, repeated or out of range, or the whole changes nothing; one
                error lists all problems.
        """
        values: dict[str, Any] = {}
        problems: list[ConfigError] = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            try:
                if name in values:
                    message = f"augmentation '{name}' is given twice: expected it once"
                    raise ConfigError(message)
                values[name] = _read(name, value if equals else None)
            except ConfigError as error:
                problems.append(error)
        _raise([*problems, *_out_of_range(values)] if problems else problems)
        return cls(**values)

    def __str__(self) -> str:
        parts = []
        for name, value in asdict(self).items():
            if value:
                shown = "" if value == "horizontal" else f"={value if name == 'flip' else _shortest(value)}"
                parts.append(name + shown)
        return ",".join(parts)

    @property
    def recipe(self) -> dict[str, str]:
        """The part of a bank's key that decides the pixels of a view."""
        return {"augment": str(self), "rule": RULE}


def _read(name: str, value: str | None) -> str | float:
    if name not in _NAMES:
        raise unknown_name("augmentation", name, _NAMES)
    if name == "flip":
        if value is None:
            return FLIPS[0]
        if value not in FLIPS:
            raise unknown_name("flip", value, FLIPS)
        return value
    if value is None or not _NUMBER.fullmatch(value):
        got = f"'{name}'" if value is None else f"'{name}={value}'"
        message = f"augmentation {got} has no strength: expected a number from 0 to {LARGEST[name]:g}, as {name}=.1"
        raise ConfigError(message)
    return float(value)


def _out_of_range(values: dict[str, Any]) -> Iterator[ConfigError]:
    flip = values.get("flip", "")
    if flip and flip not in FLIPS:
        yield unknown_name("flip", str(flip), FLIPS)
    for name, most in LARGEST.items():
        value = values.get(name, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            yield ConfigError(f"augmentation {name} is {value!r}: expected a number from 0 to {most:g}")


def _raise(problems: list[ConfigError]) -> None:
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ConfigError("; ".join(map(str, problems)))


def _shortest(number: float) -> str:
    text = repr(float(number)).removesuffix(".0")
    return text.removeprefix("0") if text.startswith("0.") else text


_NAMES = tuple(field.name for field in fields(Augmentation))
