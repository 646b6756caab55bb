"""Stage: a run -> one model file, which is tested before it gets its final name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.network import FORMS as MAKERS
from featurebank.backbone.recorded import load_recorded
from featurebank.backbone.resize import resize_image
from featurebank.bank import Bank
from featurebank.errors import ConfigError, FeatureBankError, HeadError
from featurebank.grafting.certainty.calibration import calibrated
from featurebank.grafting.certainty.embedding import with_embedding
from featurebank.grafting.converters import for_inference
from featurebank.grafting.foreign.graft import ForeignGraft, check_form
from featurebank.grafting.foreign.trunks import OpenVINOTrunk
from featurebank.grafting.formats import FORMATS, Format, format_to_write
from featurebank.grafting.interruption import propagate_interruptions
from featurebank.grafting.metadata import About
from featurebank.grafting.ranked_layers import best_in_layers
from featurebank.grafting.resizing import with_resize as resizing
from featurebank.grafting.seen.record import seen_by
from featurebank.grafting.serving import how_to_load, how_to_run
from featurebank.grafting.several.networks import check_columns
from featurebank.grafting.several.trunks import SeveralTrunks
from featurebank.grafting.side_by_side import JoinedModel
from featurebank.grafting.stage import Grafted, grafted, run_model
from featurebank.grafting.trunk import taps_of
from featurebank.metrics import metric_of
from featurebank.runs.run import RunRecord
from featurebank.runs.several import Banks, as_list
from featurebank.system.backing.temporaries import temporary_folder
from featurebank.system.files import explain_full_disk, sync
from featurebank.system.options import StageOptions
from featurebank.system.progress import SILENT, Reporter

TOLERANCE = 1e-4
"""Maximum difference between the probabilities of a file and those of the Keras model."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions(StageOptions):
    """How to export; see `featurebank.export`."""

    format: str | None = None
    proof: bool = True
    with_resize: bool = False
    certainty: bool = True
    seen: bool = True
    metric: str = "accuracy"
    """What decides which run is "best"; see `featurebank.metrics.metric_of`."""


def find_exportable(
    banks: Banks, run: str, path: Path, options: ExportOptions, reporter: Reporter = SILENT
) -> RunRecord:
    """Returns a run of a bank, or of one of several, to export.

    Args:
        banks: the bank, or several that hold the same images.
        run: "best", which is the best run that the format can hold, or the beginning of an id.
        path: the file to write.
        options: the format, if the suffix does not tell.
        reporter: receives a line for each better head that cannot become layers.

    Raises:
        UnknownNameError, ConfigError, HeadError: there is no such run, or no run that the format can hold.
    """
    from featurebank.runs.selection import find_run  # imports scikit-learn, which predictions do not need

    _, kind = format_to_write(path, options.format)
    metric = metric_of(options.metric, as_list(banks)[0].classes)
    if run != "best" or not kind.needs_layers:
        return find_run(banks, run, metric=metric, reporter=reporter)
    best = best_in_layers(banks, reporter=reporter, metric=metric)
    if best.run != find_run(banks, metric=metric).run:
        reporter.say(f"to export the best head itself: featurebank export best -o {path.with_suffix('.fbmodel')}")
    return best


def run_export(
    run: RunRecord, path: Path, options: ExportOptions, *, backbone: Backbone | None = None, reporter: Reporter = SILENT
) -> Path:
    """Does what `export` does."""
    name, kind = format_to_write(path, options.format)
    if options.with_resize and not kind.holds_resize:
        able = " and ".join(suffix.suffix for suffix in FORMATS.values() if suffix.holds_resize)
        message = f"a {kind.suffix} file takes images of one size: only {able} can resize; omit --with-resize"
        raise ConfigError(message)
    form = "layers" if kind.needs_layers else "joined"
    with propagate_interruptions():
        bank = Bank(run.directory)
        backbone = _checked(bank, run, kind, options, backbone)
        result = grafted(bank, run, backbone=backbone, proof=options.proof, form=form, reporter=reporter)
        certainty = None
        if options.certainty:
            certainty = calibrated(bank, run, result.fitted, operation=result.operation, reporter=reporter)
        about = replace(
            result.about, format=name, any_size=options.with_resize, certainty=certainty,
            seen=seen_by(bank, run) if options.seen else None,
        )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        propagate_interruptions(),
        explain_full_disk(path),
        temporary_folder(path.parent) as place,
    ):
        temporary = place / path.name
        with reporter.step(f"writing {path.name}"):
            difference = _write(result, kind, about, temporary)
        files = kind.files(temporary)
        for file in files:
            sync(file)
        if len(files) > 1:  # a crash between two replacements must not leave an old description with new weights
            path.unlink(missing_ok=True)
        for file in files:
            file.replace(path.with_name(file.name))
        sync(path.parent)
    reporter.say(f"{name}: the probabilities of the file equal those of the model to {difference:.1e}")
    return path


def _checked(
    bank: Bank, run: RunRecord, kind: Format, options: ExportOptions, backbone: Backbone | None
) -> Backbone | None:
    """Returns the network of the bank, if it is one whose model such a file can hold; None for a fine-tune."""
    if run.is_finetune:
        return None
    check_columns(bank, run.tap, run.joined)
    if kind.needs_layers:
        taps_of(bank, run.tap, run.joined)
    backbone = load_recorded(bank.recipe, bank.manifest.source, backbone=backbone)
    check_form(backbone, kind.suffix, kind.forms)
    if options.with_resize and backbone.form != "keras":
        message = (
            f"{backbone.name} is a network of {MAKERS[backbone.form]}, and only models of Keras's networks can resize: "
            "omit --with-resize (with_resize); 'featurebank predict' resizes, and the file's metadata has the code"
        )
        raise ConfigError(message)
    return backbone


def _write(graft: Grafted, kind: Format, about: About, path: Path) -> float:
    """Writes a file, and returns the largest difference between its probabilities and those of the model.

    Raises:
        HeadError: the difference is too large, or the format cannot represent the model.
    """
    name, size = about.format, about.image_size
    resizes = about.any_size or bool(about.further)
    usage = how_to_load(about.resize, size, any_size=resizes) + "\n\n" + how_to_run(name, path.name)
    try:
        plain = _for_inference(graft.model)
        whole = resizing(plain, about.resize) if about.any_size else plain
        if kind.returns_features and about.certainty is not None and about.certainty.likeness is not None:
            whole = _with_features(whole, about.certainty.operation)
        kind.write(whole, path, replace(about, usage=usage).to_text())
        run, _ = kind.read(path)
        pairs = [(run(graft.images.astype(about.pixels)).probabilities, graft.probabilities)]
        for image in _odd_images(size) if about.any_size else ():
            expected = run_model(plain, resize_image(image, size, about.resize)[None])
            pairs.append((run(image[None]).probabilities, expected))
    except (FeatureBankError, OSError, MemoryError):
        raise
    except Exception as error:  # converters of arbitrary networks can raise any exception
        message = f"the model cannot be written as {name} ({' '.join(str(error).split())[:300]}): try {_other(graft)}"
        raise HeadError(message) from error
    difference = max(float(np.abs(actual - expected).max()) for actual, expected in pairs)
    if not difference <= TOLERANCE:
        message = (
            f"the {name} file returns other probabilities than the model: they differ by {difference:.2g}, expected "
            f"at most {TOLERANCE:g}; try {_other(graft)}"
        )
        raise HeadError(message)
    return difference


def _with_features(model: Any, operation: str) -> Any:
    """Returns a graft of layers with its features as a second output."""
    if isinstance(model, ForeignGraft):
        return ForeignGraft(model.trunk, with_embedding(model.layers, ""), model.backbone, model.taps)
    return with_embedding(model, operation)


def _other(graft: Grafted) -> str:
    """Returns how to choose the format that holds every such model."""
    return "a .fbmodel file" if isinstance(graft.model, ForeignGraft) else "--format keras"


def _odd_images(size: int) -> Iterator[np.ndarray]:
    """Yields smooth uint8 images that are smaller and larger than a network's input, and wide ones."""
    for height, width in ((size // 2 + 1, size // 2 + 3), (size + 5, 2 * size + 7), (3 * size + 1, 3 * size + 2)):
        y, x, channel = np.meshgrid(np.arange(height) / height, np.arange(width) / width, np.arange(3), indexing="ij")
        yield (127.5 + 127 * np.sin(9 * x * (1 + channel) + 7 * y)).astype(np.uint8)


def _plain_trunk(trunk: Any) -> Any:
    if isinstance(trunk, SeveralTrunks):
        return SeveralTrunks([_plain_trunk(one) for one in trunk.trunks], trunk.squares)
    return trunk if isinstance(trunk, OpenVINOTrunk) else for_inference(trunk)


def _for_inference(model: Any) -> Any:
    """Returns a graft without layers that act only in training."""
    if isinstance(model, JoinedModel):
        return JoinedModel(_plain_trunk(model.trunk), model.head, model.about)
    return model if isinstance(model, ForeignGraft) else for_inference(model)
