"""Public functions that train the network under trained heads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias

from featurebank.api.arguments.banks import BanksLike, as_bank, as_banks
from featurebank.api.arguments.checks import Accepts, checked
from featurebank.api.arguments.data import BackboneLike, PathLike, as_backbone, as_path
from featurebank.api.arguments.heads import RunLike, as_metric
from featurebank.api.display import Shown, showing
from featurebank.api.run import Run
from featurebank.bank import Bank
from featurebank.cluster.training.finetunes import run_finetunes
from featurebank.finetuning import FinetuneOptions, read_options, run_finetune
from featurebank.finetuning.starts import find_starts
from featurebank.runs.run import RunRecord
from featurebank.runs.several import bank_of
from featurebank.system.progress import Reporter

__all__ = ["finetune", "finetune_all"]

StartsLike: TypeAlias = Annotated[
    str | RunRecord | Iterable[RunRecord | str],
    Accepts(
        lambda value: (
            isinstance(value, str | RunRecord)
            or (isinstance(value, list | tuple) and all(isinstance(one, str | RunRecord) for one in value))
        )
    ),
    "runs, a list of the beginnings of their ids, 'best', or 'top:3' for the best three heads",
]


@checked
def finetune(
    run: RunLike = "best", *, bank: BanksLike | None = None, backbone: BackboneLike | None = None,
    metric: str = "accuracy",
    tensorboard: PathLike | None = None, progress: Shown = None, reporter: Reporter | None = None, **options: Any,
) -> Run:  # fmt: skip
    """Trains a run's head together with the network under it, phase by phase.

    Before the first step the model equals the head: this is checked on the validation images, and these weights are the
    first candidate for the best ones. A finished fine-tune is not repeated, and an interrupted one continues from its
    last checkpoint.

    Args:
        run: a run, the beginning of a run's id, or "best": the best of the bank's heads that can be expressed as
            layers.
        bank: the bank of the run, or its name or path; several banks of the same images, or "all-of:DATASET", in which
            the run is searched; not needed for a `Run`; default: the bank that was used last.
        backbone: the network of the bank; default: it is loaded again.
        metric: what decides which head is "best", as in `select`, and which epoch, unless `monitor` says that.
        tensorboard: a log directory of TensorBoard; curves are written there during training.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.
        options: see `FinetuneOptions`: `unfreeze` or `progressive`, and options that differ from the defaults.

    Returns:
        A run on the same leaderboard, with the head "finetune". `saved_path` is its model, from images 0..255 to
        probabilities; `finetune` has its phases and the `gain` over the head.

    Raises:
        ConfigError: an option is invalid, or a phase trains nothing new.
        HeadError: the head cannot be expressed as layers, or the grafted model predicts other classes than the head.
        DatasetError: images were deleted or changed since the extraction.
        WeightsError: the network is no longer that of the bank.
        RunLockedError: another process runs this fine-tune now.
        MissingDependencyError: `tensorboard` is set, but TensorBoard is not installed.
        DiskFullError: no space is left; an older checkpoint is not changed.

    Example:
        >>> run = fb.train_heads(fb.extract("photos", "my_networks:small"), "logistic")[0]
        >>> tuned = finetune(run, unfreeze=["last"], epochs=1)
        >>> tuned.head, tuned.metrics["val"]["accuracy"], tuned.finetune["gain"]["accuracy"]
        ('finetune', 1.0, 0.0)
    """
    settings = _settings(options, metric)
    with showing(progress, reporter) as shown:
        start, known = _start(run, bank, shown, metric)
        tuned = run_finetune(
            start, settings, bank=known, backbone=None if backbone is None else as_backbone(backbone),
            tensorboard=None if tensorboard is None else as_path(tensorboard), reporter=shown,
        )  # fmt: skip
    return Run.of(tuned)


@checked
def finetune_all(
    runs: StartsLike, *, bank: BanksLike | None = None, cluster: str | None = None, metric: str = "accuracy",
    tensorboard: PathLike | None = None, progress: Shown = None, reporter: Reporter | None = None, **options: Any,
) -> list[Run]:  # fmt: skip
    """Fine-tunes from several runs: one after another, or at the same time on the workers of a cluster.

    Each fine-tune is that of `finetune`: a finished one is not repeated, and an interrupted one continues from its last
    checkpoint, also if it was begun by a worker that has died.

    Args:
        runs: runs, the beginnings of their ids, "best", or "top:3" for the best three heads of different
            specifications that can be expressed as layers.
        bank: the bank of the runs, or its name or path, or several banks of the same images, or "all-of:DATASET";
            default: those of the runs, or the bank that was used last.
        cluster: where to train: "local:N" for N worker processes on this machine, or the address of a Dask scheduler,
            as "tcp://host:8786", whose workers see the bank and the images under the same paths. Default: this process.
        metric: see `finetune`.
        tensorboard: a log directory of TensorBoard; curves are written there during training.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.
        options: see `FinetuneOptions`; the same for all.

    Returns:
        The fine-tuned runs, in the order of the runs that they start from.

    Raises:
        ConfigError: an option is invalid, or no run is given.
        ClusterError: the cluster cannot be reached, or its workers cannot do the work.
        HeadError: some of the fine-tunes failed; the message has the first reason, and the others are finished.

    Example:
        >>> runs = fb.train_heads(fb.extract("photos", "my_networks:small"), ["logistic", "ridge"])
        >>> [tuned.head for tuned in finetune_all(runs, unfreeze=["last"], epochs=1)]
        ['finetune', 'finetune']
    """
    settings = _settings(options, metric)
    names = [runs] if isinstance(runs, str | RunRecord) else list(runs)
    with showing(progress, reporter) as shown:
        known = [run for run in names if isinstance(run, RunRecord)]
        own = [bank_of(run) for run in known] if bank is None else []
        found = own or as_banks(bank, "finetune", reporter=shown)
        tuned = run_finetunes(
            find_starts(names, found, shown, metric=as_metric(metric, found[0])), settings, banks=found,
            cluster=cluster, reporter=shown, tensorboard=None if tensorboard is None else as_path(tensorboard),
        )  # fmt: skip
    return [Run.of(run) for run in tuned]


def _start(
    run: RunRecord | str, bank: Any, reporter: Reporter, metric: str
) -> tuple[RunRecord | str, Bank | None]:  # fmt: skip
    """Returns the run to start from, and its bank; None is the bank of the run itself."""
    if not isinstance(run, str):
        return run, None if bank is None else as_bank(bank, "finetune", reporter=reporter)
    banks = as_banks(bank, "finetune", reporter=reporter)
    if len(banks) == 1 and run != "best":
        return run, banks[0]
    start = find_starts([run], banks, reporter, metric=as_metric(metric, banks[0]))[0]
    return start, bank_of(start, banks)


def _settings(options: dict[str, Any], metric: str) -> FinetuneOptions:
    if isinstance(options.get("unfreeze"), str):
        options["unfreeze"] = [options["unfreeze"]]
    return read_options(options, metric=metric)
