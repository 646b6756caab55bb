"""Stage: a run -> one model file, written whole, and run before it gets its name."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.bank import open_bank
from featurebank.errors import FeatureBankError, HeadError
from featurebank.files import TEMPORARY_PREFIX, explain_full_disk, sync
from featurebank.grafting.converters import for_inference
from featurebank.grafting.formats import Format, format_of
from featurebank.grafting.joined import JoinedModel
from featurebank.grafting.stage import Grafted, grafted
from featurebank.heads.runs import Run
from featurebank.progress import SILENT, Reporter

TOLERANCE = 1e-4
"""How far the probabilities of a file may be from those of the Keras model."""


def export(
    run: Run, path: str | Path, *, format: str | None = None, backbone: Backbone | None = None, proof: bool = True,
    reporter: Reporter = SILENT,
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
        reporter: is told what the proof showed.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is none of a format, or of another one.
        HeadError: the head cannot be told in layers, and the format knows nothing else; or the file gives other
            probabilities.
        MissingDependencyError: the format needs a package that is not installed.
        WeightsError, DatasetError: as `featurebank.graft`.
        DiskFullError: no space is left; an older file stays.
    """
    path = Path(path)
    name, kind = format_of(path, format)
    form = "layers" if kind.needs_layers else "joined"
    made = grafted(open_bank(run.directory), run, backbone=backbone, proof=proof, form=form, reporter=reporter)
    path.parent.mkdir(parents=True, exist_ok=True)
    with explain_full_disk(path), tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=path.parent) as place:
        temporary = Path(place, path.name)
        difference = _write(made, kind, name, temporary)
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


def _write(made: Grafted, kind: Format, name: str, path: Path) -> float:
    """Writes a file, and returns how far what it says is from what the model says.

    Raises:
        HeadError: it says something else, or the format cannot hold the model.
    """
    try:
        kind.write(_for_inference(made.model), path, replace(made.about, format=name).to_text())
        run, _ = kind.read(path)
        found = run(made.images.astype(np.float32))
    except (FeatureBankError, OSError, MemoryError):
        raise
    except Exception as error:  # a converter of any network can fail in any way
        message = f"the model cannot be written as {name} ({' '.join(str(error).split())[:300]}): try --format keras"
        raise HeadError(message) from error
    difference = float(np.abs(found - made.probabilities).max())
    if not difference <= TOLERANCE:
        message = (
            f"the {name} file gives other probabilities than the model: they differ by {difference:.2g}, expected "
            f"at most {TOLERANCE:g}; try --format keras"
        )
        raise HeadError(message)
    return difference


def _for_inference(model: Any) -> Any:
    """Returns a Keras or a joined model without what acts in training alone."""
    if isinstance(model, JoinedModel):
        return JoinedModel(for_inference(model.trunk), model.head, model.about)
    return for_inference(model)
