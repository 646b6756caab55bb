"""Public functions that train heads, and choose among their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from featurebank.api.arguments.banks import BanksLike, as_banks
from featurebank.api.arguments.checks import checked
from featurebank.api.arguments.data import PathLike, Texts, as_path, as_texts
from featurebank.api.arguments.heads import (
    BankOrRun,
    GridLike,
    HeadLike,
    MetricLike,
    RunLike,
    RunsLike,
    as_bank_and_run,
    as_grid,
    as_metric,
    as_runs,
    metric_of_runs,
)
from featurebank.api.display import Shown, showing
from featurebank.api.run import Run
from featurebank.cluster.training.heads import run_grid
from featurebank.fitting.folds import requested_protocol
from featurebank.grid import GridOptions
from featurebank.heads.catalog import kind_of
from featurebank.heads.described import describe_head
from featurebank.metrics import ACCURACY
from featurebank.runs.costs.speed import measure_speeds
from featurebank.runs.leaderboard import Leaderboard
from featurebank.runs.predictions.scoring import scored
from featurebank.runs.ranking import latest_folds
from featurebank.runs.run import RunRecord
from featurebank.runs.selection import choose_run, open_test, ranked_runs
from featurebank.runs.several import bank_of
from featurebank.system.progress import Reporter

__all__ = ["evaluate_test", "leaderboard", "make_head", "select", "train_heads"]


@checked
def make_head(kind: HeadLike, params: Mapping[str, Any] | None = None, *, random_state: int = 0, **more: Any) -> Any:
    """Returns an unfitted head.

    Args:
        kind: the name of a head, as `featurebank heads --list` prints it; the import path of a scikit-learn classifier,
            as "sklearn.ensemble:ExtraTreesClassifier"; or an unfitted classifier, which becomes a head.
        params: its parameters, as far as they differ from the defaults, and perhaps `calibrate`.
        random_state: its seed.
        more: further parameters.

    Returns:
        The head, an estimator of scikit-learn: `fit(X, y)` takes features (n, ...) float32 and labels (n,).

    Raises:
        UnknownNameError: there is no such head or parameter.
        ConfigError: the import path leads to nothing, or to something that is no classifier.

    Example:
        >>> make_head("svm", C=1.0)
        SVMHead(C=1.0)
    """
    described = {"kind": kind} if isinstance(kind, str) else describe_head(kind)
    name = described.pop("kind")
    return kind_of(name).make({**described, **(params or {}), **more}, random_state=random_state)


@checked
def train_heads(
    bank: BanksLike | None = None,
    grid: GridLike = "default",
    *,
    seeds: int | Sequence[int] = 1,
    taps: Texts | None = None,
    search: Literal["all", "random", "halving"] = "all",
    runs: int | None = None,
    folds: int | Literal["given"] | None = None,
    repeats: int = 1,
    budget: float | None = None,
    retry_failed: bool = False,
    views: int | None = None,
    sample: int | None = None,
    metric: str = ACCURACY.name,
    cluster: str | None = None,
    tensorboard: PathLike | None = None,
    progress: Shown = None,
    reporter: Reporter | None = None,
) -> Leaderboard[Run]:
    """Trains the heads of a grid on a bank's training images and evaluates them on its validation images.

    Heads that were trained before are read from their records, even if another process trains on the same bank. The
    weights of the run that ranks first are saved. The test split is not used.

    Args:
        bank: the bank with the features, or its name or path; or several banks of the same images, as a list or
            "all-of:DATASET", which are trained one after another; default: the bank that was used last. A head is left
            out on a bank that lacks its tap.
        grid: the heads: the name of a built-in grid ("default", "quick", "wide"), or the path of a grid file. Or a head
            or a list of heads, each one the name of a head; a dictionary with `kind`, parameters and perhaps `tap` and
            `name`, in which a list is an axis, as in a grid file, and a tuple a value; a head of `make_head`; or an
            unfitted classifier of scikit-learn, also after `StandardScaler()` and `PCA(n)` in a `Pipeline`.
        seeds: the number of seeds (0, 1, ...), or a list of seeds; deterministic heads are trained once.
        taps: the taps for heads that name none themselves; default "pooled", or the bank's first tap.
        search: "all" heads of the grid, a "random" sample, or "halving": successive halving over epochs, which stops
            worse heads early (their rows say where, and come after the others).
        runs: the size of the random sample, which is always the same.
        folds: the number of cross-validation folds of the training and validation images, or "given" for the
            dataset's own folds (folders fold1, fold2, ..., or a column `fold` of a table). The best head is also
            trained on the bank's own training images, and its weights are saved.
        repeats: the number of different divisions into folds.
        budget: time limit in seconds, for all banks together; heads that would exceed it by more than a tenth are
            skipped and reported.
        retry_failed: train heads that failed before again.
        views: the number of augmented views of each training image, besides the clean one, for heads with epochs;
            default: all views of the bank.
        sample: the number of training images, for heads that need all features in memory: the first in the order of
            the digests of their contents, a random sample that a larger one contains. Validation images are all used;
            default: all.
        metric: what the heads are ranked by, as in `select`: it also decides which heads go on with "halving", and of
            which run the weights are saved.
        cluster: where to train: "local:N" for N worker processes on this machine, or the address of a Dask scheduler,
            as "tcp://host:8786", whose workers see the bank under the same path. Default: this process.
        tensorboard: a directory where the runs are written for TensorBoard, too.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        The runs of this grid, best first; stopped and failed runs last. With folds, the run of the best head on the
        bank's own split comes first.

    Raises:
        ConfigError: the grid or an option is invalid; the message has every problem, and nothing was started.
        DatasetError: a split is empty, the training images have only one class, or a class has fewer images than folds.
        ClusterError: the cluster cannot be reached, or its workers cannot do the work.
        MissingDependencyError: `cluster` is set, but dask.distributed is not installed; or `tensorboard` is set, but
            TensorBoard is not.
        HeadError: every run failed, or the budget is too short for even the cheapest head.

    Example:
        >>> from sklearn.svm import LinearSVC
        >>> runs = train_heads("cache/photos", ["svm", {"kind": "knn", "n_neighbors": [1, 5]}, LinearSVC()])
        >>> len(runs), runs[0].metrics["val"]["accuracy"] > 0.6
        (4, True)
    """
    options = GridOptions(
        seeds=seeds, taps=None if taps is None else as_texts(taps), search=search, runs=runs, folds=folds,
        repeats=repeats, budget=budget, retry_failed=retry_failed, views=views, sample=sample, metric=metric,
        cluster=cluster,
    )  # fmt: skip
    heads = as_grid(grid)
    with showing(progress, reporter) as shown:
        banks = as_banks(bank, "heads", reporter=shown)
        trained = run_grid(banks, heads, options, shown)
        _log(trained, tensorboard)
    return Leaderboard(map(Run.of, trained), folds=latest_folds(trained), metric=as_metric(metric, banks[0]))


@checked
def select(
    runs: RunsLike | None = None, *, folds: int | Literal["given"] | None = None, one_se: bool = False,
    rule: str = "best", metric: MetricLike = ACCURACY,
) -> Run:  # fmt: skip
    """Returns the run to go on with, by validation alone; the test split plays no part in it.

    It is the best run of the first specification of the leaderboard. If that was evaluated on folds, it is the run of
    the same specification on the bank's own split, if there is one: it was trained on all of the training images.

    Args:
        runs: runs of one bank or of several banks of the same images; or the bank or its name or path, a list of banks,
            or "all-of:DATASET"; default: the bank that was used last.
        folds: the protocol: the number of folds, or "given" for the dataset's own; 1 is the bank's own split. Default:
            that of the latest grid.
        one_se: take the simplest specification within one standard error of the best: short for `rule="one-se"`.
        rule: which specification is taken, one of `featurebank.runs.ranking.RULES`.
        metric: what specifications are ranked by: a name in `featurebank.metrics.METRICS`, as "auroc", "log_loss",
            "top5", "recall:CLASS" or "cost:FILE.csv". Older runs are scored again if need be.

    Raises:
        HeadError: there is no run, none of this protocol, or all of them failed.
        UnknownNameError: there is no such rule or metric.

    Example:
        >>> select("cache/photos", rule="one-se").head
        'nearest_mean'
    """
    with showing() as shown:
        found = as_runs(runs, "leaderboard", shown)
        by = metric_of_runs(metric, found)
        found = scored(found, by, shown)
        if isinstance(folds, str):
            folds = requested_protocol(folds, bank_of(found[0])) if found else None
    return Run.of(choose_run(found, folds=folds, rule="one-se" if one_se else rule, metric=by))


@checked
def leaderboard(
    bank: BanksLike | None = None, *, folds: int | Literal["given"] | None = None, metric: MetricLike = ACCURACY,
    measure: bool = False, tensorboard: PathLike | None = None, progress: Shown = None,
    reporter: Reporter | None = None,
) -> Leaderboard[Run]:  # fmt: skip
    """Returns the runs of a bank as it is now, or of several, best first; see `ranked` for the order.

    Several banks must hold the same images with the same labels in the same splits. Then their runs are compared by the
    same paired tests as those of one bank.

    Args:
        bank: the bank, or its name or path; or several banks, as a list or "all-of:DATASET"; default: the bank that was
            used last.
        folds: the protocol of the runs: the number of folds, or "given" for the dataset's own; 1 is the bank's own
            split. Default: that of the latest grid.
        metric: what they are ranked by, as in `select`.
        measure: measure on this machine how many images a second each network handles up to each tap, for
            `to_frame` and `plot("images a second")`. It takes about two seconds for each, and the cache keeps it.
        tensorboard: a directory where the runs are written for TensorBoard, too.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Raises:
        DatasetError: `folds` is "given", but the dataset has none of its own.

    Example:
        >>> leaderboard("cache/photos", metric="macro_f1")[0].head
        'nearest_mean'
    """
    with showing(progress, reporter) as shown:
        banks = as_banks(bank, "leaderboard", reporter=shown)
        by, protocol = as_metric(metric, banks[0]), requested_protocol(folds, banks[0])
        board = ranked_runs(banks, folds=protocol, metric=by, reporter=shown)
        if measure:
            measure_speeds([(bank_of(run, banks), run.tap) for run in board if not run.failure], shown)
        _log(board, tensorboard)
    return Leaderboard(map(Run.of, board), folds=board.folds, metric=board.metric)


def _log(runs: Sequence[RunRecord], tensorboard: PathLike | None) -> None:
    if tensorboard is not None:
        from featurebank.runs.logs.tensorboard import write_tensorboard

        write_tensorboard(runs, as_path(tensorboard))


@checked
def evaluate_test(
    bank: BankOrRun, run: RunLike | None = None, *, progress: Shown = None, reporter: Reporter | None = None
) -> Run:
    """Opens the test split for a chosen run: scores it with intervals and records the result with its date.

    A run that was tested before, by this call or an earlier one, keeps its result; the split is not opened again.

    Args:
        bank: the bank that the run was trained on, or its name or path; or the run alone.
        run: what `select` returned, "best" for that (the default), or the beginning of an id.
        reporter: is warned where some of the images were opened for other runs before, whatever bank, split or name
            they had then; see `featurebank.runs.openings`.

    Returns:
        The run with `metrics["test"]`, which hold `opened_before`: how many times some of the images were opened for
        other runs before, and `images_opened_before`: how many of them.

    Raises:
        DatasetError: the bank has no test images.
        HeadError: the head failed, belongs to another bank, was trained on folds alone, or cannot be trained again
            where its weights were not kept; the model of a fine-tune is gone.
        DatasetError: of a fine-tune, test images have gone or changed.
        DiskFullError: no space is left for the record; nothing was opened.

    Example:
        >>> tested = evaluate_test(select("cache/photos"))
        >>> tested.metrics["test"]["images"], tested.metrics["test"]["accuracy"] > 0.6
        (30, True)
    """
    with showing(progress, reporter) as shown:
        found, chosen = as_bank_and_run(bank, run, "heads", shown)
        return Run.of(open_test(found, chosen, reporter=shown))
