"""Stage: runs -> TensorBoard files with curves, final metrics and hyperparameters; fine-tunes write curves live.

Only the package `tensorboard` is needed: TensorFlow is not imported.
"""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from featurebank.errors import MissingDependencyError
from featurebank.runs.logs.graph import model_graph, run_graph, safe_name
from featurebank.runs.run import RunRecord
from featurebank.system.files import explain_full_disk, write_bytes

_CURVES = {name: f"epoch/{name}" for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")}
_WITHIN = ("loss", "accuracy", "val_loss", "val_accuracy")
"""The values of a validation within an epoch."""
_VERSION = "brain.Event:2"
_FILE = "events.out.tfevents.featurebank"
"""The same name for each run, so that writing a run again replaces its file. Live files have a number appended."""


def write_tensorboard(runs: Sequence[RunRecord], directory: Path) -> int:
    """Writes each successful run to a directory of its own, TAP/HEAD-RUN.

    The scalars are the history of heads with epochs, one value per epoch, and the final training and validation metrics
    of every head, without test metrics.

    Args:
        runs: the runs to write.
        directory: the log directory, for `tensorboard --logdir DIRECTORY`.

    Returns:
        The number of runs written.

    Raises:
        MissingDependencyError: tensorboard is not installed.
    """
    check_tensorboard()
    done = [run for run in runs if not run.failure]
    for run in done:
        place = _place(directory, run.tap, run.head, run.run)
        write_bytes(place / _FILE, _records(run, _seconds(run)))
        for live in place.glob(f"{_FILE}.*"):  # the same points
            live.unlink()
    return len(done)


def check_tensorboard() -> None:
    """Raises MissingDependencyError if tensorboard is not installed."""
    try:
        import tensorboard.compat.proto.event_pb2  # noqa: F401 - only checks that it is installed
    except ImportError as error:
        message = "--tensorboard needs tensorboard, which is not installed: pip install 'featurebank[tensorboard]'"
        raise MissingDependencyError(message) from error


class TensorBoardWriter:
    """A context manager that writes the curves of a run during training, with the same points as `write_tensorboard`.

    Each instance starts a new file, deletes earlier ones, and makes a running TensorBoard forget their points: so after
    an interruption each point occurs once.

    Args:
        directory: the log directory.
        tap: the tap of the run.
        head: its kind.
        run: its id.

    Raises:
        MissingDependencyError: tensorboard is not installed.
        DiskFullError: no space is left, here and with each point.
    """

    def __init__(self, directory: Path, tap: str, head: str, run: str) -> None:
        check_tensorboard()
        place = _place(directory, tap, head, run)
        with explain_full_disk(place):
            place.mkdir(parents=True, exist_ok=True)
        before = sorted(place.glob(f"{_FILE}*"))
        number = max((int(file.suffix[1:]) for file in before if file.suffix[1:].isdigit()), default=0) + 1
        self._path = place / f"{_FILE}.{number:06d}"
        self._written: set[tuple[str, int]] = set()
        self._file: BinaryIO = self._path.open("wb")
        self._begin()
        for file in before:
            file.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def show_graph(self, model: Any) -> None:
        """Writes the graph of a functional Keras model of network and head."""
        from tensorboard.compat.proto.event_pb2 import Event

        self._append([Event(wall_time=time.time(), graph_def=model_graph(model))])

    def update(self, history: Mapping[str, Any], epoch_0: Mapping[str, float]) -> None:
        """Writes the points that are new since the last call.

        Args:
            history: the run's history so far: lists by epoch, and under "steps" the validations within epochs.
            epoch_0: validation "accuracy" and "loss" before the first step.
        """
        self._write(list(_curves(history, epoch_0)))

    def finish(self, run: RunRecord) -> None:
        """Writes the final metrics, and the hyperparameters for TensorBoard's table."""
        from tensorboard.compat.proto.event_pb2 import Event

        self._write(list(_values(run)))
        self._append([Event(wall_time=time.time(), summary=summary) for summary in _hparams(run, _seconds(run))])

    def _begin(self) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        now = time.time()
        start = SessionLog(status=SessionLog.START)  # makes TensorBoard forget the points of older files
        self._append([Event(wall_time=now, file_version=_VERSION), Event(wall_time=now, step=0, session_log=start)])

    def _write(self, points: Sequence[tuple[str, int, float]]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        new = [(tag, step, value) for tag, step, value in points if (tag, step) not in self._written]
        self._written.update((tag, step) for tag, step, _ in new)
        now = time.time()
        self._append([Event(wall_time=now, step=step, summary=_scalar(tag, value)) for tag, step, value in new])

    def _append(self, events: Sequence[Any]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        with explain_full_disk(self._path):
            writer = RecordWriter(self._file)
            for event in events:
                writer.write(event.SerializeToString())
            self._file.flush()


def _records(run: RunRecord, began: float) -> bytes:
    import io

    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    events = [Event(wall_time=began, file_version=_VERSION)]
    events += [Event(wall_time=began, graph_def=run_graph(run))]
    events += [Event(wall_time=began, summary=summary) for summary in _hparams(run, began)]
    events += [
        Event(wall_time=began + run.seconds, step=step, summary=_scalar(tag, value))
        for tag, step, value in _values(run)
    ]
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()


def _values(run: RunRecord) -> Iterator[tuple[str, int, float]]:
    """Yields tag, step and value of each scalar."""
    history = run.record()["history"] or {}
    yield from _curves(history, (run.finetune or {}).get("epoch_0"))
    last = int(history.get("best_epoch") or 0)
    for split in ("train", "val"):
        for name, value in run.metrics[split].items():
            if isinstance(value, float):
                yield f"{split}/{name}", last, value
    yield "seconds", last, run.seconds


def _curves(history: Mapping[str, Any], epoch_0: Mapping[str, float] | None) -> Iterator[tuple[str, int, float]]:
    for name, value in (epoch_0 or {}).items():
        yield _CURVES[f"val_{name}"], 0, value
    for name, tag in _CURVES.items():
        for epoch, value in enumerate(history.get(name) or (), 1):
            if value is not None:
                yield tag, epoch, value
    for entry in history.get("steps") or ():
        for name in _WITHIN:
            if entry.get(name) is not None and "taken" in entry:
                yield f"step/{name}", entry["taken"], entry[name]


def _scalar(tag: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def _hparams(run: RunRecord, began: float) -> list[Any]:
    """Returns the summaries of TensorBoard's table of hyperparameters.

    They do not list the hyperparameters: TensorBoard then collects them from all runs.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    start = plugin_data_pb2.SessionStartInfo(group_name=run.run, start_time_secs=began)
    parameters = {**run.spec.shown_params, "head": run.head, "tap": run.tap, "seed": run.seed}
    for name, value in {**parameters, **({"fold": run.fold[0]} if run.fold else {})}.items():
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
    """Sets a parameter in a protobuf field as a boolean, a number, or otherwise a string."""
    if isinstance(value, bool):
        field.bool_value = value
    elif isinstance(value, int | float):
        field.number_value = value
    else:
        field.string_value = str(value)


def _seconds(run: RunRecord) -> float:
    """Returns the start of a run in seconds since 1970: the time of its record minus its duration."""
    return max(0.0, timegm(time.strptime(run.created, "%Y-%m-%dT%H:%M:%SZ")) - run.seconds)


def _place(directory: Path, tap: str, head: str, run: str) -> Path:
    return directory / safe_name(tap) / f"{safe_name(head)}-{run}"
