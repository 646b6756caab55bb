"""Stage: runs -> TensorBoard's files, with curves, final metrics and hyperparameters.

They are written by the package `tensorboard` alone: no TensorFlow is imported.
"""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from featurebank.errors import MissingDependencyError
from featurebank.files import write_bytes
from featurebank.heads.runs import Run

_CURVES = {"loss": "epoch/loss", "val_loss": "epoch/val_loss", "val_accuracy": "epoch/val_accuracy"}
_FILE = "events.out.tfevents.featurebank"
"""The same for each run, so that writing a run again replaces it."""


def write_tensorboard(runs: Sequence[Run], directory: Path) -> int:
    """Writes each run that did not fail into a directory of its own: TAP/HEAD-RUN.

    Scalars are one value an epoch of heads that have epochs, and the final metrics of training and validation of every
    head. The test split's are left out.

    Args:
        runs: what is written.
        directory: what TensorBoard is pointed at, by `tensorboard --logdir DIRECTORY`.

    Returns:
        How many runs were written.

    Raises:
        MissingDependencyError: tensorboard is not installed.
    """
    try:
        import tensorboard.compat.proto.event_pb2  # noqa: F401 - that it is there
    except ImportError as error:
        message = "--tensorboard needs tensorboard, which is not installed: pip install 'featurebank[tensorboard]'"
        raise MissingDependencyError(message) from error
    done = [run for run in runs if not run.failure]
    for run in done:
        write_bytes(directory / _safe(run.tap) / f"{_safe(run.head)}-{run.run}" / _FILE, _records(run, _seconds(run)))
    return len(done)


def _records(run: Run, began: float) -> bytes:
    import io

    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    events = [Event(wall_time=began, file_version="brain.Event:2")]
    events += [Event(wall_time=began, summary=summary) for summary in _hparams(run, began)]
    events += [
        Event(wall_time=began + run.seconds, step=step, summary=_scalar(tag, value))
        for tag, step, value in _values(run)
    ]
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()


def _values(run: Run) -> Iterator[tuple[str, int, float]]:
    """Yields tag, step and value of each scalar."""
    history = run.history or {}
    for name, tag in _CURVES.items():
        for epoch, value in enumerate(history.get(name) or (), 1):
            if value is not None:
                yield tag, epoch, value
    last = int(history.get("best_epoch") or 0)
    for split in ("train", "val"):
        for name, value in run.metrics[split].items():
            if isinstance(value, float):
                yield f"{split}/{name}", last, value
    yield "seconds", last, run.seconds


def _scalar(tag: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def _hparams(run: Run, began: float) -> list[Any]:
    """Returns the summaries of TensorBoard's table of hyperparameters.

    Which hyperparameters there are is not written down: TensorBoard then collects them from all runs it finds.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    start = plugin_data_pb2.SessionStartInfo(group_name=run.run, start_time_secs=began)
    given = {**run.params, "head": run.head, "tap": run.tap, "seed": run.seed}
    for name, value in {**given, **({"fold": run.fold[0]} if run.fold else {})}.items():
        _set(start.hparams[name], value)
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=began + run.seconds)
    parts = {
        metadata.SESSION_START_INFO_TAG: plugin_data_pb2.HParamsPluginData(session_start_info=start),
        metadata.SESSION_END_INFO_TAG: plugin_data_pb2.HParamsPluginData(session_end_info=end),
    }
    return [
        Summary(
            value=[Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(part), tensor=metadata.NULL_TENSOR)]
        )
        for tag, part in parts.items()
    ]


def _set(field: Any, value: Any) -> None:
    """Puts a parameter where TensorBoard looks for it: a truth value, a number, or else a text."""
    if isinstance(value, bool):
        field.bool_value = value
    elif isinstance(value, int | float):
        field.number_value = value
    else:
        field.string_value = str(value)


def _seconds(run: Run) -> float:
    """Returns when a run was recorded, in seconds since 1970, less what it took."""
    return max(0.0, timegm(time.strptime(run.created, "%Y-%m-%dT%H:%M:%SZ")) - run.seconds)


def _safe(name: str) -> str:
    """Returns a name that can be one of a directory on any system."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
