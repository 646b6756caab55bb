"""How fast are JPEG files decoded and brought to the size of a network, and do features notice another decoder?

Photos of a folder (`--photos DIR`), else made ones of 12 megapixels as phones make them. Each contestant decodes all of
them on one thread and resizes them as featurebank does: the central 7/8, bicubic with antialiasing. "reduced" decodes
at a smaller DCT scale where the image is at least twice the size that is asked for. Beside the speed stands what the
features of EfficientNet-Lite0 make of it: the smallest cosine and the largest difference, relative to the largest
feature of the row, against Pillow's full decoding.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.harness import Contest, conditions, report, tensorflow
from featurebank import load_backbone
from featurebank.backbone import Backbone
from featurebank.backbone.resize import resize_image
from featurebank.dataset.decoding.decode import decode
from featurebank.engine.catalog import load_engine

Decoder = Callable[[bytes, int], np.ndarray]
_CROP = 0.875


def run(rounds: int, *, quick: bool, output: Path, photos: Path | None = None) -> None:
    """Runs the benchmark."""
    tf = tensorflow()
    about = conditions()
    backbone = load_backbone("efficientnet_lite0")
    with tempfile.TemporaryDirectory() as directory:
        folder = photos or _made(Path(directory), 4 if quick else 40)
        files = [path.read_bytes() for path in sorted(folder.rglob("*.jp*g"))[: 20 if quick else 500]]
    size = backbone.image_size
    contest = Contest(f"{len(files)} JPEG files to {size} x {size}, one thread", len(files), "images", "Pillow, full")
    decoders = _decoders(tf)
    for decoder in decoders.values():
        decoder(files[0], size)
    for _ in range(rounds):
        for name, decoder in decoders.items():
            contest.time(name, lambda decoder=decoder: [decoder(data, size) for data in files])
    for name, note in _differences(backbone, files, decoders).items():
        contest.notes[name] = note
    report([contest], about, output, {"rounds": rounds, "photos": str(photos) if photos else "made"})


def _decoders(tf: Any) -> dict[str, Decoder]:
    found: dict[str, Decoder] = {
        "Pillow, full": lambda data, size: resize_image(decode(data), size),
        "Pillow, reduced": _reduced,
        "TensorFlow, full": lambda data, size: resize_image(tf.io.decode_jpeg(data, channels=3).numpy(), size),
        "TensorFlow, accurate DCT": lambda data, size: resize_image(
            tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy(), size
        ),
    }
    try:
        import simplejpeg
    except ImportError:
        return found
    found["simplejpeg, full"] = lambda data, size: resize_image(simplejpeg.decode_jpeg(data), size)
    found["simplejpeg, fast"] = lambda data, size: resize_image(
        simplejpeg.decode_jpeg(data, fastdct=True, fastupsample=True), size
    )
    found["simplejpeg, reduced"] = lambda data, size: resize_image(
        simplejpeg.decode_jpeg(data, min_height=_enough(size), min_width=_enough(size), min_factor=1), size
    )
    return found


def _reduced(data: bytes, size: int) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (_enough(size), _enough(size)))
    return resize_image(np.asarray(image.convert("RGB")), size)


def _enough(size: int) -> int:
    """Returns the side that an image has to keep, so that its central part is not enlarged."""
    return int(np.ceil(size / _CROP))


def _differences(backbone: Backbone, files: list[bytes], decoders: dict[str, Decoder]) -> dict[str, str]:
    engine = load_engine("tensorflow", backbone, ("pooled",), batch_size=32)

    def features(decoder: Decoder) -> np.ndarray:
        images = np.stack([decoder(data, backbone.image_size) for data in files])
        return np.concatenate([engine(images[i : i + 32])["pooled"] for i in range(0, len(images), 32)])

    known = features(decoders["Pillow, full"])
    notes = {}
    for name, decoder in decoders.items():
        found = features(decoder)
        cosines = (found * known).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(known, axis=1)
        worst = (np.abs(found - known).max(1) / np.abs(known).max(1)).max()
        notes[name] = f"cosine {cosines.min():.5f} at least, {worst:.1e} at most"
    return notes


def _made(directory: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    for number in range(count):
        field = Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).resize(
            (4000, 3000), Image.Resampling.BICUBIC
        )
        field.save(directory / f"{number:03d}.jpg", quality=90)
    return directory
