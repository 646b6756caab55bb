"""Stage: a run -> another run, whose network was trained as well, with its model in one file."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from featurebank import metrics
from featurebank.backbone import Backbone
from featurebank.backbone.network import FORMS
from featurebank.backbone.recorded import load_recorded, recorded_batch_norm
from featurebank.bank import Bank
from featurebank.bank.locks.claims import hold_run
from featurebank.bank.maintenance.unfinished import CHECKPOINT, remove_temporaries
from featurebank.bank.vectors import positions_in
from featurebank.errors import ConfigError, DatasetWarning
from featurebank.extraction.source_images import SourceImages
from featurebank.finetuning.checkpoint import TrainingState
from featurebank.finetuning.input_scaling import check_mixed, mixed, normalized
from featurebank.finetuning.loop import Loop
from featurebank.finetuning.options import FinetuneOptions
from featurebank.finetuning.outcome import check_start, gain
from featurebank.finetuning.phases import ALL, Phase, describe, describe_batch_norm, plan_phases
from featurebank.finetuning.program import TrainedModel
from featurebank.finetuning.task import Task, ValidationResult, predict_rows
from featurebank.fitting.checks import check_splits, untrained_line
from featurebank.fitting.weights import training_images
from featurebank.grafting.formats import KerasFormat
from featurebank.grafting.metadata import About
from featurebank.grafting.ranked_layers import best_in_layers
from featurebank.grafting.seen.record import seen_by
from featurebank.grafting.stage import grafted
from featurebank.metrics import pack
from featurebank.metrics.significance import share_interval
from featurebank.runs.finetuned import is_finetuned
from featurebank.runs.logs.tensorboard import TensorBoardWriter, check_tensorboard, write_tensorboard
from featurebank.runs.predictions.stored import save_predictions
from featurebank.runs.run import FINETUNE, RunRecord, load_runs, read_run
from featurebank.runs.selection import find_run
from featurebank.runs.several import Banks
from featurebank.system import digest
from featurebank.system.backing.directories import is_file, remove
from featurebank.system.files import atomic_path
from featurebank.system.progress import SILENT, Reporter
from featurebank.training.class_weights import class_numbers
from featurebank.training.monitors import MONITOR, identified_monitor

_SCORED = 2000
"""Maximum number of training images for the final training accuracy, which shows over-fitting."""


def run_finetune(
    run: RunRecord | str, options: FinetuneOptions, *, bank: Bank | None = None, backbone: Backbone | None = None,
    tensorboard: Path | None = None, reporter: Reporter = SILENT,
) -> RunRecord:  # fmt: skip
    """Does the work of `finetune`, with an options object."""
    if options.mixed_precision:
        check_mixed()
    if tensorboard:
        check_tensorboard()
    start, bank = find_start(run, bank, reporter)
    stage = _Finetune(start, bank, options, reporter)
    finished = stage.find_finished()
    if not finished:
        with hold_run(bank.path / "runs", stage.name, reporter.say):
            finished = stage.find_finished()  # another process may just have finished it
            if not finished:
                remove_temporaries(bank.path / "runs", stage.name)
                return stage.run(backbone, tensorboard)
    if tensorboard:
        write_tensorboard([finished], tensorboard)
    return finished


class _Finetune:
    """One fine-tune."""

    def __init__(self, start: RunRecord, bank: Bank, requested: FinetuneOptions, reporter: Reporter) -> None:
        requested = replace(requested, **identified_monitor({MONITOR: requested.monitor}, bank.classes))
        self._start, self._bank, self._requested, self._reporter = start, bank, requested, reporter
        self._options = replace(
            requested,
            batch_norm=requested.batch_norm or recorded_batch_norm(bank.recipe, bank.manifest.source),
            class_weight=class_numbers(requested.class_weight, bank.classes),
        )
        self._directory = bank.path / "runs"
        self.name = self._find_name(bank)

    def _find_name(self, bank: Bank) -> str:
        """Returns the run's id; if an earlier version began the fine-tune, the id of that version."""
        names = [_run_id(self._start, bank_digest, self._options) for bank_digest in (bank.former_digest, bank.digest)]
        exists = any(is_file(self._directory / f"{names[0]}{suffix}") for suffix in (".json", CHECKPOINT))
        return names[0] if exists else names[1]

    def find_finished(self) -> RunRecord | None:
        """Returns the run if it is finished and its model file is unchanged."""
        run = read_run(self._directory / f"{self.name}.json")
        if run and is_file(run.saved_path) and digest.of_file(run.saved_path) == run.weights:
            self._reporter.say(f"fine-tuned before: run {self.name}")
            return run
        return None

    def run(self, backbone: Backbone | None, tensorboard: Path | None) -> RunRecord:
        check_splits(self._bank)
        self._check_network(backbone)
        self._reporter.say(f"fine-tuning from run {self._start.run}: {self._start.spec} on {self._start.tap}")
        graft = grafted(self._bank, self._start, backbone=backbone, proof=False, form="layers")
        model = _copy(graft.model) if backbone else graft.model
        phases = plan_phases(model, self._options)
        if self._options.normalize and phases[0].name != ALL:
            message = f"normalize changes what the first layer gets, but phase 1 is '{phases[0].name}': unfreeze 'all'"
            raise ConfigError(message)
        for line in [*describe(model, phases), self._batch_norm(model, phases)]:
            self._reporter.say(line)
        trained = training_images(self._bank, positions_in(self._bank, "train"))
        if weight_line := self._bank.weight_line():
            self._reporter.say(weight_line)
        if untrained := untrained_line(self._bank.labels()[trained.positions], self._bank.classes):
            self._reporter.warn(untrained, DatasetWarning)
        train = SourceImages(self._bank, ["train"], positions=trained.positions, reporter=self._reporter)
        val = SourceImages(self._bank, ["val"], reporter=self._reporter)
        head = Task(
            TrainedModel(model, self._options), train, val, phases, self._options, classes=self._bank.classes
        ).evaluate()
        check_start(self._bank, self._start, head, val.labels)
        self._reporter.say(f"epoch 0, the head: validation accuracy {head.accuracy:.4f}, loss {head.loss:.4f}")
        prepared = self._prepare(model, train)
        weights = None if trained.weights is None else trained.weights.astype(np.float32)
        task = Task(
            TrainedModel(prepared, self._options), train, val, phases, self._options, weights, self._bank.classes
        )
        place = self._directory / f"{self.name}{CHECKPOINT}"
        with contextlib.ExitStack() as stack:
            board = None
            if tensorboard:
                board = stack.enter_context(TensorBoardWriter(tensorboard, self._start.tap, FINETUNE, self.name))
                board.show_graph(model)
            state = Loop(task, head, place, self._reporter, board).run()
            if prepared is not model and state.best["epoch"]:
                model = _in_own_precision(prepared, model) if self._options.mixed_precision else prepared
            run = self._save(_Outcome(model, task, state, head), graft.about)
            if board:
                board.finish(run)
        return run

    def _check_network(self, backbone: Backbone | None) -> None:
        """Raises ConfigError if the layers of the bank's network cannot be trained, before anything is computed."""
        if self._start.is_finetune:
            return
        network = load_recorded(self._bank.recipe, self._bank.manifest.source, backbone=backbone)
        if network.form != "keras":
            message = (
                f"{network.name} is a network of {FORMS[network.form]}, and only layers of Keras can be fine-tuned: "
                "export the head with its network ('featurebank export'), or extract with a network of Keras"
            )
            raise ConfigError(message)

    def _batch_norm(self, model: Any, phases: Sequence[Phase]) -> str:
        why = "as asked for" if self._requested.batch_norm else f"the default of {self._bank.recipe['backbone']}"
        return describe_batch_norm(model, phases, str(self._options.batch_norm), why)

    def _prepare(self, model: Any, train: SourceImages) -> Any:
        """Returns the model to train: the same one, or a changed copy of it."""
        if self._options.normalize:
            model = normalized(model, train, self._bank.recipe["preprocessing"])
        return mixed(model) if self._options.mixed_precision else model

    def _save(self, outcome: _Outcome, about: About) -> RunRecord:
        """Writes the model, then the record, and finally deletes the checkpoint."""
        result, state = outcome.evaluate(self._options), outcome.state
        groups = self._bank.groups("val")
        run = RunRecord(
            run=self.name, head=FINETUNE, params={"from": self._start.run, **self._requested.params()},
            tap=self._start.tap, seed=self._options.seed, seconds=round(state.seconds, 6),
            metrics=outcome.metrics(result, groups), bank=self._bank.digest,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), notes=tuple(state.notes),
            history={**state.history, "best_epoch": state.best["epoch"]}, parameters=outcome.model.count_params(),
            right=pack(result.probabilities.argmax(axis=1) == outcome.task.val.labels), directory=self._bank.path,
            finetune={
                "from": self._start.run, "phases": state.finished_phases, "batch_norm": self._options.batch_norm,
                "epoch_0": outcome.head.epoch_0(),
                "gain": gain(
                    self._start, outcome.head, result, outcome.task.val.labels, state.seconds, groups=groups,
                    metric=outcome.task.named_metric,
                ),
            },
        )  # fmt: skip
        text = replace(
            about, head=str(run.spec), run=run.run, metrics=run.metrics, proof=None, format="keras",
            seen=seen_by(self._bank, run),
        ).to_text()  # fmt: skip
        with atomic_path(run.saved_path) as temporary:
            KerasFormat().write(outcome.model, temporary, text)
        run = replace(run, weights=digest.of_file(run.saved_path))
        save_predictions(run, metrics.ImageScores.of(result.probabilities, outcome.task.val.labels))
        run.save()
        remove(self._directory / f"{self.name}{CHECKPOINT}")
        return run


@dataclass(frozen=True)
class _Outcome:
    """A fine-tune after its last phase."""

    model: Any
    """The final model."""
    task: Task
    state: TrainingState
    head: ValidationResult

    def evaluate(self, options: FinetuneOptions) -> ValidationResult:
        """Returns the validation result of the model; if no epoch was better, that of the head."""
        return (
            replace(self.task, network=TrainedModel(self.model, options)).evaluate()
            if self.state.best["epoch"]
            else self.head
        )

    def metrics(self, result: ValidationResult, groups: np.ndarray | None) -> dict[str, dict[str, Any]]:
        """Returns the metrics for the run's record.

        Args:
            result: the result on the validation images.
            groups: (n,) which of these belong together; None if the dataset has no groups.
        """
        labels = self.task.val.labels
        val = metrics.scores(result.probabilities, labels)
        right = (result.probabilities.argmax(axis=1) == labels).astype(float)
        val["accuracy_interval"] = list(share_interval(right, groups) or (0.0, 1.0))
        if groups is not None:
            val["groups"] = len(np.unique(groups))
        train = self.task.train
        rows = np.arange(min(_SCORED, len(train)))
        probabilities = predict_rows(TrainedModel(self.model, self.task.options), train, rows)
        return {"train": dict(metrics.short_scores(probabilities, train.labels[rows])), "val": val}


def find_start(run: RunRecord | str, bank: Bank | None, reporter: Reporter) -> tuple[RunRecord, Bank]:
    """Returns the run to start from, and its bank."""
    if isinstance(run, RunRecord):
        return run, bank or Bank(run.directory)
    if bank is None:
        message = f"run '{run}' without its bank: give bank=open_bank(...), or a run"
        raise ConfigError(message)
    return (best_start(bank, load_runs(bank), reporter) if run == "best" else find_run(bank, run)), bank


def best_start(
    banks: Banks, runs: Iterable[RunRecord], reporter: Reporter = SILENT, *, metric: metrics.Metric = metrics.ACCURACY
) -> RunRecord:
    """Returns the best head that can be expressed as layers.

    Args:
        banks: the bank that the runs were trained on, or several.
        runs: the candidates; fine-tuned runs are ignored.
        reporter: receives one line for each better head that is skipped, with the reason.
        metric: what decides which head is best.

    Raises:
        HeadError: no head can be expressed as layers.
    """
    return best_in_layers(banks, [run for run in runs if not is_finetuned(run)], reporter, metric=metric)


def _run_id(start: RunRecord, bank_digest: str, options: FinetuneOptions) -> str:
    recipe = [FINETUNE, start.run, options.identity(), options.seed, bank_digest]
    return digest.of_recipe(recipe)[:10]


def _copy(model: Any) -> Any:
    """Returns a copy, so that the caller's network is not changed."""
    import keras

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _in_own_precision(trained: Any, model: Any) -> Any:
    """Returns the model in its own precision, with the weights of the trained one."""
    model.set_weights(trained.get_weights())
    return model
