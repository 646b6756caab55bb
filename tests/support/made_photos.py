"""The photos of the documentation: drawings of three flowers that a pretrained network tells apart, but not always."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

EACH, NEW, SIZE = 40, 4, (160, 128)
"""How many photos a class has, how many are new ones, and their width and height."""
Draw = Callable[[ImageDraw.ImageDraw, np.random.Generator, float, float, float], None]
GROUNDS = ((70, 110, 60), (120, 140, 90), (90, 90, 80), (150, 170, 190))


def save_photos(place: Path) -> None:
    """Writes `photos` (a folder per class), `new_photos` and `photos.csv` into a directory; the same ones each time."""
    random = np.random.default_rng(13)
    rows = []
    for name in FLOWERS:
        for number in range(1, EACH + 1):
            path = _save(place / "photos" / name / f"{name}_{number:02}.jpg", name, random)
            patient = f"p{random.integers(1, 16):02}"
            rows.append((path.relative_to(place).as_posix(), name, patient, int(random.integers(20, 80))))
    for number, name in zip(range(1, NEW + 1), ("daisy", "rose", "tulip", "rose"), strict=True):
        _save(place / "new_photos" / f"new_{number}.jpg", name, random)
    with (place / "photos.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("path", "label", "patient", "age"), *rows])


def _save(path: Path, name: str, random: np.random.Generator) -> Path:
    """Draws one to three flowers on a blurred ground and writes them as JPEG."""
    width, height = SIZE
    ground = np.array(GROUNDS[random.integers(len(GROUNDS))]) + random.normal(0, 35, (8, 10, 3))
    image = Image.fromarray(ground.clip(0, 255).astype(np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(random.integers(1, 4)):
        x, y = random.uniform(0.2, 0.8) * width, random.uniform(0.25, 0.75) * height
        drawn = FLOWERS[name] if random.random() < 0.9 else _bud
        drawn(draw, random, x, y, random.uniform(0.12, 0.34) * height)
    image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.5, 2.0)))
    pixels = np.asarray(image, np.float32) * random.uniform(0.7, 1.2) + random.normal(0, 22, (height, width, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=88)
    return path


def _colour(random: np.random.Generator) -> tuple[int, ...]:
    """Returns the colour of the petals, which says nothing about the class: the shape decides."""
    palette = ((225, 225, 215), (200, 40, 60), (235, 200, 60), (190, 90, 180), (240, 140, 110))
    return tuple(int(value) for value in np.clip(random.normal(palette[random.integers(len(palette))], 14), 0, 255))


def _petals(
    draw: ImageDraw.ImageDraw, random: np.random.Generator, x: float, y: float, r: float, count: int, width: float
) -> None:
    colour, turn = _colour(random), random.uniform(0, 2 * np.pi)
    for angle in turn + np.arange(count) * 2 * np.pi / count:
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        at = np.linspace(0, np.pi * 2, 16)
        outline = np.outer(np.cos(at) * 0.45 + 0.55, along) * r + np.outer(np.sin(at), across) * r * width
        draw.polygon([(x + dx, y + dy) for dx, dy in outline], fill=colour, outline=tuple(v // 2 for v in colour))


def _daisy(draw: ImageDraw.ImageDraw, random: np.random.Generator, x: float, y: float, r: float) -> None:
    _petals(draw, random, x, y, r, int(random.integers(9, 16)), 0.12)
    draw.ellipse((x - r * 0.25, y - r * 0.25, x + r * 0.25, y + r * 0.25), fill=(220, 170, 40))


def _rose(draw: ImageDraw.ImageDraw, random: np.random.Generator, x: float, y: float, r: float) -> None:
    colour = _colour(random)
    for ring in range(5):
        size, shade = r * (1 - ring * 0.19), 0.95 - 0.13 * (ring % 3)
        dx, dy = random.normal(0, 0.05 * r, 2)
        box = (x + dx - size, y + dy - size, x + dx + size, y + dy + size)
        start = random.uniform(0, 360)
        draw.ellipse(box, fill=tuple(int(value * shade) for value in colour))
        draw.arc(box, start, start + 250, fill=tuple(value // 3 for value in colour), width=2)


def _bud(draw: ImageDraw.ImageDraw, random: np.random.Generator, x: float, y: float, r: float) -> None:
    """Draws what may become any of the flowers."""
    colour = _colour(random)
    draw.line((x, y, x + random.normal(0, r * 0.3), y + 3 * r), fill=(50, 110, 40), width=max(2, int(r / 6)))
    draw.ellipse((x - r * 0.4, y - r * 0.7, x + r * 0.4, y + r * 0.5), colour, tuple(value // 2 for value in colour))


def _tulip(draw: ImageDraw.ImageDraw, random: np.random.Generator, x: float, y: float, r: float) -> None:
    if random.random() < 0.25:  # seen from above it looks like the others
        return _petals(draw, random, x, y, r, 6, 0.3)
    colour = _colour(random)
    draw.line((x, y, x + random.normal(0, r * 0.3), y + 3 * r), fill=(50, 110, 40), width=max(2, int(r / 6)))
    for side in (-0.5, 0.5, 0.0):
        peak, edge = (x + side * r, y - r), tuple(value // 2 for value in colour)
        draw.polygon([peak, (x + (side + 0.4) * r, y), (x, y + 0.8 * r), (x + (side - 0.4) * r, y)], colour, edge)
    return None


FLOWERS: dict[str, Draw] = {"daisy": _daisy, "rose": _rose, "tulip": _tulip}
