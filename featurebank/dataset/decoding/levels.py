"""Converts grey values of more than eight bits to the 256 levels that networks were trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from featurebank.errors import ConfigError

WHOLE = 65535
"""The largest 16-bit value, which is white unless levels are given."""

_LOST = 4
"""A warning is given if the largest value is below this fraction (one in so many) of the whole range."""
_NEAR_POWER = 0.9
_ROWS = 256
_MOST_PERCENT = 100


@dataclass(frozen=True)
class Levels:
    """The values that become black and white; values between them are scaled, others are clipped.

    Args:
        low: the value that becomes 0.
        high: the value that becomes 255.
        percent: whether the two are percentiles of each image's own values.

    Examples:
        >>> Levels.parse("0,4095").apply(np.array([[0, 2048, 4095, 9999]], np.uint16)).tolist()
        [[0, 128, 255, 255]]
        >>> Levels.parse("auto").apply(np.array([[-1.5, 0, 1.5]])).tolist()
        [[0, 128, 255]]
    """

    low: float
    high: float
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Levels:
        """Parses "LOW,HIGH", "auto:LOW,HIGH" (percentiles of each image), or "auto" (its smallest and largest value).

        Raises:
            ConfigError: the text is none of these.
        """
        kind, _, rest = text.partition(":") if text.startswith("auto") else ("", "", text)
        percent = kind == "auto"
        try:
            low, high = (float(part) for part in (rest or "0,100" if percent else rest).split(","))
            fine = math.isfinite(low) and math.isfinite(high) and low < high and kind in {"", "auto"}
            fine = fine and not (percent and (low < 0 or high > _MOST_PERCENT))
        except ValueError:
            fine = False
        if not fine:
            message = (
                f"levels is '{text}': expected LOW,HIGH, as 0,4095 for 12 bits, or auto, or auto:LOW,HIGH with "
                "percentiles of each image, as auto:1,99"
            )
            raise ConfigError(message)
        return cls(low, high, percent)

    @property
    def text(self) -> str:
        """The canonical text for `parse`: equal levels have equal texts."""
        values = f"{self.low:.15g},{self.high:.15g}"
        return f"auto:{values}" if self.percent else values

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Scales the values of one image: (h, w) numbers -> (h, w) uint8. NaN becomes black."""
        low, high = self._bounds(values) if self.percent else (self.low, self.high)
        result = np.zeros(values.shape, np.uint8)
        if not low < high:
            return result
        for start in range(0, len(values), _ROWS):  # so that a large image never takes eight bytes per pixel
            part = values[start : start + _ROWS].astype(np.float64)
            scaled = np.clip((part - low) * (255 / (high - low)), 0, 255)
            result[start : start + _ROWS] = np.rint(np.nan_to_num(scaled)).astype(np.uint8)
        return result

    def _bounds(self, values: np.ndarray) -> tuple[float, float]:
        known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if not known.size:
            return 0.0, 0.0
        low, high = np.percentile(known, [self.low, self.high])
        return float(low), float(high)


def parse_levels(text: str | None) -> Levels | None:
    """Parses levels; None stays None. See `Levels.parse`."""
    return None if text is None else Levels.parse(text)


@dataclass
class Depths:
    """The largest values of the decoded images of more than eight bits, by their index in the dataset."""

    peaks: dict[int, float] = field(default_factory=dict)

    def note(self, index: int, peak: float | None) -> None:
        """Records an image; an image of eight bits has no peak. May be called from several threads."""
        if peak is not None:
            self.peaks[index] = peak

    def warning(self, levels: Levels | None) -> str | None:
        """Returns a line on the loss in these images, if it is large; None otherwise."""
        if not self.peaks or (levels and levels.percent):
            return None
        peak, count = max(self.peaks.values()), len(self.peaks)
        of = "1 image has" if count == 1 else f"{count} images have"
        if levels is None:
            if not 0 < peak * _LOST < WHOLE:
                return None
            left = int(peak) // 256 + 1
            return (
                f"{of} more than 8 bits a pixel, and no value above {peak:g} of {WHOLE}: nearly black, as "
                f"{left} of 256 levels {'is' if left == 1 else 'are'} left; use --levels 0,{_suggested(peak)}"
            )
        if peak > levels.high:
            return f"{of} values up to {peak:g}, which --levels {levels.text} clips at {levels.high:g}"
        return None


def _suggested(peak: float) -> int:
    """Returns the upper level to suggest: the largest value of the used bits if it is nearly reached, else the peak."""
    end = (1 << int(peak).bit_length()) - 1
    return end if peak >= _NEAR_POWER * end else int(peak)
