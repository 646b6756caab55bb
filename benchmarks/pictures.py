"""A folder of JPEG files, of the user's photos or made ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def photo_folder(folder: Path, count: int, photos: Path | None) -> Path:
    """Returns a folder of class folders with JPEG files.

    Args:
        folder: where it is made.
        count: how many files; fewer, where there are not as many photos.
        photos: a folder of class folders, of which files are linked; None makes pictures of 500 x 375 in two classes
            (smooth colour fields with noise, which compress like photos).
    """
    if photos is None:
        return _made(folder, count)
    found = sorted(photos.glob("*/*.jp*g"))
    for source in found[:: max(1, len(found) // count)][:count]:
        link = folder / source.parent.name / source.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source.resolve())
    return folder


def _made(folder: Path, count: int) -> Path:
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(count):
        field = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        noisy = np.clip(np.asarray(field, np.int16) + rng.normal(0, 6, (375, 500, 3)), 0, 255).astype(np.uint8)
        path = folder / f"class{number % 2}" / f"{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(path, quality=90)
    return folder
