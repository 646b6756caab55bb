"""Stage: a run -> one model file, written whole, and run before it gets its name."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.resize import resize_image
from featurebank.bank import open_bank
from featurebank.errors import ConfigError, FeatureBankError, HeadError
from featurebank.grafting.converters import for_inference
from featurebank.grafting.formats import FORMATS, Format, format_to_write
from featurebank.grafting.interruption import heard
from featurebank.grafting.metadata import About
from featurebank.grafting.resizing import with_resize as resizing
from featurebank.grafting.serving import how_to_load, how_to_run
from featurebank.grafting.side_by_side import JoinedModel
from featurebank.grafting.stage import Grafted, answer, grafted
from featurebank.runs.run import Run
from featurebank.system.files import TEMPORARY_PREFIX, explain_full_disk, sync
from featurebank.system.progress import SILENT, Reporter

TOLERANCE = 1e-4
"""How far the probabilities of a file may be from those of the Keras model."""


def export(
    run: Run, path: str | Path, *, format: str | None = None, backbone: Backbone | None = None, proof: bool = True,
    with_resize: bool = False, reporter: Reporter = SILENT,
) -> Path:  # fmt: skip
    """Writes a run as one model file, images in, probabilities out.

    Before it gets its name, the file is read again and run on 16 images of the bank.

    Args:
        run: of a bank: what `select` returned, or any other.
        path: where; the suffix tells the format. An existing file is replaced when the new one is whole.
        format: "keras" (.keras), "onnx" (.onnx, needs `featurebank[onnx]`), "openvino" (.xml, and .bin beside it),
            "tflite" (.tflite), or "joined" (.fbmodel), which takes any head; default: by the suffix.
        backbone: the network of the bank; default: loaded again.
        proof: whether the graft is proved, see `featurebank.graft`.
        with_resize: whether the model brings images to size itself: it takes uint8 RGB of any size; "keras" and "onnx".
        reporter: is told what the proof showed.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is none of a format, or of another one; or the format takes images of one size only.
        HeadError: the head cannot be told in layers, and the format knows nothing else; or the file gives other
            probabilities.
        MissingDependencyError: the format needs a package that is not installed.
        WeightsError, DatasetError: as `featurebank.graft`.
        DiskFullError: no space is left; an older file stays.
    """
    path = Path(path)
    name, kind = format_to_write(path, format)
    if with_resize and not kind.holds_resize:
        able = " and ".join(suffix.suffix for suffix in FORMATS.values() if suffix.holds_resize)
        message = f"a {kind.suffix} file takes images of one size: only {able} can resize; leave out --with-resize"
        raise ConfigError(message)
    form = "layers" if kind.needs_layers else "joined"
    with heard():
        made = grafted(open_bank(run.directory), run, backbone=backbone, proof=proof, form=form, reporter=reporter)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        heard(),
        explain_full_disk(path),
        tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=path.parent) as place,
    ):
        temporary = Path(place, path.name)
        with reporter.step(f"writing {path.name}"):
            difference = _write(made, kind, replace(made.about, format=name, any_size=with_resize), temporary)
        files = kind.files(temporary)
        for file in files:
            sync(file)
        if len(files) > 1:  # a crash between two replacements must not leave an old description of new weights
            path.unlink(missing_ok=True)
        for file in files:
            file.replace(path.with_name(file.name))
        sync(path.parent)
    reporter.say(f"{name}: read again, the file gives the model's probabilities to {difference:.1e}")
    return path


def _write(made: Grafted, kind: Format, about: About, path: Path) -> float:
    """Writes a file, and returns how far what it says is from what the model says.

    Raises:
        HeadError: it says something else, or the format cannot hold the model.
    """
    name, size = about.format, about.image_size
    usage = how_to_load(about.resize, size, any_size=about.any_size) + "\n\n" + how_to_run(name, path.name)
    try:
        plain = _for_inference(made.model)
        whole = resizing(plain, about.resize) if about.any_size else plain
        kind.write(whole, path, replace(about, usage=usage).to_text())
        run, _ = kind.read(path)
        pairs = [(run(made.images.astype(about.pixels)), made.probabilities)]
        for image in _odd_images(size) if about.any_size else ():
            expected = answer(plain, resize_image(image, size, about.resize)[None])
            pairs.append((run(image[None]), expected))
    except (FeatureBankError, OSError, MemoryError):
        raise
    except Exception as error:  # a converter of any network can fail in any way
        message = f"the model cannot be written as {name} ({' '.join(str(error).split())[:300]}): try --format keras"
        raise HeadError(message) from error
    difference = max(float(np.abs(found - expected).max()) for found, expected in pairs)
    if not difference <= TOLERANCE:
        message = (
            f"the {name} file gives other probabilities than the model: they differ by {difference:.2g}, expected "
            f"at most {TOLERANCE:g}; try --format keras"
        )
        raise HeadError(message)
    return difference


def _odd_images(size: int) -> Iterator[np.ndarray]:
    """Yields smooth images that are smaller and larger than a network's input, and wide."""
    for height, width in ((size // 2 + 1, size // 2 + 3), (size + 5, 2 * size + 7), (3 * size + 1, 3 * size + 2)):
        y, x, channel = np.meshgrid(np.arange(height) / height, np.arange(width) / width, np.arange(3), indexing="ij")
        yield (127.5 + 127 * np.sin(9 * x * (1 + channel) + 7 * y)).astype(np.uint8)


def _for_inference(model: Any) -> Any:
    """Returns a Keras or a joined model without what acts in training alone."""
    if isinstance(model, JoinedModel):
        return JoinedModel(for_inference(model.trunk), model.head, model.about)
    return for_inference(model)
